/*
 * test_mutators.c: what the mutators make of the corpora stays within its size, and is for a good
 * part still what a reader reads: JSON, and beyond that a file that is accepted whole.
 */
#include "mutate.h"

#include "gguf.h"
#include "json.h"
#include "safetensors.h"
#include "test_support.h"
#include "tokenizer.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { SEEDS = 2000, JUDGED = 25, LARGEST_INPUT = 1 << 15, ROOM = 1 << 13 };

/* Stands in for libFuzzer's. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max)
{
    static uint64_t state = 1;
    const uint64_t r = mq_test_random(&state);
    if (!size || (size < max && r % 4 == 0)) {
        if (!max)
            return 0;
        data[size] = (uint8_t)(r >> 8);
        return size + 1;
    }
    data[(r >> 16) % size] = (uint8_t)(r >> 8);
    return size > 1 && r % 4 == 1 ? size - 1 : size;
}

/* ---- judges ---- */

struct verdict {
    bool deep;     /* past the grammar */
    bool accepted; /* by all rules of the format */
    bool sums;     /* a moeq file's words of checksums have the one of their own */
};

static bool is_json(const uint8_t *data, size_t n)
{
    const struct mq_json_limits limits = {.depth = 64, .values = 1000000};
    struct mq_json_walk walk = {0};
    uint64_t members;
    moeq_error err = {0};
    return mq_json_check((const char *)data, n, &limits, "x", 0, &walk, &members, &err) == MOEQ_OK;
}

static struct verdict judge_json(const uint8_t *data, size_t n)
{
    const bool good = is_json(data, n);
    return (struct verdict){.deep = good, .accepted = good};
}

static struct verdict judge_tokenizer(const uint8_t *data, size_t n)
{
    const uint8_t *nul = n ? memchr(data, 0, n) : NULL;
    struct mq_tokenizer *t;
    moeq_error err = {0};
    struct verdict v = {0};
    n = nul ? (size_t)(nul - data) : n;
    v.deep = is_json(data, n);
    v.accepted = v.deep && mq_tokenizer_load((const char *)data, n, "x", &t, &err) == MOEQ_OK;
    if (v.accepted)
        mq_tokenizer_free(t);
    return v;
}

static struct verdict judge_header(const uint8_t *json, size_t n, uint64_t data_bytes,
                                   size_t *tensors)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_safetensors st = {.file = {.fd = -1, .path = strdup("x")}, .header_bytes = 8 + n};
    char *text = malloc(n + 1);
    moeq_error err = {0};
    struct verdict v = {.deep = is_json(json, n)};
    memcpy(text, json, n);
    text[n] = '\0';
    v.accepted = mq_safetensors_parse(text, n, data_bytes, arena, &st, &err) == MOEQ_OK;
    *tensors = v.accepted ? st.count : 0;
    mq_safetensors_close(&st);
    mq_arena_destroy(arena);
    free(text);
    return v;
}

static struct verdict judge_safetensors(const uint8_t *data, size_t n)
{
    size_t tensors;
    if (n < 2)
        return (struct verdict){0};
    return judge_header(data + 2, n - 2, data[0] | (uint64_t)data[1] << 8, &tensors);
}

static struct verdict judge_file(const uint8_t *data, size_t n)
{
    uint64_t header = 0;
    size_t tensors;
    if (n < 8 || data[0] == '{')
        return judge_json(data, n);
    for (int i = 8; i--;)
        header = header << 8 | data[i];
    if (header > n - 8)
        return (struct verdict){0};
    struct verdict v = judge_header(data + 8, header, n - 8 - header, &tensors);
    if (tensors > 1 && n - 8 - header >= 4 * (tensors + 1)) {
        const uint32_t sum = (uint32_t)crc32_z(0, data + n - 4 * (tensors + 1), 4 * tensors);
        const uint8_t last[] = {(uint8_t)sum, (uint8_t)(sum >> 8), (uint8_t)(sum >> 16),
                                (uint8_t)(sum >> 24)};
        v.sums = memcmp(last, data + n - 4, 4) == 0;
    }
    return v;
}

static struct verdict judge_folder(const uint8_t *data, size_t n)
{
    const uint8_t *nul = n ? memchr(data, 0, n) : NULL;
    struct verdict v = {0};
    if (!nul)
        return v;
    nul = memchr(nul + 1, 0, n - (size_t)(nul + 1 - data));
    if (!nul || n - (size_t)(nul + 1 - data) < 8)
        return v;
    const size_t left = n - (size_t)(nul + 1 - data) - 8;
    v.deep = is_json(nul + 9, left);
    v.accepted = v.deep && is_json(data, strlen((const char *)data));
    return v;
}

