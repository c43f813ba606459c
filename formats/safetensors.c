/* safetensors.c: reading and validating a safetensors header. */
#include "safetensors.h"

#include "checked.h"
#include "error.h"
#include "json.h"
#include "json_string.h"
#include "text_input.h"
#include "what_is_it.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* "[2, 3]" for messages. */
static void print_shape(char *text, size_t room, const uint64_t *shape, uint32_t dims)
{
    size_t n = (size_t)snprintf(text, room, "[");
    for (uint32_t i = 0; i < dims && n < room; i++)
        n += (size_t)snprintf(text + n, room - n, "%s%" PRIu64, i ? ", " : "", shape[i]);
    if (n < room)
        snprintf(text + n, room - n, "]");
}

static moeq_status parse_metadata(const cJSON *object, struct mq_arena *arena,
                                  struct mq_safetensors *st, moeq_error *err)
{
    const char *path = st->file.path;
    if (!cJSON_IsObject(object))
        return mq_fail_file(err, MOEQ_MALFORMED, path, "__metadata__ is no object");
    size_t n = 0;
    for (const cJSON *c = object->child; c; c = c->next)
        n++;
    st->metadata = mq_arena_alloc(arena, 2 * n + 1, sizeof *st->metadata);
    if (!st->metadata)
        return mq_fail_memory(err, "reading a header");
    size_t i = 0;
    for (const cJSON *c = object->child; c; c = c->next) {
        if (!cJSON_IsString(c))
            return mq_fail_file(err, MOEQ_MALFORMED, path, "__metadata__: \"%.100s\" is no string",
                                c->string);
        st->metadata[i++] = mq_arena_strdup(arena, c->string);
        st->metadata[i++] = mq_arena_strdup(arena, c->valuestring);
        if (!st->metadata[i - 1] || !st->metadata[i - 2])
            return mq_fail_memory(err, "reading a header");
    }
    return MOEQ_OK;
}

/* One tensor's description; offsets are still relative to the data section. */
static moeq_status parse_entry(const cJSON *item, const char *path, struct mq_st_entry *e,
                               moeq_error *err)
{
    const cJSON *dtype = mq_json_get(item, "dtype"), *shape = mq_json_get(item, "shape"),
                *offsets = mq_json_get(item, "data_offsets");
    if (!cJSON_IsString(dtype) || !cJSON_IsArray(shape) || !cJSON_IsArray(offsets))
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "tensor '%.200s': expected \"dtype\", \"shape\" and \"data_offsets\"",
                            e->name);
    if (!mq_dtype_find(dtype->valuestring, &e->dtype))
        return mq_fail_file(err, MOEQ_UNSUPPORTED, path, "tensor '%.200s': unknown dtype \"%.40s\"",
                            e->name, dtype->valuestring);
    uint64_t size = mq_dtype_bytes(e->dtype);
    for (const cJSON *c = shape->child; c; c = c->next) {
        if (e->dims == MQ_MAX_DIMS)
            return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                                "tensor '%.200s': more than %d dimensions", e->name, MQ_MAX_DIMS);
        if (!mq_json_u64(c, &e->shape[e->dims]))
            return mq_fail_file(err, MOEQ_MALFORMED, path,
                                "tensor '%.200s': a dimension is no non-negative integer", e->name);
        if (!mq_mul_u64(size, e->shape[e->dims], &size))
            return mq_fail_file(err, MOEQ_MALFORMED, path,
                                "tensor '%.200s': its shape's product overflows 64 bits", e->name);
        e->dims++;
    }
    uint64_t begin, end;
    if (cJSON_GetArraySize(offsets) != 2 || !mq_json_u64(offsets->child, &begin) ||
        !mq_json_u64(offsets->child->next, &end) || end < begin)
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "tensor '%.200s': expected data_offsets [begin, end], begin <= end",
                            e->name);
    if (end - begin != size) {
        char text[200];
        print_shape(text, sizeof text, e->shape, e->dims);
        return mq_fail_tensor(err, MOEQ_MALFORMED, path, e->name, begin,
                              "shape %s of %s needs %" PRIu64 " bytes, header gives %" PRIu64, text,
                              mq_dtype_name(e->dtype), size, end - begin);
    }
    e->offset = begin;
    e->size_bytes = size;
    return MOEQ_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct mq_st_entry *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    /* empty tensors may share an offset with the one that follows */
    return (x->size_bytes > y->size_bytes) - (x->size_bytes < y->size_bytes);
}

