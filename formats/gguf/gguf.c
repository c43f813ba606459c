/*
 * gguf.c: reading and validating a GGUF header.
 *
 * Where the header ends is known only once it has been parsed, so a cursor reads it piece by piece
 * into one growing block, always asking the file's size first: no count or length from the file is
 * believed before the bytes that it speaks of are known to exist.
 */
#include "gguf.h"

#include "checked.h"
#include "error.h"
#include "json.h"
#include "what_is_it.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    PIECE_BYTES = 1 << 16, /* read at once, at least */
    /* Beyond any model's; a table of so many is tens of MB. */
    MAX_KEYS = 1 << 16,
    MAX_TENSORS = 1 << 18,
    MAX_KEY_BYTES = 65535, /* the specification's */
    MAX_NAME_BYTES = 255,  /* GGML's own limit is below 128 */
    MAX_ALIGNMENT = 1 << 20,
    MAX_NESTING = 8, /* of arrays in arrays */
    /* The shortest that there can be, for judging counts. */
    MIN_KEY_BYTES = 8 + 1 + 4 + 1,
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8,
};

static const uint32_t value_bytes[MQ_GGUF_VALUE_TYPES] = {
    [MQ_GGUF_U8] = 1,  [MQ_GGUF_I8] = 1,  [MQ_GGUF_U16] = 2, [MQ_GGUF_I16] = 2,
    [MQ_GGUF_U32] = 4, [MQ_GGUF_I32] = 4, [MQ_GGUF_F32] = 4, [MQ_GGUF_BOOL] = 1,
    [MQ_GGUF_U64] = 8, [MQ_GGUF_I64] = 8, [MQ_GGUF_F64] = 8, /* others: of no fixed size */
};

static uint64_t load(const char *bytes, uint32_t n)
{
    uint64_t value = 0;
    while (n--)
        value = value << 8 | (unsigned char)bytes[n];
    return value;
}

/* ---- the cursor ---- */

struct cursor {
    struct mq_gguf *gguf;
    struct mq_arena *arena;
    moeq_error *err;
    size_t at, have, capacity; /* in gguf->header */
};

/* Makes the n bytes at the cursor available. `what` they are is for the message. */
static moeq_status need(struct cursor *c, uint64_t n, const char *what)
{
    struct mq_gguf *g = c->gguf;
    const uint64_t size = g->file.size_bytes;
    if (!mq_range_ok(c->at, n, size))
        return mq_fail_file(c->err, MOEQ_MALFORMED, g->file.path,
                            "at byte %zu: %s needs %" PRIu64
                            " bytes, but the file ends after %" PRIu64 " (truncated?)",
                            c->at, what, n, size - mq_min_u64(c->at, size));
    if (!mq_range_ok(c->at, n, MQ_GGUF_MAX_HEADER))
        return mq_fail_file(c->err, MOEQ_LIMIT, g->file.path,
                            "at byte %zu: %s: a header of more than %u bytes", c->at, what,
                            MQ_GGUF_MAX_HEADER);
    if (c->at + n <= c->have)
        return MOEQ_OK;
    const size_t want = (size_t)mq_min_u64(mq_max_u64(c->at + n, c->have + PIECE_BYTES), size);
    if (want > c->capacity) {
        const size_t capacity =
            (size_t)mq_min_u64(mq_max_u64(want, 2 * (uint64_t)c->capacity), size);
        char *header = realloc(g->header, capacity);
        if (!header)
            return mq_fail_memory(c->err, "reading a header");
        g->header = header;
        c->capacity = capacity;
    }
    MQ_TRY(mq_file_read_at(&g->file, c->have, g->header + c->have, want - c->have, c->err));
    c->have = want;
    return MOEQ_OK;
}

static moeq_status read_number(struct cursor *c, uint32_t bytes, const char *what, uint64_t *value)
{
    MQ_TRY(need(c, bytes, what));
    *value = load(c->gguf->header + c->at, bytes);
    c->at += bytes;
    return MOEQ_OK;
}

