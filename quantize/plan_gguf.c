/*
 * plan_gguf.c: every byte count and place of GGUF files.
 *
 * Tensors stand in the view's order, a tensor of experts where its first expert does; each begins
 * at a multiple of MQ_GGUF_ALIGNMENT. The metadata is complete enough for llama.cpp to load and run
 * the file, key by key what its own converter writes for these families.
 */
#include "plan_int.h"

#include "checked.h"
#include "error.h"
#include "family.h"
#include "gguf_arch.h"
#include "gguf_carried.h"
#include "gguf_form.h"
#include "gguf_model.h"
#include "gguf_vocab_export.h"
#include "gguf_writer.h"
#include "moeq_profile.h"
#include "open_options.h"
#include "safetensors.h"
#include "token_profile.h"
#include "stored.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A tensor of the output: an entry, the experts of one matrix, or one that is computed. */
struct out_tensor {
    const char *name;
    const struct mq_gguf_type *type;
    uint32_t dims;
    uint64_t ne[3];
    uint64_t size_bytes, offset; /* offset: behind the start of the file's data */
    uint32_t file;
    const void *bytes; /* of a computed tensor; NULL: the rows of entries */
};

struct job {
    struct mq_plan *plan;
    const struct mq_policy *policy;
    const struct mq_gguf_options *options;
    const struct mq_gguf_arch *arch;
    const struct mq_level **levels; /* one a tensor of the view */
    struct out_tensor *tensors;
    size_t tensors_count, turned_quantized;
    size_t *tensor_of;              /* [view's tensors] -> tensors; of two the first */
    struct mq_gguf_writer metadata; /* of the first file */
    moeq_error *err;
};

/* ---- levels that GGUF can store ---- */

static double bits(const struct mq_level *level)
{
    return 8.0 * level->block_bytes / level->block_weights;
}

static bool fits(const struct mq_level *level, const struct mq_tensor *t)
{
    return t->cols % level->block_weights == 0 && mq_gguf_type_by_storage(level->name);
}

/* The smallest level not below `level` in which rows of this tensor are whole blocks; the source's
 * own where it is as small. */
static const struct mq_level *next_larger(const struct mq_level *level,
                                          const struct mq_level *source, const struct mq_tensor *t)
{
    const struct mq_level *best = NULL;
    for (size_t i = 0; i < mq_levels_count; i++) {
        const struct mq_level *l = &mq_levels[i];
        if (bits(l) < bits(level) || !fits(l, t) || !mq_level_can_encode(l))
            continue;
        if (!best || bits(l) < bits(best) || (bits(l) == bits(best) && l == source))
            best = l;
    }
    return best ? best : source;
}

/* A level whose rows are whole blocks, for every tensor. */
static moeq_status choose_level(const struct job *job, size_t i)
{
    static const char f32[] = "f32";
    const struct mq_tensor *t = &job->plan->view->tensors[i];
    const struct mq_level **level = &job->levels[i], *source;
    if (mq_view_class(job->plan->view, t->role) == MQ_CLASS_KEEP) {
        *level = mq_level_find(f32); /* what llama.cpp expects of norms and routers */
        return MOEQ_OK;
    }
    if (fits(*level, t))
        return MOEQ_OK;
    if (!job->options->unify_up && !mq_gguf_type_by_storage((*level)->name))
        return mq_fail(
            job->err, MOEQ_UNSUPPORTED,
            "%s: tensor '%s' is to be stored at %s, of which GGUF has no type; --unify up "
            "stores such tensors at the next larger level that it has",
            job->plan->view->path, mq_tensor_shown(t), (*level)->name);
    if (!job->options->unify_up)
        return mq_fail(job->err, MOEQ_UNSUPPORTED,
                       "%s: tensor '%s' has rows of %" PRIu64 " weights, %s has blocks of %u: GGUF "
                       "has no tails; --unify up stores such tensors at the next larger level",
                       job->plan->view->path, mq_tensor_shown(t), t->cols, (*level)->name,
                       (*level)->block_weights);
    MQ_TRY(mq_tensor_stored(job->plan->view, t, &source, job->err));
    if (!mq_gguf_type_by_storage((*level)->name)) /* FP8 and its kin: as llama.cpp's converter */
        *level = mq_level_find("bf16");
    else
        *level = next_larger(*level, source, t);
    return MOEQ_OK;
}

