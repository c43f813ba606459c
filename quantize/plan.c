/* plan.c: every byte count and place of the output. */
#include "plan_int.h"

#include "buffer.h"
#include "checked.h"
#include "error.h"
#include "family.h"
#include "moeq_profile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct mq_plan *mq_plan_new(const struct mq_view *view, const struct mq_policy *policy)
{
    struct mq_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return NULL;
    plan->view = view;
    plan->effort = policy->effort;
    plan->arena = mq_arena_create();
    if (!plan->arena) {
        mq_plan_free(plan);
        return NULL;
    }
    return plan;
}

void mq_plan_warn(struct mq_plan *plan, const char *sentence)
{
    if (sentence && plan->warnings_count < sizeof plan->warnings / sizeof *plan->warnings)
        plan->warnings[plan->warnings_count++] = sentence;
}

moeq_status mq_plan_levels(struct mq_plan *plan, const struct mq_policy *policy,
                           const struct mq_level ***levels, moeq_error *err)
{
    *levels = mq_arena_alloc(plan->arena, plan->view->tensors_count, sizeof **levels);
    if (!*levels)
        return mq_fail_memory(err, "planning");
    return mq_policy_apply(policy, plan->view, *levels, err);
}

moeq_status mq_plan_entries(struct mq_plan *plan, const struct mq_level *const *levels,
                            moeq_error *err)
{
    const struct mq_view *view = plan->view;
    const size_t n = view->tensors_count;
    plan->entries = mq_arena_alloc(plan->arena, n, sizeof *plan->entries);
    if (!plan->entries)
        return mq_fail_memory(err, "planning");
    for (size_t i = 0; i < n; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        struct mq_plan_entry *e = &plan->entries[i];
        e->tensor = t;
        e->level = levels[i];
        MQ_TRY(mq_tensor_level(view, t, &e->source, err));
        e->row_bytes = mq_level_row_bytes(e->level, t->cols);
        if (!mq_mul_u64(t->rows, e->row_bytes, &e->size_bytes))
            return mq_fail(err, MOEQ_LIMIT, "tensor '%s' is too large", t->name);
        struct mq_plan_total *totals[] = {&plan->by_class[mq_role_class(t->role)], &plan->total};
        for (int k = 0; k < 2; k++) {
            totals[k]->tensors++;
            totals[k]->weights += t->rows * t->cols;
            totals[k]->source_bytes += t->rows * t->row_bytes;
            totals[k]->bytes += e->size_bytes;
        }
    }
    return MOEQ_OK;
}

/* A side file as it will stand in the output: a zlib stream. */
struct side {
    const struct mq_side_file *side;
    unsigned char *bytes;
    uint64_t size_bytes;
};

struct sides {
    struct side *list;
    size_t count;
};

static moeq_status plan_sides(struct mq_plan *plan, struct sides *sides, moeq_error *err)
{
    sides->list = mq_arena_alloc(plan->arena, mq_side_files_count, sizeof *sides->list);
    if (!sides->list)
        return mq_fail_memory(err, "planning");
    for (size_t i = 0; i < mq_side_files_count; i++) {
        const struct mq_side_file *side = &mq_side_files[i];
        const struct mq_buffer *text =
            (const struct mq_buffer *)((const char *)plan->view + side->view_field);
        if (!text->size)
            continue;
        uLongf size = compressBound(text->size);
        unsigned char *bytes = mq_arena_alloc(plan->arena, size, 1);
        if (!bytes || compress2(bytes, &size, (const Bytef *)text->data, text->size, 9) != Z_OK)
            return mq_fail_memory(err, "compressing a side file");
        sides->list[sides->count++] =
            (struct side){.side = side, .bytes = bytes, .size_bytes = size};
    }
    return MOEQ_OK;
}