/* A name: not empty, UTF-8, without U+0000. */
static moeq_status read_name(struct cursor *c, uint64_t longest, const char *what,
                             const char **name)
{
    const char *path = c->gguf->file.path;
    const size_t start = c->at;
    uint64_t n;
    MQ_TRY(read_number(c, 8, what, &n));
    if (n < 1 || n > longest)
        return mq_fail_file(c->err, MOEQ_MALFORMED, path,
                            "at byte %zu: %s: expected a length from 1 to %" PRIu64
                            ", found %" PRIu64,
                            start, what, longest, n);
    MQ_TRY(need(c, n, what));
    const char *text = c->gguf->header + c->at;
    if (memchr(text, '\0', n) || !mq_utf8_valid(text, n, NULL))
        return mq_fail_file(c->err, MOEQ_MALFORMED, path, "at byte %zu: %s is not UTF-8 text",
                            start, what);
    *name = mq_arena_strndup(c->arena, text, n);
    c->at += n;
    return *name ? MOEQ_OK : mq_fail_memory(c->err, "reading a header");
}

/* ---- keys ---- */

moeq_status mq_gguf_fail_key(const struct mq_gguf *gguf, const struct mq_gguf_key *key,
                             moeq_status status, moeq_error *err, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return mq_fail_file(err, status, gguf->file.path, "key '%.100s' at byte %" PRIu64 ": %s",
                        key->name, key->offset, text);
}

static moeq_status read_type(struct cursor *c, const struct mq_gguf_key *key,
                             enum mq_gguf_value_type *type)
{
    const size_t start = c->at;
    uint64_t id;
    MQ_TRY(read_number(c, 4, key->name, &id));
    if (id >= MQ_GGUF_VALUE_TYPES)
        return mq_fail_file(c->err, MOEQ_MALFORMED, c->gguf->file.path,
                            "key '%.100s' at byte %zu: expected a type of value from 0 to %d, "
                            "found %" PRIu64,
                            key->name, start, MQ_GGUF_VALUE_TYPES - 1, id);
    *type = (enum mq_gguf_value_type)id;
    return MOEQ_OK;
}

static uint32_t least_bytes(enum mq_gguf_value_type element)
{
    return element == MQ_GGUF_STRING ? 8 : element == MQ_GGUF_ARRAY ? 4 + 8 : value_bytes[element];
}

/* Passes the elements, at the first of which the cursor stands. Arrays may hold arrays. */
// NOLINTNEXTLINE(misc-no-recursion): MAX_NESTING
static moeq_status pass_elements(struct cursor *c, const struct mq_gguf_key *key,
                                 enum mq_gguf_value_type element, uint64_t count, int depth)
{
    const uint32_t fixed = value_bytes[element], least = least_bytes(element);
    const uint64_t left = c->gguf->file.size_bytes - c->at;
    if (count > left / least)
        return mq_gguf_fail_key(c->gguf, key, MOEQ_MALFORMED, c->err,
                                "%" PRIu64 " elements need at least %u bytes each, but the file "
                                "ends after %" PRIu64 " (truncated?)",
                                count, least, left);
    if (fixed) {
        MQ_TRY(need(c, count * fixed, key->name));
        c->at += count * fixed;
    }
    for (uint64_t i = 0; i < count && element == MQ_GGUF_STRING; i++) {
        uint64_t n;
        MQ_TRY(read_number(c, 8, key->name, &n));
        MQ_TRY(need(c, n, key->name));
        c->at += n;
    }
    if (element == MQ_GGUF_ARRAY && depth == MAX_NESTING)
        return mq_gguf_fail_key(c->gguf, key, MOEQ_LIMIT, c->err,
                                "arrays within arrays, more than %d deep", MAX_NESTING);
    for (uint64_t i = 0; i < count && element == MQ_GGUF_ARRAY; i++) {
        enum mq_gguf_value_type inner;
        uint64_t n;
        MQ_TRY(read_type(c, key, &inner));
        MQ_TRY(read_number(c, 8, key->name, &n));
        MQ_TRY(pass_elements(c, key, inner, n, depth + 1));
    }
    return MOEQ_OK;
}

