/*
 * ffn.c: the feed-forward half of a layer: routed experts, shared ones, or one dense MLP.
 *
 * down(f(gate x) * up x). The second product multiplies into the first one's result as it is
 * formed: `up x` is never stored. Each expert meets its tokens gathered side by side:
 * a tall matrix, so the work is bound by arithmetic and not by reading weights. Experts of few tokens
 * go together, as many as the work area has room for, since a small matrix is not worth a parallel
 * loop of its own. An expert of many tokens meets them slab by slab, and so does an MLP of all tokens:
 * activations are much longer than states, and of so many tokens would be most of what a pass
 * holds. Its weights are decoded for every slab, which costs nothing beside the products, from pages that the
 * system has just read; what a level makes of them on the fly is kept from the first slab on.
 */
#include "pass_int.h"

#include "checked.h"
#include "error.h"
#include "router.h"

#include <string.h>

/* Experts take this many times an expert's even share of tokens at a time, MLPs all of them, but no more than
 * SLAB_TOKENS, of which the products cost a hundred times what decoding does, or what takes so much of the work
 * area. */
#define SLAB_SHARES 2
#define SLAB_TOKENS 4096
#define MIN_SLAB_BYTES (32u << 20)

/* The rows of a layer's MLP, and the stride of so many activations. */
static uint32_t mlp_rows(const struct mq_layer *layer)
{
    return layer->ffn.kind == MQ_FFN_BOTH ? layer->ffn.dense_rows : layer->ffn.rows;
}

static size_t row_of(uint32_t rows)
{
    return rows + MQ_ROW_PAD;
}

/* Tokens that fill the least part of a work area that slabs take: rows of so many floats. */
static size_t least_slab(size_t floats)
{
    return MIN_SLAB_BYTES / sizeof(float) / floats + 1;
}

/* The tokens of a pass that an MLP takes at a time. */
static size_t mlp_slab(const struct mq_pass_sizes *sizes, uint32_t rows)
{
    return mq_min_u64(sizes->tokens, mq_max_u64(SLAB_TOKENS, least_slab(row_of(rows))));
}

/* Routes of a pass's tokens that experts take at a time. */
static size_t experts_slab(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    const struct mq_layer_router *r = &layer->ffn.router;
    const size_t routes = sizes->tokens * r->top_k;
    const size_t share = r->experts ? (routes * SLAB_SHARES + r->experts - 1) / r->experts : 0;
    const size_t least = least_slab(sizes->ldh + row_of(layer->ffn.rows));
    return mq_min_u64(routes, mq_max_u64(least, mq_min_u64(share, SLAB_TOKENS)));
}

/* Not where an expert may have more than twice its share: then it is encoded again. */
bool mq_pass_has_slabs(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    const struct mq_layer_ffn *f = &layer->ffn;
    const size_t routes = sizes->tokens * f->router.top_k;
    const bool dense = f->kind == MQ_FFN_DENSE || f->kind == MQ_FFN_BOTH;
    return (dense && mlp_slab(sizes, mlp_rows(layer)) < sizes->tokens) ||
           (f->shared_rows && mlp_slab(sizes, f->shared_rows) < sizes->tokens) ||
           (f->router.experts &&
            experts_slab(sizes, layer) < routes * SLAB_SHARES / f->router.experts);
}

/* ---- work areas ---- */

size_t mq_pass_mlp_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return mlp_slab(sizes, mlp_rows(layer)) * row_of(mlp_rows(layer));
}

uint64_t mq_pass_mlp_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return mlp_slab(sizes, mlp_rows(layer)) *
           mq_linear_int8_bytes(mq_max_u64(sizes->hidden, mlp_rows(layer)));
}

size_t mq_pass_experts_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return sizes->tokens * sizes->hidden +
           experts_slab(sizes, layer) * (sizes->ldh + row_of(layer->ffn.rows));
}

uint64_t mq_pass_experts_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return experts_slab(sizes, layer) *
           mq_linear_int8_bytes(mq_max_u64(sizes->hidden, layer->ffn.rows));
}

