/*
 * ffn.c: the feed-forward half of a layer: routed experts, or one dense MLP.
 *
 * down(silu(gate x) * up x). The second product multiplies into the first one's result as it is
 * formed, and the third adds to its tokens' sums as it is formed: neither `up x` nor an expert's
 * output is ever stored. Each expert meets all its tokens at once, gathered side by side: a tall
 * matrix, so the work is bound by arithmetic and not by reading weights.
 */
#include "pass_int.h"

#include "checked.h"
#include "error.h"
#include "router.h"

#include <string.h>

/* An expert's tokens are taken at least so many at a time, */
#define MIN_SLAB 256
/* and this many times the even share: an expert's weights are read again for each slab. */
#define SLAB_SHARES 2

/* Tokens that an expert takes at a time, of the tokens of a pass. */
static size_t slab_of(size_t tokens, const struct mq_layer *layer)
{
    const uint32_t experts = layer->ffn.experts;
    const size_t share = (tokens * SLAB_SHARES * layer->ffn.top_k + experts - 1) / experts;
    return mq_min_u64(tokens, mq_max_u64(share, MIN_SLAB));
}

/* The stride of activations. */
static size_t row_of(const struct mq_layer *layer)
{
    return layer->ffn.rows + MQ_ROW_PAD;
}

size_t mq_pass_mlp_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return sizes->tokens * row_of(layer);
}

uint64_t mq_pass_mlp_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return sizes->tokens * mq_linear_int8_bytes(mq_max_u64(sizes->hidden, layer->ffn.rows));
}

size_t mq_pass_experts_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return sizes->tokens * sizes->hidden +
           slab_of(sizes->tokens, layer) * (sizes->ldh + row_of(layer));
}

uint64_t mq_pass_experts_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return slab_of(sizes->tokens, layer) *
           mq_linear_int8_bytes(mq_max_u64(sizes->hidden, layer->ffn.rows));
}

/* Where the buffers of the expert at hand are in an arm's work area. */
static float *gathered_of(const struct mq_pass *pass, const struct mq_pass_arm *arm)
{
    return arm->work + pass->sizes.tokens * pass->sizes.hidden;
}

static float *activations_of(const struct mq_pass *pass, const struct mq_pass_arm *arm)
{
    return gathered_of(pass, arm) + slab_of(pass->sizes.tokens, pass->layer) * pass->sizes.ldh;
}

/* Tells what quantizing the matrix at hand cost; once per tensor. */
static void report_quantized(const struct mq_pass *pass)
{
    const struct mq_observer *observer = pass->observer;
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_linear_arm *product = &pass->products[a];
        if (product->measure && product->weights.level)
            observer->on_quantized(observer->user, (int)a, product->weights.tensor,
                                   product->squared_error, product->squared_weights);
    }
}

/* Applies the products of an expert or MLP matrix, with the errors of quantizing it if wanted. */
static moeq_status apply(struct mq_pass *pass, enum mq_linear_output output, bool first_slab,
                         moeq_error *err)
{
    const bool measure = first_slab && pass->first_window == 0 && pass->observer->on_quantized;
    for (size_t a = 0; a < pass->arms_count; a++)
        pass->products[a].measure = measure && mq_pass_runs(pass, a);
    MQ_TRY(mq_linear_apply(pass->linear, output, pass->products, pass->arms_count, err));
    if (measure)
        report_quantized(pass);
    const struct mq_tensor *tensor = pass->products[0].weights.tensor;
    if (first_slab)
        mq_pass_progress(pass, tensor->layer, tensor->rows * tensor->cols);
    return MOEQ_OK;
}

moeq_status mq_pass_mlp(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                        moeq_error *err)
{
    (void)step;
    const struct mq_pass_sizes *s = &pass->sizes;
    static const enum mq_role roles[2] = {MQ_ROLE_MLP_GATE, MQ_ROLE_MLP_UP};
    for (int i = 0; i < 2; i++) { /* activations = gate x; then silu(activations) * (up x) */
        mq_pass_weights(pass, roles[i], layer, -1);
        for (size_t a = 0; a < pass->arms_count; a++) {
            pass->products[a].x = pass->arms[a].x;
            pass->products[a].ldx = s->ldh;
            pass->products[a].y = pass->arms[a].work;
            pass->products[a].ldy = row_of(pass->layer);
        }
        MQ_TRY(apply(pass, i ? MQ_LINEAR_SILU_TIMES : MQ_LINEAR_STORE, true, err));
    }
    mq_pass_weights(pass, MQ_ROLE_MLP_DOWN, layer, -1);
    for (size_t a = 0; a < pass->arms_count; a++) { /* the normalized states have served */
        pass->products[a].x = pass->arms[a].work;
        pass->products[a].ldx = row_of(pass->layer);
        pass->products[a].y = pass->arms[a].x;
        pass->products[a].ldy = s->ldh;
    }
    MQ_TRY(apply(pass, MQ_LINEAR_STORE, true, err));
    mq_pass_branch_is_x(pass);
    return MOEQ_OK;
}

/* Router logits, choices and their report. An arm with foreign routes comes after their owner, so
 * that they are there to be copied. */
