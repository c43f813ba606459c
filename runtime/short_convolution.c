/*
 * short_convolution.c: the step `convolution` (LFM2): out(C * convolution(B * u)).
 *
 *     work  | B, C, u [tokens] |    what is convolved replaces B
 */
#include "mixers_int.h"

#include "checked.h"
#include "error.h"

static size_t row_of(const struct mq_pass_sizes *s)
{
    return 3 * s->hidden + MQ_ROW_PAD;
}

size_t mq_pass_convolution_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    (void)layer;
    return sizes->tokens * row_of(sizes);
}

uint64_t mq_pass_convolution_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    (void)layer;
    return sizes->tokens * mq_linear_int8_bytes(sizes->hidden);
}

moeq_status mq_pass_convolution(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                                moeq_error *err)
{
    const size_t n = pass->sizes.hidden, ld = row_of(&pass->sizes);
    const size_t taps = pass->layer->attention.taps;
    (void)step;
    MQ_TRY(mq_mixers_project(pass, MQ_ROLE_MIX_IN, layer, 0, ld, false, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (!mq_pass_runs(pass, a))
            continue;
        MQ_TRY(mq_mixers_load_convolution(pass, arm, layer, err));
        mq_convolution_weights(pass->mixers->stored, n, taps, pass->mixers->weights, 0, n);
        struct mq_convolution_job job = mq_mixers_convolution(pass, arm, layer, arm->work, ld, n);
        job.after = arm->work + n;
        job.before = arm->work + 2 * n;
        mq_convolve(pass->context, &job);
        MQ_TRY(mq_pass_check_cancelled(pass, err));
    }
    return mq_mixers_out(pass, layer, 0, ld, err);
}