/* Contiguous from 0 to the end; turns offsets into places in the file. */
static moeq_status check_offsets(struct mq_safetensors *st, uint64_t data_bytes, moeq_error *err)
{
    const char *path = st->file.path;
    qsort(st->entries, st->count, sizeof *st->entries, by_offset);
    uint64_t expected = 0, end = 0;
    for (size_t i = 0; i < st->count; i++)
        end = mq_max_u64(end, st->entries[i].offset + st->entries[i].size_bytes);
    for (size_t i = 0; i < st->count; i++) {
        struct mq_st_entry *e = &st->entries[i];
        if (e->offset != expected)
            return mq_fail_tensor(
                err, MOEQ_MALFORMED, path, e->name, st->header_bytes + e->offset,
                "%s: data begins at %" PRIu64 ", the tensor before ends at %" PRIu64,
                e->offset < expected ? "overlaps another tensor" : "leaves a hole", e->offset,
                expected);
        if (!mq_range_ok(e->offset, e->size_bytes, data_bytes))
            return mq_fail_tensor(err, MOEQ_MALFORMED, path, e->name, st->header_bytes + e->offset,
                                  "needs %" PRIu64 " bytes, but the file ends %" PRIu64
                                  " bytes into its data: %" PRIu64
                                  " byte%s of the file %s missing (truncated: fetch or copy it "
                                  "again)",
                                  e->size_bytes, data_bytes, end - data_bytes,
                                  end - data_bytes == 1 ? "" : "s",
                                  end - data_bytes == 1 ? "is" : "are");
        expected += e->size_bytes;
        e->offset += st->header_bytes;
    }
    if (expected != data_bytes)
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "header describes %" PRIu64 " bytes of data, the file holds %" PRIu64,
                            expected, data_bytes);
    return MOEQ_OK;
}

/*
 * What a header may hold. The shortest description of a tensor has 11 values in 50 bytes: more than
 * one value in four bytes is no header. Names of some length and real offsets make 100 bytes and
 * more of it: a large header with more tensors than one in 80 bytes would take many times its size
 * of memory, and is none.
 */
enum { FREE_TENSORS = 1024, LEAST_TENSOR_BYTES = 80 };

static struct mq_json_limits header_limits(size_t n)
{
    return (struct mq_json_limits){.depth = 8, .values = n / 4 + 64, .only_natural = true};
}

/* The member at which the walk stands. A tree is made of it alone: one of all the header would
 * take ten times its bytes. */
static moeq_status parse_member(const struct mq_json_walk *w, const char *name,
                                struct mq_arena *arena, struct mq_safetensors *st, moeq_error *err)
{
    const char *path = st->file.path;
    const size_t n = w->value_end - w->value;
    const struct mq_json_limits limits = header_limits(n);
    cJSON *tree = NULL;
    MQ_TRY(mq_json_parse(w->text + w->value, n, &limits, path, 8 + w->value, &tree, err));
    moeq_status status = MOEQ_OK;
    MQ_TRY_OUT(mq_json_refuse_duplicates(tree, path, err));
    if (strcmp(name, "__metadata__") == 0) {
        MQ_TRY_OUT(parse_metadata(tree, arena, st, err));
        goto out;
    }
    struct mq_st_entry *e = &st->entries[st->count];
    e->name = name;
    MQ_TRY_OUT(parse_entry(tree, path, e, err));
    st->count++;
out:
    cJSON_Delete(tree);
    return status;
}

static moeq_status parse_members(struct mq_json_walk *w, struct mq_arena *arena,
                                 struct mq_safetensors *st, moeq_error *err)
{
    struct mq_buffer key = {0};
    moeq_status status = MOEQ_OK;
    while (mq_json_walk_next(w)) {
        mq_buffer_clear(&key);
        mq_json_decode_string(w->text, w->key, w->key_end, &key);
        const char *name =
            mq_buffer_ok(&key) ? mq_arena_strndup(arena, key.data ? key.data : "", key.size) : NULL;
        const enum mq_strmap_result added =
            name ? mq_strmap_add(&st->by_name, name, key.size, 0) : MQ_STRMAP_NO_MEMORY;
        if (added == MQ_STRMAP_NO_MEMORY)
            status = mq_fail_memory(err, "reading a header");
        else if (added == MQ_STRMAP_DUPLICATE)
            status = mq_fail_file(err, MOEQ_MALFORMED, st->file.path,
                                  "JSON holds the key \"%.200s\" twice", name);
        else
            status = parse_member(w, name, arena, st, err);
        if (status != MOEQ_OK)
            break;
    }
    mq_buffer_free(&key);
    return status;
}

/* The names with the places that the entries have now. */
static moeq_status index_names(struct mq_safetensors *st, moeq_error *err)
{
    mq_strmap_free(&st->by_name);
    bool ok = mq_strmap_init(&st->by_name, st->count);
    for (size_t i = 0; i < st->count && ok; i++) {
        const char *name = st->entries[i].name;
        ok = mq_strmap_add(&st->by_name, name, strlen(name), (uint32_t)i) == MQ_STRMAP_ADDED;
    }
    return ok ? MOEQ_OK : mq_fail_memory(err, "reading a header");
}