size_t mq_pass_shared_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    const uint32_t rows = layer->ffn.shared_rows;
    return sizes->tokens * sizes->hidden + mlp_slab(sizes, rows) * row_of(rows);
}

uint64_t mq_pass_shared_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    const uint32_t rows = layer->ffn.shared_rows;
    return mlp_slab(sizes, rows) * mq_linear_int8_bytes(mq_max_u64(sizes->hidden, rows));
}

/* ---- one MLP, or those of some experts ---- */

struct mlp {
    enum mq_role gate; /* the roles of up and down, and of biases, follow it: MQ_ROLE_LIST */
    bool bias;
    uint32_t rows;
    bool scaled; /* its output, by a token's weight */
    int32_t layer;
    int32_t expert;     /* the first of `count` experts; -1: no expert's, of all tokens, */
    size_t count;       /* 1 */
    size_t slab;        /* tokens that it takes at a time, or they together */
    size_t from;        /* of one alone: tokens that were taken before, */
    bool keeps;         /* and whether more are to come after the first slab */
    size_t input;       /* where gathered tokens are in the work area, and then results; */
    size_t activations; /* and activations */
};

/* The tokens of number `which` of an arm, and how many stand before them in the work area. */
struct part {
    size_t tokens, before;
};

static struct part part_of(const struct mq_pass *pass, const struct mlp *mlp, size_t which, size_t a)
{
    const struct mq_pass_arm *arm = &pass->arms[a];
    if (!mq_pass_runs(pass, a))
        return (struct part){0};
    if (mlp->expert < 0)
        return (struct part){mq_min_u64(pass->tokens - mlp->from, mlp->slab), 0};
    const size_t *begin = arm->expert_begin + mlp->expert;
    const size_t all = begin[which + 1] - begin[which];
    const size_t left = all > mlp->from ? all - mlp->from : 0;
    return (struct part){mq_min_u64(left, mlp->slab), begin[which] - begin[0]};
}

/* Tells of each product at hand. */
static moeq_status tell_products(const struct mq_pass *pass, const struct mlp *mlp, moeq_error *err)
{
    if (!pass->observer->on_product)
        return MOEQ_OK;
    for (size_t i = 0; i < mlp->count * pass->arms_count; i++) {
        const size_t a = i % pass->arms_count, which = i / pass->arms_count;
        const struct mq_pass_arm *arm = &pass->arms[a];
        const uint32_t *token = NULL;
        const float *scale = mlp->scaled && !pass->layer->ffn.weigh_input ? arm->scale : NULL;
        size_t first = mlp->from;
        if (mlp->expert >= 0 && mq_pass_runs(pass, a)) {
            first += arm->expert_begin[mlp->expert + (int32_t)which];
            token = arm->token + first;
        }
        MQ_TRY(mq_pass_tell_product(pass, &pass->products[i], (int)a, token ? 0 : first, token,
                                    scale ? scale + first : NULL, err));
    }
    return MOEQ_OK;
}

/* Applies the products at hand, with the errors of quantizing their matrices if wanted. */
static moeq_status apply(struct mq_pass *pass, const struct mlp *mlp, enum mq_linear_output output,
                         moeq_error *err)
{
    const bool again = mlp->from > 0; /* weights that were counted and measured already */
    const bool measure = !again && pass->first_window == 0 && pass->observer->on_quantized;
    for (size_t i = 0; i < mlp->count * pass->arms_count; i++) {
        pass->products[i].measure = measure && mq_pass_runs(pass, i % pass->arms_count);
        pass->products[i].activation = pass->layer->ffn.activation;
        pass->products[i].activation_limit = pass->layer->ffn.activation_limit;
    }
    MQ_TRY(tell_products(pass, mlp, err));
    MQ_TRY(mq_linear_apply(pass->linear, output, pass->products, pass->arms_count, mlp->count, err));
    if (measure)
        MQ_TRY(mq_pass_tell_quantized(pass, mlp->count, err));
    const struct mq_tensor *tensor = pass->products[0].weights.tensor;
    if (!again)
        mq_pass_progress(pass, tensor->layer, mlp->count * tensor->rows * tensor->cols);
    return MOEQ_OK;
}

