/*
 * pass.c: some windows on their way through the layers: memory, embeddings, attention.
 *
 * Every step is done for all arms before the next one, so that arms share each read of the weights.
 * Loops over tokens are cut statically; no token's result depends on another's place.
 */
#include "pass_int.h"

#include "checked.h"
#include "error.h"
#include "pages.h"
#include "round_bf16.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Logits are formed for at least this many tokens at a time, so that the head, which is read once
 * per slice, is not read too often. */
#define MIN_SLICE 128
/* Likewise an expert's tokens, */
#define MIN_SLAB 256
/* and this many times the even share: an expert's weights are read again for each slab. */
#define SLAB_SHARES 2

struct mq_pass_sizes mq_pass_sizes(const struct mq_hparams *hp, bool any_dense, size_t tokens)
{
    struct mq_pass_sizes s = {
        .hidden = hp->hidden,
        .ldh = hp->hidden + MQ_ROW_PAD,
        .ldq = (size_t)hp->heads * hp->head_dim + MQ_ROW_PAD,
        .ldkv = (size_t)hp->kv_heads * hp->head_dim + MQ_ROW_PAD,
        .ldf = hp->ffn + MQ_ROW_PAD,
        .vocab = hp->vocab,
        .experts = hp->experts,
        .top_k = hp->top_k,
        .tokens = tokens,
    };
    size_t work = tokens * (s.ldq + 2 * s.ldkv);
    s.int8_bytes = tokens * mq_linear_int8_bytes(mq_max_u64(s.hidden, s.ldq));
    if (any_dense) {
        work = mq_max_u64(work, tokens * s.ldf);
        s.int8_bytes = mq_max_u64(s.int8_bytes, tokens * mq_linear_int8_bytes(hp->ffn));
    }
    if (hp->experts) {
        const size_t share = (tokens * SLAB_SHARES * hp->top_k + hp->experts - 1) / hp->experts;
        s.slab = mq_min_u64(tokens, mq_max_u64(share, MIN_SLAB));
        work = mq_max_u64(work, tokens * s.hidden + s.slab * (s.ldh + s.ldf));
        s.int8_bytes = mq_max_u64(s.int8_bytes, s.slab * mq_linear_int8_bytes(hp->ffn));
    }
    /* the head takes what the largest other phase needs, but at least MIN_SLICE tokens */
    const size_t logits_row = s.ldh + s.vocab;
    work = mq_max_u64(work, mq_min_u64(tokens, MIN_SLICE) * logits_row);
    s.work = work;
    s.slice = mq_min_u64(tokens, work / logits_row);
    s.arm_bytes = 4 * (work + tokens * (s.hidden + s.ldh + s.experts + 2 * s.top_k + 2));
    return s;
}

