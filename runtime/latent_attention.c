/*
 * latent_attention.c: the step `latent`: DeepSeek's multi-head latent attention. k and v of all heads are
 * made of one short vector of each token, and q of another.
 *
 * All heads' q, k and v of a token would be far longer than anything else that is known of it (of
 * DeepSeek-V3 4 * 128 * 512 bytes), so they are written out for some heads at a time, whose rows of the
 * matrices are read then: every row once, and every head alone, so that the bits do not say how many.
 *
 *     work  | latents of q [tokens] | of k and v [tokens] | q, | k without positions and v, | k of some
 *           heads [tokens] | out [tokens] |
 *
 * The latents of k and v end with the part of k that is turned, which all heads share. Of a sequence that
 * goes on they are what is kept (cache.h): q is then of the tokens at hand, k and v of all of them. Where
 * these are kept too, those of the tokens at hand alone are made.
 */
#include "pass_int.h"

#include "checked.h"
#include "error.h"

#include <string.h>

/* Floats that heads at a time may take however few the tokens are: 1 MiB; and beyond, what part of the room that
 * all heads' outputs take: of DeepSeek-V3 6 heads, 1152 rows of q. */
#define LEAST_AT_ONCE (1u << 18)
#define PARTS 4

/* Where the parts begin in the work area, and the strides of their rows, in floats. */
struct places {
    size_t kv_latent, q, kv, k, out, end;
    size_t ld_q_latent, ld_kv_latent, ldq, ldkv, ldk, ldo;
    size_t plain;   /* numbers of a head of k without positions */
    uint32_t heads; /* at a time */
};

/* As many as take no more room than a part of what all heads give, and each time about the same number. More tokens
 * never make it more, so that a pass needs no more than its windows would alone. */
static uint32_t heads_at_once(const struct mq_layer_attention *l, size_t tokens)
{
    const uint64_t of_k_and_v = (uint64_t)l->head_dim - l->rotary_dim + l->value_dim;
    const uint64_t each = tokens * (2 * (uint64_t)l->head_dim + of_k_and_v);
    const uint64_t room =
        mq_max_u64(LEAST_AT_ONCE, tokens * (uint64_t)l->heads * l->value_dim / PARTS);
    const uint64_t most = each ? mq_min_u64(l->heads, mq_max_u64(1, room / each)) : l->heads;
    const uint64_t times = (l->heads + most - 1) / most;
    return (uint32_t)((l->heads + times - 1) / times);
}

static struct places places_of(const struct mq_pass_sizes *sizes,
                               const struct mq_layer_attention *l)
{
    const size_t tokens = sizes->tokens, keys = sizes->keys;
    struct places p = {.plain = l->head_dim - l->rotary_dim, .heads = heads_at_once(l, keys)};
    p.ld_q_latent = l->q_rank ? l->q_rank + MQ_ROW_PAD : 0;
    p.ld_kv_latent = (size_t)l->kv_rank + l->rotary_dim + MQ_ROW_PAD;
    p.ldq = p.ldk = (size_t)p.heads * l->head_dim + MQ_ROW_PAD;
    p.ldkv = p.heads * (p.plain + l->value_dim) + MQ_ROW_PAD;
    p.ldo = (size_t)l->heads * l->value_dim + MQ_ROW_PAD;
    p.kv_latent = tokens * p.ld_q_latent;
    p.q = p.kv_latent + tokens * p.ld_kv_latent;
    p.kv = p.q + tokens * p.ldq;
    p.k = p.kv + keys * p.ldkv;
    p.out = p.k + keys * p.ldk;
    p.end = p.out + tokens * p.ldo;
    return p;
}

size_t mq_pass_latent_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return places_of(sizes, &layer->attention).end;
}

uint64_t mq_pass_latent_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    const struct places p = places_of(sizes, &layer->attention);
    const uint64_t latent = mq_max_u64(p.ld_q_latent, p.ld_kv_latent);
    return mq_max_u64(sizes->keys, sizes->tokens) *
           mq_linear_int8_bytes(mq_max_u64(sizes->hidden, mq_max_u64(latent, p.ldo)));
}

/* The latents of k and v of all tokens that the ones at hand see, and how many these are. */
static float *latents_of(const struct mq_pass_arm *arm, int32_t layer, const struct places *p)
{
    return arm->cache ? arm->cache->layers[layer].latents : arm->work + p->kv_latent;
}