/* Tells which tokens the MLPs at hand are about to meet. */
static moeq_status tell_inputs(const struct mq_pass *pass, const struct mlp *mlp, moeq_error *err)
{
    const struct mq_observer *observer = pass->observer;
    if (!observer->on_mlp || mlp->from > 0)
        return MOEQ_OK;
    for (size_t i = 0; i < mlp->count * pass->arms_count; i++) {
        const struct mq_pass_arm *arm = &pass->arms[i % pass->arms_count];
        struct mq_mlp_inputs inputs = {.arm = (int)(i % pass->arms_count),
                                       .layer = mlp->layer,
                                       .expert = -1,
                                       .gate = mlp->gate,
                                       .shape = pass->layer,
                                       .rows = mlp->rows,
                                       .tokens = pass->tokens,
                                       .x = arm->x,
                                       .ldx = pass->sizes.ldh,
                                       .pass_tokens = pass->tokens,
                                       .scale = mlp->scaled ? arm->scale : NULL};
        if (!mq_pass_runs(pass, i % pass->arms_count))
            continue;
        if (mlp->expert >= 0) {
            inputs.expert = mlp->expert + (int32_t)(i / pass->arms_count);
            const size_t *begin = arm->expert_begin + inputs.expert;
            inputs.tokens = begin[1] - begin[0];
            inputs.token = arm->token + begin[0];
            inputs.scale = arm->scale + begin[0];
        }
        MQ_TRY(observer->on_mlp(observer->user, &inputs, err));
    }
    return MOEQ_OK;
}

/* Where the matrix number `matrix` of the MLP at hand is kept as it is encoded, if it is: in the place of the arm
 * whose weights the product has. */
static void keep_encoded(const struct mq_pass *pass, const struct mlp *mlp, int matrix, size_t a)
{
    struct mq_linear_arm *product = &pass->products[a];
    size_t owner = a;
    while (!mq_pass_runs(pass, owner))
        owner = (owner + 1) % pass->arms_count;
    uint8_t *at = pass->arms[owner].encoded;
    for (int m = mq_activation_is_gated(pass->layer->ffn.activation) ? 0 : 1; m < matrix; m++) {
        const enum mq_role role = mq_role_of_matrix(mlp->gate, m);
        const struct mq_weights w =
            mq_arm_weights(pass->arms[owner].arm, role, mlp->layer, mlp->expert);
        if (w.level)
            at += w.tensor->rows * mq_level_row_bytes(w.level, w.tensor->cols);
    }
    product->encoded = at;
    product->is_encoded = mlp->from > 0;
}

/* The weights of the matrices number `matrix` (gate, up, down), their biases and tokens. */
static moeq_status load(struct mq_pass *pass, const struct mlp *mlp, int matrix, moeq_error *err)
{
    const enum mq_role role = mq_role_of_matrix(mlp->gate, matrix);
    for (size_t i = 0; i < mlp->count; i++) {
        const int32_t expert = mlp->expert < 0 ? -1 : mlp->expert + (int32_t)i;
        mq_pass_weights_of(pass, role, mlp->layer, expert, i);
        for (size_t a = 0; a < pass->arms_count; a++) {
            struct mq_linear_arm *product = &pass->products[i * pass->arms_count + a];
            const struct part part = part_of(pass, mlp, i, a);
            product->tokens = part.tokens;
            if (product->int8)
                product->int8 = (char *)product->int8 +
                                part.before * mq_linear_int8_bytes(product->weights.tensor->cols);
            if (mlp->keeps && product->weights.level)
                keep_encoded(pass, mlp, matrix, a);
            if (!mlp->bias || part.tokens == 0)
                continue;
            float *bias = pass->mlp_biases +
                          (i * pass->arms_count + a) * pass->sizes.mlp_bias;
            MQ_TRY(mq_pass_load_vector(pass, &pass->arms[a], role + 1, mlp->layer, expert, bias,
                                       err));
            product->bias = bias;
        }
    }
    return MOEQ_OK;
}

