/* bench_text.c: the tokenizer on English prose, and checksums. */
#include "bench.h"

#include "model_view.h"
#include "tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { TEXT_BYTES = 1 << 20, CRC_BYTES = 4 << 20 };

struct work {
    struct mq_tokenizer *tokenizer;
    char *text;
    size_t size;
    volatile uLong crc;
};

static void encode(void *argument, unsigned thread)
{
    (void)thread;
    const struct work *w = argument;
    struct mq_ids ids = {0};
    moeq_error err = {0};
    if (mq_tokenizer_encode(w->tokenizer, w->text, w->size, true, &ids, &err) != MOEQ_OK)
        bench_die("%s", err.message);
    mq_ids_free(&ids);
}

static void checksum(void *argument, unsigned thread)
{
    (void)thread;
    struct work *w = argument;
    w->crc = crc32_z(0, (const Bytef *)w->text, CRC_BYTES);
}

/* The file, repeated up to TEXT_BYTES. */
static char *read_text(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    char *text = bench_memory(CRC_BYTES);
    const size_t n = f ? fread(text, 1, TEXT_BYTES, f) : 0;
    if (f)
        fclose(f);
    if (n == 0)
        bench_die("%s: cannot be read", path);
    *size = TEXT_BYTES / n * n;
    for (size_t at = n; at < *size; at += n)
        memcpy(text + at, text, n);
    return text;
}

static void add(struct bench *bench, const char *name, struct bench_rate rate, const char *unit,
                double peak)
{
    struct bench_row row = {.threads = 1,
                            .rate = rate.median,
                            .spread = rate.spread,
                            .unit = unit,
                            .of_peak = peak > 0 ? rate.median / peak : 0,
                            .peak = peak > 0 ? "memory read" : NULL};
    snprintf(row.group, sizeof row.group, "text");
    snprintf(row.name, sizeof row.name, "%s", name);
    bench_add(bench, &row);
}

void bench_text(struct bench *bench)
{
    struct work w = {0};
    struct mq_view *view;
    moeq_error err = {0};
    if (mq_view_open(bench->model, &view, &err) != MOEQ_OK ||
        mq_tokenizer_load(view->side[MQ_SIDE_TOKENIZER].data, view->side[MQ_SIDE_TOKENIZER].size,
                          bench->model, &w.tokenizer, &err) != MOEQ_OK)
        bench_die("%s", err.message);
    w.text = read_text(bench->text, &w.size);
    add(bench, "tokenizer, English prose",
        bench_measure(bench, 1, 1e-6 * (double)w.size, encode, &w, NULL), "MB/s", 0);
    add(bench, "CRC-32 (zlib's)", bench_measure(bench, 1, 1e-9 * CRC_BYTES, checksum, &w, NULL),
        "GB/s", bench->memory_read[0]);
    free(w.text);
    mq_tokenizer_free(w.tokenizer);
    mq_view_close(view);
}
