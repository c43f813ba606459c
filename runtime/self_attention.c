/*
 * self_attention.c: the step `attention`: q, k and v of all tokens, their norms, heads, and o.
 *
 *     work  | q [tokens] | of some heads: k [tokens] | v [tokens] | out [tokens] | gate [tokens] |
 *
 * k and v are formed for some of their heads at a time, whose rows of the matrices are read then: every row
 * once, and every head alone, so that the bits do not say how many. What the heads give stands over q where it has q's shape; there is a gate's place where one has
 * a matrix of its own.
 */
#include "pass_int.h"

#include "checked.h"
#include "error.h"

#include <string.h>

/* Where the parts begin in the work area, and the strides of their rows, in floats. */
struct places {
    size_t k, v, out, gate, end;
    size_t ldq, ldk, ldv, ldo;
    size_t q_head; /* from one head of q to the next */
    uint32_t heads; /* of k and v, at a time */
};

/* A quarter of them, and at least so many rows of k that threads have enough to share; all where their norm is over
 * all, or they are kept. */
static uint32_t heads_at_once(const struct mq_layer_attention *l, bool goes_on)
{
    enum { PARTS = 4, LEAST_ROWS = 256 };
    const uint64_t least = (LEAST_ROWS + l->head_dim - 1) / l->head_dim;
    return goes_on || l->qk_norm == MQ_QK_NORM_WHOLE
               ? l->kv_heads
               : (uint32_t)mq_min_u64(l->kv_heads,
                                      mq_max_u64(least, (l->kv_heads + PARTS - 1) / PARTS));
}

static struct places places_of(const struct mq_layer_attention *l, size_t tokens, bool goes_on)
{
    struct places p = {.q_head = (l->gate == MQ_GATE_IN_Q ? 2 : 1) * (size_t)l->head_dim,
                       .heads = heads_at_once(l, goes_on)};
    p.ldq = l->heads * p.q_head + MQ_ROW_PAD;
    p.ldk = (size_t)p.heads * l->head_dim + MQ_ROW_PAD;
    p.ldv = (size_t)p.heads * l->value_dim + MQ_ROW_PAD;
    p.ldo = (size_t)l->heads * l->value_dim + MQ_ROW_PAD;
    p.k = tokens * p.ldq;
    p.v = p.k + tokens * p.ldk;
    p.gate = p.v + tokens * p.ldv;
    if (p.ldo != p.ldq) {
        p.out = p.gate;
        p.gate += tokens * p.ldo;
    }
    p.end = p.gate + (l->gate == MQ_GATE_MATRIX ? tokens * p.ldo : 0);
    return p;
}

size_t mq_pass_attention_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return places_of(&layer->attention, sizes->tokens, sizes->goes_on).end;
}

uint64_t mq_pass_attention_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    const struct places p = places_of(&layer->attention, 0, sizes->goes_on);
    return sizes->tokens * mq_linear_int8_bytes(mq_max_u64(sizes->hidden, mq_max_u64(p.ldq, p.ldo)));
}

/* Rows [first, first + count) of q, k, v or a gate of all arms (count 0: all): `at` floats into the work area. */
static moeq_status project(struct mq_pass *pass, enum mq_role role, int32_t layer, size_t first,
                           size_t count, size_t at, size_t ld, moeq_error *err)
{
    mq_pass_weights(pass, role, layer, -1);
    if (pass->layer->attention.qkv_bias && role != MQ_ROLE_ATTN_GATE)
        MQ_TRY(mq_pass_bias(pass, role + 1, layer, -1, err)); /* the next of MQ_ROLE_LIST */
    for (size_t a = 0; a < pass->arms_count; a++) {
        struct mq_linear_arm *product = &pass->products[a];
        product->first_row = first;
        product->rows_count = count;
        product->bias = product->bias ? product->bias + first : NULL;
        product->x = pass->arms[a].x;
        product->ldx = pass->sizes.ldh;
        product->y = pass->arms[a].work + at;
        product->ldy = ld;
    }
    return mq_pass_apply(pass, MQ_LINEAR_STORE, err);
}

/* Some heads of v of all arms: a product, or a copy of k's. */
static moeq_status make_v(struct mq_pass *pass, const struct places *p, int32_t layer,
                          uint32_t first, uint32_t count, moeq_error *err)
{
    const size_t n = pass->layer->attention.value_dim;
    if (!pass->layer->attention.value_is_key)
        return project(pass, MQ_ROLE_ATTN_V, layer, first * n, count * n, p->v, p->ldv, err);
    for (size_t a = 0; a < pass->arms_count; a++)
        if (mq_pass_runs(pass, a))
            memcpy(pass->arms[a].work + p->v, pass->arms[a].work + p->k,
                   pass->tokens * p->ldv * sizeof(float));
    return MOEQ_OK;
}

