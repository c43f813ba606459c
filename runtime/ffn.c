/*
 * ffn.c: the feed-forward half of a layer: routed experts, shared ones, or one dense MLP.
 *
 * down(f(gate x) * up x). The second product multiplies into the first one's result as it is
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
    const struct mq_layer_router *r = &layer->ffn.router;
    const size_t share = (tokens * SLAB_SHARES * r->top_k + r->experts - 1) / r->experts;
    return mq_min_u64(tokens, mq_max_u64(share, MIN_SLAB));
}

/* The rows of a layer's MLP, and the stride of so many activations. */
static uint32_t mlp_rows(const struct mq_layer *layer)
{
    return layer->ffn.kind == MQ_FFN_BOTH ? layer->ffn.dense_rows : layer->ffn.rows;
}

static size_t row_of(uint32_t rows)
{
    return rows + MQ_ROW_PAD;
}

/* ---- work areas ---- */

size_t mq_pass_mlp_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return sizes->tokens * row_of(mlp_rows(layer));
}

uint64_t mq_pass_mlp_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return sizes->tokens * mq_linear_int8_bytes(mq_max_u64(sizes->hidden, mlp_rows(layer)));
}

size_t mq_pass_experts_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return sizes->tokens * sizes->hidden +
           slab_of(sizes->tokens, layer) * (sizes->ldh + row_of(layer->ffn.rows));
}

uint64_t mq_pass_experts_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return slab_of(sizes->tokens, layer) *
           mq_linear_int8_bytes(mq_max_u64(sizes->hidden, layer->ffn.rows));
}

size_t mq_pass_shared_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return sizes->tokens * (sizes->hidden + row_of(layer->ffn.shared_rows));
}

uint64_t mq_pass_shared_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return sizes->tokens * mq_linear_int8_bytes(mq_max_u64(sizes->hidden, layer->ffn.shared_rows));
}

/* ---- one MLP ---- */

/* An MLP at hand: the layer's own, its shared experts' or an expert's. Of each arm: */
struct mlp {
    enum mq_role gate; /* the roles of up and down, and of biases, follow it: MQ_ROLE_LIST */
    bool bias;
    uint32_t rows;
    int32_t layer, expert;
    bool again; /* its weights have been counted and measured already */
    size_t activations; /* where they are in the work area */
};

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

/* Applies the products at hand, with the errors of quantizing their matrix if wanted. */
static moeq_status apply(struct mq_pass *pass, const struct mlp *mlp, enum mq_linear_output output,
                         moeq_error *err)
{
    const bool measure = !mlp->again && pass->first_window == 0 && pass->observer->on_quantized;
    for (size_t a = 0; a < pass->arms_count; a++) {
        pass->products[a].measure = measure && mq_pass_runs(pass, a);
        pass->products[a].activation = pass->layer->ffn.activation;
        pass->products[a].activation_limit = pass->layer->ffn.activation_limit;
    }
    MQ_TRY(mq_linear_apply(pass->linear, output, pass->products, pass->arms_count, err));
    if (measure)
        report_quantized(pass);
    const struct mq_tensor *tensor = pass->products[0].weights.tensor;
    if (!mlp->again)
        mq_pass_progress(pass, tensor->layer, tensor->rows * tensor->cols);
    return MOEQ_OK;
}

/* The weights of matrix number `which` (gate, up, down), and its biases. */
static moeq_status load(struct mq_pass *pass, const struct mlp *mlp, int which, moeq_error *err)
{
    const enum mq_role role = mlp->gate + 2 * which;
    mq_pass_weights(pass, role, mlp->layer, mlp->expert);
    return mlp->bias ? mq_pass_bias(pass, role + 1, mlp->layer, mlp->expert, err) : MOEQ_OK;
}

/* activations = gate x; then f(activations) * (up x). The caller has set each arm's input and the
 * number of its tokens. */
