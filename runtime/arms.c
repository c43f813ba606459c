/*
 * arms.c: what the evaluator asks of its arms.
 *
 * A view has checked its own tensors against its own config.json; here the arms are checked against
 * each other, and everything is checked once more that memory safety rests on. After that, the
 * layers ask for weights by role and need not look at what comes back.
 */
#include "arms_int.h"

#include "checked.h"
#include "error.h"
#include "stored.h"

#include <string.h>

/* The tensor of a role; a tied head is the embedding matrix. NULL if there is none. */
static const struct mq_tensor *find(const struct mq_arm *arm, enum mq_role role, int32_t layer,
                                    int32_t expert)
{
    if (role == MQ_ROLE_HEAD && arm->view->hparams.tied_head)
        role = MQ_ROLE_EMBEDDING;
    return mq_view_find(arm->view, role, layer, expert);
}

struct mq_weights mq_arm_weights(const struct mq_arm *arm, enum mq_role role, int32_t layer,
                                 int32_t expert)
{
    const struct mq_tensor *tensor = find(arm, role, layer, expert);
    if (!tensor)
        return (struct mq_weights){0};
    return (struct mq_weights){
        .view = arm->view,
        .tensor = tensor,
        .storage = mq_level_find(tensor->storage),
        .level = arm->levels ? arm->levels[tensor - arm->view->tensors] : NULL,
        .effort = arm->effort,
        .importance = mq_importance_columns(arm->importance, tensor),
    };
}

/* Levels come from the caller as pointers: only those into the table have codecs. */
static bool is_level(const struct mq_level *level)
{
    return level >= mq_levels && level < mq_levels + mq_levels_count;
}

/* One tensor: it is there, has the shape that the buffers are made for, and can be decoded. */
static moeq_status check_tensor(const struct mq_arm *arm, const struct mq_slot *slot, int32_t layer,
                                int32_t expert, moeq_error *err)
{
    const struct mq_tensor *t = find(arm, slot->role, layer, expert);
    if (!t)
        return mq_fail(err, MOEQ_MALFORMED, "%s: arm '%s' has no %s in layer %d (expert %d)",
                       arm->view->path, arm->name, mq_role_name(slot->role), layer, expert);
    if (t->rows != slot->rows || t->cols != slot->cols)
        return mq_view_fail_row(err, MOEQ_MALFORMED, arm->view, t, 0,
                                "expected shape [%llu, %llu], found [%llu, %llu]",
                                (unsigned long long)slot->rows, (unsigned long long)slot->cols,
                                (unsigned long long)t->rows, (unsigned long long)t->cols);
    const struct mq_level *storage;
    MQ_TRY(mq_tensor_level(arm->view, t, &storage, err));
    const struct mq_level *level = arm->levels ? arm->levels[t - arm->view->tensors] : NULL;
    if (level && !is_level(level))
        return mq_view_fail_row(err, MOEQ_INVALID_ARGUMENT, arm->view, t, 0,
                                "arm '%s' asks for a level that is not in the table", arm->name);
    if (level && !mq_level_can_encode(level))
        return mq_view_fail_row(err, MOEQ_INVALID_ARGUMENT, arm->view, t, 0,
                                "arm '%s' asks for level '%s', which is read only", arm->name,
                                level->name);
    return MOEQ_OK;
}

/* What a program takes: of the arms that are played back, the last norm and the head alone. */
static moeq_status check_program(const struct mq_arm *arm, const struct mq_program *program,
                                 int32_t layer, moeq_error *err)
{
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    while ((slot = mq_program_next(program, &at))) {
        const int32_t count = slot->per_expert ? (int32_t)program->layer.ffn.router.experts : 1;
        for (int32_t e = 0; e < count; e++)
            MQ_TRY(check_tensor(arm, slot, layer, slot->per_expert ? e : -1, err));
    }
    return MOEQ_OK;
}

