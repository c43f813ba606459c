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
#include "hand_over.h"
#include "kept_weights.h"
#include "mixers_int.h"
#include "pass_int.h"

#include <stdlib.h>
#include <string.h>

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

/* What one process does of an evaluation. */
struct evaluation {
    const struct mq_context *context;
    const struct mq_arm *arms;
    size_t arms_count;
    const struct mq_windows *windows;
    const struct mq_observer *observer;
    struct mq_part part;
    size_t step; /* windows of a pass */
    struct mq_linear *linear;
    struct mq_attention *attention;
    struct mq_mixers *mixers;
    struct mq_kept_weights *kept;
};

/* Of states on their way between stages, for passes of so many windows. */
static uint64_t message_bytes(const struct evaluation *e, size_t windows)
{
    return mq_peers_count(e->context->peers) == 1
               ? 0
               : windows * e->windows->length *
                     mq_hand_over_bytes(e->arms, e->arms_count, e->observer);
}

/* The division, and passes that fit into the memory of every process. */
static moeq_status divide(struct evaluation *e, moeq_error *err)
{
    const struct mq_context *context = e->context;
    struct mq_pipelines division;
    struct mq_part *parts;
    if (mq_peers_count(context->peers) == 1) {
        e->part = (struct mq_part){.layer_end = e->arms[0].view->hparams.layers,
                                   .head = true,
                                   .window_end = e->windows->count};
        e->step = mq_evaluation_step(context, e->arms, e->arms_count, e->windows);
        return MOEQ_OK;
    }
    MQ_TRY(mq_evaluation_parts(context, e->arms, e->arms_count, e->windows, e->observer, &parts,
                               &division, err));
    e->part = parts[context->peers->rank];
    free(parts);
    const uint64_t memory = mq_memory_or_half(context),
                   messages = message_bytes(e, division.batch);
    uint64_t step = mq_evaluation_windows(context, e->arms, e->arms_count, e->windows->length,
                                          division.batch, memory - mq_min_u64(memory, messages));
    step = mq_max_u64(1, step);
    MQ_TRY(mq_peers_reduce(context->peers, MQ_LEAST, &step, 1, err));
    e->step = step;
    return MOEQ_OK;
}

/* A pass of so many windows at most, through layers of the part. */
static moeq_status begin_pass(const struct evaluation *e, const struct mq_observer *observer,
                              size_t step, struct mq_pass *pass, moeq_error *err)
{
    const struct mq_view *view = e->arms[0].view;
    const struct mq_part *part = &e->part;
    const size_t count = part->window_end - part->window_begin;
    *pass = (struct mq_pass){
        .context = e->context,
        .kernels = mq_kernels_get(e->context->isa),
        .windows = e->windows,
        .observer = observer,
        .hparams = &view->hparams,
        .program = view->program,
        .arms_count = e->arms_count,
        .linear = e->linear,
        .attention = e->attention,
        .mixers = e->mixers,
        .passes = (count + step - 1) / step,
    };
    pass->weights_total =
        pass->passes * mq_pass_weights_sum(view, part->layer_begin, part->layer_end,
                                           part->head && observer->on_logits);
    return mq_pass_create(pass, e->arms, step * e->windows->length, 0, err);
}

/* Passes of a process alone. */
static moeq_status run_alone(const struct evaluation *e, moeq_error *err)
{
    struct mq_pass pass;
    moeq_status status;
    MQ_TRY_OUT(begin_pass(e, e->observer, e->step, &pass, err));
    for (size_t first = 0; first < e->windows->count; first += e->step) {
        pass.pass++;
        MQ_TRY_OUT(mq_pass_run(&pass, first, mq_min_u64(e->step, e->windows->count - first), err));
        MQ_TRY_OUT(check_sources(e->arms, e->arms_count, err));
    }
out:
    mq_pass_destroy(&pass);
    return status;
}

/* One batch at the first layer of the part. `keep`: the states that enter it are kept there, for all windows; NULL: they
 * are not. With `keep` the last stage's layers are not run: nobody waits for what they make. */
static moeq_status run_batch(const struct evaluation *e, struct mq_pass *pass,
                             struct mq_hand_over *h, const struct mq_pass *keep, size_t next,
                             moeq_error *err)
{
    const struct mq_part *part = &e->part;
    if (part->stage) {
        MQ_TRY(mq_hand_over_take(h, err));
        if (next)
            MQ_TRY(mq_hand_over_ask(h, next * e->windows->length, err));
    }
    for (size_t a = 0; keep && a < e->arms_count; a++)
        if (mq_pass_has_own(pass, a, part->layer_begin))
            memcpy(keep->arms[a].hidden +
                       pass->first_window * e->windows->length * pass->sizes.hidden,
                   pass->arms[a].hidden, pass->tokens * pass->sizes.hidden * sizeof(float));
    if (part->head && keep)
        return MOEQ_OK;
    MQ_TRY(mq_pass_run_layers(pass, part->layer_end, err));
    return part->head ? mq_pass_run_end(pass, err) : mq_hand_over_send(h, err);
}