static moeq_status activate(struct mq_pass *pass, const struct mlp *mlp, moeq_error *err)
{
    const bool gated = mq_activation_is_gated(pass->layer->ffn.activation);
    for (int which = gated ? 0 : 1; which < 2; which++) {
        MQ_TRY(load(pass, mlp, which, err));
        for (size_t a = 0; a < pass->arms_count; a++) {
            const struct mq_pass_arm *arm = &pass->arms[a];
            pass->products[a].tokens = mq_pass_runs(pass, a) ? arm->mlp_tokens : 0;
            pass->products[a].x = arm->mlp_input;
            pass->products[a].ldx = pass->sizes.ldh;
            pass->products[a].y = arm->work + mlp->activations;
            pass->products[a].ldy = row_of(mlp->rows);
        }
        MQ_TRY(apply(pass, mlp, which ? MQ_LINEAR_GATE : MQ_LINEAR_STORE, err));
    }
    MQ_TRY(load(pass, mlp, 2, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        pass->products[a].tokens = mq_pass_runs(pass, a) ? arm->mlp_tokens : 0;
        pass->products[a].x = arm->work + mlp->activations;
        pass->products[a].ldx = row_of(mlp->rows);
    }
    return MOEQ_OK;
}

/* All tokens of a pass, from where the norm left them. */
static void take_all(struct mq_pass *pass)
{
    for (size_t a = 0; a < pass->arms_count; a++) {
        pass->arms[a].mlp_input = pass->arms[a].x;
        pass->arms[a].mlp_tokens = pass->tokens;
    }
}

moeq_status mq_pass_mlp(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                        moeq_error *err)
{
    const struct mlp mlp = {.gate = MQ_ROLE_MLP_GATE,
                            .bias = pass->layer->ffn.bias,
                            .rows = mlp_rows(pass->layer),
                            .layer = layer,
                            .expert = -1};
    (void)step;
    take_all(pass);
    MQ_TRY(activate(pass, &mlp, err));
    for (size_t a = 0; a < pass->arms_count; a++) { /* the normalized states have served */
        pass->products[a].y = pass->arms[a].x;
        pass->products[a].ldy = pass->sizes.ldh;
    }
    MQ_TRY(apply(pass, &mlp, MQ_LINEAR_STORE, err));
    mq_pass_branch_is_x(pass);
    return MOEQ_OK;
}

/* ---- shared experts ---- */

/* scale[t] = 1, or the sigmoid of a product with x. */
static moeq_status weigh_shared(struct mq_pass *pass, int32_t layer, moeq_error *err)
{
    const bool gated = pass->layer->ffn.shared_gate;
    if (gated)
        mq_pass_weights(pass, MQ_ROLE_SHARED_SCALE, layer, -1);
    for (size_t a = 0; a < pass->arms_count && gated; a++) {
        pass->products[a].x = pass->arms[a].x;
        pass->products[a].ldx = pass->sizes.ldh;
        pass->products[a].y = pass->arms[a].scale;
        pass->products[a].ldy = 1;
        pass->products[a].compute = MQ_COMPUTE_F32;
    }
    if (gated)
        MQ_TRY(mq_pass_apply(pass, MQ_LINEAR_STORE, err));
    for (size_t a = 0; a < pass->arms_count; a++)
        for (size_t t = 0; t < pass->tokens; t++) {
            float one = 1.0f;
            if (gated && mq_pass_runs(pass, a))
                pass->kernels->sigmoid_times(&one, pass->arms[a].scale + t, 1);
            pass->arms[a].scale[t] = one;
            pass->arms[a].token[t] = (uint32_t)t;
        }
    return MOEQ_OK;
}

/* Adds to the sums that the step `experts` has left at the beginning of the work area. */
moeq_status mq_pass_shared(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                           moeq_error *err)
{
    const struct mlp mlp = {.gate = MQ_ROLE_SHARED_GATE,
                            .bias = pass->layer->ffn.bias,
                            .rows = pass->layer->ffn.shared_rows,
                            .layer = layer,
                            .expert = -1,
                            .activations = pass->sizes.tokens * pass->sizes.hidden};
    (void)step;
    take_all(pass);
    MQ_TRY(weigh_shared(pass, layer, err));
    MQ_TRY(activate(pass, &mlp, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        pass->products[a].y = arm->work;
        pass->products[a].ldy = pass->sizes.hidden;
        pass->products[a].target = arm->token;
        pass->products[a].scale = arm->scale;
    }
    return apply(pass, &mlp, MQ_LINEAR_ADD_SCALED, err);
}

/* ---- routed experts ---- */

/* Tokens [from, from + slab) of an arm's list for the expert at hand, side by side. */
static void gather(struct mq_pass *pass, struct mq_pass_arm *arm, size_t from)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    const size_t slab = slab_of(s->tokens, pass->layer);
    float *gathered = arm->work + s->tokens * s->hidden;
    const bool weigh = pass->layer->ffn.weigh_input;
    arm->mlp_tokens = arm->count > from ? mq_min_u64(arm->count - from, slab) : 0;
    arm->mlp_input = gathered;
#pragma omp parallel for num_threads((int)pass->context->threads) schedule(static)
    for (int64_t i = 0; i < (int64_t)arm->mlp_tokens; i++) {
        const size_t at = from + (size_t)i;
        float *row = gathered + (size_t)i * s->ldh;
        memcpy(row, arm->x + arm->token[at] * s->ldh, s->hidden * sizeof(float));
        for (size_t k = 0; weigh && k < s->hidden; k++)
            row[k] *= arm->scale[at];
    }
    for (size_t i = 0; weigh && i < arm->mlp_tokens; i++)
        arm->scale[from + i] = 1.0f;
}

/* One expert, for up to `slab` of each arm's tokens. More slabs than one happen only where a router
 * favours an expert twofold; its weights are then read again. */
static moeq_status run_expert(struct mq_pass *pass, int32_t layer, int32_t expert, size_t from,
                              moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    const struct mlp mlp = {.gate = MQ_ROLE_EXPERT_GATE,
                            .bias = pass->layer->ffn.expert_bias,
                            .rows = pass->layer->ffn.rows,
                            .layer = layer,
                            .expert = expert,
                            .again = from > 0,
                            .activations = s->tokens * s->hidden +
                                           slab_of(s->tokens, pass->layer) * s->ldh};
    for (size_t a = 0; a < pass->arms_count; a++)
        gather(pass, &pass->arms[a], from);
    MQ_TRY(activate(pass, &mlp, err));
    for (size_t a = 0; a < pass->arms_count; a++) { /* sum[token] += weight * (down activations) */
        const struct mq_pass_arm *arm = &pass->arms[a];
        pass->products[a].y = arm->work;
        pass->products[a].ldy = s->hidden;
        pass->products[a].target = arm->token + from;
        pass->products[a].scale = arm->scale + from;
    }
    return apply(pass, &mlp, MQ_LINEAR_ADD_SCALED, err);
}

moeq_status mq_pass_experts(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                            moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    const struct mq_layer_router *router = &pass->layer->ffn.router;
    (void)step;
    for (size_t a = 0; a < pass->arms_count; a++)
        memset(pass->arms[a].work, 0, pass->tokens * s->hidden * sizeof(float));
    /* Experts in order, so that a token's sum has its terms in that order. */
    for (int32_t expert = 0; expert < (int32_t)router->experts; expert++) {
        size_t most = 0;
        for (size_t a = 0; a < pass->arms_count; a++) {
            struct mq_pass_arm *arm = &pass->arms[a];
            arm->count = !mq_pass_runs(pass, a)
                             ? 0
                             : mq_router_tokens_of(expert, arm->chosen, arm->weights, pass->tokens,
                                                   router->top_k, arm->token, arm->scale);
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
