/*
 * plan_shards.c: the content of a moeq model in files: one, or shards of a largest size.
 *
 * Which tensors a shard has is decided before its header is printed, so the header's size is
 * estimated from above: no shard becomes larger than asked for, unless one tensor alone is.
 */
#include "plan_int.h"

#include "buffer.h"
#include "checked.h"
#include "error.h"
#include "moeq_profile.h"
#include "st_writer.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_SHARDS = 99999 }; /* what names of five digits can count */

/* ---- where to cut ---- */

/* A shard being filled. */
struct fill {
    uint64_t data_bytes, header_bytes; /* the header's so far, without its padding */
    size_t items;                      /* padding included */
};

/* What things take in a header, at most: numbers of 64 bits have 20 digits. */
enum {
    NUMBER = 20,
    LEVEL_NAME = 8, /* test_levels.c holds the table to it */
    TENSOR = sizeof ",\"\":{\"dtype\":\"BF16\",\"shape\":[,],\"data_offsets\":[,]}" + 4 * NUMBER,
    PAD = TENSOR + sizeof MQ_PAD_PREFIX + NUMBER,
    METADATA = sizeof ",\"" MQ_META_TENSOR "\":\"  \"" + LEVEL_NAME + 2 * NUMBER,
    /* of every shard, beside the model's metadata: which one it is, padding, checksums */
    OTHERS =
        sizeof ",\"" MQ_META_SHARD "\":\"99999 of 99999\"}" + PAD + TENSOR + sizeof MQ_CRC_NAME,
};

/* With its metadata and the padding before it. */
static uint64_t header_bound(const struct mq_layout_item *item)
{
    return 2 * strlen(item->name) + TENSOR + METADATA + (item->aligned ? PAD : 0);
}

static bool add(struct fill *fill, const struct mq_layout_item *item)
{
    uint64_t size = mq_dtype_bytes(item->dtype);
    for (uint32_t i = 0; i < item->dims; i++)
        if (!mq_mul_u64(size, item->shape[i], &size))
            return false;
    if (item->aligned)
        fill->data_bytes = mq_round_up(fill->data_bytes, MQ_GROUP_ALIGN);
    fill->header_bytes += header_bound(item);
    fill->items += 1 + item->aligned;
    return mq_add_u64(fill->data_bytes, size, &fill->data_bytes) &&
           fill->data_bytes < INT64_MAX / 2; /* so that rounding up cannot overflow */
}

static bool fits(const struct fill *fill, uint64_t shard_bytes)
{
    const uint64_t checksums = 4 * (fill->items + 1 + 2); /* padding, the header's and their own */
    return mq_round_up(fill->header_bytes, MQ_GROUP_ALIGN) +
               mq_round_up(fill->data_bytes, MQ_GROUP_ALIGN) + checksums <=
           shard_bytes;
}

/* The first item of each shard. */
struct cuts {
    size_t *first;
    size_t count;
    struct fill empty, fill; /* empty: of a shard without tensors */
    uint64_t shard_bytes;
};

static void begin_shard(struct cuts *cuts, size_t item)
{
    cuts->first[cuts->count++] = item;
    cuts->fill = cuts->empty;
}

/* Items [from, to): into this shard if they fit, else into a new one. False: they fit in none. */
static bool place_together(struct cuts *cuts, const struct mq_plan_content *content, size_t from,
                           size_t to, bool *overflow)
{
    for (int fresh = 0; fresh < 2; fresh++) {
        struct fill with = fresh ? cuts->empty : cuts->fill;
        for (size_t i = from; i < to; i++)
            *overflow = !add(&with, &content->items[i]) || *overflow;
        if (!fits(&with, cuts->shard_bytes))
            continue;
        if (fresh && cuts->fill.items)
            begin_shard(cuts, from);
        cuts->fill = with;
        return true;
    }
    return false;
}

/* One tensor of a group that is larger than a shard; if it is itself, it has one of its own. */
static void place_alone(struct cuts *cuts, const struct mq_plan_content *content, size_t item,
                        bool *overflow)
{
    if (place_together(cuts, content, item, item + 1, overflow))
        return;
    if (cuts->fill.items)
        begin_shard(cuts, item);
    add(&cuts->fill, &content->items[item]);
}

static moeq_status cut(struct mq_plan *plan, const struct mq_plan_content *content,
                       uint64_t shard_bytes, struct cuts *cuts, moeq_error *err)
{
    struct mq_buffer header = {0};
    bool overflow = false;
    cuts->first = mq_arena_alloc(plan->arena, content->count + 1, sizeof *cuts->first);
    mq_st_header_begin(&header, content->metadata);
    cuts->empty.header_bytes = header.size + OTHERS;
    const bool ok = mq_buffer_ok(&header) && cuts->first;
    mq_buffer_free(&header);
    if (!ok)
        return mq_fail_memory(err, "planning");
    cuts->shard_bytes = shard_bytes ? shard_bytes : UINT64_MAX;
    begin_shard(cuts, 0);
    for (size_t i = 0, next; i < content->count; i = next) {
        for (next = i + 1; next < content->count && !content->items[next].aligned;)
            next++;
        if (!place_together(cuts, content, i, next, &overflow))
            for (size_t k = i; k < next; k++)
                place_alone(cuts, content, k, &overflow);
    }
    if (overflow)
        return mq_fail(err, MOEQ_LIMIT, "the output is larger than a file can be");
    if (cuts->count > MAX_SHARDS)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "shards this small make %zu files; at most %d",
                       cuts->count, MAX_SHARDS);
    cuts->first[cuts->count] = content->count;
    return MOEQ_OK;
}