/* One level for what is one tensor: the experts of a matrix, or q, k and v. */
static moeq_status unify(const struct job *job, const struct mq_tensor *const *tensors, size_t n,
                         const char *what)
{
    const struct mq_view *view = job->plan->view;
    const struct mq_level *largest = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct mq_level *level = job->levels[tensors[i] - view->tensors];
        if (i && level != largest && !job->options->unify_up)
            return mq_fail(job->err, MOEQ_UNSUPPORTED,
                           "%s: '%s' is %s and '%s' is %s, but GGUF has %s in one tensor of one "
                           "type; --unify up stores them all at the larger level",
                           view->path, mq_tensor_shown(tensors[0]), largest->name,
                           mq_tensor_shown(tensors[i]), level->name, what);
        if (!largest || bits(level) > bits(largest))
            largest = level;
    }
    for (size_t i = 0; i < n; i++)
        job->levels[tensors[i] - view->tensors] = largest;
    return MOEQ_OK;
}

static moeq_status unify_experts(const struct job *job, enum mq_role role, int32_t layer,
                                 const struct mq_tensor **room)
{
    const struct mq_view *view = job->plan->view;
    if (!mq_view_find(view, role, layer, 0))
        return MOEQ_OK;
    const uint32_t experts = view->program->layers[layer]->layer.ffn.router.experts;
    for (uint32_t e = 0; e < experts; e++)
        room[e] = mq_view_find(view, role, layer, (int32_t)e);
    return unify(job, room, experts, "the experts of one matrix");
}

/* Of an architecture that has q, k and v in one tensor, the first of them in a layer that is not the tensor
 * itself; NULL: it opens a tensor of its own. */
static const struct mq_tensor *opened_by(const struct job *job, const struct mq_tensor *t)
{
    const struct mq_view *view = job->plan->view;
    if (t->expert > 0)
        return mq_view_find(view, t->role, t->layer, 0);
    if (job->arch->joined_qkv && (t->role == MQ_ROLE_ATTN_K || t->role == MQ_ROLE_ATTN_V))
        return mq_view_find(view, MQ_ROLE_ATTN_Q, t->layer, t->expert);
    return NULL;
}

static moeq_status unify_qkv(const struct job *job, int32_t layer)
{
    static const enum mq_role roles[] = {MQ_ROLE_ATTN_Q, MQ_ROLE_ATTN_K, MQ_ROLE_ATTN_V};
    const struct mq_tensor *qkv[3];
    size_t n = 0;
    for (size_t i = 0; job->arch->joined_qkv && i < 3; i++) {
        qkv[n] = mq_view_find(job->plan->view, roles[i], layer, -1);
        n += qkv[n] != NULL;
    }
    return unify(job, qkv, n, "q, k and v");
}

static moeq_status choose_levels(struct job *job)
{
    const struct mq_view *view = job->plan->view;
    MQ_TRY(mq_plan_levels(job->plan, job->policy, &job->levels, job->err));
    for (size_t i = 0; i < view->tensors_count; i++)
        MQ_TRY(choose_level(job, i));
    const struct mq_tensor **room =
        mq_arena_alloc(job->plan->arena, view->hparams.experts + 1, sizeof *room);
    if (!room)
        return mq_fail_memory(job->err, "planning");
    for (uint32_t layer = 0; layer < view->hparams.layers; layer++) {
        MQ_TRY(unify_qkv(job, (int32_t)layer));
        for (int role = 0; role < MQ_ROLE_COUNT; role++)
            if (mq_gguf_role((enum mq_role)role)->split_name)
                MQ_TRY(unify_experts(job, (enum mq_role)role, (int32_t)layer, room));
    }
    return mq_plan_entries(job->plan, job->levels, job->err);
}

/* ---- tensors ---- */

/* What frequency i of a head is divided by. */
static double rope_divisor(const struct mq_rope *rope, uint32_t dim, uint32_t i, bool far)
{
    const double never = 1e30; /* of pairs that are not turned */
    if (rope->type == MQ_ROPE_LONGROPE)
        return (far ? rope->far : rope->near).divisors[i];
    if (rope->type == MQ_ROPE_PARTLY)
        return i < (uint32_t)(rope->part * dim) / 2 ? rope->factor : never;
    return mq_gguf_rope_factor(rope, dim, i);
}