static size_t keys_of(const struct mq_pass *pass, const struct mq_pass_arm *arm)
{
    return (arm->cache ? arm->cache->tokens : 0) + pass->tokens;
}

/* Rows of some token's numbers in every arm's work area; ld 0: the normalized states. */
struct rows {
    size_t at, ld;
};

/* Some rows of a matrix (count 0: all) times the rows `from`. */
static moeq_status project(struct mq_pass *pass, enum mq_role role, int32_t layer, uint64_t first,
                           uint64_t count, struct rows from, struct rows to, moeq_error *err)
{
    mq_pass_weights(pass, role, layer, -1);
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        struct mq_linear_arm *product = &pass->products[a];
        product->first_row = first;
        product->rows_count = count;
        product->x = from.ld ? arm->work + from.at : arm->x;
        product->ldx = from.ld ? from.ld : pass->sizes.ldh;
        product->y = arm->work + to.at;
        product->ldy = to.ld;
    }
    return mq_pass_apply(pass, MQ_LINEAR_STORE, err);
}

/* A latent of every token: a product, of which the first n numbers are normalized. */
static moeq_status make_latents(struct mq_pass *pass, enum mq_role matrix, enum mq_role norm,
                                int32_t layer, struct rows to, size_t n, moeq_error *err)
{
    const float eps = pass->layer->attention.latent_eps;
    MQ_TRY(project(pass, matrix, layer, 0, 0, (struct rows){0}, to, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        float *rows = pass->arms[a].work + to.at;
        if (!mq_pass_runs(pass, a))
            continue;
        MQ_TRY(mq_pass_load_vector(pass, &pass->arms[a], norm, layer, -1, pass->norm, err));
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
        for (int64_t t = 0; t < (int64_t)pass->tokens; t++) {
            float *x = rows + (size_t)t * to.ld;
            pass->kernels->rms_norm(x, pass->norm, n, eps, x);
        }
        mq_pass_round(pass, &pass->arms[a], rows, n, to.ld);
    }
    return MOEQ_OK;
}

/* Where k without positions and v of the heads from `first` on stand, of all tokens. */
static float *keys_and_values(const struct mq_pass_arm *arm, int32_t layer, const struct places *p,
                              const struct mq_layer_attention *l, uint32_t first, size_t *ld)
{
    const struct mq_cache_layer *kept = arm->cache ? &arm->cache->layers[layer] : NULL;
    const bool is_kept = kept && kept->formed;
    *ld = is_kept ? kept->formed_ld : p->ldkv;
    return is_kept ? kept->formed + first * (p->plain + l->value_dim) : arm->work + p->kv;
}

/* k and v of some heads, of all tokens of which they are not there. */
static moeq_status project_keys(struct mq_pass *pass, int32_t layer, const struct places *p,
                                uint32_t first, uint32_t count, moeq_error *err)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const uint64_t rows = p->plain + l->value_dim;
    mq_pass_weights(pass, MQ_ROLE_ATTN_KV_B, layer, -1);
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        struct mq_linear_arm *product = &pass->products[a];
        const size_t known =
            arm->cache && arm->cache->layers[layer].formed ? arm->cache->tokens : 0;
        size_t ld;
        float *to = keys_and_values(arm, layer, p, l, first, &ld);
        product->first_row = first * rows;
        product->rows_count = count * rows;
        product->tokens = product->tokens ? keys_of(pass, arm) - known : 0;
        product->x = latents_of(arm, layer, p) + known * p->ld_kv_latent;
        product->ldx = p->ld_kv_latent;
        product->y = to + known * ld;
        product->ldy = ld;
    }
    return mq_pass_apply(pass, MQ_LINEAR_STORE, err);
}

/* The latents of the tokens at hand join those of the tokens before. */
static void keep_latents(const struct mq_pass *pass, int32_t layer, const struct places *p)
{
    const size_t ld = p->ld_kv_latent;
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (arm->cache && mq_pass_runs(pass, a))
            memcpy(latents_of(arm, layer, p) + arm->cache->tokens * ld, arm->work + p->kv_latent,
                   pass->tokens * ld * sizeof(float));
    }
}

