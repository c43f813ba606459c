/* moeq_layout.c: laying out a moeq file. */
#include "moeq_layout.h"

#include "buffer.h"
#include "checked.h"
#include "error.h"
#include "file.h"
#include "moeq_profile.h"
#include "st_writer.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static bool item_bytes(const struct mq_layout_item *item, uint64_t *bytes)
{
    *bytes = mq_dtype_bytes(item->dtype);
    for (uint32_t i = 0; i < item->dims; i++)
        if (!mq_mul_u64(*bytes, item->shape[i], bytes))
            return false;
    return true;
}

/* Appends an item at *at; *at moves behind it. */
static bool append(struct mq_layout *layout, struct mq_layout_item item, int64_t source,
                   uint64_t *at)
{
    if (!item_bytes(&item, &item.size_bytes))
        return false;
    item.offset = *at;
    item.source = source;
    layout->items[layout->count++] = item;
    return mq_add_u64(*at, item.size_bytes, at);
}

static bool pad(struct mq_layout *layout, struct mq_arena *arena, size_t *pads, uint64_t *at)
{
    const uint64_t gap = mq_round_up(*at, MQ_GROUP_ALIGN) - *at;
    if (!gap)
        return true;
    struct mq_layout_item item = {.name = mq_arena_printf(arena, MQ_PAD_PREFIX "%zu", (*pads)++),
                                  .dtype = MQ_U8,
                                  .dims = 1,
                                  .shape = {gap}};
    return item.name && append(layout, item, -1, at);
}

moeq_status mq_layout_build(const struct mq_layout_item *items, size_t count,
                            const char *const *metadata, struct mq_arena *arena,
                            struct mq_layout *layout, moeq_error *err)
{
    memset(layout, 0, sizeof *layout);
    layout->items = mq_arena_alloc(arena, 2 * count + 2, sizeof *layout->items);
    if (!layout->items)
        return mq_fail_memory(err, "laying out a file");
    uint64_t at = 0; /* from the start of the data; the header is known only afterwards */
    size_t pads = 0;
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++)
        ok = (!items[i].aligned || pad(layout, arena, &pads, &at)) &&
             append(layout, items[i], (int64_t)i, &at);
    ok = ok && pad(layout, arena, &pads, &at);
    struct mq_layout_item crc = {.name = MQ_CRC_NAME, .dtype = MQ_U32, .dims = 1};
    crc.shape[0] = layout->count + 2;
    if (!ok || !append(layout, crc, -2, &at))
        return mq_fail(err, MOEQ_LIMIT, "the output is larger than a file can be");
    struct mq_buffer header = {0};
    mq_st_header_begin(&header, metadata);
    for (size_t i = 0; i < layout->count; i++) {
        const struct mq_layout_item *t = &layout->items[i];
        mq_st_header_tensor(&header, t->name, t->dtype, t->shape, t->dims, t->offset,
                            t->size_bytes);
    }
    mq_st_header_end(&header, MQ_GROUP_ALIGN);
    layout->header =
        mq_buffer_ok(&header) ? mq_arena_strndup(arena, header.data, header.size) : NULL;
    layout->header_bytes = header.size;
    mq_buffer_free(&header);
    if (!layout->header)
        return mq_fail_memory(err, "laying out a file");
    for (size_t i = 0; i < layout->count; i++)
        layout->items[i].offset += layout->header_bytes;
    layout->file_bytes = at + layout->header_bytes;
    return MOEQ_OK;
}

/* Behind the first pair, which readers look for by its place. */
bool mq_layout_note(const struct mq_layout *l, const char *key, const char *value)
{
    static const char first[] = "{\"__metadata__\":{\"" MQ_META_FORMAT "\":\"moeq\"";
    char *const at = l->header + 8 + sizeof first - 1;
    size_t end = l->header_bytes;
    struct mq_buffer pair = {0};
    while (end && l->header[end - 1] == ' ')
        end--;
    if (end < 8 + sizeof first || memcmp(l->header + 8, first, sizeof first - 1) != 0)
        return false;
    mq_buffer_putc(&pair, ',');
    mq_buffer_put_json(&pair, key, strlen(key));
    mq_buffer_putc(&pair, ':');
    if (mq_buffer_ok(&pair) && memcmp(at, pair.data, pair.size) == 0) { /* there already */
        mq_buffer_free(&pair);
        return true;
    }
    mq_buffer_put_json(&pair, value, strlen(value));
    const bool fits = mq_buffer_ok(&pair) && pair.size <= l->header_bytes - end;
    if (fits) {
        memmove(at + pair.size, at, (size_t)(l->header + end - at));
        memcpy(at, pair.data, pair.size);
    }
    mq_buffer_free(&pair);
    return fits;
}

static void store_u32(unsigned char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(x >> (8 * i));
}

uint32_t mq_crc_table(const uint32_t *crcs, size_t tensors, uint32_t header_crc,
                      unsigned char *table)
{
    for (size_t i = 0; i < tensors; i++)
        store_u32(table + 4 * i, crcs[i]);
    store_u32(table + 4 * tensors, header_crc);
    const uint32_t last = (uint32_t)crc32_z(0, table, 4 * (tensors + 1));
    store_u32(table + 4 * (tensors + 1), last);
    return last;
}

moeq_status mq_layout_write_crcs(const struct mq_layout *l, const uint32_t *crcs, int fd,
                                 const char *path, uint32_t *last, moeq_error *err)
{
    const size_t tensors = l->count - 1, bytes = MQ_CRC_TABLE_BYTES(tensors);
    unsigned char *table = malloc(bytes);
    if (!table)
        return mq_fail_memory(err, "writing the checksums");
    const uint32_t header = (uint32_t)crc32_z(0, (const Bytef *)l->header, l->header_bytes);
    const uint32_t own = mq_crc_table(crcs, tensors, header, table);
    if (last)
        *last = own;
    const moeq_status status = mq_write_at(fd, path, l->items[tensors].offset, table, bytes, err);
    free(table);
    return status;
}
