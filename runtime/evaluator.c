/*
 * evaluator.c: checking what was asked, cutting the windows into passes, and running them.
 *
 * A pass holds as many windows as the memory allows, since each pass reads all weights; what levels make of them on the
 * fly is kept for the next one (kept_weights.h). Windows do
 * not see each other and every kernel treats tokens alone, so how they are cut leaves no trace in
 * the bits.
 */
#include "evaluator.h"

#include "checked.h"
#include "error.h"
#include "kept_weights.h"
#include "mixers_int.h"
#include "pass_int.h"

static size_t int8_arms(const struct mq_arm *arms, size_t count)
{
    size_t n = 0;
    for (size_t a = 0; a < count; a++)
        n += arms[a].compute == MQ_COMPUTE_INT8;
    return n;
}

uint64_t mq_evaluation_bytes(const struct mq_context *context, const struct mq_arm *arms,
                             size_t arms_count, size_t length, size_t windows)
{
    if (arms_count == 0)
        return 0;
    const struct mq_hparams *hp = &arms[0].view->hparams;
    const struct mq_model_program *program = arms[0].view->program;
    const struct mq_linear_sizes sizes = mq_pass_products(arms, arms_count);
    const struct mq_pass_sizes pass = mq_pass_sizes(program, hp, windows * length, 0);
    uint64_t bytes =
        mq_linear_bytes(context, &sizes) + mq_attention_bytes(context, program, length) +
        mq_mixers_bytes(context, program) +
        (4 * (uint64_t)hp->hidden + 64) * (context->threads + 1u) + arms_count * pass.arm_bytes +
        int8_arms(arms, arms_count) * pass.int8_bytes + pass.tokens * sizeof(size_t);
    for (size_t a = 0; a < arms_count; a++)
        bytes += mq_pass_encoded_bytes(&pass, &arms[a]);
    return bytes;
}

/* Few more windows may need less (latent_attention.c); what is found suffices all the same. */
size_t mq_evaluation_windows(const struct mq_context *context, const struct mq_arm *arms,
                             size_t arms_count, size_t length, size_t most, uint64_t bytes)
{
    size_t fits = 0, beyond = most + 1;
    if (mq_evaluation_bytes(context, arms, arms_count, length, most) <= bytes)
        return most;
    while (beyond - fits > 1) {
        const size_t middle = fits + (beyond - fits) / 2;
        if (mq_evaluation_bytes(context, arms, arms_count, length, middle) <= bytes)
            fits = middle;
        else
            beyond = middle;
    }
    return fits;
}

size_t mq_evaluation_step(const struct mq_context *context, const struct mq_arm *arms,
                          size_t arms_count, const struct mq_windows *windows)
{
    return mq_max_u64(1, mq_evaluation_windows(context, arms, arms_count, windows->length,
                                               windows->count, mq_memory_or_half(context)));
}

/* Ids index the embedding matrix; all are checked before anything is read. */
static moeq_status check_windows(const struct mq_windows *windows, uint32_t vocab, moeq_error *err)
{
    uint64_t tokens;
    if (windows->length == 0 || windows->length > INT32_MAX ||
        !mq_mul_u64(windows->count, windows->length, &tokens))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "windows of %zu tokens: expected from 1 to 2147483647", windows->length);
    for (uint64_t t = 0; t < tokens; t++)
        if (windows->ids[t] < 0 || (uint32_t)windows->ids[t] >= vocab)
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "token %llu of window %llu has the id %d; the vocabulary has %u",
                           (unsigned long long)(t % windows->length),
                           (unsigned long long)(t / windows->length), windows->ids[t], vocab);
    return MOEQ_OK;
}

/* After each pass: what another one of the same files would read must be the same. */
static moeq_status check_sources(const struct mq_arm *arms, size_t count, moeq_error *err)
{
    for (size_t a = 0; a < count; a++)
        if (a == 0 || arms[a].view != arms[a - 1].view)
            MQ_TRY(mq_view_check_unchanged(arms[a].view, err));
    return MOEQ_OK;
}

moeq_status mq_evaluation_keep(const struct mq_context *context, const struct mq_arm *arms,
                               size_t arms_count, uint64_t needed, struct mq_linear *linear,
                               struct mq_kept_weights **kept, moeq_error *err)
{
    const uint64_t budget = mq_memory_or_half(context);
    bool encodes = false;
    for (size_t a = 0; a < arms_count; a++)
        encodes |= arms[a].levels && !arms[a].playback;
    if (!encodes)
        return MOEQ_OK;
    MQ_TRY(mq_kept_weights_create(context, MQ_KEPT_ENCODED, budget > needed ? budget - needed : 0,
                                  kept, err));
    mq_linear_keep(linear, *kept);
    return MOEQ_OK;
}

moeq_status mq_evaluate(const struct mq_context *context, const struct mq_arm *arms,
                        size_t arms_count, const struct mq_windows *windows,
                        const struct mq_observer *observer, moeq_error *err)
{
    MQ_TRY(mq_arms_check(arms, arms_count, windows->length, err));
    const struct mq_hparams *hp = &arms[0].view->hparams;
    MQ_TRY(check_windows(windows, hp->vocab, err));
    if (windows->count == 0)
        return MOEQ_OK;
    const size_t step = mq_evaluation_step(context, arms, arms_count, windows);
    struct mq_pass pass = {
        .context = context,
        .kernels = mq_kernels_get(context->isa),
        .windows = windows,
        .observer = observer,
        .hparams = hp,
        .program = arms[0].view->program,
        .arms_count = arms_count,
        .passes = (windows->count + step - 1) / step,
    };
    pass.weights_total = pass.passes * mq_pass_weights_sum(arms[0].view, observer->on_logits != NULL);

    moeq_status status;
    struct mq_kept_weights *kept = NULL;
    const struct mq_linear_sizes sizes = mq_pass_products(arms, arms_count);
    MQ_TRY_OUT(mq_linear_create(context, &sizes, &pass.linear, err));
    MQ_TRY_OUT(mq_attention_create(context, pass.program, hp, windows->length,
                                   &pass.attention, err));
    MQ_TRY_OUT(mq_mixers_create(context, pass.program, &pass.mixers, err));
    MQ_TRY_OUT(mq_pass_create(&pass, arms, step * windows->length, 0, err));
    if (pass.passes > 1)
        MQ_TRY_OUT(mq_evaluation_keep(
            context, arms, arms_count,
            mq_evaluation_bytes(context, arms, arms_count, windows->length, step), pass.linear,
            &kept, err));
    for (size_t first = 0; first < windows->count; first += step) {
        pass.pass++;
        MQ_TRY_OUT(mq_pass_run(&pass, first, mq_min_u64(step, windows->count - first), err));
        MQ_TRY_OUT(check_sources(arms, arms_count, err));
    }
out:
    mq_pass_destroy(&pass);
    mq_mixers_destroy(pass.mixers);
    mq_attention_destroy(pass.attention);
    mq_linear_destroy(pass.linear);
    mq_kept_weights_destroy(kept);
    return status;
}