static moeq_status read_elements(struct cursor *c, struct mq_gguf_key *key)
{
    key->offset = c->at;
    MQ_TRY(pass_elements(c, key, key->element, key->count, 1));
    key->size_bytes = c->at - key->offset;
    const char *value = c->gguf->header + key->offset;
    if (key->type == MQ_GGUF_STRING && memchr(value + 8, '\0', key->size_bytes - 8))
        return mq_gguf_fail_key(c->gguf, key, MOEQ_MALFORMED, c->err,
                                "expected a text without U+0000, where other readers end it");
    if (key->type == MQ_GGUF_BOOL && (unsigned char)c->gguf->header[key->offset] > 1)
        return mq_gguf_fail_key(c->gguf, key, MOEQ_MALFORMED, c->err,
                                "expected 0 or 1 for a boolean, found %u",
                                (unsigned char)c->gguf->header[key->offset]);
    return MOEQ_OK;
}

static moeq_status read_key(struct cursor *c, struct mq_gguf_key *key)
{
    const size_t start = c->at;
    MQ_TRY(read_name(c, MAX_KEY_BYTES, "the name of a key", &key->name));
    MQ_TRY(read_type(c, key, &key->type));
    key->element = key->type;
    key->count = 1;
    if (key->type == MQ_GGUF_ARRAY) {
        MQ_TRY(read_type(c, key, &key->element));
        MQ_TRY(read_number(c, 8, key->name, &key->count));
    }
    MQ_TRY(read_elements(c, key));
    switch (mq_strmap_add(&c->gguf->by_key, key->name, strlen(key->name),
                          (uint32_t)(key - c->gguf->keys))) {
    case MQ_STRMAP_ADDED:
        return MOEQ_OK;
    case MQ_STRMAP_DUPLICATE:
        return mq_fail_file(c->err, MOEQ_MALFORMED, c->gguf->file.path,
                            "key '%.100s' at byte %zu: is there twice", key->name, start);
    case MQ_STRMAP_NO_MEMORY:
        break;
    }
    return mq_fail_memory(c->err, "reading a header");
}

static moeq_status read_alignment(struct cursor *c)
{
    struct mq_gguf *g = c->gguf;
    const struct mq_gguf_key *key = mq_gguf_find(g, MQ_GGUF_KEY_ALIGNMENT);
    uint64_t value = MQ_GGUF_ALIGNMENT;
    if (key && (key->type != MQ_GGUF_U32 || !mq_gguf_whole(g, key, 0, &value)))
        return mq_gguf_fail_key(g, key, MOEQ_MALFORMED, c->err, "expected a u32");
    if (value < 1 || value > MAX_ALIGNMENT || (value & (value - 1)))
        return mq_gguf_fail_key(g, key, MOEQ_MALFORMED, c->err,
                                "expected a power of two up to %d, found %" PRIu64, MAX_ALIGNMENT,
                                value);
    g->alignment = (uint32_t)value;
    return MOEQ_OK;
}

/* ---- tensors ---- */

/* The sizes that follow from type and dimensions. */
static moeq_status measure(struct cursor *c, struct mq_gguf_tensor *t, size_t start)
{
    const char *path = c->gguf->file.path;
    if (t->ne[0] % t->type->block_weights)
        return mq_fail_tensor(c->err, MOEQ_MALFORMED, path, t->name, start,
                              "rows of %" PRIu64 " weights are no multiple of the %u of a %s block",
                              t->ne[0], t->type->block_weights, t->type->name);
    bool ok = mq_mul_u64(t->ne[0] / t->type->block_weights, t->type->block_bytes, &t->row_bytes);
    t->size_bytes = t->row_bytes;
    for (int d = 1; d < MQ_GGUF_MAX_DIMS; d++)
        ok = ok && mq_mul_u64(t->size_bytes, t->ne[d], &t->size_bytes);
    if (!ok)
        return mq_fail_tensor(c->err, MOEQ_MALFORMED, path, t->name, start,
                              "its shape's product overflows 64 bits");
    return MOEQ_OK;
}