moeq_status mq_pass_create(struct mq_pass *pass, const struct mq_arm *arms, size_t windows,
                           moeq_error *err)
{
    const struct mq_hparams *hp = pass->hparams;
    const size_t count = pass->arms_count;
    bool any_dense = false;
    for (uint32_t layer = 0; layer < hp->layers; layer++)
        any_dense |= !mq_arm_has_router(&arms[0], layer);
    pass->sizes = mq_pass_sizes(hp, any_dense, windows * pass->windows->length);
    const struct mq_pass_sizes *s = &pass->sizes;

    for (size_t a = 0; a < count; a++) {
        if (arms[a].recording)
            continue;
        const struct mq_weights w = mq_arm_weights(&arms[a], MQ_ROLE_EMBEDDING, -1, -1);
        pass->row_capacity = mq_max_u64(pass->row_capacity, mq_weights_row_bytes(&w));
    }
    /* a norm's vector is read through the same buffer, in any storage (4 bytes at most) */
    pass->row_capacity = mq_round_up(mq_max_u64(pass->row_capacity, 4 * s->hidden + 64), 64);
    pass->arms = calloc(count, sizeof *pass->arms);
    pass->products = calloc(count, sizeof *pass->products);
    pass->pointers = calloc(count, sizeof *pass->pointers);
    pass->routes = calloc(count, sizeof *pass->routes);
    pass->norm = calloc(s->hidden, sizeof(float));
    pass->probabilities = calloc(mq_round_up(s->experts + 1, 16), sizeof(float));
    pass->row_bytes = calloc(pass->context->threads, pass->row_capacity);
    pass->token_index = calloc(s->tokens, sizeof(size_t));
    bool ok = pass->arms && pass->products && pass->pointers && pass->routes && pass->norm &&
              pass->probabilities && pass->row_bytes && pass->token_index;
    for (size_t a = 0; ok && a < count; a++) {
        struct mq_pass_arm *arm = &pass->arms[a];
        arm->arm = &arms[a];
        arm->hidden = mq_pages_alloc(s->tokens * s->hidden * sizeof(float));
        arm->x = mq_pages_alloc(s->tokens * s->ldh * sizeof(float));
        arm->work = mq_pages_alloc(s->work * sizeof(float));
        arm->router_logits = calloc(s->tokens * s->experts + 1, sizeof(float));
        arm->chosen = calloc(s->tokens * s->top_k + 1, sizeof(int32_t));
        arm->weights = calloc(s->tokens * s->top_k + 1, sizeof(float));
        arm->token = calloc(s->tokens, sizeof(uint32_t));
        arm->scale = calloc(s->tokens, sizeof(float));
        ok = arm->hidden && arm->x && arm->work && arm->router_logits && arm->chosen &&
             arm->weights && arm->token && arm->scale;
        if (ok && arms[a].compute == MQ_COMPUTE_INT8) {
            arm->int8 = mq_pages_alloc(s->int8_bytes);
            ok = arm->int8;
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
        free(arm->router_logits);
        free(arm->chosen);
        free(arm->weights);
        free(arm->token);
        free(arm->scale);
        free(arm->int8);
    }
    free(pass->arms);
    free(pass->products);
    free(pass->pointers);
    free(pass->routes);
    free(pass->norm);
    free(pass->probabilities);
    free(pass->row_bytes);
    free(pass->token_index);
}

moeq_status mq_pass_check_cancelled(const struct mq_pass *pass, moeq_error *err)
{
    return mq_cancelled(pass->context) ? mq_fail(err, MOEQ_CANCELLED, "interrupted") : MOEQ_OK;
}

void mq_pass_progress(struct mq_pass *pass, int32_t layer, uint64_t weights)
{
    pass->weights_done = mq_min_u64(pass->weights_done + weights, pass->weights_total);
    if (!pass->context->progress || !pass->weights_total)
        return;
    char phase[96];
    const uint32_t layers = pass->hparams->layers;
    if (layer >= 0)
        snprintf(phase, sizeof phase, "pass %zu/%zu layer %d/%u", pass->pass, pass->passes,
                 layer + 1, layers);
    else
        snprintf(phase, sizeof phase, "pass %zu/%zu logits", pass->pass, pass->passes);
    /* The share of the weights that are done, told as tokens: the rate is then that of whole
     * tokens. */
    const uint64_t tokens = (uint64_t)pass->windows->count * pass->windows->length;
    const double share = (double)pass->weights_done / (double)pass->weights_total;
    const struct mq_progress progress = {phase, (uint64_t)(share * (double)tokens), tokens,
                                         "tokens"};
    pass->context->progress(pass->context->progress_user, &progress);
}

void mq_pass_weights(struct mq_pass *pass, enum mq_role role, int32_t layer, int32_t expert)
{
    size_t running = 0;
    while (!mq_pass_runs(pass, running)) /* mq_arms_check has seen one that does */
        running++;
    for (size_t a = 0; a < pass->arms_count; a++) {
        /* A played-back arm has no weights in a layer: with another's and no tokens it costs
         * nothing. */
        const bool idle = layer >= 0 && !mq_pass_runs(pass, a);
        pass->products[a] = (struct mq_linear_arm){
            .weights = mq_arm_weights(pass->arms[idle ? running : a].arm, role, layer, expert),
            .tokens = idle ? 0 : pass->tokens,
            .compute = pass->arms[a].arm->compute,
            .int8 = pass->arms[a].int8,
            .bf16 = pass->arms[a].arm->bf16_activations,
        };
    }
}

moeq_status mq_pass_apply(struct mq_pass *pass, enum mq_linear_output output, moeq_error *err)
{
    const struct mq_tensor *tensor = pass->products[0].weights.tensor;
    MQ_TRY(mq_linear_apply(pass->linear, output, pass->products, pass->arms_count, err));
    if (tensor->layer >= 0)
        mq_pass_progress(pass, tensor->layer, tensor->rows * tensor->cols);
    return MOEQ_OK;
}

void mq_pass_round(const struct mq_pass *pass, const struct mq_pass_arm *arm, float *x, size_t n,
                   size_t ld)
{
    if (!arm->arm->bf16_activations)
        return;
#pragma omp parallel for num_threads((int)pass->context->threads) schedule(static)
    for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
        mq_round_bf16(x + (size_t)t * ld, n);
}

void mq_pass_norm_token(const struct mq_pass *pass, const struct mq_pass_arm *arm, size_t token,
                        float *x)
{
    const size_t n = pass->sizes.hidden;
    pass->kernels->rms_norm(arm->hidden + token * n, pass->norm, n, pass->hparams->rms_eps, x);
    if (arm->arm->bf16_activations)
        mq_round_bf16(x, n);
}

/* Norms are one vector: read anew each time, which costs nothing beside the matrices. */
moeq_status mq_pass_norm(struct mq_pass *pass, enum mq_role role, int32_t layer, moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    for (size_t a = 0; a < pass->arms_count; a++) {
        struct mq_pass_arm *arm = &pass->arms[a];
        if (!mq_pass_runs(pass, a))
            continue;
        const struct mq_weights weights = mq_arm_weights(arm->arm, role, layer, -1);
        MQ_TRY(
            mq_weights_load(&weights, pass->context->isa, 0, 1, pass->row_bytes, pass->norm, err));
#pragma omp parallel for num_threads((int)pass->context->threads) schedule(static)
        for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
            mq_pass_norm_token(pass, arm, (size_t)t, arm->x + (size_t)t * s->ldh);
    }
    return mq_pass_check_cancelled(pass, err);
}

void mq_pass_add(const struct mq_pass *pass, const struct mq_pass_arm *arm, float *addend,
                 size_t ld)
{
    const size_t n = pass->sizes.hidden;
    mq_pass_round(pass, arm, addend, n, ld);
#pragma omp parallel for num_threads((int)pass->context->threads) schedule(static)
    for (int64_t t = 0; t < (int64_t)pass->tokens; t++)
        pass->kernels->add_scaled(arm->hidden + (size_t)t * n, addend + (size_t)t * ld, 1.0f, n);
    mq_pass_round(pass, arm, arm->hidden, n, n);
}

/* The embeddings of one arm: one row per token. */
static moeq_status embed_arm(struct mq_pass *pass, const struct mq_pass_arm *arm, moeq_error *err)
{
    const struct mq_weights weights = mq_arm_weights(arm->arm, MQ_ROLE_EMBEDDING, -1, -1);
    const int32_t *ids = pass->windows->ids + pass->first_window * pass->windows->length;
    moeq_status status = MOEQ_OK;
#pragma omp parallel for num_threads((int)pass->context->threads) schedule(static)
    for (int64_t t = 0; t < (int64_t)pass->tokens; t++) {
        moeq_status before;
#pragma omp atomic read
        before = status;
        if (before != MOEQ_OK)
            continue;
        moeq_error mine = {0};
        uint8_t *bytes = pass->row_bytes + (size_t)omp_get_thread_num() * pass->row_capacity;
        const moeq_status result =
            mq_weights_load(&weights, pass->context->isa, (uint64_t)ids[t], 1, bytes,
                            arm->hidden + (size_t)t * pass->sizes.hidden, &mine);
        if (result != MOEQ_OK) {
#pragma omp critical(mq_embed_error)
            if (status == MOEQ_OK) {
                if (err && err->status == MOEQ_OK)
                    *err = mine;
#pragma omp atomic write
                status = result;
            }
        }
    }
    return status;
}

/* Arms with the same embedding matrix share the look-up. */
moeq_status mq_pass_embed(struct mq_pass *pass, moeq_error *err)
{
    for (size_t a = 0; a < pass->arms_count; a++) {
        if (!mq_pass_runs(pass, a))
            continue;
        const struct mq_weights mine = mq_arm_weights(pass->arms[a].arm, MQ_ROLE_EMBEDDING, -1, -1);
        const struct mq_pass_arm *same = NULL;
        for (size_t b = 0; b < a && !same; b++) {
            if (!mq_pass_runs(pass, b))
                continue;
            const struct mq_weights theirs =
                mq_arm_weights(pass->arms[b].arm, MQ_ROLE_EMBEDDING, -1, -1);
            if (mq_weights_equal(&mine, &theirs))
                same = &pass->arms[b];
        }
        if (same)
            memcpy(pass->arms[a].hidden, same->hidden,
                   pass->tokens * pass->sizes.hidden * sizeof(float));
        else
            MQ_TRY(embed_arm(pass, &pass->arms[a], err));
    }
    for (size_t a = 0; a < pass->arms_count; a++) /* not before all have looked up */
        if (mq_pass_runs(pass, a))
            mq_pass_round(pass, &pass->arms[a], pass->arms[a].hidden, pass->sizes.hidden,
                          pass->sizes.hidden);
    return mq_pass_check_cancelled(pass, err);
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

moeq_status mq_pass_attention(struct mq_pass *pass, int32_t layer, moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    const size_t k_at = pass->tokens * s->ldq, v_at = k_at + pass->tokens * s->ldkv;
    MQ_TRY(mq_pass_norm(pass, MQ_ROLE_ATTN_NORM, layer, err));
    MQ_TRY(project(pass, MQ_ROLE_ATTN_Q, layer, 0, s->ldq, err));
    MQ_TRY(project(pass, MQ_ROLE_ATTN_K, layer, k_at, s->ldkv, err));
    MQ_TRY(project(pass, MQ_ROLE_ATTN_V, layer, v_at, s->ldkv, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        if (!mq_pass_runs(pass, a))
            continue;
        float *work = pass->arms[a].work;
        const struct mq_attention_job job = {
            .q = work,
            .k = work + k_at,
            .v = work + v_at,
            .ldq = s->ldq,
            .ldk = s->ldkv,
            .ldv = s->ldkv,
            .windows = pass->windows_count,
        };
        mq_attention_apply(pass->attention, &job);
        mq_pass_round(pass, &pass->arms[a], work, s->ldq - MQ_ROW_PAD, s->ldq);
        MQ_TRY(mq_pass_check_cancelled(pass, err));
    }
    mq_pass_weights(pass, MQ_ROLE_ATTN_O, layer, -1);
    for (size_t a = 0; a < pass->arms_count; a++) { /* the normalized states have served */
        pass->products[a].x = pass->arms[a].work;
        pass->products[a].ldx = s->ldq;
        pass->products[a].y = pass->arms[a].x;
        pass->products[a].ldy = s->ldh;
    }
    MQ_TRY(mq_pass_apply(pass, MQ_LINEAR_STORE, err));
    for (size_t a = 0; a < pass->arms_count; a++)
        if (mq_pass_runs(pass, a))
            mq_pass_add(pass, &pass->arms[a], pass->arms[a].x, s->ldh);
    return MOEQ_OK;
}

/* The final states of the arms that are played back. */
static moeq_status read_hidden(struct mq_pass *pass, moeq_error *err)
{
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_recording *recording = pass->arms[a].arm->recording;
        if (recording)
            MQ_TRY(recording->read_hidden(recording->user,
                                          pass->first_window * pass->windows->length, pass->tokens,
                                          pass->arms[a].hidden, err));
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
        pass->pointers[a] =
            mq_pass_runs(pass, a) || layer == pass->hparams->layers ? pass->arms[a].hidden : NULL;
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

moeq_status mq_pass_run(struct mq_pass *pass, size_t first, size_t count, moeq_error *err)
{
    pass->first_window = first;
    pass->windows_count = count;
    pass->tokens = count * pass->windows->length;
    MQ_TRY(mq_pass_embed(pass, err));
    for (uint32_t layer = 0; layer < pass->hparams->layers; layer++) {
        MQ_TRY(report_hidden(pass, layer, err));
        MQ_TRY(mq_pass_attention(pass, (int32_t)layer, err));
        MQ_TRY(mq_pass_norm(pass, MQ_ROLE_FFN_NORM, (int32_t)layer, err));
        if (mq_arm_has_router(pass->arms[0].arm, layer))
            MQ_TRY(mq_pass_experts(pass, (int32_t)layer, err));
        else
            MQ_TRY(mq_pass_mlp(pass, (int32_t)layer, err));
        MQ_TRY(check_states(pass, layer, err));
    }
    MQ_TRY(read_hidden(pass, err));
    MQ_TRY(report_hidden(pass, pass->hparams->layers, err));
    return mq_pass_head(pass, err);
}
