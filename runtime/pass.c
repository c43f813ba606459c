/*
 * pass.c: some windows on their way through the layers: memory, and the interpreter of steps.
 *
 * Every step is done for all arms before the next one, so that arms share each read of the weights.
 * Loops over tokens are cut statically; no token's result depends on another's place.
 */
#include "pass_int.h"

#include "checked.h"
#include "error.h"
#include "pages.h"

#include <stdlib.h>
#include <string.h>

/* Logits are formed for at least this many tokens at a time, so that the head, which is read once
 * per slice, is not read too often. */
#define MIN_SLICE 128

/* The steps of layer.h. */
static const struct {
    moeq_status (*run)(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                       moeq_error *err);
    /* What it needs for the tokens of a pass, of an arm's work area in floats, and for activations
     * as integers in bytes; NULL: nothing. (The head takes what there is: see mq_pass_sizes.) */
    size_t (*work)(const struct mq_pass_sizes *sizes, const struct mq_layer *layer);
    uint64_t (*int8)(const struct mq_pass_sizes *sizes, const struct mq_layer *layer);
} ops[MQ_OPS] = {
#define SIZED(name) mq_pass_##name, mq_pass_##name##_work, mq_pass_##name##_int8
#define PLAIN(name) mq_pass_##name, NULL, NULL
#define OP_EMBED PLAIN(embed)
#define OP_NORM PLAIN(norm)
#define OP_ROUTER_NORM PLAIN(router_norm)
#define OP_ATTENTION SIZED(attention)
#define OP_LATENT SIZED(latent)
#define OP_DELTA SIZED(delta)
#define OP_CONVOLUTION SIZED(convolution)
#define OP_MAMBA SIZED(mamba)
#define OP_MLP SIZED(mlp)
#define OP_ROUTE PLAIN(route)
#define OP_EXPERTS SIZED(experts)
#define OP_SHARED SIZED(shared)
#define OP_NORM_OUT PLAIN(norm_out)
#define OP_KEEP PLAIN(keep)
#define OP_ADD_KEPT PLAIN(add_kept)
#define OP_ADD PLAIN(add)
#define OP_RESCALE PLAIN(rescale)
#define OP_HEAD PLAIN(head)
#define ROW(id, name) [MQ_OP_##id] = {OP_##id},
    MQ_OP_LIST(ROW)
#undef ROW
};

static void add_needs(const struct mq_program *program, struct mq_pass_sizes *s)
{
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    for (size_t i = 0; i < program->steps_count; i++) {
        const enum mq_op op = program->steps[i].op;
        if (ops[op].work)
            s->work = mq_max_u64(s->work, ops[op].work(s, &program->layer));
        if (ops[op].int8)
            s->int8_bytes = mq_max_u64(s->int8_bytes, ops[op].int8(s, &program->layer));
    }
    while ((slot = mq_program_next(program, &at))) {
        const enum mq_op op = program->steps[at.step].op;
        const bool of_mlp = op == MQ_OP_MLP || op == MQ_OP_EXPERTS || op == MQ_OP_SHARED;
        if (slot->is_vector)
            s->vector = mq_max_u64(s->vector, slot->cols);
        if (slot->is_vector && of_mlp)
            s->mlp_bias = mq_max_u64(s->mlp_bias, slot->cols);
    }
    for (size_t i = 0; i < program->steps_count; i++)
        s->keeps |= program->steps[i].op == MQ_OP_KEEP;
    s->encodes |= mq_pass_has_slabs(s, &program->layer);
    s->experts = mq_max_u64(s->experts, program->layer.ffn.router.experts);
    s->top_k = mq_max_u64(s->top_k, program->layer.ffn.router.top_k);
}