static bool mixer_is_possible(const struct mq_layer_attention *a)
{
    const bool heads = a->heads && a->kv_heads && a->heads % a->kv_heads == 0 && a->head_dim &&
                       a->value_dim && a->rotary_dim <= a->head_dim && a->rotary_dim % 2 == 0;
    switch (a->kind) {
    case MQ_MIXER_NONE:
        return true;
    case MQ_MIXER_GROUPED:
        return heads;
    case MQ_MIXER_LATENT:
        return a->heads && a->head_dim && a->value_dim && a->kv_rank &&
               a->rotary_dim <= a->head_dim && a->rotary_dim % 2 == 0;
    case MQ_MIXER_DELTA:
    case MQ_MIXER_MAMBA:
        return heads && a->taps;
    case MQ_MIXER_CONVOLUTION:
        return a->taps > 0;
    }
    return false;
}

static bool ffn_is_possible(const struct mq_layer_ffn *f)
{
    return f->kind == MQ_FFN_NONE || (f->rows && (f->kind != MQ_FFN_BOTH || f->dense_rows));
}

static bool has_router(const struct mq_layer_ffn *f)
{
    return f->kind == MQ_FFN_ROUTED || f->kind == MQ_FFN_BOTH;
}

/* As many experts to choose as are left after groups are. */
static bool router_is_possible(const struct mq_layer_router *r)
{
    const uint32_t groups = r->groups > 1 ? r->groups : 1;
    const uint32_t top_groups = r->groups > 1 ? r->top_groups : 1;
    return r->experts && r->experts <= INT32_MAX && r->experts % groups == 0 && top_groups &&
           top_groups <= groups && r->top_k && r->top_k <= r->experts / groups * top_groups;
}

/* Of one kind of layer; `number` is the first that is of it. */
static moeq_status check_layer(const struct mq_arm *arm, const struct mq_layer *layer,
                               uint32_t number, moeq_error *err)
{
    const struct mq_layer_attention *a = &layer->attention;
    const struct mq_layer_router *r = &layer->ffn.router;
    if (!mixer_is_possible(a) || !ffn_is_possible(&layer->ffn))
        return mq_fail(err, MOEQ_MALFORMED,
                       "%s: impossible sizes: layer %u has %u heads of %u (%u kv heads), values of "
                       "%u, %u numbers that are rotated, a convolution of %u, an MLP of %u",
                       arm->view->path, number, a->heads, a->head_dim, a->kv_heads, a->value_dim,
                       a->rotary_dim, a->taps, layer->ffn.rows);
    if (has_router(&layer->ffn) && !router_is_possible(r))
        return mq_fail(err, MOEQ_MALFORMED,
                       "%s: layer %u: %u experts, of which a token uses %u, of %u of %u groups",
                       arm->view->path, number, r->experts, r->top_k, r->top_groups, r->groups);
    return MOEQ_OK;
}

static moeq_status check_arm(const struct mq_arm *arm, moeq_error *err)
{
    const struct mq_hparams *hp = &arm->view->hparams;
    const struct mq_model_program *program = arm->view->program;
    if (!program || hp->hidden == 0 || hp->vocab == 0 || hp->layers == 0 ||
        hp->layers > INT32_MAX)
        return mq_fail(err, MOEQ_MALFORMED,
                       "%s: impossible sizes: %u layers, hidden %u, vocabulary %u", arm->view->path,
                       hp->layers, hp->hidden, hp->vocab);
    for (uint32_t layer = 0; layer < hp->layers; layer++)
        if (layer == 0 || program->layers[layer] != program->layers[layer - 1])
            MQ_TRY(check_layer(arm, &program->layers[layer]->layer, layer, err));
    if (!arm->playback)
        MQ_TRY(check_program(arm, &program->begin, -1, err));
    for (uint32_t layer = 0; layer < hp->layers && !arm->playback; layer++)
        MQ_TRY(check_program(arm, program->layers[layer], (int32_t)layer, err));
    return check_program(arm, &program->end, -1, err);
}

static bool same_unscaled(const struct mq_rope *a, const struct mq_rope *b)
{
    (void)a, (void)b;
    return true;
}