/* Batches through the pipeline. */
static moeq_status run_batches(const struct evaluation *e, const struct mq_observer *observer,
                               const struct mq_pass *keep, moeq_error *err)
{
    const struct mq_part *part = &e->part;
    const size_t count = part->window_end - part->window_begin;
    const size_t batches = (count + e->step - 1) / e->step, step = (count + batches - 1) / batches;
    struct mq_pass pass;
    struct mq_hand_over h = {
        .peers = e->context->peers, .pass = &pass, .observer = observer, .part = part};
    moeq_status status;
    MQ_TRY_OUT(begin_pass(e, observer, step, &pass, err));
    MQ_TRY_OUT(mq_hand_over_create(&h, step * e->windows->length, err));
    if (part->stage)
        MQ_TRY_OUT(mq_hand_over_ask(&h, step * e->windows->length, err));
    for (size_t first = part->window_begin; first < part->window_end; first += step) {
        const size_t left = part->window_end - first, n = mq_min_u64(step, left);
        pass.pass++;
        mq_pass_at(&pass, first, n, part->layer_begin);
        MQ_TRY_OUT(run_batch(e, &pass, &h, keep, mq_min_u64(step, left - n), err));
        MQ_TRY_OUT(check_sources(e->arms, e->arms_count, err));
    }
    MQ_TRY_OUT(mq_hand_over_finish(&h, err));
out:
    mq_hand_over_destroy(&h);
    mq_pass_destroy(&pass);
    return status;
}

/* First the states that enter each process' layers, then these layers, of all windows at once. */
static moeq_status run_whole(const struct evaluation *e, moeq_error *err)
{
    const struct mq_observer nobody = {0};
    const struct mq_part *part = &e->part;
    struct mq_pass pass;
    moeq_status status;
    MQ_TRY_OUT(begin_pass(e, e->observer, e->windows->count, &pass, err));
    MQ_TRY_OUT(run_batches(e, &nobody, &pass, err));
    pass.pass++;
    mq_pass_at(&pass, 0, e->windows->count, part->layer_begin);
    MQ_TRY_OUT(mq_pass_run_layers(&pass, part->layer_end, err));
    if (part->head)
        MQ_TRY_OUT(mq_pass_run_end(&pass, err));
    MQ_TRY_OUT(check_sources(e->arms, e->arms_count, err));
out:
    mq_pass_destroy(&pass);
    return status;
}

/* For several passes: what is encoded in the first one stays, in what memory is left beside the pass and its messages. */
static moeq_status keep_encoded(struct evaluation *e, moeq_error *err)
{
    const uint64_t budget = mq_memory_or_half(e->context);
    const uint64_t needed = mq_evaluation_bytes(e->context, e->arms, e->arms_count,
                                                e->windows->length, e->step) +
                            message_bytes(e, e->step);
    bool encodes = false;
    for (size_t a = 0; a < e->arms_count; a++)
        encodes |= e->arms[a].levels && !e->arms[a].playback;
    if (!encodes || e->part.window_end - e->part.window_begin <= e->step)
        return MOEQ_OK;
    MQ_TRY(mq_kept_weights_create(e->context, MQ_KEPT_ENCODED,
                                  budget > needed ? budget - needed : 0, &e->kept, err));
    mq_linear_keep(e->linear, e->kept);
    return MOEQ_OK;
}

moeq_status mq_evaluate(const struct mq_context *context, const struct mq_arm *arms,
                        size_t arms_count, const struct mq_windows *windows,
                        const struct mq_observer *observer, moeq_error *err)
{
    struct evaluation e = {.context = context,
                           .arms = arms,
                           .arms_count = arms_count,
                           .windows = windows,
                           .observer = observer};
    MQ_TRY(mq_arms_check(arms, arms_count, windows->length, err));
    const struct mq_view *view = arms[0].view;
    MQ_TRY(check_windows(windows, view->hparams.vocab, err));
    MQ_TRY(mq_evaluation_agreed(context, arms, arms_count, windows, err));
    if (windows->count == 0)
        return MOEQ_OK;
    MQ_TRY(divide(&e, err));
    if (e.part.idle)
        return MOEQ_OK;
    const struct mq_linear_sizes sizes = mq_pass_products(arms, arms_count);
    moeq_status status;
    MQ_TRY_OUT(mq_linear_create(context, &sizes, &e.linear, err));
    MQ_TRY_OUT(mq_attention_create(context, view->program, &view->hparams, windows->length,
                                   &e.attention, err));
    MQ_TRY_OUT(mq_mixers_create(context, view->program, &e.mixers, err));
    MQ_TRY_OUT(keep_encoded(&e, err));
    MQ_TRY_OUT(mq_peers_count(context->peers) == 1 ? run_alone(&e, err)
               : observer->whole                   ? run_whole(&e, err)
                                                   : run_batches(&e, observer, NULL, err));
out:
    mq_mixers_destroy(e.mixers);
    mq_attention_destroy(e.attention);
    mq_linear_destroy(e.linear);
    mq_kept_weights_destroy(e.kept);
    return status;
}