static moeq_status add_divisors(struct job *job, const char *name, uint32_t dim, bool far)
{
    const uint32_t n = dim / 2;
    float *factors = mq_arena_alloc(job->plan->arena, n, sizeof *factors);
    if (!factors)
        return mq_fail_memory(job->err, "planning");
    for (uint32_t i = 0; i < n; i++)
        factors[i] = (float)rope_divisor(&job->plan->view->hparams.rope, dim, i, far);
    job->tensors[job->tensors_count++] = (struct out_tensor){.name = name,
                                                             .type = mq_gguf_type_by_storage("f32"),
                                                             .dims = 1,
                                                             .ne = {n},
                                                             .size_bytes = n * sizeof *factors,
                                                             .bytes = factors};
    return MOEQ_OK;
}

/* The numbers of a head that are turned, of layers that go by hparams.rope. */
static uint32_t turned_dim(const struct mq_view *view)
{
    for (uint32_t i = 0; i < view->hparams.layers; i++) {
        const struct mq_layer_attention *a = &view->program->layers[i]->layer.attention;
        if (a->rope == MQ_ROPE_OF_MAIN)
            return a->rotary_dim;
    }
    return view->hparams.head_dim;
}

/* Positions that are stretched by tensors. */
static moeq_status add_rope_factors(struct job *job)
{
    const struct mq_view *view = job->plan->view;
    const struct mq_rope *r = &view->hparams.rope;
    const uint32_t dim = turned_dim(view);
    if (r->type == MQ_ROPE_LLAMA3 || r->type == MQ_ROPE_PARTLY)
        return add_divisors(job, MQ_GGUF_ROPE_FREQS, dim, false);
    if (r->type != MQ_ROPE_LONGROPE)
        return MOEQ_OK;
    if (r->near.magnitude != r->far.magnitude)
        return mq_fail_file(job->err, MOEQ_UNSUPPORTED, view->path,
                            "short_mscale and long_mscale differ (%g and %g): GGUF has one number "
                            "for both",
                            r->near.magnitude, r->far.magnitude);
    MQ_TRY(add_divisors(job, MQ_GGUF_ROPE_LONG, dim, true));
    return add_divisors(job, MQ_GGUF_ROPE_SHORT, dim, false);
}

/* What of a tensor is stored otherwise, and whether its blocks allow it. */
static moeq_status choose_form(const struct job *job, struct mq_plan_entry *e)
{
    const struct mq_view *view = job->plan->view;
    const struct mq_tensor *t = e->tensor;
    MQ_TRY(mq_gguf_form(view, t, job->plan->arena, &e->form, job->err));
    const struct mq_form *f = e->form;
    if (!f || !f->columns || mq_form_columns_fit(f, e->source->block_weights))
        return MOEQ_OK;
    return mq_fail_file(
        job->err, MOEQ_UNSUPPORTED, view->path,
        "tensor '%s' is stored at %s, whose blocks are no parts of a head: GGUF has "
        "its columns in another order; export the original model",
        mq_tensor_shown(t), e->source->name);
}

/* The second tensor of a matrix that is two. Turned, its rows are of another length, and blocks cannot
 * be copied: what was quantized becomes plain numbers. */
static moeq_status add_second(struct job *job, struct mq_plan_entry *e)
{
    struct mq_plan *plan = job->plan;
    const struct mq_form *f = e->form;
    const bool turned = f->what & MQ_FORM_KV_B;
    struct mq_tensor part = *e->tensor;
    part.rows = f->rows_of[1];
    part.cols = turned ? f->plain : part.cols;
    e->second.level = e->level;
    if (turned && e->source->quantized) {
        e->second.level = mq_level_find("bf16");
        job->turned_quantized++;
    } else if (!fits(e->level, &part)) {
        e->second.level = next_larger(e->level, e->source, &part);
    }
    e->second.row_bytes = mq_level_row_bytes(e->second.level, part.cols);
    struct out_tensor *out = &job->tensors[job->tensors_count++];
    *out = (struct out_tensor){
        .name = mq_pattern_expand(plan->arena, f->names[1], part.layer, -1),
        .type = mq_gguf_type_by_storage(e->second.level->name),
        .dims = turned ? 3 : 2,
        .ne = {part.cols, turned ? e->tensor->cols : part.rows, turned ? f->heads : 1}};
    if (!out->name)
        return mq_fail_memory(job->err, "planning");
    if (!mq_mul_u64(part.rows, e->second.row_bytes, &out->size_bytes))
        return mq_fail(job->err, MOEQ_LIMIT, "tensor '%s' is too large", out->name);
    return MOEQ_OK;
}

