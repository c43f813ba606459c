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

moeq_status mq_generation_room(const struct mq_view *view, size_t prompt,
                               const struct mq_generation_options *options, size_t *room,
                               moeq_error *err)
{
    const uint32_t positions = view->hparams.max_positions;
    if (!prompt || !options->most)
        return mq_fail(
            err, MOEQ_INVALID_ARGUMENT,
            "a prompt of %zu tokens, to be gone on for %zu: expected one at least of both", prompt,
            options->most);
    if (positions && options->context > positions)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s: --context %zu is beyond the model's %u positions "
                       "(max_position_embeddings)",
                       view->path, options->context, positions);
    const size_t most = options->context ? options->context
                        : positions      ? positions
                                         : (size_t)INT32_MAX;
    if (prompt >= most)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s: the prompt has %zu tokens, which leaves no room in %s: shorten the "
                       "prompt%s",
                       view->path, prompt,
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
    g->kept = mq_min_u64(most, options->keep_bytes / (g->vocab * sizeof(float)));
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
                          const float *logits, struct mq_generation *g, bool *more, moeq_error *err)
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
    moeq_status status = mq_sequence_append(sequence, prompt->data, prompt->size, &logits, err);
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

/* ---- one prompt, or several ---- */

struct mq_generator {
    const struct mq_context *context;
    const struct mq_arm *arm;
    struct mq_sequence *sequence;
    struct mq_sequence_memory memory;
    size_t tokens;
};

moeq_status mq_generator_create(const struct mq_context *context, const struct mq_arm *arm,
                                size_t tokens, struct mq_generator **generator, moeq_error *err)
{
    struct mq_generator *g = calloc(1, sizeof *g);
    *generator = NULL;
    if (!g)
        return mq_fail_memory(err, "preparing to generate");
    g->context = context;
    g->arm = arm;
    g->tokens = tokens;
    const moeq_status status = mq_sequence_create(context, arm, tokens, 0, &g->sequence, err);
    if (status != MOEQ_OK) {
        free(g);
        return status;
    }
    g->memory = mq_sequence_memory(context, arm, tokens, 0);
    *generator = g;
    return MOEQ_OK;
}

void mq_generator_destroy(struct mq_generator *g)
{
    if (g)
        mq_sequence_destroy(g->sequence);
    free(g);
}

moeq_status mq_generator_run(struct mq_generator *generator, const struct mq_ids *prompt,
                             const struct mq_generation_options *options, struct mq_generation *g,
                             moeq_error *err)
{
    const struct mq_arm *arm = generator->arm;
    struct mq_sampler *sampler = NULL;
    moeq_status status;
    memset(g, 0, sizeof *g);
    g->end_id = -1;
    g->vocab = arm->view->hparams.vocab;
    g->prompt_tokens = prompt->size;
    g->cache_bytes = generator->memory.cache_bytes;
    g->other_bytes = generator->memory.other_bytes;
    g->weights_bytes = generator->memory.weights_bytes;
    g->at_once = generator->memory.at_once;
    MQ_TRY(mq_generation_room(arm->view, prompt->size, options, &g->context, err));
    if (g->context > generator->tokens)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%zu tokens: there is room for %zu", g->context,
                       generator->tokens);
    mq_sequence_clear(generator->sequence);
    MQ_TRY_OUT(make_room(g, options, err));
    MQ_TRY_OUT(mq_sampler_create(&options->sampling, g->vocab, &sampler, err));
    MQ_TRY_OUT(run(generator->context, arm, prompt, options, generator->sequence, sampler, g, err));
    MQ_TRY_OUT(mq_view_check_unchanged(arm->view, err));
out:
    mq_sampler_free(sampler);
    if (status != MOEQ_OK)
        mq_generation_free(g);
    return status;
}

moeq_status mq_generate(const struct mq_context *context, const struct mq_arm *arm,
                        const struct mq_ids *prompt, const struct mq_generation_options *options,
                        struct mq_generation *g, moeq_error *err)
{
    struct mq_generator *generator;
    size_t tokens;
    memset(g, 0, sizeof *g);
    MQ_TRY(mq_generation_room(arm->view, prompt->size, options, &tokens, err));
    MQ_TRY(mq_generator_create(context, arm, tokens, &generator, err));
    const moeq_status status = mq_generator_run(generator, prompt, options, g, err);
    mq_generator_destroy(generator);
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
