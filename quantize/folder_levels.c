/* folder_levels.c: which level each tensor of a folder for another runtime has, and in which form. */
#include "folder_int.h"

#include "checked.h"
#include "error.h"
#include "stored.h"
#include "text_match.h"

#include <stdio.h>
#include <string.h>

static double bits(const struct mq_level *level)
{
    return 8.0 * level->block_bytes / level->block_weights;
}

bool mq_folder_is_linear(const struct mq_tensor *t)
{
    return t->dims == 2 && mq_ends_with(t->name, ".weight");
}

/* MLX's smallest groups are of so many weights; what is no multiple of them mlx-lm's own converter leaves as it is. */
static bool has_groups(const struct mq_tensor *t)
{
    enum { SMALLEST_GROUP = 32 };
    return t->cols % SMALLEST_GROUP == 0;
}

/* vLLM and its kin quantize no embeddings, and no head; what mlx-lm takes apart must be numbers. */
bool mq_folder_may_quantize(const struct mq_folder_job *job, const struct mq_tensor *t)
{
    const enum mq_role_class c = mq_view_class(job->plan->view, t->role);
    const bool mlx = job->options->format == MQ_FOLDER_MLX;
    if (c == MQ_CLASS_KEEP || !mq_folder_is_linear(t) || (mlx && !has_groups(t)))
        return false;
    return mlx ? !(t->role == MQ_ROLE_ATTN_KV_B && job->family->splits_kv_b)
               : c != MQ_CLASS_EMBEDDINGS;
}

/* The levels that the format has a form of. */
static void list_levels(enum mq_folder_format format, char *text, size_t room)
{
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < mq_levels_count && n < room; i++)
        if (mq_split_find(format, &mq_levels[i]) && mq_level_can_encode(&mq_levels[i]))
            n += (size_t)snprintf(text + n, room - n, "%s%s", n ? ", " : "", mq_levels[i].name);
}

static moeq_status fail_level(const struct mq_folder_job *job, const struct mq_tensor *t,
                              const struct mq_level *level, const struct mq_level *source)
{
    char list[500];
    list_levels(job->options->format, list, sizeof list);
    return mq_fail_file(
        job->err, MOEQ_UNSUPPORTED, job->plan->view->path,
        "tensor '%s' %s %s, of which --format %s has no form (it has: %s); %s", mq_tensor_shown(t),
        level == source ? "is stored at" : "is to be stored at", level->name,
        mq_folder_format_name(job->options->format), list,
        level == source ? "export the original model, or give --unify up, which encodes it again "
                          "at the next larger level"
                        : "--unify up takes the next larger one");
}

/* The smallest level not below `level` of which the format has a form, and the runtime's kernels take it. */
static const struct mq_level *next_larger(const struct mq_folder_job *job,
                                          const struct mq_tensor *t, const struct mq_level *level)
{
    const struct mq_level *best = NULL;
    for (size_t i = 0; i < mq_levels_count; i++) {
        const struct mq_level *l = &mq_levels[i];
        const struct mq_split *split = mq_split_find(job->options->format, l);
        if (split && mq_level_can_encode(l) && bits(l) >= bits(level) &&
            (!best || bits(l) < bits(best)) &&
            mq_folder_fits(split, t, mq_folder_gpus(job->options)))
            best = l;
    }
    return best;
}

/* Of what stays plain: as it is, or of blocks that nobody asked for, the numbers. */
static moeq_status choose_plain(const struct mq_folder_job *job, const struct mq_tensor *t,
                                const struct mq_level *source, const struct mq_level **level)
{
    const enum mq_role_class c = mq_view_class(job->plan->view, t->role);
    const bool asked = job->options->format != MQ_FOLDER_MLX && c == MQ_CLASS_EMBEDDINGS &&
                       *level != source &&
                       (job->options->asked[c] || *level != job->policy->levels[c]);
    if (!(*level)->quantized)
        return MOEQ_OK;
    if (asked && !job->options->unify_up)
        return mq_fail_file(
            job->err, MOEQ_UNSUPPORTED, job->plan->view->path,
            "tensor '%s' is to be stored at %s, but the runtimes of --format %s quantize no "
            "embeddings and no head: --embeddings bf16",
            mq_tensor_shown(t), (*level)->name, mq_folder_format_name(job->options->format));
    *level = source->quantized ? mq_level_find("bf16") : source;
    return MOEQ_OK;
}