/* Each of some heads of k: its own numbers, then those that all share. */
static void join_k(const struct mq_pass *pass, const struct mq_pass_arm *arm, int32_t layer,
                   const struct places *p, const float *kv, size_t ldkv, uint32_t heads)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const float *latents = latents_of(arm, layer, p);
    const size_t tokens = keys_of(pass, arm);
    const int team = mq_team(pass->context, (uint64_t)tokens * heads * l->head_dim);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t t = 0; t < (int64_t)tokens; t++) {
        const float *own = kv + (size_t)t * ldkv;
        const float *shared = latents + (size_t)t * p->ld_kv_latent + l->kv_rank;
        float *k = arm->work + p->k + (size_t)t * p->ldk;
        for (uint32_t h = 0; h < heads; h++) {
            memcpy(k, own, p->plain * sizeof(float));
            memcpy(k + p->plain, shared, l->rotary_dim * sizeof(float));
            own += p->plain + l->value_dim;
            k += l->head_dim;
        }
    }
}

/* What the heads [first, first + count) give of one arm. */
static void attend(struct mq_pass *pass, const struct mq_pass_arm *arm, int32_t layer,
                   const struct places *p, uint32_t first, uint32_t count)
{
    struct mq_layer_attention l = pass->layer->attention;
    const struct mq_attention_past past = {.position = arm->cache ? arm->cache->tokens : 0,
                                           .tokens = pass->tokens};
    size_t ldkv;
    float *kv = keys_and_values(arm, layer, p, &l, first, &ldkv);
    l.heads = l.kv_heads = count;
    const struct mq_attention_job job = {
        .layer = &l,
        .q = {arm->work + p->q, p->ldq, l.head_dim},
        .k = {arm->work + p->k, p->ldk, l.head_dim},
        .v = {kv + p->plain, ldkv, p->plain + l.value_dim},
        .out = {arm->work + p->out + (size_t)first * l.value_dim, p->ldo, l.value_dim},
        .windows = pass->windows_count,
        .past = arm->cache ? &past : NULL,
    };
    join_k(pass, arm, layer, p, kv, ldkv, count);
    mq_attention_apply(pass->attention, &job);
}

static moeq_status run_heads(struct mq_pass *pass, int32_t layer, const struct places *p,
                             uint32_t first, uint32_t count, moeq_error *err)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const struct rows q_from = {0, p->ld_q_latent};
    MQ_TRY(project(pass, l->q_rank ? MQ_ROLE_ATTN_Q_B : MQ_ROLE_ATTN_Q, layer,
                   (uint64_t)first * l->head_dim, (uint64_t)count * l->head_dim, q_from,
                   (struct rows){p->q, p->ldq}, err));
    MQ_TRY(project_keys(pass, layer, p, first, count, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        if (!mq_pass_runs(pass, a))
            continue;
        attend(pass, &pass->arms[a], layer, p, first, count);
        MQ_TRY(mq_pass_check_cancelled(pass, err));
    }
    return MOEQ_OK;
}

/* The normalized states have served, and o's results take their place. */
static moeq_status project_out(struct mq_pass *pass, int32_t layer, const struct places *p,
                               moeq_error *err)
{
    mq_pass_weights(pass, MQ_ROLE_ATTN_O, layer, -1);
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (mq_pass_runs(pass, a))
            mq_pass_round(pass, arm, arm->work + p->out, p->ldo - MQ_ROW_PAD, p->ldo);
        pass->products[a].x = arm->work + p->out;
        pass->products[a].ldx = p->ldo;
        pass->products[a].y = arm->x;
        pass->products[a].ldy = pass->sizes.ldh;
    }
    MQ_TRY(mq_pass_apply(pass, MQ_LINEAR_STORE, err));
    mq_pass_branch_is_x(pass);
    return MOEQ_OK;
}

moeq_status mq_pass_latent(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                           moeq_error *err)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const struct places p = places_of(&pass->sizes, l);
    (void)step;
    if (l->q_rank)
        MQ_TRY(make_latents(pass, MQ_ROLE_ATTN_Q_A, MQ_ROLE_ATTN_Q_A_NORM, layer,
                            (struct rows){0, p.ld_q_latent}, l->q_rank, err));
    MQ_TRY(make_latents(pass, MQ_ROLE_ATTN_KV_A, MQ_ROLE_ATTN_KV_A_NORM, layer,
                        (struct rows){p.kv_latent, p.ld_kv_latent}, l->kv_rank, err));
    keep_latents(pass, layer, &p);
    for (uint32_t first = 0; first < l->heads; first += p.heads)
        MQ_TRY(run_heads(pass, layer, &p, first, mq_min_u32(p.heads, l->heads - first), err));
    return project_out(pass, layer, &p, err);
}
