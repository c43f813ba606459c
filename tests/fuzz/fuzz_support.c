/* fuzz_support.c: see the header. */
#include "fuzz_support.h"

#include "levels.h"
#include "model_view.h"
#include "safetensors.h"
#include "stored.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

enum { DATA_CAP = 1 << 20 };

void fuzz_expect(bool holds)
{
    if (!holds)
        abort();
}

void fuzz_refused(moeq_status status, const moeq_error *err, const char *path)
{
    fuzz_expect(status == err->status && err->message[0] && !strchr(err->message, '\n'));
    fuzz_expect(!path || status == MOEQ_NO_MEMORY || strstr(err->message, path));
}

/* ---- parts ---- */

static uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store_u32(uint8_t *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}

size_t fuzz_parts(const uint8_t *data, size_t size, struct fuzz_part *parts, size_t most)
{
    size_t n = 0;
    for (size_t i = 0; i < most; i++)
        parts[i] = (struct fuzz_part){data + size, 0};
    for (size_t at = 0; n < most && size - at >= 4; n++) {
        const size_t length = load_u32(data + at), rest = size - at - 4;
        parts[n] = (struct fuzz_part){data + at + 4, length < rest ? length : rest};
        at += 4 + parts[n].size;
    }
    return n;
}

/* ---- files ---- */

const char *fuzz_put(struct fuzz_file *f, const void *bytes, size_t n)
{
    if (!f->path[0]) {
        fuzz_expect((f->fd = memfd_create("fuzz", MFD_CLOEXEC)) >= 0);
        snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->fd);
    }
    fuzz_expect(ftruncate(f->fd, 0) == 0 && pwrite(f->fd, bytes, n, 0) == (ssize_t)n);
    return f->path;
}

static char folder[32];

static void remove_folder(void)
{
    char path[sizeof folder + 256];
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unlink(path); /* not "." and ".." */
    }
    if (d)
        closedir(d);
    rmdir(folder);
}

const char *fuzz_folder(void)
{
    if (!folder[0]) {
        strcpy(folder, "/tmp/moeq_fuzz_XXXXXX");
        fuzz_expect(mkdtemp(folder) != NULL);
        atexit(remove_folder);
    }
    return folder;
}

void fuzz_put_entry(struct fuzz_entry *e, const void *bytes, size_t n)
{
    const char *target = fuzz_put(&e->file, bytes, n);
    char path[128];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), e->name);
    if (!e->is_there)
        fuzz_expect(symlink(target, path) == 0);
    e->is_there = 1;
}

void fuzz_no_entry(struct fuzz_entry *e)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), e->name);
    if (e->is_there)
        fuzz_expect(unlink(path) == 0);
    e->is_there = 0;
}

/* ---- a safetensors file ---- */

/* The end of the data that the header speaks of, found as text. */
static size_t data_bytes(struct fuzz_part header)
{
    size_t largest = 0, number = 0;
    for (size_t i = 0; i < header.size; i++) {
        const uint8_t c = header.data[i];
        if (c == ']' && number > largest && number < DATA_CAP)
            largest = number;
        number = c >= '0' && c <= '9' && number < DATA_CAP ? 10 * number + (size_t)(c - '0') : 0;
    }
    return largest;
}

static void put_ids_crc(uint8_t *bytes, const struct mq_safetensors *st)
{
    static const char place[] = "########";
    const struct mq_st_entry *ids = mq_safetensors_find(st, "input_ids");
    uint8_t *at = memmem(bytes, st->header_bytes, place, sizeof place - 1);
    char hex[16];
    if (!ids || !at)
        return;
    snprintf(hex, sizeof hex, "%08lx", crc32_z(0, bytes + ids->offset, ids->size_bytes));
    memcpy(at, hex, sizeof place - 1);
}

static void put_checksums(uint8_t *bytes, const struct mq_safetensors *st, uint32_t *last)
{
    const struct mq_st_entry *e = st->count ? &st->entries[st->count - 1] : NULL;
    if (!e || strcmp(e->name, "moeq.crc32") != 0 || e->size_bytes != 4 * (st->count + 1))
        return;
    uint8_t *words = bytes + e->offset;
    for (size_t i = 0; i + 1 < st->count; i++)
        store_u32(words + 4 * i,
                  (uint32_t)crc32_z(0, bytes + st->entries[i].offset, st->entries[i].size_bytes));
    store_u32(words + e->size_bytes - 8, (uint32_t)crc32_z(0, bytes, st->header_bytes));
    *last = (uint32_t)crc32_z(0, words, e->size_bytes - 4);
    store_u32(words + e->size_bytes - 4, *last);
}

static void mend(uint8_t *bytes, struct fuzz_part header, size_t data, uint32_t *last)
{
    char path[] = "mended", *json = strndup((const char *)header.data, header.size);
    struct mq_arena *arena = mq_arena_create();
    struct mq_safetensors st = {.file = {.fd = -1, .path = path}, .header_bytes = 8 + header.size};
    moeq_error err = {0};
    fuzz_expect(json && arena);
    /* one with a zero byte is none, and needs no sums */
    if (strlen(json) == header.size &&
        mq_safetensors_parse(json, header.size, data, arena, &st, &err) == MOEQ_OK) {
        put_ids_crc(bytes, &st);
        put_checksums(bytes, &st, last);
    }
    st.file.path = NULL; /* what is closed is its own */
    mq_safetensors_close(&st);
    mq_arena_destroy(arena);
    free(json);
}

uint8_t *fuzz_safetensors(struct fuzz_part header, struct fuzz_part data, bool mended, size_t *size,
                          uint32_t *last)
{
    const size_t n = mended ? data_bytes(header) : data.size;
    uint8_t *bytes = calloc(1, 8 + header.size + n);
    fuzz_expect(bytes != NULL);
    store_u32(bytes, (uint32_t)header.size);
    memcpy(bytes + 8, header.data, header.size);
    memcpy(bytes + 8 + header.size, data.data, data.size < n ? data.size : n);
    *size = 8 + header.size + n;
    *last = 0;
    if (mended)
        mend(bytes, header, n, last);
    return bytes;
}

void fuzz_read_rows(const struct mq_view *view, const struct mq_tensor *t, int corrupt_too)
{
    enum { MOST = 1 << 20 };
    const struct mq_level *level;
    moeq_error err = {0};
    if (t->row_bytes > MOST || t->cols > MOST || !t->rows)
        return;
    /* the types that a GGUF file may have are more than the levels */
    const bool decodes = mq_tensor_level(view, t, &level, &err) == MOEQ_OK;
    uint8_t *bytes = calloc(t->row_bytes + 1, 1);
    float *weights = malloc((t->cols + 1) * sizeof *weights);
    fuzz_expect(bytes && weights);
    for (int last = 0; last < 2; last++) {
        err = (moeq_error){0};
        const moeq_status status =
            mq_view_read_rows(view, t, last ? t->rows - 1 : 0, 1, bytes, &err);
        fuzz_expect(status == MOEQ_OK ||
                    (corrupt_too && status == MOEQ_CORRUPT && err.message[0]));
        if (decodes)
            mq_level_decode_rows(level, MQ_ISA_GENERIC, bytes, 1, t->cols, weights);
    }
    free(bytes);
    free(weights);
}