static moeq_status add_tensor(struct job *job, struct mq_plan_entry *e)
{
    struct mq_plan *plan = job->plan;
    const struct mq_tensor *t = e->tensor;
    const uint64_t experts = t->expert < 0 ? 1 : plan->view->hparams.experts;
    const bool vectors = t->expert >= 0 && t->dims == 1; /* of experts: a matrix */
    MQ_TRY(choose_form(job, e));
    const bool two = e->form && e->form->names[0];
    const char *pattern = two ? e->form->names[0] : mq_gguf_role_name(job->arch, t->role);
    struct out_tensor *out = &job->tensors[job->tensors_count++];
    *out = (struct out_tensor){.name = mq_pattern_expand(plan->arena, pattern, t->layer, -1),
                               .type = mq_gguf_type_by_storage(e->level->name),
                               .dims = t->expert < 0 ? t->dims
                                       : vectors     ? 2
                                                     : 3,
                               .ne = {t->cols, vectors ? experts : t->rows, vectors ? 1 : experts}};
    if (e->form)
        mq_form_shape(plan->view, t, e->form, out->ne, &out->dims);
    uint64_t bytes = two ? e->form->rows_of[0] * e->row_bytes : e->size_bytes, before;
    if (job->arch->joined_qkv && t->role == MQ_ROLE_ATTN_Q) {
        pattern = mq_gguf_joint(plan->view, t, &before, &out->ne[1]);
        out->name = mq_pattern_expand(plan->arena, pattern, t->layer, -1);
        bytes = out->ne[1] * e->row_bytes;
    }
    if (!out->name)
        return mq_fail_memory(job->err, "planning");
    if (!mq_mul_u64(bytes, experts, &out->size_bytes))
        return mq_fail(job->err, MOEQ_LIMIT, "tensor '%s' is too large", out->name);
    return two ? add_second(job, e) : MOEQ_OK;
}

static moeq_status list_tensors(struct job *job)
{
    enum { OF_ROPE = 2 };
    struct mq_plan *plan = job->plan;
    const struct mq_view *view = plan->view;
    const size_t n = view->tensors_count;
    job->tensors = mq_arena_alloc(plan->arena, 2 * n + OF_ROPE, sizeof *job->tensors);
    job->tensor_of = mq_arena_alloc(plan->arena, n, sizeof *job->tensor_of);
    if (!job->tensors || !job->tensor_of)
        return mq_fail_memory(job->err, "planning");
    MQ_TRY(add_rope_factors(job));
    for (size_t i = 0; i < n; i++) {
        struct mq_plan_entry *e = &plan->entries[i];
        const struct mq_tensor *t = e->tensor;
        const struct mq_tensor *first = opened_by(job, t);
        if (first) { /* joins it */
            job->tensor_of[i] = job->tensor_of[first - view->tensors];
            continue;
        }
        job->tensor_of[i] = job->tensors_count;
        MQ_TRY(add_tensor(job, e));
    }
    if (job->turned_quantized)
        mq_plan_warn(plan, mq_arena_printf(plan->arena,
                                           "%zu matrices are quantized already and stand turned in "
                                           "GGUF: what their blocks decode to is written as bf16",
                                           job->turned_quantized));
    return MOEQ_OK;
}

/* ---- metadata ---- */