/* key, value, ..., NULL: what the file says of itself. */
static moeq_status make_metadata(const struct mq_plan *plan, const struct mq_policy *policy,
                                 const char ***metadata, moeq_error *err)
{
    const struct mq_view *view = plan->view;
    struct mq_arena *arena = plan->arena;
    const char **m = mq_arena_alloc(arena, 2 * (view->tensors_count + 8) + 1, sizeof *m);
    struct mq_buffer source = {0}, recipe = {0};
    size_t n = 0;
    if (!m)
        return mq_fail_memory(err, "planning");
    for (size_t i = 0; i < view->files_count; i++)
        mq_buffer_printf(&source, "%s%s %" PRIu64 " %08" PRIx32, i ? "; " : "", view->files[i].name,
                         view->files[i].file.size_bytes, view->files[i].header_crc32);
    for (int class = 0; class < MQ_CLASS_COUNT; class ++)
        mq_buffer_printf(&recipe, "%s=%s; ", mq_role_class_name((enum mq_role_class) class),
                         policy->levels[class] ? policy->levels[class]->name : "source");
    if (policy->recipe)
        mq_buffer_printf(&recipe, "recipe=%s; ", policy->recipe->name);
    for (size_t i = 0; i < policy->overrides_count; i++)
        mq_buffer_printf(&recipe, "%s=%s; ", policy->overrides[i].pattern,
                         policy->overrides[i].level->name);
    mq_buffer_printf(&recipe, "effort=%s", mq_effort_name(policy->effort));
    const char *pairs[] = {
        MQ_META_FORMAT,   "moeq",
        MQ_META_VERSION,  MQ_PROFILE_VERSION,
        MQ_META_PRODUCER, "moeq " MOEQ_VERSION_STRING,
        MQ_META_FAMILY,   view->family->name,
        MQ_META_SOURCE,   mq_buffer_ok(&source) ? mq_arena_strdup(arena, source.data) : NULL,
        MQ_META_RECIPE,   mq_buffer_ok(&recipe) ? mq_arena_strdup(arena, recipe.data) : NULL,
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        m[n++] = pairs[i];
    mq_buffer_free(&source);
    mq_buffer_free(&recipe);
    for (size_t i = 0; i < view->tensors_count; i++) {
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
    *metadata = m;
    return MOEQ_OK;
}

/* The dtype whose elements a plain level's weights are. */
static enum mq_dtype plain_dtype(const struct mq_level *level)
{
    for (int d = 0; d < MQ_DTYPE_COUNT; d++) {
        const char *storage = mq_dtype_storage((enum mq_dtype)d);
        if (storage && strcmp(storage, level->name) == 0)
            return (enum mq_dtype)d;
    }
    return MQ_U8;
}

/* Groups begin aligned: a layer, an expert (or dense MLP), what follows the layers. */
static bool begins_group(const struct mq_plan *plan, size_t i)
{
    if (i == 0)
        return true;
    const struct mq_tensor *t = plan->entries[i].tensor, *before = plan->entries[i - 1].tensor;
    return t->layer != before->layer || t->expert != before->expert ||
           (mq_role_class(t->role) == MQ_CLASS_EXPERTS) !=
               (mq_role_class(before->role) == MQ_CLASS_EXPERTS);
}

/* What stands at an item of the layout: an entry, a side file, padding. */
static void place_item(struct mq_plan *plan, const struct sides *sides, size_t i)
{
    const struct mq_layout_item *item = &plan->layout.items[i];
    const size_t n = plan->view->tensors_count, k = (size_t)item->source;
    if (item->source >= 0 && k < n) {
        plan->entries[k].offset = item->offset;
        plan->entries[k].item = i;
    } else if (item->source >= -1) {
        plan->pieces[plan->pieces_count++] =
            (struct mq_plan_piece){.bytes = item->source < 0 ? NULL : sides->list[k - n].bytes,
                                   .size_bytes = item->size_bytes,
                                   .offset = item->offset,
                                   .item = i};
    }
}

static moeq_status plan_layout(struct mq_plan *plan, const struct mq_policy *policy,
                               const struct sides *sides, moeq_error *err)
{
    const size_t n = plan->view->tensors_count, count = n + sides->count;
    struct mq_layout_item *items = mq_arena_alloc(plan->arena, count, sizeof *items);
    const char **metadata = NULL;
    if (!items)
        return mq_fail_memory(err, "planning");
    for (size_t i = 0; i < n; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        items[i] =
            (struct mq_layout_item){.name = e->tensor->name, .aligned = begins_group(plan, i)};
        if (e->level->quantized) {
            items[i].dtype = MQ_U8;
            items[i].dims = 2;
            items[i].shape[0] = e->tensor->rows;
            items[i].shape[1] = e->row_bytes;
        } else {
            items[i].dtype = plain_dtype(e->level);
            items[i].dims = e->tensor->dims;
            items[i].shape[0] = e->tensor->dims == 1 ? e->tensor->cols : e->tensor->rows;
            items[i].shape[1] = e->tensor->cols;
        }
    }
    for (size_t i = 0; i < sides->count; i++)
        items[n + i] = (struct mq_layout_item){.name = sides->list[i].side->tensor_name,
                                               .dtype = MQ_U8,
                                               .dims = 1,
                                               .shape = {sides->list[i].size_bytes},
                                               .aligned = i == 0};
    MQ_TRY(make_metadata(plan, policy, &metadata, err));
    struct mq_layout *layout = &plan->layout;
    MQ_TRY(mq_layout_build(items, count, metadata, plan->arena, layout, err));
    plan->files = mq_arena_alloc(plan->arena, 1, sizeof *plan->files);
    plan->pieces = mq_arena_alloc(plan->arena, layout->count, sizeof *plan->pieces);
    if (!plan->files || !plan->pieces)
        return mq_fail_memory(err, "planning");
    plan->files[0] =
        (struct mq_plan_file){"", layout->header, layout->header_bytes, layout->file_bytes};
    plan->files_count = 1;
    plan->output_bytes = layout->file_bytes;
    plan->items_count = layout->count;
    for (size_t i = 0; i < layout->count; i++)
        place_item(plan, sides, i);
    return MOEQ_OK;
}

moeq_status mq_plan_create(const struct mq_view *view, const struct mq_policy *policy,
                           struct mq_plan **out, moeq_error *err)
{
    const struct mq_level **levels;
    struct sides sides = {0};
    moeq_status status = MOEQ_OK;
    *out = NULL;
    struct mq_plan *plan = mq_plan_new(view, policy);
    if (!plan)
        return mq_fail_memory(err, "planning");
    MQ_TRY_OUT(mq_plan_levels(plan, policy, &levels, err));
    MQ_TRY_OUT(mq_plan_entries(plan, levels, err));
    MQ_TRY_OUT(plan_sides(plan, &sides, err));
    MQ_TRY_OUT(plan_layout(plan, policy, &sides, err));
    *out = plan;
    return MOEQ_OK;
out:
    mq_plan_free(plan);
    return status;
}

void mq_plan_free(struct mq_plan *plan)
{
    if (!plan)
        return;
    mq_arena_destroy(plan->arena);
    free(plan);
}