static moeq_status choose_level(const struct mq_folder_job *job, size_t i)
{
    const struct mq_tensor *t = &job->plan->view->tensors[i];
    const struct mq_level **level = &job->levels[i], *source;
    MQ_TRY(mq_tensor_stored(job->plan->view, t, &source, job->err));
    if (!mq_folder_may_quantize(job, t))
        return choose_plain(job, t, source, level);
    if (!(*level)->quantized)
        return MOEQ_OK;
    const struct mq_split *split = mq_split_find(job->options->format, *level);
    const struct mq_level *larger =
        job->options->unify_up && !(split && mq_folder_fits(split, t, mq_folder_gpus(job->options)))
            ? next_larger(job, t, *level)
            : NULL;
    const bool asked = *level != job->policy->levels[mq_view_class(job->plan->view, t->role)] ||
                       job->options->asked[mq_view_class(job->plan->view, t->role)];
    if (split && !larger && !asked && !mq_folder_fits(split, t, mq_folder_gpus(job->options))) {
        *level = source;
        return choose_plain(job, t, source, level);
    }
    if (larger) {
        *level = larger;
        split = mq_split_find(job->options->format, larger);
    }
    return split ? mq_folder_check_shape(job, t, split) : fail_level(job, t, *level, source);
}

/* ---- what must be alike ---- */

/* Roles whose matrices of a layer a runtime has as one, or looks up by one of them. */
static const struct {
    enum mq_role roles[4];
    const char *what;
} alike[] = {
    {{MQ_ROLE_EXPERT_GATE, MQ_ROLE_EXPERT_UP, MQ_ROLE_EXPERT_DOWN, MQ_ROLE_COUNT},
     "the gate, up and down matrices of a layer's experts"},
    {{MQ_ROLE_ATTN_Q, MQ_ROLE_ATTN_K, MQ_ROLE_ATTN_V, MQ_ROLE_COUNT}, "q, k and v of a layer"},
    {{MQ_ROLE_ATTN_Q_A, MQ_ROLE_ATTN_KV_A, MQ_ROLE_COUNT}, "q_a and kv_a of a layer"},
    {{MQ_ROLE_MLP_GATE, MQ_ROLE_MLP_UP, MQ_ROLE_COUNT}, "gate and up of an MLP"},
    {{MQ_ROLE_SHARED_GATE, MQ_ROLE_SHARED_UP, MQ_ROLE_COUNT}, "gate and up of shared experts"},
};

struct alike_room {
    const struct mq_tensor **tensors;
    size_t count;
};

static void collect(const struct mq_folder_job *job, enum mq_role role, int32_t layer,
                    struct alike_room *room)
{
    const struct mq_view *view = job->plan->view;
    const struct mq_tensor *t = mq_view_find(view, role, layer, -1); /* of experts the first */
    for (uint32_t e = 1; t; e++) {
        room->tensors[room->count++] = t;
        t = t->expert >= 0 && e < view->hparams.experts
                ? mq_view_find(view, role, layer, (int32_t)e)
                : NULL;
    }
}

