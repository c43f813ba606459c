/* st_writer.c: header first, then data at offsets. */
#include "st_writer.h"

#include "buffer.h"
#include "checked.h"
#include "error.h"
#include "other_systems.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* safetensors data is little-endian and callers hand over their arrays as they are. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a big-endian machine needs swaps here");

enum { HEADER_ALIGN = 8 }; /* so that the data begins at a multiple of every element's size */

/* Sizes, and offsets from the start of the data. */
static bool lay_out(struct mq_st_entry *entries, size_t count, uint64_t *data_bytes)
{
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        struct mq_st_entry *e = &entries[i];
        e->size_bytes = mq_dtype_bytes(e->dtype);
        for (uint32_t k = 0; k < e->dims; k++)
            if (!mq_mul_u64(e->size_bytes, e->shape[k], &e->size_bytes))
                return false;
        e->offset = at;
        if (!mq_add_u64(at, e->size_bytes, &at) || at > INT64_MAX / 2)
            return false;
    }
    *data_bytes = at;
    return true;
}

void mq_st_header_begin(struct mq_buffer *b, const char *const *metadata)
{
    mq_buffer_append(b, "\0\0\0\0\0\0\0\0", 8); /* the length, when it is known */
    mq_buffer_puts(b, "{\"__metadata__\":{");
    for (size_t i = 0; metadata && metadata[i]; i += 2) {
        mq_buffer_puts(b, i ? "," : "");
        mq_buffer_put_json(b, metadata[i], strlen(metadata[i]));
        mq_buffer_putc(b, ':');
        mq_buffer_put_json(b, metadata[i + 1], strlen(metadata[i + 1]));
    }
    mq_buffer_putc(b, '}');
}

void mq_st_header_tensor(struct mq_buffer *b, const char *name, enum mq_dtype dtype,
                         const uint64_t *shape, uint32_t dims, uint64_t offset, uint64_t size_bytes)
{
    mq_buffer_putc(b, ',');
    mq_buffer_put_json(b, name, strlen(name));
    mq_buffer_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", mq_dtype_name(dtype));
    for (uint32_t k = 0; k < dims; k++)
        mq_buffer_printf(b, "%s%" PRIu64, k ? "," : "", shape[k]);
    mq_buffer_printf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset,
                     offset + size_bytes);
}

void mq_st_header_end(struct mq_buffer *b, size_t alignment)
{
    mq_buffer_putc(b, '}');
    while (b->size % alignment && mq_buffer_ok(b))
        mq_buffer_putc(b, ' ');
    for (int i = 0; i < 8 && mq_buffer_ok(b); i++)
        b->data[i] = (char)((uint64_t)(b->size - 8) >> (8 * i));
}

moeq_status mq_st_writer_open_raw(struct mq_st_writer *w, const char *path, const void *header,
                                  uint64_t header_bytes, uint64_t file_bytes, mode_t mode,
                                  const struct mq_peers *peers, moeq_error *err)
{
    memset(w, 0, sizeof *w);
    w->file_bytes = file_bytes;
    MQ_TRY(mq_new_file_open_shared(&w->file, path, mode, peers, err));
    if (!mq_peers_first(peers))
        return MOEQ_OK;
    moeq_status status = mq_check_room(w->file.fd, path, file_bytes, err);
    if (status == MOEQ_OK)
        status = mq_reserve(w->file.fd, w->file.part, file_bytes, err);
    if (status == MOEQ_OK)
        status = mq_write_at(w->file.fd, w->file.part, 0, header, header_bytes, err);
    if (status != MOEQ_OK)
        mq_st_writer_abort(w);
    return status;
}

moeq_status mq_st_writer_open(struct mq_st_writer *w, const char *path, struct mq_st_entry *entries,
                              size_t count, const char *const *metadata, const struct mq_peers *peers,
                              moeq_error *err)
{
    uint64_t data_bytes;
    memset(w, 0, sizeof *w);
    w->file.fd = -1;
    if (!lay_out(entries, count, &data_bytes))
        return mq_fail_file(err, MOEQ_LIMIT, path, "would be larger than a file can be");
    struct mq_buffer header = {0};
    moeq_status status = MOEQ_OK;
    mq_st_header_begin(&header, metadata);
    for (size_t i = 0; i < count; i++)
        mq_st_header_tensor(&header, entries[i].name, entries[i].dtype, entries[i].shape,
                            entries[i].dims, entries[i].offset, entries[i].size_bytes);
    mq_st_header_end(&header, HEADER_ALIGN);
    if (!mq_buffer_ok(&header)) {
        status = mq_fail_memory(err, "writing a safetensors header");
        goto out;
    }
    for (size_t i = 0; i < count; i++)
        entries[i].offset += header.size;
    MQ_TRY_OUT(mq_st_writer_open_raw(w, path, header.data, header.size, header.size + data_bytes,
                                     0666, peers, err));
    w->entries = entries;
    w->count = count;
out:
    mq_buffer_free(&header);
    return status;
}

moeq_status mq_st_writer_put(const struct mq_st_writer *w, size_t entry, uint64_t at,
                             const void *bytes, uint64_t n, moeq_error *err)
{
    const struct mq_st_entry *e = &w->entries[entry];
    if (!mq_range_ok(at, n, e->size_bytes))
        return mq_fail_tensor(err, MOEQ_INVALID_ARGUMENT, w->file.path, e->name, e->offset,
                              "%" PRIu64 " bytes at byte %" PRIu64 " do not fit its %" PRIu64, n,
                              at, e->size_bytes);
    return mq_write_at(w->file.fd, w->file.part, e->offset + at, bytes, (size_t)n, err);
}

moeq_status mq_st_writer_finish(struct mq_st_writer *w, moeq_error *err)
{
    return mq_new_file_finish(&w->file, err);
}

void mq_st_writer_abort(struct mq_st_writer *w)
{
    mq_new_file_abort(&w->file);
}
