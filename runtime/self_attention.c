/* self_attention.c: the step `attention`: q, k and v of all tokens, their norms, heads, and o. */
#include "pass_int.h"

#include "checked.h"
#include "error.h"

/* Strides of q, and of k and v, in the work area. */
static size_t row_q(const struct mq_layer_attention *l)
{
    return (size_t)l->heads * l->head_dim + MQ_ROW_PAD;
}

static size_t row_kv(const struct mq_layer_attention *l)
{
    return (size_t)l->kv_heads * l->head_dim + MQ_ROW_PAD;
}

size_t mq_pass_attention_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return sizes->tokens * (row_q(&layer->attention) + 2 * row_kv(&layer->attention));
}

uint64_t mq_pass_attention_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return sizes->tokens *
           mq_linear_int8_bytes(mq_max_u64(sizes->hidden, row_q(&layer->attention)));
}

/* q, k or v of all arms: `at` floats into the work area. */
static moeq_status project(struct mq_pass *pass, enum mq_role role, int32_t layer, size_t at,
                           size_t ld, moeq_error *err)
{
    mq_pass_weights(pass, role, layer, -1);
    for (size_t a = 0; a < pass->arms_count; a++) {
        pass->products[a].x = pass->arms[a].x;
        pass->products[a].ldx = pass->sizes.ldh;
        pass->products[a].y = pass->arms[a].work + at;
        pass->products[a].ldy = ld;
    }
    return mq_pass_apply(pass, MQ_LINEAR_STORE, err);
}

/* q or k of all arms, `at` floats into the work area: each of `heads` heads, or the whole row,
 * normalized by a norm of its own. */
static moeq_status norm_heads(struct mq_pass *pass, enum mq_role role, int32_t layer, size_t at,
                              size_t ld, uint32_t heads, moeq_error *err)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const size_t parts = l->qk_norm == MQ_QK_NORM_HEAD ? heads : 1;
    const size_t n = (size_t)heads * l->head_dim / parts;
    for (size_t a = 0; a < pass->arms_count; a++) {
        float *rows = pass->arms[a].work + at;
        if (!mq_pass_runs(pass, a))
            continue;
        MQ_TRY(mq_pass_load_norm(pass, &pass->arms[a], role, layer, err));
#pragma omp parallel for num_threads((int)pass->context->threads) schedule(static)
        for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
            for (size_t i = 0; i < parts; i++) {
                float *x = rows + (size_t)t * ld + i * n;
                pass->kernels->rms_norm(x, pass->norm, n, pass->layer->norm_eps, x);
            }
        mq_pass_round(pass, &pass->arms[a], rows, parts * n, ld);
    }
    return MOEQ_OK;
}

moeq_status mq_pass_attention(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                              moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    const struct mq_layer_attention *l = &pass->layer->attention;
    const size_t ldq = row_q(l), ldkv = row_kv(l);
    const size_t k_at = pass->tokens * ldq, v_at = k_at + pass->tokens * ldkv;
    (void)step;
    MQ_TRY(project(pass, MQ_ROLE_ATTN_Q, layer, 0, ldq, err));
    MQ_TRY(project(pass, MQ_ROLE_ATTN_K, layer, k_at, ldkv, err));
    MQ_TRY(project(pass, MQ_ROLE_ATTN_V, layer, v_at, ldkv, err));
    if (l->qk_norm != MQ_QK_NORM_NONE) {
        MQ_TRY(norm_heads(pass, MQ_ROLE_ATTN_Q_NORM, layer, 0, ldq, l->heads, err));
        MQ_TRY(norm_heads(pass, MQ_ROLE_ATTN_K_NORM, layer, k_at, ldkv, l->kv_heads, err));
    }
    for (size_t a = 0; a < pass->arms_count; a++) {
        if (!mq_pass_runs(pass, a))
            continue;
        float *work = pass->arms[a].work;
        const struct mq_attention_job job = {
            .layer = l,
            .q = work,
            .k = work + k_at,
            .v = work + v_at,
            .ldq = ldq,
            .ldk = ldkv,
            .ldv = ldkv,
            .windows = pass->windows_count,
        };
        mq_attention_apply(pass->attention, &job);
        mq_pass_round(pass, &pass->arms[a], work, ldq - MQ_ROW_PAD, ldq);
        MQ_TRY(mq_pass_check_cancelled(pass, err));
    }
    mq_pass_weights(pass, MQ_ROLE_ATTN_O, layer, -1);
    for (size_t a = 0; a < pass->arms_count; a++) { /* the normalized states have served */
        pass->products[a].x = pass->arms[a].work;
        pass->products[a].ldx = ldq;
        pass->products[a].y = pass->arms[a].x;
        pass->products[a].ldy = s->ldh;
    }
    MQ_TRY(mq_pass_apply(pass, MQ_LINEAR_STORE, err));
    mq_pass_branch_is_x(pass);
    return MOEQ_OK;
}