/* One level for what is one, and plain numbers beside none of blocks. */
static moeq_status unify(const struct mq_folder_job *job, const struct alike_room *room,
                         const char *what)
{
    const struct mq_view *view = job->plan->view;
    const struct mq_level *largest = NULL;
    for (size_t i = 0; i < room->count; i++) {
        const struct mq_level *level = job->levels[room->tensors[i] - view->tensors];
        const bool other =
            i && level != largest &&
            (job->options->format == MQ_FOLDER_MLX || level->quantized || largest->quantized);
        if (other && !job->options->unify_up)
            return mq_fail_file(job->err, MOEQ_UNSUPPORTED, view->path,
                                "layer %d: '%s' is %s and '%s' is %s, but --format %s has one "
                                "level for %s; --unify "
                                "up stores them all at the larger one",
                                room->tensors[0]->layer, mq_tensor_shown(room->tensors[0]),
                                largest->name, mq_tensor_shown(room->tensors[i]), level->name,
                                mq_folder_format_name(job->options->format), what);
        if (!largest || bits(level) > bits(largest))
            largest = level;
    }
    for (size_t i = 0; i < room->count; i++)
        job->levels[room->tensors[i] - view->tensors] = largest;
    return MOEQ_OK;
}

static moeq_status unify_layer(const struct mq_folder_job *job, int32_t layer,
                               struct alike_room *room)
{
    const bool mlx = job->options->format == MQ_FOLDER_MLX;
    for (size_t i = 0; i < sizeof alike / sizeof *alike && !mlx; i++) {
        room->count = 0;
        for (const enum mq_role *r = alike[i].roles; *r != MQ_ROLE_COUNT; r++)
            collect(job, *r, layer, room);
        MQ_TRY(unify(job, room, alike[i].what));
    }
    for (int m = 0; m < 6 && mlx; m++) { /* and their biases */
        room->count = 0;
        collect(job, (enum mq_role)(MQ_ROLE_EXPERT_GATE + m), layer, room);
        MQ_TRY(unify(job, room, "the experts of one matrix"));
    }
    return MOEQ_OK;
}

static moeq_status unify_all(const struct mq_folder_job *job)
{
    const struct mq_view *view = job->plan->view;
    struct alike_room room = {mq_arena_alloc(job->plan->arena,
                                             3 * ((size_t)view->hparams.experts + 1),
                                             sizeof *room.tensors),
                              0};
    if (!room.tensors)
        return mq_fail_memory(job->err, "planning");
    for (uint32_t layer = 0; layer < view->hparams.layers; layer++)
        MQ_TRY(unify_layer(job, (int32_t)layer, &room));
    return MOEQ_OK;
}

/* ---- forms ---- */

/* The parts' sizes in place of the rows' of blocks. */
static moeq_status put_form(const struct mq_folder_job *job, struct mq_plan_entry *e)
{
    const struct mq_tensor *t = e->tensor;
    e->split = e->level->quantized ? mq_split_find(job->options->format, e->level) : NULL;
    if (!e->split)
        return MOEQ_OK;
    uint64_t sum = 0, bytes;
    for (uint32_t p = 0; p < e->split->parts_count; p++) {
        e->parts[p].row_bytes = mq_split_row_bytes(e->split, p, t->cols);
        if (!mq_mul_u64(mq_split_rows(e->split, p, t->rows), e->parts[p].row_bytes, &bytes) ||
            !mq_add_u64(sum, bytes, &sum))
            return mq_fail(job->err, MOEQ_LIMIT, "tensor '%s' is too large", mq_tensor_shown(t));
    }
    e->size_bytes = sum;
    return MOEQ_OK;
}

static moeq_status put_forms(const struct mq_folder_job *job)
{
    struct mq_plan *plan = job->plan;
    memset(plan->by_class, 0, sizeof plan->by_class);
    plan->total = (struct mq_plan_total){0};
    for (size_t i = 0; i < plan->view->tensors_count; i++) {
        struct mq_plan_entry *e = &plan->entries[i];
        MQ_TRY(put_form(job, e));
        mq_plan_total_add(&plan->by_class[mq_view_class(plan->view, e->tensor->role)], e->tensor,
                          e->size_bytes);
        mq_plan_total_add(&plan->total, e->tensor, e->size_bytes);
    }
    return MOEQ_OK;
}

/* ---- what a user should know ---- */