struct mq_pass_sizes mq_pass_sizes(const struct mq_model_program *program,
                                   const struct mq_hparams *hp, size_t tokens, size_t keys)
{
    struct mq_pass_sizes s = {
        .hidden = hp->hidden,
        .ldh = hp->hidden + MQ_ROW_PAD,
        .vocab = hp->vocab,
        .tokens = tokens,
        .keys = keys ? keys : tokens,
        .goes_on = keys > 0,
    };
    add_needs(&program->end, &s);
    for (size_t i = 0; i < program->kinds_count; i++)
        add_needs(&program->kinds[i], &s);
    /* the head takes what the largest other phase needs, but at least MIN_SLICE tokens */
    const size_t logits_row = s.ldh + s.vocab;
    s.work = mq_max_u64(s.work, mq_min_u64(tokens, MIN_SLICE) * logits_row);
    s.slice = mq_min_u64(tokens, s.work / logits_row);
    s.arm_bytes = 4 * (s.work + s.vector + MQ_LINEAR_BATCH * s.mlp_bias +
                       tokens * ((1 + s.keeps) * s.hidden + s.ldh + s.experts + 4 * s.top_k)) +
                  (s.experts + 1) * sizeof(size_t);
    return s;
}

/* A sum of three maxima: levels may differ from layer to layer. */
uint64_t mq_pass_encoded_bytes(const struct mq_pass_sizes *sizes, const struct mq_arm *arm)
{
    static const enum mq_role gates[] = {MQ_ROLE_MLP_GATE, MQ_ROLE_EXPERT_GATE,
                                         MQ_ROLE_SHARED_GATE};
    uint64_t most = 0;
    for (size_t g = 0; sizes->encodes && arm->levels && g < sizeof gates / sizeof *gates; g++) {
        uint64_t each[3] = {0};
        for (size_t i = 0; i < arm->view->tensors_count; i++) {
            const struct mq_tensor *t = &arm->view->tensors[i];
            const int matrix = ((int)t->role - (int)gates[g]) / 2;
            if (arm->levels[i] && t->role >= gates[g] && matrix < 3 &&
                t->role == mq_role_of_matrix(gates[g], matrix))
                each[matrix] =
                    mq_max_u64(each[matrix], t->rows * mq_level_row_bytes(arm->levels[i], t->cols));
        }
        most = mq_max_u64(most, each[0] + each[1] + each[2]);
    }
    return most;
}

moeq_status mq_pass_create(struct mq_pass *pass, const struct mq_arm *arms, size_t tokens,
                           size_t keys, moeq_error *err)
{
    const size_t count = pass->arms_count;
    pass->sizes = mq_pass_sizes(pass->program, pass->hparams, tokens, keys);
    const struct mq_pass_sizes *s = &pass->sizes;

    for (size_t a = 0; a < count; a++) {
        if (arms[a].playback)
            continue;
        const struct mq_weights w = mq_arm_weights(&arms[a], MQ_ROLE_EMBEDDING, -1, -1);
        pass->row_capacity = mq_max_u64(pass->row_capacity, mq_weights_row_bytes(&w));
    }
    /* a norm's vector is read through the same buffer, in any storage (4 bytes at most) */
    pass->row_capacity = mq_round_up(mq_max_u64(pass->row_capacity, 4 * s->vector + 64), 64);
    pass->arms = calloc(count, sizeof *pass->arms);
    pass->products = calloc(MQ_LINEAR_BATCH * count, sizeof *pass->products);
    pass->pointers = calloc(count, sizeof *pass->pointers);
    pass->states = calloc(count, sizeof *pass->states);
    pass->routes = calloc(count, sizeof *pass->routes);
    pass->norm = calloc(s->vector, sizeof(float));
    pass->norm_bias = calloc(s->vector, sizeof(float));
    pass->biases = calloc(count * s->vector, sizeof(float));
    pass->mlp_biases = calloc(MQ_LINEAR_BATCH * count * s->mlp_bias + 1, sizeof(float));
    pass->probabilities = calloc(3 * mq_round_up(s->experts + 1, 16), sizeof(float));
    pass->router_vectors = calloc(count * 2 * s->experts + 1, sizeof(float));
    pass->row_bytes = calloc(pass->context->threads, pass->row_capacity);
    pass->token_index = calloc(s->tokens, sizeof(size_t));
    bool ok = pass->arms && pass->products && pass->pointers && pass->states && pass->routes &&
              pass->norm && pass->norm_bias && pass->biases && pass->mlp_biases &&
              pass->probabilities && pass->router_vectors && pass->row_bytes && pass->token_index;
    for (size_t a = 0; ok && a < count; a++) {
        struct mq_pass_arm *arm = &pass->arms[a];
        arm->arm = &arms[a];
        arm->own_from = a ? mq_arm_own_from(&arms[0], &arms[a]) : 0;
        arm->hidden = mq_pages_alloc(s->tokens * s->hidden * sizeof(float));
        arm->x = mq_pages_alloc(s->tokens * s->ldh * sizeof(float));
        arm->work = mq_pages_alloc(s->work * sizeof(float));
        if (s->keeps)
            arm->kept = mq_pages_alloc(s->tokens * s->hidden * sizeof(float));
        arm->router_logits = calloc(s->tokens * s->experts + 1, sizeof(float));
        arm->chosen = calloc(s->tokens * s->top_k + 1, sizeof(int32_t));
        arm->weights = calloc(s->tokens * s->top_k + 1, sizeof(float));
        arm->token = calloc(s->tokens * s->top_k + 1, sizeof(uint32_t));
        arm->scale = calloc(s->tokens * s->top_k + 1, sizeof(float));
        arm->expert_begin = calloc(s->experts + 1, sizeof(size_t));
        ok = arm->hidden && arm->x && arm->work && arm->router_logits && arm->chosen &&
             arm->weights && arm->token && arm->scale && arm->expert_begin && (arm->kept || !s->keeps);
        if (ok && arms[a].compute == MQ_COMPUTE_INT8) {
            arm->int8 = mq_pages_alloc(s->int8_bytes);
            ok = arm->int8;
        }
        const uint64_t encoded = mq_pass_encoded_bytes(s, &arms[a]);
        if (ok && encoded) {
            arm->encoded = mq_pages_alloc(encoded);
            ok = arm->encoded;
        }
    }
    return ok ? MOEQ_OK : mq_fail_memory(err, "preparing the tokens' states");
}