/* Each product of each arm takes or leaves rows, of stride ld, from or at `at` floats into its work
 * area. */
static void read_from(struct mq_pass *pass, const struct mlp *mlp, size_t at, size_t ld)
{
    for (size_t i = 0; i < mlp->count * pass->arms_count; i++) {
        const size_t a = i % pass->arms_count;
        const struct part part = part_of(pass, mlp, i / pass->arms_count, a);
        pass->products[i].x = pass->arms[a].work + at + part.before * ld;
        pass->products[i].ldx = ld;
    }
}

static void write_to(struct mq_pass *pass, const struct mlp *mlp, size_t at, size_t ld)
{
    for (size_t i = 0; i < mlp->count * pass->arms_count; i++) {
        const size_t a = i % pass->arms_count;
        const struct part part = part_of(pass, mlp, i / pass->arms_count, a);
        pass->products[i].y = pass->arms[a].work + at + part.before * ld;
        pass->products[i].ldy = ld;
    }
}

/* activations = gate x; then f(activations) * (up x); then down's product is made ready. */
static moeq_status activate(struct mq_pass *pass, const struct mlp *mlp, moeq_error *err)
{
    const bool gated = mq_activation_is_gated(pass->layer->ffn.activation);
    for (int matrix = gated ? 0 : 1; matrix < 2; matrix++) {
        MQ_TRY(load(pass, mlp, matrix, err));
        if (mlp->expert >= 0)
            read_from(pass, mlp, mlp->input, pass->sizes.ldh);
        for (size_t a = 0; a < pass->arms_count && mlp->expert < 0; a++) {
            pass->products[a].x = pass->arms[a].x + mlp->from * pass->sizes.ldh;
            pass->products[a].ldx = pass->sizes.ldh;
        }
        write_to(pass, mlp, mlp->activations, row_of(mlp->rows));
        MQ_TRY(apply(pass, mlp, matrix ? MQ_LINEAR_GATE : MQ_LINEAR_STORE, err));
    }
    MQ_TRY(load(pass, mlp, 2, err));
    read_from(pass, mlp, mlp->activations, row_of(mlp->rows));
    return MOEQ_OK;
}

/* An MLP that is no expert's, from x to x. */
static moeq_status run_mlp(struct mq_pass *pass, struct mlp *mlp, moeq_error *err)
{
    mlp->slab = mlp_slab(&pass->sizes, mlp->rows);
    mlp->keeps = pass->sizes.encodes && mlp->slab < pass->tokens;
    MQ_TRY(tell_inputs(pass, mlp, err));
    for (; mlp->from < pass->tokens; mlp->from += mlp->slab) {
        MQ_TRY(activate(pass, mlp, err));
        for (size_t a = 0; a < pass->arms_count; a++) { /* the normalized states have served */
            pass->products[a].y = pass->arms[a].x + mlp->from * pass->sizes.ldh;
            pass->products[a].ldy = pass->sizes.ldh;
        }
        MQ_TRY(apply(pass, mlp, MQ_LINEAR_STORE, err));
    }
    return MOEQ_OK;
}

moeq_status mq_pass_mlp(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                        moeq_error *err)
{
    struct mlp mlp = {.gate = MQ_ROLE_MLP_GATE,
                      .bias = pass->layer->ffn.bias,
                      .rows = mlp_rows(pass->layer),
                      .layer = layer,
                      .expert = -1,
                      .count = 1};
    (void)step;
    MQ_TRY(run_mlp(pass, &mlp, err));
    mq_pass_branch_is_x(pass);
    return MOEQ_OK;
}

/* ---- shared experts ---- */

