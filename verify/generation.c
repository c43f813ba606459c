/* generation.c: the loop of steps, and the place where two of them part. */
#include "generation.h"

#include "checked.h"
#include "error.h"
#include "kld.h"
#include "portable_math.h"
#include "sequence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEPT_BYTES (256u << 20)

const char *mq_generation_end_name(enum mq_generation_end end)
{
    static const char *const names[] = {
#define ROW(id, name) [MQ_GENERATION_##id] = name,
        MQ_GENERATION_END_LIST(ROW)
#undef ROW
    };
    return names[end];
}

void mq_generation_free(struct mq_generation *g)
{
    free(g->ids);
    free(g->logprobs);
    free(g->logits);
    memset(g, 0, sizeof *g);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- room ---- */

/* How many tokens prompt and continuation may have. */
static moeq_status find_room(const struct mq_arm *arm, size_t prompt,
                             const struct mq_generation_options *options, size_t *room,
                             moeq_error *err)
{
    const uint32_t positions = arm->view->hparams.max_positions;
    if (positions && options->context > positions)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s: --context %zu is beyond the model's %u positions "
                       "(max_position_embeddings)",
                       arm->view->path, options->context, positions);
    const size_t most = options->context ? options->context
                        : positions      ? positions
                                         : (size_t)INT32_MAX;
    if (prompt >= most)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s: the prompt has %zu tokens, which leaves no room in %s: shorten the "
                       "prompt%s",
                       arm->view->path, prompt,
                       options->context ? "--context"
                                        : "the model's positions (max_position_embeddings)",
                       options->context ? ", or ask for a longer context" : "");
    *room = options->most < most - prompt ? prompt + options->most : most;
    return MOEQ_OK;
}

static moeq_status make_room(struct mq_generation *g, const struct mq_generation_options *options,
                             moeq_error *err)
{
    const size_t most = g->context - g->prompt_tokens;
    g->kept = options->keep_logits ? mq_min_u64(most, KEPT_BYTES / (g->vocab * sizeof(float))) : 0;
    g->ids = calloc(most, sizeof *g->ids);
    g->logprobs = calloc(most, sizeof *g->logprobs);
    g->logits = g->kept ? malloc(g->kept * g->vocab * sizeof(float)) : NULL;
    return g->ids && g->logprobs && (g->logits || !g->kept)
               ? MOEQ_OK
               : mq_fail_memory(err, "keeping a continuation");
}

/* ---- steps ---- */

static bool is_end(const struct mq_ids *ends, int32_t id)
{
    for (size_t i = 0; ends && i < ends->size; i++)
        if (ends->data[i] == id)
            return true;
    return false;
}

/* Chooses the token of step g->count; *more: whether it is to go on. */
static moeq_status choose(const struct mq_context *context, const struct mq_arm *arm,
                          const struct mq_generation_options *options, struct mq_sampler *sampler,
                          const float *logits, struct mq_generation *g, bool *more,
                          moeq_error *err)
{
    const size_t most = g->context - g->prompt_tokens, at = g->count;
    struct mq_softmax softmax;
    mq_softmax_of(context->isa, logits, g->vocab, NULL, &softmax);
    if (!softmax.finite)
        return mq_fail(err, MOEQ_MALFORMED,
                       "%s: the logits behind token %zu are not finite: its weights overflow",
                       arm->view->path, g->prompt_tokens + at);
    if (at < g->kept)
        memcpy(g->logits + at * g->vocab, logits, g->vocab * sizeof(float));
    const int32_t id = mq_sampler_next(sampler, context->isa, logits);
    *more = false;
    if (is_end(options->ends, id)) {
        g->end = MQ_GENERATION_END;
        g->end_id = id;
        g->kept = mq_min_u64(g->kept, at + 1);
        return MOEQ_OK;
    }
    g->ids[at] = id;
    g->logprobs[at] = -mq_softmax_nll(&softmax, logits, id);
    g->count++;
    if (options->on_token)
        MQ_TRY(options->on_token(options->user, id, g->logprobs[at], err));
    *more = g->count < most;
    g->end = g->count == options->most ? MQ_GENERATION_LENGTH : MQ_GENERATION_CONTEXT;
    return MOEQ_OK;
}