void mq_pass_destroy(struct mq_pass *pass)
{
    for (size_t a = 0; pass->arms && a < pass->arms_count; a++) {
        struct mq_pass_arm *arm = &pass->arms[a];
        free(arm->hidden);
        free(arm->x);
        free(arm->work);
        free(arm->kept);
        free(arm->router_logits);
        free(arm->chosen);
        free(arm->weights);
        free(arm->token);
        free(arm->scale);
        free(arm->expert_begin);
        free(arm->int8);
        free(arm->encoded);
    }
    free(pass->arms);
    free(pass->products);
    free(pass->pointers);
    free(pass->states);
    free(pass->routes);
    free(pass->norm);
    free(pass->norm_bias);
    free(pass->biases);
    free(pass->mlp_biases);
    free(pass->probabilities);
    free(pass->router_vectors);
    free(pass->row_bytes);
    free(pass->token_index);
}

/* The final states of the arms that are played back. */
static moeq_status read_hidden(struct mq_pass *pass, moeq_error *err)
{
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_playback *playback = pass->arms[a].arm->playback;
        if (playback)
            MQ_TRY(playback->read_hidden(playback->user, pass->first_window * pass->windows->length,
                                         pass->tokens, pass->arms[a].hidden, err));
    }
    return MOEQ_OK;
}

/* The residual stream as it enters `layer` (or the final norm). */
static moeq_status report_hidden(struct mq_pass *pass, uint32_t layer, moeq_error *err)
{
    const struct mq_observer *observer = pass->observer;
    if (!observer->on_hidden)
        return MOEQ_OK;
    for (size_t a = 0; a < pass->arms_count; a++)
        pass->pointers[a] = pass->arms[a].idle ? pass->arms[0].hidden
                            : mq_pass_runs(pass, a) || layer == pass->hparams->layers
                                ? pass->arms[a].hidden
                                : NULL;
    return observer->on_hidden(observer->user, layer, pass->first_window * pass->windows->length,
                               pass->tokens, pass->pointers, err);
}

/* Activations that overflowed give NaN in the end, and no figure made of those says where they came
 * from. Reading the states once costs nothing beside the layer that made them. */
