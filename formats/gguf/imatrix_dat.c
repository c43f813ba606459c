/* imatrix_dat.c: see imatrix_dat.h. */
#include "imatrix_dat.h"

#include "checked.h"
#include "error.h"

#include <inttypes.h>
#include <string.h>

enum {
    MAX_NAME = 255,
    MAX_ENTRIES = 1 << 18,
    MIN_ENTRY = 4 + 1 + 4 + 4 + 4, /* bytes of the shortest */
};

static int32_t load_i32(const unsigned char *p)
{
    return (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                     (uint32_t)p[3] << 24);
}

static bool is_name(const unsigned char *text, size_t n)
{
    bool dotted = false;
    for (size_t i = 0; i < n; i++) {
        dotted = dotted || text[i] == '.';
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    }
    return dotted;
}

moeq_status mq_is_imatrix_dat(const char *path, bool *yes, moeq_error *err)
{
    unsigned char start[8 + MAX_NAME];
    struct mq_file file;
    *yes = false;
    if (mq_path_is_folder(path) || !mq_path_exists(path))
        return MOEQ_OK;
    MQ_TRY(mq_file_open(path, &file, err));
    const size_t n = (size_t)mq_min_u64(file.size_bytes, sizeof start);
    const moeq_status status = mq_file_read_at(&file, 0, start, n, err);
    const int32_t entries = n < 8 ? 0 : load_i32(start), length = n < 8 ? 0 : load_i32(start + 4);
    *yes = status == MOEQ_OK && entries > 0 && entries <= MAX_ENTRIES && length > 0 &&
           length <= MAX_NAME && (size_t)length + 8 <= n && is_name(start + 8, (size_t)length);
    mq_file_close(&file);
    return status;
}

struct cursor {
    struct mq_imatrix_dat *dat;
    uint64_t at;
};

static moeq_status take(struct cursor *c, void *bytes, size_t n, const char *what, moeq_error *err)
{
    const struct mq_file *file = &c->dat->file;
    if (!mq_range_ok(c->at, n, file->size_bytes))
        return mq_fail_file(err, MOEQ_MALFORMED, file->path,
                            "at byte %" PRIu64
                            ": %s needs %zu bytes, but the file ends after %" PRIu64
                            " (truncated?)",
                            c->at, what, n, file->size_bytes - mq_min_u64(c->at, file->size_bytes));
    MQ_TRY(mq_file_read_at(file, c->at, bytes, n, err));
    c->at += n;
    return MOEQ_OK;
}

static moeq_status take_i32(struct cursor *c, const char *what, int32_t least, int32_t most,
                            int32_t *value, moeq_error *err)
{
    unsigned char bytes[4];
    const uint64_t at = c->at;
    MQ_TRY(take(c, bytes, sizeof bytes, what, err));
    *value = load_i32(bytes);
    if (*value >= least && *value <= most)
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_MALFORMED, c->dat->file.path,
                        "at byte %" PRIu64 ": %s is %" PRId32 ", expected %" PRId32 " to %" PRId32,
                        at, what, *value, least, most);
}

static moeq_status take_entry(struct cursor *c, struct mq_arena *arena,
                              struct mq_imatrix_dat_entry *e, moeq_error *err)
{
    const struct mq_file *file = &c->dat->file;
    char name[MAX_NAME + 1];
    int32_t length, values;
    const uint64_t at = c->at;
    MQ_TRY(take_i32(c, "a name's length", 1, MAX_NAME, &length, err));
    MQ_TRY(take(c, name, (size_t)length, "a name", err));
    if (!is_name((const unsigned char *)name, (size_t)length))
        return mq_fail_file(err, MOEQ_MALFORMED, file->path,
                            "at byte %" PRIu64 ": expected the name of a tensor", at + 4);
    MQ_TRY(take_i32(c, "the number of calls", 0, INT32_MAX, &e->calls, err));
    MQ_TRY(take_i32(c, "the number of values", 1, INT32_MAX, &values, err));
    e->values = (uint64_t)values;
    e->offset = c->at;
    if (!mq_range_ok(c->at, e->values * sizeof(float), file->size_bytes))
        return mq_fail_file(err, MOEQ_MALFORMED, file->path,
                            "at byte %" PRIu64 ": '%.*s' has %" PRId32
                            " values, but the file ends before them (truncated?)",
                            at, (int)length, name, values);
    c->at += e->values * sizeof(float);
    e->name = mq_arena_strndup(arena, name, (size_t)length);
    switch (e->name ? mq_strmap_add(&c->dat->by_name, e->name, (size_t)length,
                                    (uint32_t)(e - c->dat->entries))
                    : MQ_STRMAP_NO_MEMORY) {
    case MQ_STRMAP_NO_MEMORY:
        return mq_fail_memory(err, "opening an imatrix");
    case MQ_STRMAP_DUPLICATE:
        return mq_fail_file(err, MOEQ_MALFORMED, file->path, "'%s' is there twice", e->name);
    case MQ_STRMAP_ADDED:
        break;
    }
    return MOEQ_OK;
}

static moeq_status read_entries(struct mq_imatrix_dat *dat, struct mq_arena *arena, moeq_error *err)
{
    struct cursor c = {.dat = dat};
    int32_t count;
    MQ_TRY(take_i32(&c, "the number of entries", 1, MAX_ENTRIES, &count, err));
    if ((uint64_t)count > dat->file.size_bytes / MIN_ENTRY)
        return mq_fail_file(err, MOEQ_MALFORMED, dat->file.path,
                            "%" PRId32 " entries do not fit into %" PRIu64 " bytes (truncated?)",
                            count, dat->file.size_bytes);
    dat->entries = mq_arena_alloc(arena, (size_t)count, sizeof *dat->entries);
    if (!dat->entries || !mq_strmap_init(&dat->by_name, (size_t)count))
        return mq_fail_memory(err, "opening an imatrix");
    for (dat->count = 0; dat->count < (size_t)count; dat->count++)
        MQ_TRY(take_entry(&c, arena, &dat->entries[dat->count], err));
    return MOEQ_OK;
}

moeq_status mq_imatrix_dat_open(const char *path, struct mq_arena *arena,
                                struct mq_imatrix_dat *dat, moeq_error *err)
{
    *dat = (struct mq_imatrix_dat){.file = {.fd = -1}};
    MQ_TRY(mq_file_open(path, &dat->file, err));
    const moeq_status status = read_entries(dat, arena, err);
    if (status != MOEQ_OK)
        mq_imatrix_dat_close(dat);
    return status;
}

void mq_imatrix_dat_close(struct mq_imatrix_dat *dat)
{
    mq_strmap_free(&dat->by_name);
    mq_file_close(&dat->file);
}

const struct mq_imatrix_dat_entry *mq_imatrix_dat_find(const struct mq_imatrix_dat *dat,
                                                       const char *name)
{
    uint32_t i;
    return mq_strmap_get(&dat->by_name, name, strlen(name), &i) ? &dat->entries[i] : NULL;
}
