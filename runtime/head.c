/*
 * head.c: from final states to logits, a slice of tokens at a time.
 *
 * A token's logits are many times its states (32,000 and more floats against 4,096), so they are
 * never kept: the work area, free after the last layer, takes as many tokens as it can, and the
 * head's weights are read once per slice.
 */
#include "pass_int.h"

#include "checked.h"
#include "error.h"

/* Normalized final states of the tokens token_index[from .. from + n). */
static moeq_status normalize(struct mq_pass *pass, const struct mq_step *step, size_t from,
                             size_t n, moeq_error *err)
{
    const struct mq_pass_sizes *s = &pass->sizes;
    const size_t first_token = pass->first_window * pass->windows->length;
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        MQ_TRY(mq_pass_load_step_norm(pass, arm, step, -1, err));
#pragma omp parallel for num_threads(mq_team(pass->context, 4 * n * s->hidden)) schedule(static)
        for (int64_t i = 0; i < (int64_t)n; i++) {
            const size_t token = pass->token_index[from + (size_t)i] - first_token;
            mq_pass_norm_rows(pass, arm, arm->hidden + token * s->hidden,
                              arm->work + (size_t)i * s->ldh);
        }
    }
    return MOEQ_OK;
}

/* What some families do to logits at last. */
static void finish_logits(const struct mq_pass *pass, float *logits, size_t n)
{
    const struct mq_ends *ends = &pass->program->ends;
    const size_t vocab = pass->sizes.vocab;
    if (ends->logit_scale == 1.0f && ends->logit_softcap == 0)
        return;
#pragma omp parallel for num_threads(mq_team(pass->context, 4 * n * vocab)) schedule(static)
    for (int64_t t = 0; t < (int64_t)n; t++) {
        float *row = logits + (size_t)t * vocab;
        if (ends->logit_softcap != 0)
            pass->kernels->softcap(row, vocab, ends->logit_scale, ends->logit_softcap);
        else
            for (size_t i = 0; i < vocab; i++)
                row[i] *= ends->logit_scale;
    }
}

moeq_status mq_pass_head(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                         moeq_error *err)
{
    (void)layer;
    const struct mq_pass_sizes *s = &pass->sizes;
    const struct mq_observer *observer = pass->observer;
    if (!observer->on_logits)
        return MOEQ_OK;
    /* tokens that the protocol does not score cost nothing here */
    const size_t first_token = pass->first_window * pass->windows->length;
    size_t wanted = 0;
    for (size_t t = 0; t < pass->tokens; t++)
        if (!observer->wants_logits || observer->wants_logits(observer->user, first_token + t))
            pass->token_index[wanted++] = first_token + t;
    for (size_t from = 0; from < wanted; from += s->slice) {
        const size_t n = mq_min_u64(s->slice, wanted - from);
        MQ_TRY(normalize(pass, step, from, n, err));
        mq_pass_weights(pass, MQ_ROLE_HEAD, -1, -1);
        if (pass->program->ends.head_bias)
            MQ_TRY(mq_pass_bias(pass, MQ_ROLE_HEAD_BIAS, -1, -1, err));
        for (size_t a = 0; a < pass->arms_count; a++) {
            const struct mq_pass_arm *arm = &pass->arms[a];
            float *logits = arm->work + s->slice * s->ldh;
            pass->products[a].x = arm->work;
            pass->products[a].ldx = s->ldh;
            pass->products[a].tokens = n;
            pass->products[a].y = logits;
            pass->products[a].ldy = s->vocab;
            pass->pointers[a] = logits;
        }
        MQ_TRY(mq_pass_apply(pass, MQ_LINEAR_STORE, err));
        for (size_t a = 0; a < pass->arms_count; a++)
            finish_logits(pass, pass->arms[a].work + s->slice * s->ldh, n);
        mq_pass_progress(pass, -1, (uint64_t)s->vocab * s->hidden * n / wanted);
        MQ_TRY(
            observer->on_logits(observer->user, pass->token_index + from, n, pass->pointers, err));
    }
    return MOEQ_OK;
}
