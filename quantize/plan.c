/* plan.c: what a moeq model is made of: entries with their levels, side files, metadata. */
#include "plan_int.h"

#include "buffer.h"
#include "checked.h"
#include "error.h"
#include "family.h"
#include "moeq_profile.h"
#include "safetensors.h"
#include "open_options.h"
#include "token_profile.h"
#include "stored.h"

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
    plan->importance = policy->importance;
    plan->allow_nonfinite = policy->allow_nonfinite;
    plan->nonfinite_weights = policy->nonfinite_weights;
    plan->arena = mq_arena_create();
    const char *note = plan->arena && policy->nonfinite_note
                           ? mq_arena_strdup(plan->arena, policy->nonfinite_note)
                           : NULL;
    plan->calibration = plan->arena && policy->calibration
                            ? mq_arena_strdup(plan->arena, policy->calibration)
                            : NULL;
    plan->source_sums = policy->source_sums;
    if (!plan->arena || (policy->nonfinite_note && !note) ||
        (policy->calibration && !plan->calibration)) {
        mq_plan_free(plan);
        return NULL;
    }
    if (note && !mq_view_has_note(view, note)) /* what was copied before is noted already */
        mq_plan_warn(plan, note);
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
        MQ_TRY(mq_tensor_stored(view, t, &e->source, err));
        if (e->level != e->source) /* not a copy */
            MQ_TRY(mq_tensor_level(view, t, &e->source, err));
        e->row_bytes = mq_level_row_bytes(e->level, t->cols);
        if (!mq_mul_u64(t->rows, e->row_bytes, &e->size_bytes))
            return mq_fail(err, MOEQ_LIMIT, "tensor '%s' is too large", mq_tensor_shown(t));
        mq_plan_total_add(&plan->by_class[mq_view_class(view, t->role)], t, e->size_bytes);
        mq_plan_total_add(&plan->total, t, e->size_bytes);
    }
    return MOEQ_OK;
}

/* Appends the side files as they will stand in the output: zlib streams. */
static moeq_status add_sides(const struct mq_plan *plan, struct mq_plan_content *content,
                             moeq_error *err)
{
    const size_t first = content->count;
    for (int i = 0; i < MQ_SIDE_COUNT; i++) {
        const struct mq_side_file *side = &mq_side_files[i];
        const struct mq_buffer *text = &plan->view->side[i];
        if (!text->size || !side->tensor_name)
            continue;
        uLongf size = compressBound(text->size);
        unsigned char *bytes = mq_arena_alloc(plan->arena, size, 1);
        if (!bytes || compress2(bytes, &size, (const Bytef *)text->data, text->size, 9) != Z_OK)
            return mq_fail_memory(err, "compressing a side file");
        content->bytes[content->count] = bytes;
        content->items[content->count] =
            (struct mq_layout_item){.name = side->tensor_name,
                                    .dtype = MQ_U8,
                                    .dims = 1,
                                    .shape = {size},
                                    .aligned = content->count == first};
        content->count++;
    }
    return MOEQ_OK;
}

static bool has_class(const struct mq_view *view, enum mq_role_class class)
{
    for (size_t i = 0; i < view->tensors_count; i++)
        if (mq_role_class(view->tensors[i].role) == class)
            return true;
    return false;
}

/* What is said of the levels of a class. */
static const char *class_text(const struct mq_view *view, const struct mq_policy *policy,
                              enum mq_role_class c)
{
    for (size_t i = 0; policy->chosen && i < view->tensors_count; i++)
        if (policy->chosen[i] && mq_view_class(view, view->tensors[i].role) == c)
            return policy->chosen_by;
    return policy->levels[c] ? policy->levels[c]->name : "source";
}

const char *mq_plan_calibrated_on(const struct mq_plan *plan, const struct mq_policy *policy)
{
    if (policy->calibrated_on || policy->calibration)
        return policy->calibrated_on;
    return policy->importance ? mq_importance_calibrated_on(policy->importance)
                              : plan->view->calibrated_on;
}