static bool same_linear(const struct mq_rope *a, const struct mq_rope *b)
{
    return a->factor == b->factor;
}

static bool same_llama3(const struct mq_rope *a, const struct mq_rope *b)
{
    return a->factor == b->factor && a->low_freq_factor == b->low_freq_factor &&
           a->high_freq_factor == b->high_freq_factor &&
           a->original_max_positions == b->original_max_positions;
}

static bool same_yarn(const struct mq_rope *a, const struct mq_rope *b)
{
    return a->factor == b->factor && a->original_max_positions == b->original_max_positions &&
           a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow &&
           a->truncate == b->truncate && a->magnitude == b->magnitude &&
           a->score_factor == b->score_factor;
}

static bool same_list(const struct mq_rope_list *a, const struct mq_rope_list *b)
{
    return a->count == b->count && a->magnitude == b->magnitude &&
           memcmp(a->divisors, b->divisors, a->count * sizeof *a->divisors) == 0;
}

static bool same_longrope(const struct mq_rope *a, const struct mq_rope *b)
{
    return a->original_max_positions == b->original_max_positions && same_list(&a->near, &b->near) &&
           same_list(&a->far, &b->far);
}

static bool same_partly(const struct mq_rope *a, const struct mq_rope *b)
{
    return a->part == b->part && (float)a->factor == (float)b->factor; /* GGUF has f32 */
}

/* Fields that the type does not use are not compared: formats fill them differently. The part of a head
 * that is turned is compared by the layers' rotary_dim (check_same_layers): formats round it differently. */
static bool same_rope(const struct mq_rope *a, const struct mq_rope *b)
{
    static bool (*const same[MQ_ROPE_TYPES])(const struct mq_rope *, const struct mq_rope *) = {
#define ROW(id, name) [MQ_ROPE_##id] = same_##name,
        MQ_ROPE_TYPE_LIST(ROW)
#undef ROW
    };
    return a->type == b->type && a->theta == b->theta && same[a->type](a, b);
}

/* The sliding window as far as it acts within windows of so many tokens (0: of any length). Formats
 * that cannot say it are compared with those that can. */
static uint32_t acting_window(const struct mq_hparams *hp, size_t window_tokens)
{
    return window_tokens && hp->sliding_window >= window_tokens ? 0 : hp->sliding_window;
}

static bool same_value(const struct mq_hparam *row, const struct mq_hparams *a,
                       const struct mq_hparams *b, size_t window_tokens)
{
    const void *x = (const char *)a + row->offset, *y = (const char *)b + row->offset;
    switch (row->type) {
    case MQ_HPARAM_F32:
        return *(const float *)x == *(const float *)y;
    case MQ_HPARAM_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case MQ_HPARAM_LAYERS: /* by the layers that they make */
    case MQ_HPARAM_VALUES:
        return true;
    case MQ_HPARAM_WINDOW:
        return acting_window(a, window_tokens) == acting_window(b, window_tokens);
    case MQ_HPARAM_ROPE:
        return same_rope(x, y);
    default:
        return memcmp(x, y, sizeof(uint32_t)) == 0;
    }
}

/* The first hyper-parameter in which two arms differ, NULL if there is none. Only those that
 * change the maths count. */
static const char *difference(const struct mq_hparams *a, const struct mq_hparams *b,
                              size_t window_tokens)
{
    for (size_t i = 0; i < mq_hparam_count; i++)
        if (mq_hparam_table[i].in_maths && !same_value(&mq_hparam_table[i], a, b, window_tokens))
            return mq_hparam_table[i].name;
    return NULL;
}