/* The recipe that was asked for, or that a moeq file says it was made by; NULL: none. */
static const struct mq_recipe *recipe_of(const struct job *job)
{
    static const char key[] = "; recipe=";
    const struct mq_view *view = job->plan->view;
    char name[32];
    if (job->policy->recipe)
        return job->policy->recipe;
    const char *made = view->kind == MQ_VIEW_MOEQ && view->metadata
                           ? mq_metadata_get(view->metadata, MQ_META_RECIPE)
                           : NULL;
    const char *at = made ? strstr(made, key) : NULL;
    if (!at)
        return NULL;
    at += sizeof key - 1;
    snprintf(name, sizeof name, "%.*s", (int)mq_min_u64(strcspn(at, ";"), sizeof name - 1), at);
    return mq_recipe_find(name);
}

/* Whether a GGUF file's matrices are as they were. (Norms and routers, which become f32, make no
 * file type.) */
static bool is_copy(const struct job *job)
{
    const struct mq_plan *plan = job->plan;
    for (size_t i = 0; i < plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        if (mq_view_class(plan->view, e->tensor->role) != MQ_CLASS_KEEP &&
            strcmp(e->tensor->storage, e->level->name) != 0)
            return false;
    }
    return plan->view->kind == MQ_VIEW_GGUF;
}

/*
 * general.file_type: what programs show as the file's quantization. Of a copy what it was; a
 * recipe's own; otherwise that of the level that most weights of experts or MLPs have: embeddings
 * and attention are stored at another level by default, and outweigh the rest in small models.
 */
static uint32_t file_type(const struct job *job, const struct mq_gguf *carried)
{
    const struct mq_plan *plan = job->plan;
    const struct mq_recipe *recipe = recipe_of(job);
    uint32_t kept;
    if (is_copy(job) && mq_gguf_kept_file_type(carried, &kept))
        return kept;
    const struct mq_gguf_type *best = NULL;
    uint64_t most = 0;
    if (recipe && recipe->gguf_file_type)
        return mq_gguf_file_type(carried, recipe->gguf_file_type);
    for (size_t k = 0; k < mq_gguf_types_count; k++) {
        const struct mq_gguf_type *type = &mq_gguf_types[k];
        uint64_t weights = 0;
        for (size_t i = 0; type->storage && i < plan->view->tensors_count; i++) {
            const struct mq_plan_entry *e = &plan->entries[i];
            if (mq_view_class(plan->view, e->tensor->role) == MQ_CLASS_EXPERTS &&
                strcmp(e->level->name, type->storage) == 0)
                weights += e->tensor->rows * e->tensor->cols;
        }
        if (weights > most) {
            most = weights;
            best = type;
        }
    }
    return mq_gguf_file_type(carried, best ? best->file_type : 0);
}

/* "8x7.2B" or "6.7B": the parameters of one expert with what all share, and the number of experts.
 */
static void size_label(const struct mq_view *view, char *text, size_t room)
{
    static const struct {
        double unit;
        char letter;
    } units[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
    const uint32_t experts = view->hparams.experts;
    double shared = 0, of_experts = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        *(t->expert < 0 ? &shared : &of_experts) += (double)t->rows * (double)t->cols;
    }
    const double n = shared + (experts ? of_experts / experts : 0);
    size_t u = 0;
    while (u + 1 < sizeof units / sizeof *units && n < units[u].unit)
        u++;
    const double scaled = n / units[u].unit;
    const int used = experts ? snprintf(text, room, "%ux", experts) : 0;
    snprintf(text + used, room - (size_t)used, "%.*f%c", scaled < 10 ? 1 : 0, scaled,
             units[u].letter);
}