moeq_status mq_safetensors_parse(const char *json, size_t n, uint64_t data_bytes,
                                 struct mq_arena *arena, struct mq_safetensors *st, moeq_error *err)
{
    const char *path = st->file.path;
    if (n == 0 || json[0] != '{')
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "header does not begin with '{': no safetensors file");
    const struct mq_json_limits limits = header_limits(n);
    struct mq_json_walk walk = {0};
    uint64_t members;
    MQ_TRY(mq_json_check(json, n, &limits, path, 8, &walk, &members, err));
    if (members > n / LEAST_TENSOR_BYTES + FREE_TENSORS)
        return mq_fail_file(err, MOEQ_LIMIT, path,
                            "header of %zu bytes describes %" PRIu64
                            " tensors: at least %d bytes each were expected",
                            n, members, LEAST_TENSOR_BYTES);
    st->entries = mq_arena_alloc(arena, members, sizeof *st->entries);
    if (!st->entries || !mq_strmap_init(&st->by_name, members))
        return mq_fail_memory(err, "reading a header");
    MQ_TRY(parse_members(&walk, arena, st, err));
    MQ_TRY(check_offsets(st, data_bytes, err));
    return index_names(st, err);
}

/* Of the file that is open; closes it on failure. */
static moeq_status read_header(struct mq_arena *arena, struct mq_safetensors *st, moeq_error *err)
{
    const char *path = st->file.path;
    char *json = NULL;
    moeq_status status = MOEQ_OK;
    MQ_TRY_OUT(mq_refuse_other_file(&st->file, MQ_FILE_SAFETENSORS, err));
    if (st->file.size_bytes < 8) {
        status = mq_fail_file(err, MOEQ_MALFORMED, path,
                              "file has %" PRIu64 " bytes: too short for a safetensors file "
                              "(truncated: fetch or copy it again)",
                              st->file.size_bytes);
        goto out;
    }
    unsigned char prefix[8];
    MQ_TRY_OUT(mq_file_read_at(&st->file, 0, prefix, 8, err));
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | prefix[i];
    if (n > MQ_SAFETENSORS_MAX_HEADER || n > st->file.size_bytes - 8) {
        status =
            mq_fail_file(err, MOEQ_MALFORMED, path,
                         "at byte 0: header length %" PRIu64 " does not fit: the file has %" PRIu64
                         " bytes and the format allows %u (truncated: fetch or copy "
                         "it again; or no safetensors file)",
                         n, st->file.size_bytes, MQ_SAFETENSORS_MAX_HEADER);
        goto out;
    }
    json = malloc(n + 1);
    if (!json) {
        status = mq_fail_memory(err, "reading a header");
        goto out;
    }
    MQ_TRY_OUT(mq_file_read_at(&st->file, 8, json, n, err));
    json[n] = '\0';
    st->header_bytes = 8 + n;
    st->header_crc32 = (uint32_t)crc32_z(crc32_z(0, prefix, 8), (unsigned char *)json, n);
    status = mq_safetensors_parse(json, n, st->file.size_bytes - st->header_bytes, arena, st, err);
out:
    free(json);
    if (status != MOEQ_OK)
        mq_safetensors_close(st);
    return status;
}

moeq_status mq_safetensors_open(const char *path, struct mq_arena *arena, struct mq_safetensors *st,
                                moeq_error *err)
{
    memset(st, 0, sizeof *st);
    MQ_TRY(mq_file_open(path, &st->file, err));
    return read_header(arena, st, err);
}

moeq_status mq_safetensors_open_input(const char *path, uint64_t cap, struct mq_arena *arena,
                                      struct mq_safetensors *st, moeq_error *err)
{
    memset(st, 0, sizeof *st);
    MQ_TRY(mq_input_open(path, cap, &st->file, err));
    return read_header(arena, st, err);
}

void mq_safetensors_close(struct mq_safetensors *st)
{
    mq_strmap_free(&st->by_name);
    mq_file_close(&st->file);
}

const struct mq_st_entry *mq_safetensors_find(const struct mq_safetensors *st, const char *name)
{
    uint32_t i;
    return mq_strmap_get(&st->by_name, name, strlen(name), &i) ? &st->entries[i] : NULL;
}

const char *mq_metadata_get(const char *const *metadata, const char *key)
{
    for (; metadata && metadata[0]; metadata += 2)
        if (strcmp(metadata[0], key) == 0)
            return metadata[1];
    return NULL;
}

moeq_status mq_safetensors_is_of(const char *path, const char *format, bool *yes, moeq_error *err)
{
    char expected[128], start[8 + sizeof expected];
    const size_t n =
        (size_t)snprintf(expected, sizeof expected, "{\"__metadata__\":{\"format\":\"%s\"", format);
    struct mq_file file;
    *yes = false;
    if (mq_path_is_folder(path) || !mq_path_exists(path))
        return MOEQ_OK;
    MQ_TRY(mq_file_open(path, &file, err));
    moeq_status status = MOEQ_OK;
    if (n < sizeof expected && file.size_bytes >= 8 + n) {
        status = mq_file_read_at(&file, 0, start, 8 + n, err);
        *yes = status == MOEQ_OK && memcmp(start + 8, expected, n) == 0;
    }
    mq_file_close(&file);
    return status;
}