/* Layers of two arms, whose hyper-parameters agree. A window may differ as far as it does not act. */
static moeq_status check_same_layers(const struct mq_view *a, const struct mq_view *b,
                                     moeq_error *err)
{
    for (uint32_t layer = 0; layer < a->hparams.layers; layer++) {
        struct mq_layer one = a->program->layers[layer]->layer;
        struct mq_layer other = b->program->layers[layer]->layer;
        other.attention.window = one.attention.window;
        if (memcmp(&one, &other, sizeof one) != 0)
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "%s and %s are different architectures: layer %u %s", a->path, b->path,
                           layer,
                           one.ffn.kind != other.ffn.kind ? "has a router in one of them"
                                                          : "is made of other pieces");
    }
    return MOEQ_OK;
}

/* The fewest positions up to which all of a model's rotary embeddings are what they are; 0: any. */
static uint32_t exact_positions(const struct mq_hparams *hp)
{
    const uint32_t a = hp->rope.exact_positions, b = hp->rope_local.exact_positions;
    return a && b ? (uint32_t)mq_min_u64(a, b) : a + b;
}

/* Sparse attention is the whole one up to as many keys as its indexer would choose. */
static moeq_status check_indexer(const struct mq_view *view, size_t window_tokens, moeq_error *err)
{
    for (size_t i = 0; view->program && i < view->program->kinds_count; i++) {
        const uint32_t indexed = view->program->kinds[i].layer.attention.indexed;
        if (indexed && window_tokens > indexed)
            return mq_fail(err, MOEQ_UNSUPPORTED,
                           "%s: windows of %zu tokens are longer than the %u keys (index_topk) up to "
                           "which its sparse attention is the whole one: its indexer is not "
                           "implemented. Choose a --context of at most %u",
                           view->path, window_tokens, indexed, indexed);
    }
    return MOEQ_OK;
}

static const struct mq_level *level_of(const struct mq_arm *arm, size_t tensor)
{
    return arm->levels ? arm->levels[tensor] : NULL;
}

uint32_t mq_arm_own_from(const struct mq_arm *base, const struct mq_arm *arm)
{
    const struct mq_view *view = arm->view;
    uint32_t first = view->hparams.layers;
    if (base->view != view || base->playback || arm->playback || base->routes_from != -1 ||
        arm->routes_from != -1 || base->bf16_activations != arm->bf16_activations ||
        base->compute != arm->compute)
        return 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (level_of(base, i) == level_of(arm, i) &&
            (!level_of(arm, i) ||
             (base->effort == arm->effort && base->importance == arm->importance)))
            continue;
        if (t->layer >= 0 && (uint32_t)t->layer < first)
            first = (uint32_t)t->layer;
        if (t->layer < 0 && t->role != MQ_ROLE_HEAD)
            return 0;
    }
    return first;
}

moeq_status mq_arms_check(const struct mq_arm *arms, size_t count, size_t window_tokens,
                          moeq_error *err)
{
    if (count == 0)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "there is nothing to evaluate");
    bool any_runs = false;
    for (size_t a = 0; a < count; a++) {
        const uint32_t exact = exact_positions(&arms[a].view->hparams);
        any_runs |= !arms[a].playback;
        if (exact && window_tokens > exact)
            return mq_fail(err, MOEQ_UNSUPPORTED,
                           "%s: windows of %zu tokens are longer than the %u positions up to which "
                           "its rotary embedding (type dynamic) is the default one: choose a "
                           "--context of at most %u",
                           arms[a].view->path, window_tokens, exact, exact);
        MQ_TRY(check_indexer(arms[a].view, window_tokens, err));
        const char *which =
            difference(&arms[0].view->hparams, &arms[a].view->hparams, window_tokens);
        if (which)
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "%s and %s are different architectures: '%s' differs",
                           arms[0].view->path, arms[a].view->path, which);
        if (arms[a].routes_from < -1 || arms[a].routes_from >= (int64_t)a)
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "arm '%s' (%zu) takes its routes from arm %d; expected an earlier one",
                           arms[a].name, a, arms[a].routes_from);
        MQ_TRY(check_arm(&arms[a], err));
        MQ_TRY(check_same_layers(arms[0].view, arms[a].view, err));
    }
    if (!any_runs)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "only recordings: there is nothing to evaluate");
    return MOEQ_OK;
}