moeq_status mq_pass_route(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                          moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    const struct mq_layer_ffn *ffn = &pass->layer->ffn;
    (void)step;
    const struct mq_observer *observer = pass->observer;
    mq_pass_weights(pass, MQ_ROLE_ROUTER, layer, -1);
    for (size_t a = 0; a < pass->arms_count; a++) {
        pass->products[a].x = pass->arms[a].x;
        pass->products[a].ldx = s->ldh;
        pass->products[a].y = pass->arms[a].router_logits;
        pass->products[a].compute = MQ_COMPUTE_F32; /* small, and choices hang on it */
        pass->products[a].ldy = ffn->experts;
    }
    MQ_TRY(mq_pass_apply(pass, MQ_LINEAR_STORE, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        struct mq_pass_arm *arm = &pass->arms[a];
        const struct mq_playback *playback = arm->arm->playback;
        if (playback)
            MQ_TRY(playback->read_router(playback->user, (uint32_t)layer,
                                         pass->first_window * pass->windows->length, pass->tokens,
                                         arm->router_logits, err));
        if (arm->arm->routes_from >= 0) {
            const struct mq_pass_arm *from = &pass->arms[arm->arm->routes_from];
            memcpy(arm->chosen, from->chosen, pass->tokens * ffn->top_k * sizeof(int32_t));
            memcpy(arm->weights, from->weights, pass->tokens * ffn->top_k * sizeof(float));
        } else {
            mq_router_choose(pass->context->isa, ffn, arm->router_logits, pass->tokens,
                             pass->probabilities, arm->chosen, arm->weights);
        }
        pass->routes[a] = (struct mq_routes){arm->router_logits, arm->chosen, arm->weights};
    }
    if (!observer->on_router)
        return MOEQ_OK;
    return observer->on_router(observer->user, (uint32_t)layer,
                               pass->first_window * pass->windows->length, pass->tokens,
                               pass->routes, err);
}

/* Tokens [from, from + slab) of an arm's list for the expert at hand. */
static size_t slab_tokens(const struct mq_pass *pass, const struct mq_pass_arm *arm, size_t from)
{
    return arm->count > from
               ? mq_min_u64(arm->count - from, slab_of(pass->sizes.tokens, pass->layer))
               : 0;
}

static void gather(const struct mq_pass *pass, const struct mq_pass_arm *arm, size_t from)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    float *gathered = gathered_of(pass, arm);
    const int64_t n = (int64_t)slab_tokens(pass, arm, from);
#pragma omp parallel for num_threads((int)pass->context->threads) schedule(static)
    for (int64_t i = 0; i < n; i++)
        memcpy(gathered + (size_t)i * s->ldh, arm->x + arm->token[from + (size_t)i] * s->ldh,
               s->hidden * sizeof(float));
}

/* One expert, for up to `slab` of each arm's tokens. More slabs than one happen only where a router
 * favours an expert twofold; its weights are then read again. */
static moeq_status run_expert(struct mq_pass *pass, int32_t layer, int32_t expert, size_t from,
                              moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    static const enum mq_role roles[2] = {MQ_ROLE_EXPERT_GATE, MQ_ROLE_EXPERT_UP};
    for (size_t a = 0; a < pass->arms_count; a++)
        gather(pass, &pass->arms[a], from);
    for (int i = 0; i < 2; i++) { /* activations = gate x; then silu(activations) * (up x) */
        mq_pass_weights(pass, roles[i], layer, expert);
        for (size_t a = 0; a < pass->arms_count; a++) {
            pass->products[a].tokens = slab_tokens(pass, &pass->arms[a], from);
            pass->products[a].x = gathered_of(pass, &pass->arms[a]);
            pass->products[a].ldx = s->ldh;
            pass->products[a].y = activations_of(pass, &pass->arms[a]);
            pass->products[a].ldy = row_of(pass->layer);
        }
        MQ_TRY(apply(pass, i ? MQ_LINEAR_SILU_TIMES : MQ_LINEAR_STORE, from == 0, err));
    }
    mq_pass_weights(pass, MQ_ROLE_EXPERT_DOWN, layer, expert);
    for (size_t a = 0; a < pass->arms_count; a++) { /* sum[token] += weight * (down activations) */
        const struct mq_pass_arm *arm = &pass->arms[a];
        pass->products[a].tokens = slab_tokens(pass, arm, from);
        pass->products[a].x = activations_of(pass, arm);
        pass->products[a].ldx = row_of(pass->layer);
        pass->products[a].y = arm->work;
        pass->products[a].ldy = s->hidden;
        pass->products[a].target = arm->token + from;
        pass->products[a].scale = arm->scale + from;
    }
    return apply(pass, MQ_LINEAR_ADD_SCALED, from == 0, err);
}

moeq_status mq_pass_experts(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                            moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    const struct mq_layer_ffn *ffn = &pass->layer->ffn;
    (void)step;
    for (size_t a = 0; a < pass->arms_count; a++)
        memset(pass->arms[a].work, 0, pass->tokens * s->hidden * sizeof(float));
    /* Experts in order, so that a token's sum has its terms in that order. */
    for (int32_t expert = 0; expert < (int32_t)ffn->experts; expert++) {
        size_t most = 0;
        for (size_t a = 0; a < pass->arms_count; a++) {
            struct mq_pass_arm *arm = &pass->arms[a];
            arm->count = !mq_pass_runs(pass, a)
                             ? 0
                             : mq_router_tokens_of(expert, arm->chosen, arm->weights, pass->tokens,
                                                   ffn->top_k, arm->token, arm->scale);
            most = arm->count > most ? arm->count : most;
        }
        size_t from = 0;
        do { /* once even without tokens: the errors of quantizing it may be wanted */
            MQ_TRY(run_expert(pass, layer, expert, from, err));
            from += slab_of(s->tokens, pass->layer);
        } while (from < most);
    }
    for (size_t a = 0; a < pass->arms_count; a++) {
        pass->arms[a].branch = pass->arms[a].work;
        pass->arms[a].branch_ld = s->hidden;
    }
    return MOEQ_OK;
}