const char *mq_plan_source_sums(const struct mq_plan *plan)
{
    const char *const *of_view = (const char *const *)plan->view->metadata;
    if (plan->source_sums)
        return plan->source_sums->text;
    return of_view ? mq_metadata_get(of_view, MQ_META_SOURCE_SUMS) : NULL;
}

const char *mq_plan_recipe_text(const struct mq_plan *plan, const struct mq_policy *policy)
{
    const struct mq_view *view = plan->view;
    struct mq_buffer recipe = {0};
    for (int c = 0; c < MQ_CLASS_COUNT; c++)
        if (has_class(view, (enum mq_role_class)c))
            mq_buffer_printf(&recipe, "%s=%s; ", mq_role_class_name((enum mq_role_class)c),
                             class_text(view, policy, (enum mq_role_class)c));
    if (policy->recipe)
        mq_buffer_printf(&recipe, "recipe=%s; ", policy->recipe->name);
    for (size_t i = 0; i < policy->overrides_count; i++)
        mq_buffer_printf(&recipe, "%s=%s; ", policy->overrides[i].pattern,
                         policy->overrides[i].level->name);
    mq_buffer_printf(&recipe, "effort=%s%s", mq_effort_name(policy->effort),
                     policy->allow_nonfinite ? "; nonfinite=allowed" : "");
    if (policy->calibration)
        mq_buffer_printf(&recipe, "; calibrated=%s", policy->calibration);
    if (policy->importance)
        mq_buffer_printf(&recipe, "; importance=%s %08" PRIx32,
                         mq_importance_name(policy->importance),
                         mq_importance_fingerprint(policy->importance));
    const char *text = mq_buffer_ok(&recipe) ? mq_arena_strdup(plan->arena, recipe.data) : NULL;
    mq_buffer_free(&recipe);
    return text;
}

/* key, value, ..., NULL: what the model says of itself. */
static moeq_status make_metadata(const struct mq_plan *plan, const struct mq_policy *policy,
                                 const char ***metadata, moeq_error *err)
{
    const struct mq_view *view = plan->view;
    struct mq_arena *arena = plan->arena;
    struct mq_buffer source = {0};
    for (size_t i = 0; i < view->files_count; i++)
        mq_buffer_printf(&source, "%s%s %" PRIu64 " %08" PRIx32, i ? "; " : "", view->files[i].name,
                         view->files[i].file.size_bytes, view->files[i].header_crc32);
    const char *made_by = mq_plan_recipe_text(plan, policy);
    const char *pairs[] = {
        MQ_META_FORMAT,   "moeq",
        MQ_META_VERSION,  MQ_PROFILE_VERSION,
        MQ_META_PRODUCER, "moeq " MOEQ_VERSION_STRING,
        MQ_META_FAMILY,   view->family->name,
        MQ_META_NAME,     mq_plan_model_name(plan),
        MQ_META_SOURCE,   mq_buffer_ok(&source) ? mq_arena_strdup(arena, source.data) : NULL,
        MQ_META_RECIPE,   made_by,
    };
    size_t n = sizeof pairs / sizeof *pairs;
    mq_buffer_free(&source);
    const char **m = *metadata = mq_arena_alloc(arena, n + 8 + 1, sizeof *m);
    for (size_t i = 0; i < n; i++) {
        if (!m || !pairs[i])
            return mq_fail_memory(err, "planning");
        m[i] = pairs[i];
    }
    bool no_memory[2];
    const char *optional[] = {
        MQ_META_OPTIONS,
        mq_view_options_json(view, arena, &no_memory[0]),
        MQ_META_NOTES,
        mq_view_notes_text(view, policy->nonfinite_note, arena, &no_memory[1]),
        MQ_META_CALIBRATED_ON,
        mq_plan_calibrated_on(plan, policy),
        MQ_META_SOURCE_SUMS,
        mq_plan_source_sums(plan),
    };
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i += 2)
        if (optional[i + 1]) {
            m[n++] = optional[i];
            m[n++] = optional[i + 1];
        }
    return no_memory[0] || no_memory[1] ? mq_fail_memory(err, "planning") : MOEQ_OK;
}

