/* plan.c: every byte count and place of the output. */
#include "plan.h"

#include "buffer.h"
#include "checked.h"
#include "error.h"
#include "family.h"
#include "moeq_profile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static moeq_status plan_entries(struct mq_plan *plan, const struct mq_policy *policy,
                                moeq_error *err)
{
    const struct mq_view *view = plan->view;
    const size_t n = view->tensors_count;
    const struct mq_level **levels = mq_arena_alloc(plan->arena, n, sizeof *levels);
    plan->entries = mq_arena_alloc(plan->arena, n, sizeof *plan->entries);
    if (!levels || !plan->entries)
        return mq_fail_memory(err, "planning");
    MQ_TRY(mq_policy_apply(policy, view, levels, err));
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

static moeq_status plan_sides(struct mq_plan *plan, moeq_error *err)
{
    plan->sides = mq_arena_alloc(plan->arena, mq_side_files_count, sizeof *plan->sides);
    if (!plan->sides)
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
        plan->sides[plan->sides_count++] =
            (struct mq_plan_side){.side = side, .bytes = bytes, .size_bytes = size};
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

static moeq_status plan_layout(struct mq_plan *plan, const struct mq_policy *policy,
                               moeq_error *err)
{
    const size_t n = plan->view->tensors_count, count = n + plan->sides_count;
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
    for (size_t i = 0; i < plan->sides_count; i++)
        items[n + i] = (struct mq_layout_item){.name = plan->sides[i].side->tensor_name,
                                               .dtype = MQ_U8,
                                               .dims = 1,
                                               .shape = {plan->sides[i].size_bytes},
                                               .aligned = i == 0};
    MQ_TRY(make_metadata(plan, policy, &metadata, err));
    MQ_TRY(mq_layout_build(items, count, metadata, plan->arena, &plan->layout, err));
    for (size_t i = 0; i < plan->layout.count; i++) {
        const struct mq_layout_item *item = &plan->layout.items[i];
        if (item->source < 0)
            continue;
        const size_t k = (size_t)item->source;
        if (k < n) {
            plan->entries[k].offset = item->offset;
            plan->entries[k].item = i;
        } else {
            plan->sides[k - n].offset = item->offset;
            plan->sides[k - n].item = i;
        }
    }
    return MOEQ_OK;
}

moeq_status mq_plan_create(const struct mq_view *view, const struct mq_policy *policy,
                           struct mq_plan **out, moeq_error *err)
{
    *out = NULL;
    struct mq_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return mq_fail_memory(err, "planning");
    moeq_status status = MOEQ_OK;
    plan->view = view;
    plan->effort = policy->effort;
    plan->arena = mq_arena_create();
    if (!plan->arena) {
        status = mq_fail_memory(err, "planning");
        goto out;
    }
    MQ_TRY_OUT(plan_entries(plan, policy, err));
    MQ_TRY_OUT(plan_sides(plan, err));
    MQ_TRY_OUT(plan_layout(plan, policy, err));
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