/* What the model is called and made of, of which a GGUF file that it came from knows more. */
static moeq_status put_general(struct job *job, const struct mq_gguf *carried)
{
    struct mq_gguf_writer *w = &job->metadata;
    const char *name = mq_plan_model_name(job->plan);
    char label[32];
    if (!name)
        return mq_fail_memory(job->err, "planning");
    size_label(job->plan->view, label, sizeof label);
    const struct {
        const char *key, *value;
    } texts[] = {{MQ_GGUF_KEY_ARCHITECTURE, w->architecture},
                 {MQ_GGUF_KEY_TYPE, "model"},
                 {MQ_GGUF_KEY_NAME, name},
                 {MQ_GGUF_KEY_SIZE_LABEL, label}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (i == 0 || !carried || !mq_gguf_find(carried, texts[i].key))
            mq_gguf_put_string(w, texts[i].key, texts[i].value, strlen(texts[i].value));
    return MOEQ_OK;
}

/* What says what the model computes, tried as readers will read it. */
static moeq_status put_model(struct job *job)
{
    const struct mq_view *view = job->plan->view;
    struct mq_gguf_writer w = {.architecture = view->family->gguf_architecture};
    struct mq_buffer header = {0};
    mq_gguf_put_model(&job->metadata, job->arch, view);
    mq_gguf_put_model(&w, job->arch, view);
    moeq_status status = mq_gguf_writer_finish(&w, &header, job->err);
    if (status == MOEQ_OK)
        status = mq_gguf_check_model(view, header.data, header.size, job->err);
    mq_buffer_free(&header);
    return status;
}

/* `carried`: the keys of the GGUF file that the model came from, NULL if there was none. They are
 * written as they were, but for those that say what the tensors are. */
static moeq_status put_keys(struct job *job, const struct mq_gguf *carried)
{
    struct mq_plan *plan = job->plan;
    struct mq_gguf_writer *w = &job->metadata;
    const struct mq_view *view = plan->view;
    w->architecture = view->family->gguf_architecture;
    MQ_TRY(put_general(job, carried));
    MQ_TRY(put_model(job));
    mq_gguf_put_u32(w, MQ_GGUF_KEY_FILE_TYPE, file_type(job, carried));
    mq_gguf_put_u32(w, MQ_GGUF_KEY_QUANTIZATION_VERSION, 2);
    if (plan->importance) { /* where llama.cpp and its users look for it */
        const char *name = mq_importance_name(plan->importance);
        mq_gguf_put_string(w, MQ_GGUF_KEY_IMATRIX_FILE, name, strlen(name));
        mq_gguf_put_i32(w, MQ_GGUF_KEY_IMATRIX_ENTRIES,
                        (int32_t)mq_importance_count(plan->importance));
    }
    if (job->policy->calibration || job->policy->chosen_by) {
        const char *made_by = mq_plan_recipe_text(plan, job->policy);
        if (!made_by)
            return mq_fail_memory(job->err, "planning");
        mq_gguf_put_string(w, MQ_META_RECIPE, made_by, strlen(made_by));
    }
    bool no_memory;
    const char *notes = mq_view_notes_text(view, NULL, plan->arena, &no_memory);
    if (no_memory)
        return mq_fail_memory(job->err, "planning");
    if (notes) /* nobody else reads it; it is not lost */
        mq_gguf_put_string(w, MQ_META_NOTES, notes, strlen(notes));
    const char *const calibrated_on = mq_plan_calibrated_on(plan, job->policy);
    if (calibrated_on)
        mq_gguf_put_string(w, MQ_META_CALIBRATED_ON, calibrated_on, strlen(calibrated_on));
    const char *const sums = mq_plan_source_sums(plan);
    if (sums)
        mq_gguf_put_string(w, MQ_META_SOURCE_SUMS, sums, strlen(sums));
    if (carried) {
        mq_gguf_put_carried(w, carried);
        if (!mq_gguf_find(carried, MQ_GGUF_KEY_TOKENIZER))
            mq_plan_warn(plan, "there is no tokenizer, as there was none in the GGUF file that the "
                               "model came from: llama.cpp loads no model without one");
        return MOEQ_OK;
    }
    const char *warning = NULL;
    MQ_TRY(mq_gguf_put_vocab(w, view, plan->arena, &warning, job->err));
    if (warning)
        mq_plan_warn(plan, warning);
    return MOEQ_OK;
}

static moeq_status put_metadata(struct job *job)
{
    struct mq_plan *plan = job->plan;
    struct mq_gguf carried = {.file = {.fd = -1}};
    if (!plan->view->side[MQ_SIDE_GGUF_METADATA].size)
        return put_keys(job, NULL);
    moeq_status status = mq_gguf_read_carried(plan->view, plan->arena, &carried, job->err);
    if (status == MOEQ_OK)
        status = put_keys(job, &carried);
    mq_gguf_close(&carried);
    return status;
}

/* ---- files ---- */

/* Tensors to files, in order, a new one where the next tensor would not fit. */
static moeq_status cut_files(struct job *job)
{
    enum { OTHER_BYTES = 256 }; /* of a header: counts, keys of splits, padding */
    struct mq_plan *plan = job->plan;
    uint64_t at = 0, header = job->metadata.metadata.size + OTHER_BYTES;
    uint32_t file = 0;
    for (size_t i = 0; i < job->tensors_count; i++) {
        struct out_tensor *t = &job->tensors[i];
        const uint64_t info = 8 + strlen(t->name) + 4 + 8 * t->dims + 4 + 8;
        uint64_t end;
        if (!mq_add_u64(mq_round_up(at, MQ_GGUF_ALIGNMENT), t->size_bytes, &end) ||
            end > INT64_MAX - (UINT64_C(1) << 40))
            return mq_fail(job->err, MOEQ_LIMIT, "the output is larger than a file can be");
        if (at && job->options->split_bytes && header + info + end > job->options->split_bytes) {
            file++;
            at = 0;
            header = OTHER_BYTES;
        }
        header += info;
        t->file = file;
        t->offset = mq_round_up(at, MQ_GGUF_ALIGNMENT);
        at = t->offset + t->size_bytes;
    }
    if (file >= UINT16_MAX)
        return mq_fail(job->err, MOEQ_INVALID_ARGUMENT,
                       "splits this small make %u files; at most %d", file + 1, UINT16_MAX);
    plan->files_count = file + 1;
    plan->files = mq_arena_alloc(plan->arena, plan->files_count, sizeof *plan->files);
    return plan->files ? MOEQ_OK : mq_fail_memory(job->err, "planning");
}

/* The header of one file; each tensor's place in the file. */
static moeq_status plan_file(struct job *job, uint32_t file)
{
    struct mq_plan *plan = job->plan;
    struct mq_plan_file *f = &plan->files[file];
    struct mq_gguf_writer w = {0};
    struct mq_buffer header = {0};
    moeq_status status = MOEQ_OK;
    f->name_end = "";
    if (file == 0) { /* it is this writer's now */
        w = job->metadata;
        job->metadata = (struct mq_gguf_writer){0};
    }
    if (plan->files_count > 1) {
        mq_gguf_put_u16(&w, MQ_GGUF_KEY_SPLIT_NO, (uint16_t)file);
        mq_gguf_put_u16(&w, MQ_GGUF_KEY_SPLIT_COUNT, (uint16_t)plan->files_count);
        mq_gguf_put_i32(&w, MQ_GGUF_KEY_SPLIT_TENSORS, (int32_t)job->tensors_count);
        f->name_part = mq_arena_printf(plan->arena, "-%05u-of-%05zu", file + 1, plan->files_count);
    } else {
        f->name_part = "";
    }
    uint64_t data_bytes = 0;
    for (size_t i = 0; i < job->tensors_count; i++) {
        const struct out_tensor *t = &job->tensors[i];
        if (t->file != file)
            continue;
        mq_gguf_put_tensor(&w, t->name, t->dims, t->ne, t->type->id, t->offset);
        data_bytes = mq_round_up(t->offset + t->size_bytes, MQ_GGUF_ALIGNMENT);
    }
    MQ_TRY_OUT(mq_gguf_writer_finish(&w, &header, job->err));
    f->header = mq_arena_strndup(plan->arena, header.data, header.size);
    f->header_bytes = header.size;
    f->file_bytes = header.size + data_bytes;
    plan->output_bytes += f->file_bytes;
    if (!f->header || !f->name_part)
        status = mq_fail_memory(job->err, "planning");
out:
    mq_gguf_writer_free(&w);
    mq_buffer_free(&header);
    return status;
}

/* Entries' places, computed tensors, and the zeros between tensors. */
static moeq_status place(struct job *job)
{
    struct mq_plan *plan = job->plan;
    const struct mq_view *view = plan->view;
    for (size_t i = 0; i < view->tensors_count; i++) {
        struct mq_plan_entry *e = &plan->entries[i];
        const struct out_tensor *t = &job->tensors[job->tensor_of[i]];
        const uint64_t expert = e->tensor->expert < 0 ? 0 : (uint64_t)e->tensor->expert;
        e->file = t->file;
        uint64_t before = 0, all;
        if (job->arch->joined_qkv && e->tensor->dims == 2)
            mq_gguf_joint(view, e->tensor, &before, &all);
        e->offset = plan->files[t->file].header_bytes + t->offset + expert * e->size_bytes +
                    before * e->row_bytes;
        if (e->second.level) {
            const struct out_tensor *second = t + 1;
            e->second.file = second->file;
            e->second.offset = plan->files[second->file].header_bytes + second->offset;
        }
        e->item = i;
        e->written_interleaved = mq_gguf_interleaved_heads(view, e->tensor);
    }
    plan->items_count = view->tensors_count;
    plan->pieces = mq_arena_alloc(plan->arena, 2 * job->tensors_count, sizeof *plan->pieces);
    if (!plan->pieces)
        return mq_fail_memory(job->err, "planning");
    for (size_t i = 0; i < job->tensors_count; i++) {
        const struct out_tensor *t = &job->tensors[i];
        const uint64_t offset = plan->files[t->file].header_bytes + t->offset;
        const uint64_t end = offset + t->size_bytes,
                       gap = mq_round_up(end, MQ_GGUF_ALIGNMENT) - end;
        if (t->bytes)
            plan->pieces[plan->pieces_count++] =
                (struct mq_plan_piece){t->bytes, t->size_bytes, offset, t->file, SIZE_MAX};
        if (gap)
            plan->pieces[plan->pieces_count++] =
                (struct mq_plan_piece){NULL, gap, end, t->file, SIZE_MAX};
    }
    return MOEQ_OK;
}

static void warn(struct mq_plan *plan, const struct mq_gguf_arch *arch)
{
    const struct mq_view *view = plan->view;
    mq_plan_warn(plan, arch->remark);
    if (view->hparams.sliding_window && !mq_gguf_arch_has_window(arch))
        mq_plan_warn(plan, mq_arena_printf(plan->arena,
                                           "GGUF's architecture %s has no sliding window: beyond "
                                           "%u tokens, attention will see more than the original's",
                                           view->family->gguf_architecture,
                                           view->hparams.sliding_window));
}

/* A policy is for original weights: nobody wants the blocks of a quantized model coded again. */
static moeq_status check_source(const struct mq_view *view, const struct mq_policy *policy,
                                moeq_error *err)
{
    bool asks = policy->recipe != NULL;
    for (int c = 0; c < MQ_CLASS_COUNT; c++)
        asks = asks || policy->levels[c];
    for (size_t i = 0; asks && i < view->tensors_count; i++) {
        const struct mq_level *level;
        MQ_TRY(mq_tensor_stored(view, &view->tensors[i], &level, err));
        if (level->quantized)
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, view->path,
                                "is quantized already: its blocks are copied as they are; levels "
                                "and recipes are for the original model");
    }
    return MOEQ_OK;
}