static moeq_status read_tensor(struct cursor *c, struct mq_gguf_tensor *t)
{
    struct mq_gguf *g = c->gguf;
    const char *path = g->file.path;
    const size_t start = c->at;
    uint64_t dims, type;
    MQ_TRY(read_name(c, MAX_NAME_BYTES, "the name of a tensor", &t->name));
    MQ_TRY(read_number(c, 4, t->name, &dims));
    if (dims < 1 || dims > MQ_GGUF_MAX_DIMS)
        return mq_fail_tensor(c->err, MOEQ_MALFORMED, path, t->name, start,
                              "expected 1 to %d dimensions, found %" PRIu64, MQ_GGUF_MAX_DIMS,
                              dims);
    t->dims = (uint32_t)dims;
    for (uint32_t d = 0; d < MQ_GGUF_MAX_DIMS; d++) {
        t->ne[d] = 1;
        if (d < dims)
            MQ_TRY(read_number(c, 8, t->name, &t->ne[d]));
        if (!t->ne[d])
            return mq_fail_tensor(c->err, MOEQ_MALFORMED, path, t->name, start, "dimension %u is 0",
                                  d);
    }
    MQ_TRY(read_number(c, 4, t->name, &type));
    MQ_TRY(read_number(c, 8, t->name, &t->offset));
    t->type = mq_gguf_type_by_id((uint32_t)type);
    if (!t->type) {
        char stranger[200];
        mq_gguf_describe_stranger((uint32_t)type, stranger, sizeof stranger);
        return mq_fail_tensor(c->err, MOEQ_UNSUPPORTED, path, t->name, start,
                              "is of type %" PRIu64 ", %s", type, stranger);
    }
    MQ_TRY(measure(c, t, start));
    if (t->offset % g->alignment)
        return mq_fail_tensor(c->err, MOEQ_MALFORMED, path, t->name, start,
                              "offset %" PRIu64 " is no multiple of the alignment %u", t->offset,
                              g->alignment);
    return MOEQ_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct mq_gguf_tensor *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static bool is_split(const struct mq_gguf *g)
{
    const struct mq_gguf_key *key = mq_gguf_find(g, MQ_GGUF_KEY_SPLIT_COUNT);
    uint64_t count;
    return key && key->type != MQ_GGUF_ARRAY && mq_gguf_whole(g, key, 0, &count) && count > 1;
}

/* Side by side but for the padding; turns offsets into places in the file. */
static moeq_status check_offsets(struct cursor *c)
{
    struct mq_gguf *g = c->gguf;
    const char *path = g->file.path;
    const uint64_t size = g->file.size_bytes;
    qsort(g->tensors, g->tensors_count, sizeof *g->tensors, by_offset);
    uint64_t end = 0; /* of the tensor before */
    const struct mq_gguf_tensor *cut = NULL;
    for (size_t i = 0; i < g->tensors_count; i++) {
        struct mq_gguf_tensor *t = &g->tensors[i];
        if (t->offset < end || t->offset - end >= g->alignment)
            return mq_fail_tensor(
                c->err, MOEQ_MALFORMED, path, t->name, g->data_offset,
                "%s: data begins at %" PRIu64 ", the tensor before ends at %" PRIu64,
                t->offset < end ? "overlaps another tensor" : "leaves a hole", t->offset, end);
        if (!mq_add_u64(t->offset, t->size_bytes, &end) ||
            end > UINT64_MAX - g->data_offset - g->alignment)
            return mq_fail_tensor(c->err, MOEQ_MALFORMED, path, t->name, g->data_offset,
                                  "needs %" PRIu64 " bytes at %" PRIu64 ": no file is so large",
                                  t->size_bytes, t->offset);
        t->offset += g->data_offset;
        if (!cut && !mq_range_ok(t->offset, t->size_bytes, size))
            cut = t;
    }
    end += g->data_offset;
    if (cut)
        return mq_fail_tensor(c->err, MOEQ_MALFORMED, path, cut->name, cut->offset,
                              "needs %" PRIu64 " bytes, but the file ends at byte %" PRIu64
                              ": %" PRIu64 " byte%s of the file %s missing (truncated?)",
                              cut->size_bytes, size, end - size, end - size == 1 ? "" : "s",
                              end - size == 1 ? "is" : "are");
    if (size > end && size - end >= g->alignment)
        return mq_fail_file(
            c->err, MOEQ_MALFORMED, path,
            "the tensors end at byte %" PRIu64 ", the file at %" PRIu64
            ": bytes of something else stand behind them (%s)",
            end, size,
            is_split(g) ? "it is one of several files of a split model: were they joined by cat? "
                          "Keep them apart and give the first, or let llama-gguf-split --merge "
                          "join them"
                        : "a download over another file?");
    return MOEQ_OK;
}

static moeq_status index_tensors(struct cursor *c)
{
    struct mq_gguf *g = c->gguf;
    for (size_t i = 0; i < g->tensors_count; i++) {
        const struct mq_gguf_tensor *t = &g->tensors[i];
        const enum mq_strmap_result r =
            mq_strmap_add(&g->by_name, t->name, strlen(t->name), (uint32_t)i);
        if (r == MQ_STRMAP_DUPLICATE)
            return mq_fail_tensor(c->err, MOEQ_MALFORMED, g->file.path, t->name, t->offset,
                                  "is there twice");
        if (r == MQ_STRMAP_NO_MEMORY)
            return mq_fail_memory(c->err, "reading a header");
    }
    return MOEQ_OK;
}

/* ---- the file ---- */

static moeq_status check_version(struct cursor *c)
{
    struct mq_gguf *g = c->gguf;
    const char *path = g->file.path;
    uint64_t version;
    MQ_TRY(need(c, 4, "the magic"));
    if (memcmp(g->header, MQ_GGUF_MAGIC, 4) != 0)
        return mq_fail_file(c->err, MOEQ_MALFORMED, path,
                            "at byte 0: expected \"" MQ_GGUF_MAGIC "\": no GGUF file");
    c->at = 4;
    MQ_TRY(read_number(c, 4, "the version", &version));
    g->version = (uint32_t)version;
    if (version == 2 || version == 3)
        return MOEQ_OK;
    if (version == 1)
        return mq_fail_file(c->err, MOEQ_UNSUPPORTED, path,
                            "at byte 4: GGUF version 1, which was in use in August 2023 only; moeq "
                            "reads 2 and 3: convert the model again");
    if (!(version & 0xffff) && version)
        return mq_fail_file(c->err, MOEQ_UNSUPPORTED, path,
                            "at byte 4: a big-endian GGUF file; moeq reads little-endian ones: "
                            "gguf-convert-endian FILE little, of the Python package gguf, turns it "
                            "into one");
    return mq_fail_file(c->err, MOEQ_UNSUPPORTED, path,
                        "at byte 4: GGUF version %" PRIu64 "; moeq reads 2 and 3", version);
}

static moeq_status read_count(struct cursor *c, const char *what, uint64_t most, uint64_t shortest,
                              size_t *count)
{
    const size_t start = c->at;
    uint64_t n;
    MQ_TRY(read_number(c, 8, what, &n));
    if (n > most || n > c->gguf->file.size_bytes / shortest)
        return mq_fail_file(c->err, n > most ? MOEQ_LIMIT : MOEQ_MALFORMED, c->gguf->file.path,
                            "at byte %zu: %s is %" PRIu64 ", more than %s", start, what, n,
                            n > most ? "any model has" : "the file has room for (truncated?)");
    *count = (size_t)n;
    return MOEQ_OK;
}

/* The padding before the data is under the header's CRC too; a file without tensors may lack it. */
static moeq_status finish_header(struct cursor *c)
{
    struct mq_gguf *g = c->gguf;
    g->data_offset = mq_round_up(c->at, g->alignment);
    const uint64_t n = mq_min_u64(g->data_offset, g->file.size_bytes);
    if (n > c->at)
        MQ_TRY(need(c, n - c->at, "the padding"));
    g->header_crc32 = (uint32_t)crc32_z(0, (const Bytef *)g->header, n);
    return MOEQ_OK;
}

static moeq_status parse(struct cursor *c)
{
    struct mq_gguf *g = c->gguf;
    size_t keys = 0, tensors = 0;
    MQ_TRY(check_version(c));
    MQ_TRY(read_count(c, "the number of tensors", MAX_TENSORS, MIN_TENSOR_BYTES, &tensors));
    MQ_TRY(read_count(c, "the number of keys", MAX_KEYS, MIN_KEY_BYTES, &keys));
    g->keys = mq_arena_alloc(c->arena, keys + 1, sizeof *g->keys);
    g->tensors = mq_arena_alloc(c->arena, tensors + 1, sizeof *g->tensors);
    if (!g->keys || !g->tensors || !mq_strmap_init(&g->by_key, keys) ||
        !mq_strmap_init(&g->by_name, tensors))
        return mq_fail_memory(c->err, "reading a header");
    for (; g->keys_count < keys; g->keys_count++)
        MQ_TRY(read_key(c, &g->keys[g->keys_count]));
    MQ_TRY(read_alignment(c));
    for (; g->tensors_count < tensors; g->tensors_count++)
        MQ_TRY(read_tensor(c, &g->tensors[g->tensors_count]));
    MQ_TRY(finish_header(c));
    MQ_TRY(check_offsets(c));
    return index_tensors(c);
}

moeq_status mq_gguf_read(const char *path, struct mq_arena *arena, struct mq_gguf *gguf,
                         moeq_error *err)
{
    struct cursor c = {.gguf = gguf, .arena = arena, .err = err};
    memset(gguf, 0, sizeof *gguf);
    MQ_TRY(mq_file_open(path, &gguf->file, err));
    moeq_status status = mq_refuse_other_file(&gguf->file, MQ_FILE_GGUF, err);
    if (status == MOEQ_OK)
        status = parse(&c);
    if (status != MOEQ_OK)
        mq_gguf_close(gguf);
    return status;
}

moeq_status mq_gguf_parse(const char *path, const void *bytes, size_t n, struct mq_arena *arena,
                          struct mq_gguf *gguf, moeq_error *err)
{
    return mq_gguf_parse_header(path, bytes, n, n, arena, gguf, err);
}

moeq_status mq_gguf_parse_header(const char *path, const void *bytes, size_t n, uint64_t size_bytes,
                                 struct mq_arena *arena, struct mq_gguf *gguf, moeq_error *err)
{
    struct cursor c = {.gguf = gguf, .arena = arena, .err = err, .have = n, .capacity = n};
    memset(gguf, 0, sizeof *gguf);
    gguf->file = (struct mq_file){.fd = -1, .size_bytes = size_bytes, .path = strdup(path)};
    gguf->header = malloc(n + 1);
    if (!gguf->file.path || !gguf->header)
        return mq_fail_memory(err, "reading metadata");
    if (n)
        memcpy(gguf->header, bytes, n);
    return parse(&c);
}

void mq_gguf_close(struct mq_gguf *gguf)
{
    mq_strmap_free(&gguf->by_key);
    mq_strmap_free(&gguf->by_name);
    free(gguf->header);
    gguf->header = NULL;
    mq_file_close(&gguf->file);
}

/* ---- what is in it ---- */

const struct mq_gguf_key *mq_gguf_find(const struct mq_gguf *gguf, const char *key)
{
    uint32_t i;
    return mq_strmap_get(&gguf->by_key, key, strlen(key), &i) ? &gguf->keys[i] : NULL;
}

const struct mq_gguf_key *mq_gguf_arch_key(const struct mq_gguf *gguf, const char *pattern,
                                           const char *architecture)
{
    char name[200];
    snprintf(name, sizeof name, pattern, architecture);
    return mq_gguf_find(gguf, name);
}

const struct mq_gguf_tensor *mq_gguf_find_tensor(const struct mq_gguf *gguf, const char *name)
{
    uint32_t i;
    return mq_strmap_get(&gguf->by_name, name, strlen(name), &i) ? &gguf->tensors[i] : NULL;
}

bool mq_gguf_number(const struct mq_gguf *gguf, const struct mq_gguf_key *key, uint64_t i,
                    double *value)
{
    const uint32_t bytes = value_bytes[key->element];
    if (!bytes || key->element == MQ_GGUF_BOOL)
        return false;
    const uint64_t bits = load(gguf->header + key->offset + i * bytes, bytes);
    if (key->element == MQ_GGUF_F64) {
        memcpy(value, &bits, sizeof *value);
    } else if (key->element == MQ_GGUF_F32) {
        const uint32_t half = (uint32_t)bits;
        float single;
        memcpy(&single, &half, sizeof single);
        *value = (double)single;
    } else if (key->element == MQ_GGUF_I8 || key->element == MQ_GGUF_I16 ||
               key->element == MQ_GGUF_I32 || key->element == MQ_GGUF_I64) {
        const uint32_t shift = 64 - 8 * bytes; /* the sign, over the whole word */
        *value = (double)((int64_t)(bits << shift) >> shift);
    } else {
        *value = (double)bits;
    }
    return true;
}

bool mq_gguf_whole(const struct mq_gguf *gguf, const struct mq_gguf_key *key, uint64_t i,
                   uint64_t *value)
{
    double number;
    if (key->element == MQ_GGUF_F32 || key->element == MQ_GGUF_F64 ||
        !mq_gguf_number(gguf, key, i, &number) || number < 0)
        return false;
    const uint32_t bytes = value_bytes[key->element];
    *value = load(gguf->header + key->offset + i * bytes, bytes);
    return true;
}

moeq_status mq_gguf_positive(const struct mq_gguf *gguf, const struct mq_gguf_key *key,
                             double otherwise, double *value, moeq_error *err)
{
    double number = 0;
    if (key && (key->type == MQ_GGUF_ARRAY || !mq_gguf_number(gguf, key, 0, &number) ||
                !(number >= 0 && number < 1e30) || (number > 0 && number < 1e-30)))
        return mq_gguf_fail_key(gguf, key, MOEQ_MALFORMED, err, "expected a positive number");
    *value = number > 0 ? number : otherwise;
    return MOEQ_OK;
}

bool mq_gguf_bool(const struct mq_gguf *gguf, const struct mq_gguf_key *key, bool *value)
{
    if (key->type != MQ_GGUF_BOOL)
        return false;
    *value = gguf->header[key->offset];
    return true;
}

struct mq_gguf_strings mq_gguf_strings(const struct mq_gguf *gguf, const struct mq_gguf_key *key)
{
    if (!key || key->element != MQ_GGUF_STRING)
        return (struct mq_gguf_strings){0};
    return (struct mq_gguf_strings){.at = gguf->header + key->offset, .left = key->count};
}

/* All lengths were checked when the header was read. */
bool mq_gguf_next(struct mq_gguf_strings *strings)
{
    if (!strings->left)
        return false;
    strings->left--;
    strings->size = (size_t)load(strings->at, 8);
    strings->text = strings->at + 8;
    strings->at = strings->text + strings->size;
    return true;
}

bool mq_gguf_text_is(const struct mq_gguf *gguf, const struct mq_gguf_key *key, const char *text)
{
    struct mq_gguf_strings s = mq_gguf_strings(gguf, key);
    return key && key->type == MQ_GGUF_STRING && mq_gguf_next(&s) && s.size == strlen(text) &&
           memcmp(s.text, text, s.size) == 0;
}
