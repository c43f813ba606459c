/*
 * latent_attention.c: the step `latent`: DeepSeek's multi-head latent attention. k and v of all
 * heads are made of one short vector of each token, written out here for all tokens of a pass.
 *
 *     work  | q [tokens] | latents [tokens] | k without positions, v [tokens] | k [tokens] | out |
 *
 * The latents are q's first, then those of k and v, with the part of k that is turned.
 */
#include "pass_int.h"

#include "checked.h"
#include "error.h"

#include <string.h>

/* Where the parts begin in the work area, and the strides of their rows, in floats. */
struct places {
    size_t latent, kv, k, out, end;
    size_t ldq, ld_latent, ldkv, ldk, ldo;
    size_t plain; /* numbers of a head of k without positions */
};

static struct places places_of(const struct mq_layer_attention *l, size_t tokens)
{
    struct places p = {.plain = l->head_dim - l->rotary_dim};
    p.ldq = p.ldk = (size_t)l->heads * l->head_dim + MQ_ROW_PAD;
    p.ld_latent = mq_max_u64(l->q_rank, (uint64_t)l->kv_rank + l->rotary_dim) + MQ_ROW_PAD;
    p.ldkv = l->heads * (p.plain + l->value_dim) + MQ_ROW_PAD;
    p.ldo = (size_t)l->heads * l->value_dim + MQ_ROW_PAD;
    p.latent = tokens * p.ldq;
    p.kv = p.latent + tokens * p.ld_latent;
    p.k = p.kv + tokens * p.ldkv;
    p.out = p.k + tokens * p.ldk;
    p.end = p.out + tokens * p.ldo;
    return p;
}

size_t mq_pass_latent_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return places_of(&layer->attention, sizes->tokens).end;
}

uint64_t mq_pass_latent_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    const struct places p = places_of(&layer->attention, 0);
    return sizes->tokens *
           mq_linear_int8_bytes(mq_max_u64(sizes->hidden, mq_max_u64(p.ld_latent, p.ldo)));
}

/* A matrix that takes and leaves rows in every arm's work area (from NULL: takes x). */
static moeq_status project(struct mq_pass *pass, enum mq_role role, int32_t layer,
                           const size_t *from, size_t ld_from, size_t to, size_t ld_to,
                           moeq_error *err)
{
    mq_pass_weights(pass, role, layer, -1);
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        pass->products[a].x = from ? arm->work + *from : arm->x;
        pass->products[a].ldx = from ? ld_from : pass->sizes.ldh;
        pass->products[a].y = arm->work + to;
        pass->products[a].ldy = ld_to;
    }
    return mq_pass_apply(pass, MQ_LINEAR_STORE, err);
}

/* The first n numbers of every latent. */
static moeq_status norm_latents(struct mq_pass *pass, enum mq_role role, int32_t layer,
                                const struct places *p, size_t n, moeq_error *err)
{
    const float eps = pass->layer->attention.latent_eps;
    for (size_t a = 0; a < pass->arms_count; a++) {
        float *rows = pass->arms[a].work + p->latent;
        if (!mq_pass_runs(pass, a))
            continue;
        MQ_TRY(mq_pass_load_vector(pass, &pass->arms[a], role, layer, -1, pass->norm, err));
#pragma omp parallel for num_threads((int)pass->context->threads) schedule(static)
        for (int64_t t = 0; t < (int64_t)pass->tokens; t++) {
            float *x = rows + (size_t)t * p->ld_latent;
            pass->kernels->rms_norm(x, pass->norm, n, eps, x);
        }
        mq_pass_round(pass, &pass->arms[a], rows, n, p->ld_latent);
    }
    return MOEQ_OK;
}