/* Forms that a part of the model has: experts, or the rest. */
static bool has_several(const struct mq_plan *plan, bool experts)
{
    const struct mq_split *first = NULL;
    for (size_t i = 0; i < plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        if (!e->split || (e->tensor->expert >= 0) != experts)
            continue;
        if (first && e->split != first)
            return true;
        first = e->split;
    }
    return false;
}

/* MLX computes in the type of a layer's inputs, and F32 where those of two tensors differ: norms, and scales (which of MXFP4
 * have none). */
static bool mixes_types(const struct mq_plan *plan)
{
    bool types[MQ_DTYPE_COUNT] = {false};
    for (size_t i = 0; i < plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        if (e->split && e->split->parts_count == 3)
            types[e->split->parts[1].dtype] = true;
        else if (e->tensor->role == MQ_ROLE_ATTN_NORM)
            types[mq_plan_dtype(e->level)] = true;
    }
    return types[MQ_F16] + types[MQ_BF16] + types[MQ_F32] > 1;
}

static void warn(const struct mq_folder_job *job)
{
    struct mq_plan *plan = job->plan;
    bool left = false;
    for (size_t i = 0; i < plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        const struct mq_level *wanted =
            job->policy->levels[mq_view_class(plan->view, e->tensor->role)];
        left |= !e->split && wanted && mq_split_find(job->options->format, wanted) &&
                wanted != e->level && mq_folder_is_linear(e->tensor) &&
                !mq_folder_fits(mq_split_find(job->options->format, wanted), e->tensor,
                                mq_folder_gpus(job->options));
    }
    if (job->options->format == MQ_FOLDER_MLX && mixes_types(plan))
        mq_plan_warn(
            plan,
            "norms are of another type than scales, which of copied blocks are F16: MLX computes "
            "in "
            "F32, exactly but slower than of the original at a level of its own, such as mlx4g64");
    if (left)
        mq_plan_warn(plan, "matrices of shapes that no level of these bits fits stay plain");
    if (job->options->format == MQ_FOLDER_INT8 && mq_view_has_experts(plan->view))
        mq_plan_warn(plan,
                     "Transformers (5.24) loads no experts of this format; vLLM and SGLang do");
    if (job->options->format == MQ_FOLDER_PACKED &&
        (has_several(plan, true) || has_several(plan, false)))
        mq_plan_warn(plan,
                     "vLLM reads several levels of experts, or of the rest; Transformers takes the "
                     "first of each for all, and SGLang the experts' first");
}

moeq_status mq_folder_levels(struct mq_folder_job *job)
{
    MQ_TRY(mq_plan_levels(job->plan, job->policy, &job->levels, job->err));
    for (size_t i = 0; i < job->plan->view->tensors_count; i++)
        MQ_TRY(choose_level(job, i));
    MQ_TRY(unify_all(job));
    MQ_TRY(mq_plan_entries(job->plan, job->levels, job->err));
    MQ_TRY(put_forms(job));
    warn(job);
    return MOEQ_OK;
}

/* ---- without a level ---- */

/* How many of a class's weights have shapes that the runtime takes at this level, and how many there are. */
static uint64_t fitting(const struct mq_view *view, const struct mq_folder_options *options,
                        enum mq_role_class c, const struct mq_level *level, uint64_t *all)
{
    const struct mq_split *split = mq_split_find(options->format, level);
    uint64_t n = 0;
    *all = 0;
    for (size_t i = 0; split && i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (mq_view_class(view, t->role) != c || !mq_folder_is_linear(t) ||
            (options->format == MQ_FOLDER_MLX && !has_groups(t)))
            continue;
        *all += t->rows * t->cols;
        n += mq_folder_fits(split, t, mq_folder_gpus(options)) ? t->rows * t->cols : 0;
    }
    return n;
}