/* Each of `parts` parts, n numbers each and `next` from one to the next, of every token's row is
 * normalized by the weights in pass->norm. */
static void norm_parts(struct mq_pass *pass, const struct mq_pass_arm *arm, float *rows, size_t ld,
                       size_t parts, size_t n, size_t next)
{
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
    for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
        for (size_t i = 0; i < parts; i++) {
            float *x = rows + (size_t)t * ld + i * next;
            pass->kernels->rms_norm(x, pass->norm, n, pass->layer->norm_eps, x);
        }
    mq_pass_round(pass, arm, rows, (parts - 1) * next + n, ld);
}

/* Clipping, and what is done to v alone. */
static void bound(struct mq_pass *pass, float *x, size_t n, size_t ld, float clip, float scale)
{
    if (clip == 0 && scale == 1.0f)
        return;
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
    for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
        for (size_t i = 0; i < n; i++) {
            float *at = x + (size_t)t * ld + i;
            const float low = clip != 0 && *at < -clip ? -clip : *at;
            *at = (clip != 0 && low > clip ? clip : low) * scale;
        }
}

/* q of all heads, and what is done to it alone. */
static moeq_status prepare_queries(struct mq_pass *pass, const struct mq_pass_arm *arm,
                                   const struct places *p, int32_t layer, moeq_error *err)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const bool whole = l->qk_norm == MQ_QK_NORM_WHOLE;
    if (whole || l->qk_norm == MQ_QK_NORM_HEAD) {
        MQ_TRY(mq_pass_load_norm(pass, arm, MQ_ROLE_ATTN_Q_NORM, layer, err));
        norm_parts(pass, arm, arm->work, p->ldq, whole ? 1 : l->heads,
                   whole ? p->ldq - MQ_ROW_PAD : l->head_dim, p->q_head);
    }
    bound(pass, arm->work, p->ldq - MQ_ROW_PAD, p->ldq, l->clip, 1.0f);
    return MOEQ_OK;
}

/* `count` heads of k and v. */
static moeq_status prepare_keys(struct mq_pass *pass, const struct mq_pass_arm *arm,
                                const struct places *p, uint32_t count, int32_t layer,
                                moeq_error *err)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const bool whole = l->qk_norm == MQ_QK_NORM_WHOLE;
    const size_t n = count * (size_t)l->head_dim;
    float *k = arm->work + p->k, *v = arm->work + p->v;
    if (whole || l->qk_norm == MQ_QK_NORM_HEAD) {
        MQ_TRY(mq_pass_load_norm(pass, arm, MQ_ROLE_ATTN_K_NORM, layer, err));
        norm_parts(pass, arm, k, p->ldk, whole ? 1 : count, whole ? n : l->head_dim, l->head_dim);
    }
    bound(pass, k, n, p->ldk, l->clip, 1.0f);
    bound(pass, v, count * (size_t)l->value_dim, p->ldv, l->clip, l->value_scale);
    for (size_t i = 0; l->value_norm && i < l->value_dim; i++)
        pass->norm[i] = 1.0f;
    if (l->value_norm)
        norm_parts(pass, arm, v, p->ldv, count, l->value_dim, l->value_dim);
    return MOEQ_OK;
}

/* out *= sigmoid(gate), the gate in a place of its own or behind each head of q. */
static void apply_gate(struct mq_pass *pass, const struct mq_pass_arm *arm, const struct places *p)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const bool in_q = l->gate == MQ_GATE_IN_Q;
    const float *gate = arm->work + (in_q ? l->head_dim : p->gate);
    const size_t ld = in_q ? p->ldq : p->ldo, next = in_q ? p->q_head : l->value_dim;
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
    for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
        for (size_t h = 0; h < l->heads; h++)
            pass->kernels->sigmoid_times(arm->work + p->out + (size_t)t * p->ldo + h * l->value_dim,
                                         gate + (size_t)t * ld + h * next, l->value_dim);
}

/* Vectors that the heads want. */
struct vectors {
    const float *sinks, *q_norm, *k_norm;
};

static moeq_status load_vectors(struct mq_pass *pass, const struct mq_pass_arm *arm, int32_t layer,
                                struct vectors *v, moeq_error *err)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    *v = (struct vectors){0};
    if (l->sinks) {
        MQ_TRY(mq_pass_load_vector(pass, arm, MQ_ROLE_ATTN_SINKS, layer, -1, pass->norm_bias, err));
        v->sinks = pass->norm_bias;
    }
    if (l->qk_norm == MQ_QK_NORM_HEAD_AFTER) {
        MQ_TRY(mq_pass_load_vector(pass, arm, MQ_ROLE_ATTN_Q_NORM, layer, -1, pass->norm, err));
        MQ_TRY(mq_pass_load_vector(pass, arm, MQ_ROLE_ATTN_K_NORM, layer, -1, pass->biases, err));
        v->q_norm = pass->norm;
        v->k_norm = pass->biases;
    }
    return MOEQ_OK;
}