/* scale[t] = the sigmoid of a product with x, for the first of a token's routes, which have
 * served. */
static moeq_status weigh_shared(struct mq_pass *pass, int32_t layer, moeq_error *err)
{
    mq_pass_weights(pass, MQ_ROLE_SHARED_SCALE, layer, -1);
    for (size_t a = 0; a < pass->arms_count; a++) {
        pass->products[a].x = pass->arms[a].x;
        pass->products[a].ldx = pass->sizes.ldh;
        pass->products[a].y = pass->arms[a].scale;
        pass->products[a].ldy = 1;
        pass->products[a].compute = MQ_COMPUTE_F32;
    }
    MQ_TRY(mq_pass_apply(pass, MQ_LINEAR_STORE, err));
    for (size_t a = 0; a < pass->arms_count; a++)
        for (size_t t = 0; t < pass->tokens && mq_pass_runs(pass, a); t++) {
            const float logit = pass->arms[a].scale[t];
            pass->arms[a].scale[t] = 1.0f;
            pass->kernels->sigmoid_times(pass->arms[a].scale + t, &logit, 1);
        }
    return MOEQ_OK;
}

/* Adds to the sums that the step `experts` has left at the beginning of the work area. */
moeq_status mq_pass_shared(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                           moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    const bool gated = pass->layer->ffn.shared_gate;
    struct mlp mlp = {.gate = MQ_ROLE_SHARED_GATE,
                      .bias = pass->layer->ffn.bias,
                      .rows = pass->layer->ffn.shared_rows,
                      .scaled = gated,
                      .layer = layer,
                      .expert = -1,
                      .count = 1,
                      .activations = s->tokens * s->hidden};
    (void)step;
    if (gated)
        MQ_TRY(weigh_shared(pass, layer, err));
    MQ_TRY(run_mlp(pass, &mlp, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (!mq_pass_runs(pass, a))
            continue;
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
        for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
            pass->kernels->add_scaled(arm->work + (size_t)t * s->hidden, arm->x + (size_t)t * s->ldh,
                                      gated ? arm->scale[t] : 1.0f, s->hidden);
    }
    return MOEQ_OK;
}

/* ---- routed experts ---- */

/* The tokens of the experts at hand, side by side. */
static void gather(const struct mq_pass *pass, const struct mlp *mlp, const struct mq_pass_arm *arm,
                   size_t n)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    const size_t first = arm->expert_begin[mlp->expert] + mlp->from;
    const bool weigh = pass->layer->ffn.weigh_input;
#pragma omp parallel for num_threads(mq_team(pass->context, n * s->hidden)) schedule(static)
    for (int64_t i = 0; i < (int64_t)n; i++) {
        float *row = arm->work + mlp->input + (size_t)i * s->ldh;
        memcpy(row, arm->x + arm->token[first + (size_t)i] * s->ldh, s->hidden * sizeof(float));
        for (size_t k = 0; weigh && k < s->hidden; k++)
            row[k] *= arm->scale[first + (size_t)i];
    }
}

/* sum[token] += weight * result, in the order of experts: threads share columns, not tokens. */
static void scatter(const struct mq_pass *pass, const struct mlp *mlp,
                    const struct mq_pass_arm *arm, size_t n)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    const size_t first = arm->expert_begin[mlp->expert] + mlp->from;
    const size_t columns = mq_round_up((s->hidden + pass->context->threads - 1) /
                                       pass->context->threads, 16);
    const bool weighed = pass->layer->ffn.weigh_input;
#pragma omp parallel for num_threads(mq_team(pass->context, n * s->hidden)) schedule(static)
    for (int64_t begin = 0; begin < (int64_t)s->hidden; begin += (int64_t)columns) {
        const size_t count = mq_min_u64(columns, s->hidden - (size_t)begin);
        for (size_t i = 0; i < n; i++)
            pass->kernels->add_scaled(arm->work + arm->token[first + i] * s->hidden + begin,
                                      arm->work + mlp->input + i * s->ldh + begin,
                                      weighed ? 1.0f : arm->scale[first + i], count);
    }
}