static struct verdict judge_gguf(const uint8_t *data, size_t n)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_gguf gguf;
    moeq_error err = {0};
    struct verdict v = {.accepted = mq_gguf_parse("x", data, n, arena, &gguf, &err) == MOEQ_OK};
    mq_gguf_close(&gguf);
    mq_arena_destroy(arena);
    /* the tables could be walked: what is wrong is in a value, a name, or between tensors */
    v.deep = v.accepted || !strstr(err.message, "needs");
    return v;
}

/* ---- the corpora ---- */

struct kind {
    const char *corpus;
    mutate_fn *mutate;
    struct verdict (*judge)(const uint8_t *data, size_t n);
    unsigned deep, accepted, sums; /* in a hundred, at least */
};

static const struct kind kinds[] = {
    {"config", mutate_json, judge_json, 50, 50, 0},
    {"tokenizer", mutate_json, judge_tokenizer, 50, 15, 0},
    {"safetensors", mutate_safetensors, judge_safetensors, 50, 15, 0},
    {"hf_folder", mutate_hf_folder, judge_folder, 50, 40, 0},
    {"moeq_file", mutate_moeq_file, judge_file, 50, 30, 10},
    {"gguf", mutate_gguf, judge_gguf, 50, 20, 0},
};

struct tally {
    unsigned judged, deep, accepted, sums, changed, mutants;
};

static void mutate_file(const struct kind *kind, const uint8_t *input, size_t size,
                        const uint8_t *other, size_t other_size, struct tally *tally)
{
    const unsigned step = mq_test_sampled() ? 20 : 1;
    for (unsigned seed = 0; seed < SEEDS; seed += step) {
        /* Now and then without room, so that a sanitizer sees what is read behind the input. */
        const size_t max = seed / 100 % 4 ? size + ROOM : size;
        uint8_t *data = malloc(max + !max);
        struct mutant m = {data, size, max, seed};
        if (size)
            memcpy(data, input, size);
        kind->mutate(&m, seed % 4 ? NULL : other, seed % 4 ? 0 : other_size);
        ck_assert_uint_le(m.size, max);
        tally->mutants++;
        tally->changed += m.size != size || memcmp(data, input, size) != 0;
        if (seed % JUDGED == 0) {
            const struct verdict v = kind->judge(data, m.size);
            tally->judged++;
            tally->deep += v.deep;
            tally->accepted += v.accepted;
            tally->sums += v.sums;
        }
        free(data);
    }
}

/* Of exactly its size, so that a sanitizer sees a mutator read behind it. */
static uint8_t *read_input(const char *folder, const char *name, size_t *size)
{
    char path[4096];
    uint8_t buffer[LARGEST_INPUT];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s", path);
    *size = fread(buffer, 1, sizeof buffer, f);
    fclose(f);
    uint8_t *data = malloc(*size + !*size);
    memcpy(data, buffer, *size);
    return data;
}

START_TEST(mutants_are_mostly_readable)
{
    const struct kind *kind = &kinds[_i];
    char folder[64];
    struct dirent **names;
    struct tally tally = {0};
    size_t other_size = 0;
    uint8_t *other = NULL;
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", kind->corpus);
    const char *path = mq_test_source(folder);
    const int n = scandir(path, &names, NULL, alphasort);
    ck_assert_int_gt(n, 2);
    for (int i = 0; i < n; i++) {
        size_t size;
        if (names[i]->d_name[0] != '.') {
            uint8_t *input = read_input(path, names[i]->d_name, &size);
            mutate_file(kind, input, size, other, other_size, &tally);
            free(other);
            other = input;
            other_size = size;
        }
        free(names[i]);
    }
    free(names);
    free(other);
    printf("%s: %u mutants, %u changed; of %u, %u past the grammar, %u accepted, %u with sums\n",
           kind->corpus, tally.mutants, tally.changed, tally.judged, tally.deep, tally.accepted,
           tally.sums);
    ck_assert_uint_ge(100 * tally.changed, 75 * tally.mutants);
    ck_assert_uint_ge(100 * tally.deep, kind->deep * tally.judged);
    ck_assert_uint_ge(100 * tally.accepted, kind->accepted * tally.judged);
    ck_assert_uint_ge(100 * tally.sums, kind->sums * tally.judged);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, mutants_are_mostly_readable, 0, sizeof kinds / sizeof *kinds);
}

int main(void)
{
    return mq_test_main("mutators", add_tests);
}