/* ---- files ---- */

/* The model's metadata, which shard it is, and the levels of the shard's tensors. */
static moeq_status shard_metadata(const struct mq_plan *plan, const struct mq_plan_content *content,
                                  const struct cuts *cuts, size_t shard, const char ***metadata,
                                  moeq_error *err)
{
    struct mq_arena *arena = plan->arena;
    const size_t first = cuts->first[shard], end = cuts->first[shard + 1];
    size_t n = 0;
    while (content->metadata[n])
        n++;
    const char **m = *metadata = mq_arena_alloc(arena, n + 2 + 2 * (end - first) + 1, sizeof *m);
    if (!m)
        return mq_fail_memory(err, "planning");
    memcpy(m, content->metadata, n * sizeof *m);
    if (cuts->count > 1) {
        m[n++] = MQ_META_SHARD;
        m[n++] = mq_arena_printf(arena, "%zu of %zu", shard + 1, cuts->count);
    }
    for (size_t i = first; i < end && i < plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        if (!e->level->quantized)
            continue;
        m[n++] = mq_arena_printf(arena, MQ_META_TENSOR "%s", e->tensor->name);
        m[n++] = mq_arena_printf(arena, "%s %" PRIu64 " %" PRIu64, e->level->name, e->tensor->rows,
                                 e->tensor->cols);
    }
    for (size_t i = 0; i < n; i++)
        if (!m[i])
            return mq_fail_memory(err, "planning");
    return MOEQ_OK;
}

/* What stands at an item of a file's layout: an entry, a side file, padding. */
static void place_item(struct mq_plan *plan, const struct mq_plan_content *content, size_t first,
                       uint32_t file, size_t i)
{
    const struct mq_plan_file *f = &plan->files[file];
    const struct mq_layout_item *item = &f->layout->items[i];
    const size_t k = first + (size_t)item->source;
    if (item->source >= 0 && k < plan->view->tensors_count) {
        plan->entries[k].offset = item->offset;
        plan->entries[k].file = file;
        plan->entries[k].item = f->first_item + i;
    } else if (item->source >= -1) {
        plan->pieces[plan->pieces_count++] =
            (struct mq_plan_piece){.bytes = item->source < 0 ? NULL : content->bytes[k],
                                   .size_bytes = item->size_bytes,
                                   .offset = item->offset,
                                   .file = file,
                                   .item = f->first_item + i};
    }
}

static moeq_status plan_file(struct mq_plan *plan, const struct mq_plan_content *content,
                             const struct cuts *cuts, size_t shard, moeq_error *err)
{
    const size_t first = cuts->first[shard], count = cuts->first[shard + 1] - first;
    const uint32_t file = (uint32_t)shard + plan->has_index;
    struct mq_plan_file *f = &plan->files[file];
    const char **metadata;
    struct mq_layout *layout = mq_arena_alloc(plan->arena, 1, sizeof *layout);
    const char *name_part =
        cuts->count == 1 ? ""
                         : mq_arena_printf(plan->arena, "-%05zu-of-%05zu", shard + 1, cuts->count);
    if (!layout || !name_part)
        return mq_fail_memory(err, "planning");
    MQ_TRY(shard_metadata(plan, content, cuts, shard, &metadata, err));
    MQ_TRY(mq_layout_build(content->items + first, count, metadata, plan->arena, layout, err));
    *f = (struct mq_plan_file){.name_part = name_part,
                               .name_end = "",
                               .header = layout->header,
                               .header_bytes = layout->header_bytes,
                               .file_bytes = layout->file_bytes,
                               .layout = layout,
                               .first_item = plan->items_count};
    plan->items_count += layout->count;
    if (!mq_add_u64(plan->output_bytes, f->file_bytes, &plan->output_bytes))
        return mq_fail(err, MOEQ_LIMIT, "the output is larger than a disk can be");
    for (size_t i = 0; i < layout->count; i++)
        place_item(plan, content, first, file, i);
    return MOEQ_OK;
}

moeq_status mq_plan_place(struct mq_plan *plan, const struct mq_plan_content *content,
                          uint64_t shard_bytes, moeq_error *err)
{
    struct cuts cuts = {0};
    MQ_TRY(cut(plan, content, shard_bytes, &cuts, err));
    plan->has_index = cuts.count > 1;
    plan->files_count = cuts.count + plan->has_index;
    plan->files = mq_arena_alloc(plan->arena, plan->files_count, sizeof *plan->files);
    /* Each item may have padding before it, each file has some before its checksums. */
    plan->pieces =
        mq_arena_alloc(plan->arena, 2 * content->count + cuts.count, sizeof *plan->pieces);
    if (!plan->files || !plan->pieces)
        return mq_fail_memory(err, "planning");
    if (plan->has_index)
        plan->files[0] = (struct mq_plan_file){.name_part = "", .name_end = MQ_INDEX_ENDING};
    for (size_t shard = 0; shard < cuts.count; shard++)
        MQ_TRY(plan_file(plan, content, &cuts, shard, err));
    return MOEQ_OK;
}