/* The tokens of an arm that the experts at hand take. */
static size_t tokens_at_hand(const struct mq_pass *pass, const struct mlp *mlp, size_t a)
{
    const struct part last = part_of(pass, mlp, mlp->count - 1, a);
    return last.before + last.tokens;
}

static moeq_status run_experts(struct mq_pass *pass, const struct mlp *mlp, moeq_error *err)
{
    MQ_TRY(tell_inputs(pass, mlp, err));
    for (size_t a = 0; a < pass->arms_count; a++)
        gather(pass, mlp, &pass->arms[a], tokens_at_hand(pass, mlp, a));
    MQ_TRY(activate(pass, mlp, err));
    write_to(pass, mlp, mlp->input, pass->sizes.ldh); /* gathered tokens have served */
    MQ_TRY(apply(pass, mlp, MQ_LINEAR_STORE, err));
    for (size_t a = 0; a < pass->arms_count; a++)
        scatter(pass, mlp, &pass->arms[a], tokens_at_hand(pass, mlp, a));
    return MOEQ_OK;
}

/* How many experts from `first` on go together: their tokens fit a slab, in every arm. At least
 * one, whose tokens may take several slabs. */
static size_t experts_together(const struct mq_pass *pass, size_t slab, uint32_t first)
{
    const struct mq_layer_ffn *f = &pass->layer->ffn;
    const size_t most = mq_min_u64(mq_linear_batch(mq_max_u64(f->rows, pass->sizes.hidden)),
                                   f->router.experts - first);
    size_t count = 1;
    for (; count < most; count++)
        for (size_t a = 0; a < pass->arms_count; a++) {
            const size_t *begin = pass->arms[a].expert_begin + first;
            if (begin[count + 1] - begin[0] > slab)
                return count;
        }
    return count;
}

static void sort_routes(struct mq_pass *pass)
{
    const struct mq_layer_router *router = &pass->layer->ffn.router;
    for (size_t a = 0; a < pass->arms_count; a++) {
        struct mq_pass_arm *arm = &pass->arms[a];
        mq_router_sort(arm->chosen, arm->weights, mq_pass_runs(pass, a) ? pass->tokens : 0, router,
                       arm->expert_begin, arm->token, arm->scale);
        memset(arm->work, 0, pass->tokens * pass->sizes.hidden * sizeof(float));
        arm->branch = arm->work;
        arm->branch_ld = pass->sizes.hidden;
    }
}

/* Experts in order, so that a token's sum has its terms in that order. */
moeq_status mq_pass_experts(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                            moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    struct mlp mlp = {.gate = MQ_ROLE_EXPERT_GATE,
                      .bias = pass->layer->ffn.expert_bias,
                      .rows = pass->layer->ffn.rows,
                      .scaled = true,
                      .layer = layer,
                      .slab = experts_slab(s, pass->layer),
                      .input = s->tokens * s->hidden};
    (void)step;
    mlp.activations = mlp.input + mlp.slab * s->ldh;
    sort_routes(pass);
    for (uint32_t e = 0; e < pass->layer->ffn.router.experts; e += (uint32_t)mlp.count) {
        mlp.expert = (int32_t)e;
        mlp.count = experts_together(pass, mlp.slab, e);
        size_t most = 0; /* tokens of the first expert */
        for (size_t a = 0; a < pass->arms_count; a++)
            most = mq_max_u64(most, pass->arms[a].expert_begin[e + 1] - pass->arms[a].expert_begin[e]);
        mlp.from = 0;
        mlp.keeps = s->encodes && most > mlp.slab;
        do { /* once even without tokens: the errors of quantizing it may be wanted */
            MQ_TRY(run_experts(pass, &mlp, err));
            mlp.from += mlp.slab;
        } while (mlp.from < most);
    }
    return mq_pass_check_cancelled(pass, err);
}