enum mq_dtype mq_plan_dtype(const struct mq_level *level)
{
    for (int d = 0; d < MQ_DTYPE_COUNT; d++) {
        const char *storage = mq_dtype_storage((enum mq_dtype)d);
        if (storage && strcmp(storage, level->name) == 0)
            return (enum mq_dtype)d;
    }
    return MQ_U8;
}

static bool is_ffn(const struct mq_plan *plan, const struct mq_tensor *t)
{
    const enum mq_role_class group = mq_view_class(plan->view, t->role);
    return group == MQ_CLASS_EXPERTS || group == MQ_CLASS_SHARED;
}

/* Groups begin aligned: a layer, an expert (or MLP, or shared experts), what follows the layers. */
static bool begins_group(const struct mq_plan *plan, size_t i)
{
    if (i == 0)
        return true;
    const struct mq_tensor *t = plan->entries[i].tensor, *before = plan->entries[i - 1].tensor;
    return t->layer != before->layer || t->expert != before->expert ||
           is_ffn(plan, t) != is_ffn(plan, before);
}

static struct mq_layout_item entry_item(const struct mq_plan *plan, size_t i)
{
    const struct mq_plan_entry *e = &plan->entries[i];
    struct mq_layout_item item = {.name = e->tensor->name, .aligned = begins_group(plan, i)};
    if (e->level->quantized) {
        item.dtype = MQ_U8;
        item.dims = 2;
        item.shape[0] = e->tensor->rows;
        item.shape[1] = e->row_bytes;
    } else {
        item.dtype = mq_plan_dtype(e->level);
        item.dims = e->tensor->dims;
        item.shape[0] = e->tensor->dims == 1 ? e->tensor->cols : e->tensor->rows;
        item.shape[1] = e->tensor->cols;
    }
    return item;
}

static moeq_status plan_content(const struct mq_plan *plan, const struct mq_policy *policy,
                                struct mq_plan_content *content, moeq_error *err)
{
    const size_t n = plan->view->tensors_count;
    content->items = mq_arena_alloc(plan->arena, n + MQ_SIDE_COUNT, sizeof *content->items);
    content->bytes = mq_arena_alloc(plan->arena, n + MQ_SIDE_COUNT, sizeof *content->bytes);
    if (!content->items || !content->bytes)
        return mq_fail_memory(err, "planning");
    for (size_t i = 0; i < n; i++)
        content->items[content->count++] = entry_item(plan, i);
    MQ_TRY(add_sides(plan, content, err));
    return make_metadata(plan, policy, &content->metadata, err);
}

moeq_status mq_plan_create_sizes(const struct mq_view *view, const struct mq_policy *policy,
                                 struct mq_plan **out, moeq_error *err)
{
    const struct mq_level **levels;
    moeq_status status = MOEQ_OK;
    *out = NULL;
    struct mq_plan *plan = mq_plan_new(view, policy);
    if (!plan)
        return mq_fail_memory(err, "planning");
    MQ_TRY_OUT(mq_plan_levels(plan, policy, &levels, err));
    MQ_TRY_OUT(mq_plan_entries(plan, levels, err));
    *out = plan;
    return MOEQ_OK;
out:
    mq_plan_free(plan);
    return status;
}

moeq_status mq_plan_create_sharded(const struct mq_view *view, const struct mq_policy *policy,
                                   uint64_t shard_bytes, struct mq_plan **out, moeq_error *err)
{
    struct mq_plan_content content = {0};
    struct mq_plan *plan;
    moeq_status status = MOEQ_OK;
    *out = NULL;
    MQ_TRY(mq_plan_create_sizes(view, policy, &plan, err));
    MQ_TRY_OUT(plan_content(plan, policy, &content, err));
    MQ_TRY_OUT(mq_plan_place(plan, &content, shard_bytes, err));
    *out = plan;
    return MOEQ_OK;
out:
    mq_plan_free(plan);
    return status;
}

moeq_status mq_plan_create(const struct mq_view *view, const struct mq_policy *policy,
                           struct mq_plan **plan, moeq_error *err)
{
    return mq_plan_create_sharded(view, policy, 0, plan, err);
}

void mq_plan_free(struct mq_plan *plan)
{
    if (!plan)
        return;
    mq_arena_destroy(plan->arena);
    free(plan);
}