static moeq_status make_q(struct mq_pass *pass, int32_t layer, const struct places *p,
                          moeq_error *err)
{
    const uint32_t rank = pass->layer->attention.q_rank;
    if (!rank)
        return project(pass, MQ_ROLE_ATTN_Q, layer, NULL, 0, 0, p->ldq, err);
    MQ_TRY(project(pass, MQ_ROLE_ATTN_Q_A, layer, NULL, 0, p->latent, p->ld_latent, err));
    MQ_TRY(norm_latents(pass, MQ_ROLE_ATTN_Q_A_NORM, layer, p, rank, err));
    return project(pass, MQ_ROLE_ATTN_Q_B, layer, &p->latent, p->ld_latent, 0, p->ldq, err);
}

/* Every head of k: its own numbers, then those that all share. */
static void join_k(const struct mq_pass *pass, float *work, const struct places *p)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
#pragma omp parallel for num_threads((int)pass->context->threads) schedule(static)
    for (int64_t t = 0; t < (int64_t)pass->tokens; t++) {
        const float *own = work + p->kv + (size_t)t * p->ldkv;
        const float *shared = work + p->latent + (size_t)t * p->ld_latent + l->kv_rank;
        float *k = work + p->k + (size_t)t * p->ldk;
        for (uint32_t h = 0; h < l->heads; h++) {
            memcpy(k, own, p->plain * sizeof(float));
            memcpy(k + p->plain, shared, l->rotary_dim * sizeof(float));
            own += p->plain + l->value_dim;
            k += l->head_dim;
        }
    }
}

static moeq_status make_k_and_v(struct mq_pass *pass, int32_t layer, const struct places *p,
                                moeq_error *err)
{
    const uint32_t rank = pass->layer->attention.kv_rank;
    MQ_TRY(project(pass, MQ_ROLE_ATTN_KV_A, layer, NULL, 0, p->latent, p->ld_latent, err));
    MQ_TRY(norm_latents(pass, MQ_ROLE_ATTN_KV_A_NORM, layer, p, rank, err));
    MQ_TRY(project(pass, MQ_ROLE_ATTN_KV_B, layer, &p->latent, p->ld_latent, p->kv, p->ldkv, err));
    for (size_t a = 0; a < pass->arms_count; a++)
        if (mq_pass_runs(pass, a))
            join_k(pass, pass->arms[a].work, p);
    return MOEQ_OK;
}

static void attend(struct mq_pass *pass, const struct mq_pass_arm *arm, const struct places *p)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const struct mq_attention_job job = {
        .layer = l,
        .q = {arm->work, p->ldq, l->head_dim},
        .k = {arm->work + p->k, p->ldk, l->head_dim},
        .v = {arm->work + p->kv + p->plain, p->ldkv, p->plain + l->value_dim},
        .out = {arm->work + p->out, p->ldo, l->value_dim},
        .windows = pass->windows_count,
    };
    mq_attention_apply(pass->attention, &job);
    mq_pass_round(pass, arm, arm->work + p->out, p->ldo - MQ_ROW_PAD, p->ldo);
}

moeq_status mq_pass_latent(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                           moeq_error *err)
{
    const struct places p = places_of(&pass->layer->attention, pass->tokens);
    (void)step;
    MQ_TRY(make_q(pass, layer, &p, err));
    MQ_TRY(make_k_and_v(pass, layer, &p, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        if (!mq_pass_runs(pass, a))
            continue;
        attend(pass, &pass->arms[a], &p);
        MQ_TRY(mq_pass_check_cancelled(pass, err));
    }
    mq_pass_weights(pass, MQ_ROLE_ATTN_O, layer, -1);
    for (size_t a = 0; a < pass->arms_count; a++) { /* the normalized states have served */
        pass->products[a].x = pass->arms[a].work + p.out;
        pass->products[a].ldx = p.ldo;
        pass->products[a].y = pass->arms[a].x;
        pass->products[a].ldy = pass->sizes.ldh;
    }
    MQ_TRY(mq_pass_apply(pass, MQ_LINEAR_STORE, err));
    mq_pass_branch_is_x(pass);
    return MOEQ_OK;
}