/* The heads of q that share the heads [first, first + count) of k and v. */
static moeq_status attend(struct mq_pass *pass, const struct mq_pass_arm *arm,
                          const struct places *p, uint32_t first, uint32_t count, int32_t layer,
                          moeq_error *err)
{
    struct mq_layer_attention l = pass->layer->attention;
    const size_t head = first * (size_t)(l.heads / l.kv_heads);
    const struct mq_attention_past past = {
        .position = arm->cache ? arm->cache->tokens : 0,
        .tokens = pass->tokens,
        .cache = arm->cache ? &arm->cache->layers[layer].keys : NULL,
    };
    struct vectors v;
    MQ_TRY(prepare_keys(pass, arm, p, count, layer, err));
    MQ_TRY(load_vectors(pass, arm, layer, &v, err));
    l.heads = count * (l.heads / l.kv_heads);
    l.kv_heads = count;
    const struct mq_attention_job job = {
        .layer = &l,
        .q = {arm->work + head * p->q_head, p->ldq, p->q_head},
        .k = {arm->work + p->k, p->ldk, l.head_dim},
        .v = {arm->work + p->v, p->ldv, l.value_dim},
        .out = {arm->work + p->out + head * l.value_dim, p->ldo, l.value_dim},
        .sinks = v.sinks ? v.sinks + head : NULL,
        .q_norm = v.q_norm,
        .k_norm = v.k_norm,
        .norm_eps = pass->layer->norm_eps,
        .windows = pass->windows_count,
        .past = arm->cache ? &past : NULL, /* of all heads: heads_at_once */
    };
    mq_attention_apply(pass->attention, &job);
    return mq_pass_check_cancelled(pass, err);
}

static moeq_status run_heads(struct mq_pass *pass, const struct places *p, uint32_t first,
                             uint32_t count, int32_t layer, moeq_error *err)
{
    const size_t n = pass->layer->attention.head_dim;
    MQ_TRY(project(pass, MQ_ROLE_ATTN_K, layer, first * n, count * n, p->k, p->ldk, err));
    MQ_TRY(make_v(pass, p, layer, first, count, err));
    for (size_t a = 0; a < pass->arms_count; a++)
        if (mq_pass_runs(pass, a))
            MQ_TRY(attend(pass, &pass->arms[a], p, first, count, layer, err));
    return MOEQ_OK;
}

/* What the heads gave, gated, times o: the normalized states have served, and it takes their place. */
static moeq_status project_out(struct mq_pass *pass, const struct places *p, int32_t layer,
                               moeq_error *err)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (!mq_pass_runs(pass, a))
            continue;
        mq_pass_round(pass, arm, arm->work + p->out, p->ldo - MQ_ROW_PAD, p->ldo);
        if (l->gate == MQ_GATE_NONE)
            continue;
        apply_gate(pass, arm, p);
        mq_pass_round(pass, arm, arm->work + p->out, p->ldo - MQ_ROW_PAD, p->ldo);
    }
    mq_pass_weights(pass, MQ_ROLE_ATTN_O, layer, -1);
    if (l->o_bias)
        MQ_TRY(mq_pass_bias(pass, MQ_ROLE_ATTN_O_BIAS, layer, -1, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        pass->products[a].x = pass->arms[a].work + p->out;
        pass->products[a].ldx = p->ldo;
        pass->products[a].y = pass->arms[a].x;
        pass->products[a].ldy = pass->sizes.ldh;
    }
    MQ_TRY(mq_pass_apply(pass, MQ_LINEAR_STORE, err));
    mq_pass_branch_is_x(pass);
    return MOEQ_OK;
}

moeq_status mq_pass_attention(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                              moeq_error *err)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const struct places p = places_of(l, pass->tokens, pass->sizes.goes_on);
    (void)step;
    MQ_TRY(project(pass, MQ_ROLE_ATTN_Q, layer, 0, 0, 0, p.ldq, err));
    if (l->gate == MQ_GATE_MATRIX)
        MQ_TRY(project(pass, MQ_ROLE_ATTN_GATE, layer, 0, 0, p.gate, p.ldo, err));
    for (size_t a = 0; a < pass->arms_count; a++)
        if (mq_pass_runs(pass, a))
            MQ_TRY(prepare_queries(pass, &pass->arms[a], &p, layer, err));
    for (uint32_t first = 0; first < l->kv_heads; first += p.heads)
        MQ_TRY(run_heads(pass, &p, first, mq_min_u32(p.heads, l->kv_heads - first), layer, err));
    return project_out(pass, &p, layer, err);
}
