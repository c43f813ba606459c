/* embed.c: the first step: tokens become rows of the embedding matrix. */
#include "pass_int.h"

#include "first_error.h"

#include <omp.h>
#include <string.h>

/* The embeddings of one arm: one row per token. */
static moeq_status embed_arm(struct mq_pass *pass, const struct mq_pass_arm *arm, moeq_error *err)
{
    const struct mq_weights weights = mq_arm_weights(arm->arm, MQ_ROLE_EMBEDDING, -1, -1);
    const int32_t *ids = pass->windows->ids + pass->first_window * pass->windows->length;
    struct mq_first_error first = {.err = err};
#pragma omp parallel for num_threads(mq_pass_team(pass)) schedule(static)
    for (int64_t t = 0; t < (int64_t)pass->tokens; t++) {
        if (mq_first_error_status(&first))
            continue;
        moeq_error mine = {0};
        uint8_t *bytes = pass->row_bytes + (size_t)omp_get_thread_num() * pass->row_capacity;
        const moeq_status result =
            mq_weights_load(&weights, pass->context->isa, (uint64_t)ids[t], 1, bytes,
                            arm->hidden + (size_t)t * pass->sizes.hidden, &mine);
        mq_first_error_note(&first, result, &mine);
    }
    return mq_first_error_status(&first);
}

/* Arms with the same embedding matrix share the look-up. */
moeq_status mq_pass_embed(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                          moeq_error *err)
{
    (void)step, (void)layer;
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
    const float scale = pass->program->ends.embedding_scale;
    for (size_t a = 0; a < pass->arms_count; a++) { /* not before all have looked up */
        if (!mq_pass_runs(pass, a))
            continue;
        for (size_t i = 0; scale != 1.0f && i < pass->tokens * pass->sizes.hidden; i++)
            pass->arms[a].hidden[i] *= scale;
        mq_pass_round(pass, &pass->arms[a], pass->arms[a].hidden, pass->sizes.hidden,
                      pass->sizes.hidden);
    }
    return mq_pass_check_cancelled(pass, err);
}