/* Experts are stored in a form of the format, or in blocks that are not to be coded again. */
static bool is_quantized(const struct mq_view *view, enum mq_folder_format format)
{
    const bool file = view->kind == MQ_VIEW_MOEQ || view->kind == MQ_VIEW_GGUF;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_level *level;
        if (mq_view_class(view, view->tensors[i].role) == MQ_CLASS_EXPERTS &&
            mq_tensor_stored(view, &view->tensors[i], &level, NULL) == MOEQ_OK &&
            level->quantized && (file || mq_split_find(format, level)))
            return true;
    }
    return false;
}

/* Of a model without experts its MLPs'. */
static uint64_t expert_width(const struct mq_view *view)
{
    for (size_t i = 0; i < view->tensors_count; i++)
        if (view->tensors[i].role == MQ_ROLE_EXPERT_DOWN ||
            (view->tensors[i].role == MQ_ROLE_MLP_DOWN && !mq_view_has_experts(view)))
            return view->tensors[i].cols;
    return 0;
}

const struct mq_level *mq_folder_default_level(const struct mq_view *view,
                                               const struct mq_folder_options *options)
{
    enum { COARSE = 4096 }; /* narrower experts are many small ones, which large groups cost more */
    static const char *const names[MQ_FOLDER_FORMATS] = {
        [MQ_FOLDER_MLX] = "mlx4g64",
        [MQ_FOLDER_PACKED] = "w4g32",
        [MQ_FOLDER_FP8] = "fp8b",
        [MQ_FOLDER_INT8] = "w8c",
    };
    if (is_quantized(view, options->format))
        return NULL;
    const struct mq_level *coarse = mq_level_find("w4g128");
    uint64_t all;
    if (options->format == MQ_FOLDER_PACKED && expert_width(view) >= COARSE &&
        fitting(view, options, MQ_CLASS_EXPERTS, coarse, &all) == all)
        return coarse;
    return mq_level_find(names[options->format]);
}

static void fit_class(const struct mq_view *view, const struct mq_folder_options *options,
                      enum mq_role_class c, struct mq_policy *policy)
{
    const struct mq_level *level = policy->levels[c];
    const struct mq_split *split = level ? mq_split_find(options->format, level) : NULL;
    uint64_t all, most;
    if (!split || options->asked[c] || (most = fitting(view, options, c, level, &all)) == all)
        return;
    for (size_t i = 0; i < mq_levels_count; i++) {
        const struct mq_level *l = &mq_levels[i];
        const struct mq_split *s = mq_split_find(options->format, l);
        if (!s || !mq_level_can_encode(l) || !mq_folder_same_codes(s, split))
            continue;
        const uint64_t n = fitting(view, options, c, l, &all);
        if (n > most || (n == most && n && bits(l) < bits(policy->levels[c]))) {
            most = n;
            policy->levels[c] = l;
        }
    }
}

/* Transformers takes one level for all but experts: shared experts' and attention's smaller groups for both. */
static void fit_rest(const struct mq_view *view, const struct mq_folder_options *options,
                     struct mq_policy *policy)
{
    static const enum mq_role_class classes[] = {MQ_CLASS_SHARED, MQ_CLASS_ATTENTION};
    const struct mq_level *level[] = {policy->levels[classes[0]], policy->levels[classes[1]]};
    uint64_t all;
    if (!level[0] || !level[1] || options->asked[classes[0]] || options->asked[classes[1]])
        return;
    const size_t larger = bits(level[0]) > bits(level[1]) ? 0 : 1, other = 1 - larger;
    const struct mq_split *a = mq_split_find(options->format, level[0]),
                          *b = mq_split_find(options->format, level[1]);
    if (a && b && mq_folder_same_codes(a, b) &&
        fitting(view, options, classes[other], level[larger], &all) == all)
        policy->levels[classes[other]] = level[larger];
}

void mq_folder_fit_policy(const struct mq_view *view, const struct mq_folder_options *options,
                          struct mq_policy *policy)
{
    for (int c = 0; c < MQ_CLASS_COUNT; c++)
        fit_class(view, options, (enum mq_role_class)c, policy);
    fit_rest(view, options, policy);
}