moeq_status mq_plan_create_gguf(const struct mq_view *view, const struct mq_policy *policy,
                                const struct mq_gguf_options *options, struct mq_plan **out,
                                moeq_error *err)
{
    moeq_status status = MOEQ_OK;
    *out = NULL;
    const struct mq_gguf_arch *arch = mq_gguf_arch_find(view->family->gguf_architecture);
    if (!arch)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, view->path,
                            "writing GGUF files is not implemented for the family %s",
                            view->family->name);
    MQ_TRY(check_source(view, policy, err));
    struct mq_plan *plan = mq_plan_new(view, policy);
    if (!plan)
        return mq_fail_memory(err, "planning");
    struct job job = {
        .plan = plan, .policy = policy, .options = options, .arch = arch, .err = err};
    MQ_TRY_OUT(choose_levels(&job));
    MQ_TRY_OUT(list_tensors(&job));
    MQ_TRY_OUT(put_metadata(&job));
    MQ_TRY_OUT(cut_files(&job));
    for (uint32_t file = 0; file < plan->files_count; file++)
        MQ_TRY_OUT(plan_file(&job, file));
    MQ_TRY_OUT(place(&job));
    warn(plan, job.arch);
    *out = plan;
    return MOEQ_OK;
out:
    mq_gguf_writer_free(&job.metadata);
    mq_plan_free(plan);
    return status;
}