static moeq_status check_states(const struct mq_pass *pass, uint32_t layer, moeq_error *err)
{
    const size_t n = pass->tokens * pass->sizes.hidden;
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_arm *arm = pass->arms[a].arm;
        const float *hidden = pass->arms[a].hidden;
        const size_t bad =
            mq_pass_runs(pass, a) ? mq_first_not_finite(pass->context->isa, hidden, n) : n;
        if (bad == n)
            continue;
        const size_t token = bad / pass->sizes.hidden;
        return mq_fail(err, MOEQ_UNSUPPORTED,
                       "%s: the output of layer %u (arm '%s', token %zu of window %zu): expected "
                       "finite values, found %g: its activations overflow",
                       arm->view->path, layer, arm->name, token % pass->windows->length,
                       pass->first_window + token / pass->windows->length, (double)hidden[bad]);
    }
    return MOEQ_OK;
}

static moeq_status run_program(struct mq_pass *pass, const struct mq_program *program,
                               int32_t layer, moeq_error *err)
{
    pass->layer = &program->layer;
    for (size_t i = 0; i < program->steps_count; i++) {
        const struct mq_step *step = &program->steps[i];
        if (!ops[step->op].run) /* no row above is without one */
            return mq_fail(err, MOEQ_UNSUPPORTED, "a step of layer %d has no function", layer);
        MQ_TRY(ops[step->op].run(pass, step, layer, err));
    }
    return MOEQ_OK;
}

/* Which arms follow arm 0 through a layer; those that part from it here take its states with them. */
static void set_idle(struct mq_pass *pass, uint32_t layer)
{
    for (size_t a = 1; a < pass->arms_count; a++) {
        struct mq_pass_arm *arm = &pass->arms[a];
        const bool was = arm->idle;
        arm->idle = layer < arm->own_from;
        if (was && !arm->idle)
            memcpy(arm->hidden, pass->arms[0].hidden,
                   pass->tokens * pass->sizes.hidden * sizeof(float));
    }
}

/* States of all arms and the layer that they enter, if the observer has some. */
static moeq_status ask_for_states(struct mq_pass *pass, uint32_t *layer, moeq_error *err)
{
    const struct mq_observer *observer = pass->observer;
    if (!observer->on_begin)
        return MOEQ_OK;
    for (size_t a = 0; a < pass->arms_count; a++)
        pass->states[a] = pass->arms[a].hidden;
    MQ_TRY(observer->on_begin(observer->user, pass->first_window * pass->windows->length,
                              pass->tokens, pass->states, layer, err));
    pass->weights_done += mq_pass_weights_sum(pass->arms[0].arm->view, 0, *layer, false);
    return *layer <= pass->hparams->layers
               ? MOEQ_OK
               : mq_fail(err, MOEQ_INVALID_ARGUMENT, "states of layer %u of %u", *layer,
                         pass->hparams->layers);
}

void mq_pass_at(struct mq_pass *pass, size_t first, size_t count, uint32_t layer)
{
    pass->first_window = first;
    pass->windows_count = count;
    pass->tokens = count * pass->windows->length;
    pass->at = layer;
    for (size_t a = 0; a < pass->arms_count; a++)
        pass->arms[a].idle = layer > 0 && layer <= pass->arms[a].own_from;
}

moeq_status mq_pass_run_layers(struct mq_pass *pass, uint32_t end, moeq_error *err)
{
    if (pass->at == 0)
        MQ_TRY(run_program(pass, &pass->program->begin, -1, err));
    for (; pass->at < end; pass->at++) {
        set_idle(pass, pass->at);
        MQ_TRY(report_hidden(pass, pass->at, err));
        MQ_TRY(run_program(pass, pass->program->layers[pass->at], (int32_t)pass->at, err));
        MQ_TRY(check_states(pass, pass->at, err));
    }
    return MOEQ_OK;
}

moeq_status mq_pass_run_end(struct mq_pass *pass, moeq_error *err)
{
    set_idle(pass, UINT32_MAX);
    MQ_TRY(read_hidden(pass, err));
    MQ_TRY(report_hidden(pass, pass->hparams->layers, err));
    return run_program(pass, &pass->program->end, -1, err);
}

moeq_status mq_pass_run(struct mq_pass *pass, size_t first, size_t count, moeq_error *err)
{
    uint32_t begin = 0;
    mq_pass_at(pass, first, count, 0);
    MQ_TRY(ask_for_states(pass, &begin, err));
    mq_pass_at(pass, first, count, begin);
    MQ_TRY(mq_pass_run_layers(pass, pass->hparams->layers, err));
    return mq_pass_run_end(pass, err);
}