/* An interruption ends it, with what there is. */
static moeq_status interrupted(struct mq_generation *g, moeq_status status, moeq_error *err)
{
    if (status != MOEQ_CANCELLED)
        return status;
    g->end = MQ_GENERATION_INTERRUPTED;
    memset(err, 0, sizeof *err);
    return MOEQ_OK;
}

static moeq_status run(const struct mq_context *context, const struct mq_arm *arm,
                       const struct mq_ids *prompt, const struct mq_generation_options *options,
                       struct mq_sequence *sequence, struct mq_sampler *sampler,
                       struct mq_generation *g, moeq_error *err)
{
    const float *logits;
    bool more = true;
    double start = now();
    moeq_status status =
        mq_sequence_append(sequence, prompt->data, prompt->size, &logits, err);
    g->prompt_seconds = now() - start;
    for (start = now(); status == MOEQ_OK; g->seconds = now() - start) {
        status = choose(context, arm, options, sampler, logits, g, &more, err);
        if (status != MOEQ_OK || !more)
            break;
        status = mq_sequence_append(sequence, &g->ids[g->count - 1], 1, &logits, err);
    }
    g->kept = mq_min_u64(g->kept, g->count + (g->end_id >= 0));
    return interrupted(g, status, err);
}

moeq_status mq_generate(const struct mq_context *context, const struct mq_arm *arm,
                        const struct mq_ids *prompt, const struct mq_generation_options *options,
                        struct mq_generation *g, moeq_error *err)
{
    struct mq_sequence *sequence = NULL;
    struct mq_sampler *sampler = NULL;
    moeq_status status;
    memset(g, 0, sizeof *g);
    g->end_id = -1;
    g->vocab = arm->view->hparams.vocab;
    g->prompt_tokens = prompt->size;
    if (!prompt->size || !options->most)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "a prompt of %zu tokens, to be gone on for %zu: "
                       "expected one at least of both", prompt->size, options->most);
    MQ_TRY(find_room(arm, prompt->size, options, &g->context, err));
    MQ_TRY_OUT(make_room(g, options, err));
    MQ_TRY_OUT(mq_sequence_create(context, arm, g->context, 0, &sequence, err));
    const struct mq_sequence_memory memory = mq_sequence_memory(context, arm, g->context, 0);
    g->cache_bytes = memory.cache_bytes;
    g->other_bytes = memory.other_bytes;
    g->at_once = memory.at_once;
    MQ_TRY_OUT(mq_sampler_create(&options->sampling, g->vocab, &sampler, err));
    MQ_TRY_OUT(run(context, arm, prompt, options, sequence, sampler, g, err));
out:
    mq_sampler_free(sampler);
    mq_sequence_destroy(sequence);
    if (status != MOEQ_OK)
        mq_generation_free(g);
    return status;
}

/* ---- comparing ---- */

static double probability(enum mq_isa isa, const struct mq_generation *g, size_t at, int32_t id)
{
    struct mq_softmax softmax;
    if (at >= g->kept || (size_t)id >= g->vocab)
        return NAN;
    const float *logits = g->logits + at * g->vocab;
    mq_softmax_of(isa, logits, g->vocab, NULL, &softmax);
    const double nll = mq_softmax_nll(&softmax, logits, id);
    return nll < 700 ? mq_exp(-nll) : 0;
}

/* Token number `at`, the one that ended it included; -1: it was not chosen. */
static int32_t chosen(const struct mq_generation *g, size_t at)
{
    return at < g->count ? g->ids[at] : at == g->count ? g->end_id : -1;
}

struct mq_parting mq_generation_compare(enum mq_isa isa, const struct mq_generation *base,
                                        const struct mq_generation *other)
{
    struct mq_parting p = {0};
    while (chosen(base, p.at) >= 0 && chosen(base, p.at) == chosen(other, p.at))
        p.at++;
    p.base_id = chosen(base, p.at);
    p.id = chosen(other, p.at);
    p.parts = p.base_id >= 0 && p.id >= 0;
    if (!p.parts)
        return p;
    p.base_of_base = probability(isa, base, p.at, p.base_id);
    p.base_of_other = probability(isa, base, p.at, p.id);
    p.other_of_base = probability(isa, other, p.at, p.base_id);
    p.other_of_other = probability(isa, other, p.at, p.id);
    return p;
}
