/* sequence.c: a pass over the tokens at hand, again and again, with what is kept between. */
#include "sequence.h"

#include "cache.h"
#include "checked.h"
#include "error.h"
#include "kept_weights.h"
#include "mixers_int.h"
#include "pass_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Tokens of a prompt that go through the layers together at most: enough that a layer's products
 * are bound by arithmetic. */
#define MOST_AT_ONCE 512

struct mq_sequence {
    const struct mq_context *context;
    const struct mq_arm *arm;
    struct mq_pass pass;
    struct mq_windows windows; /* the tokens at hand */
    struct mq_observer observer;
    struct mq_cache *cache;
    struct mq_kept_weights *kept;
    int32_t *ids;  /* [capacity]: all so far */
    float *logits; /* [vocab] */
    bool last;     /* the tokens at hand are the last ones of a call: logits are wanted */
    bool far;      /* rotary embeddings are those for sequences beyond near_tokens */
    size_t near_tokens;
    size_t capacity, at_once;
};

/* Up to so many tokens rotary embeddings are of one kind, beyond of another; SIZE_MAX: there is one. */
static size_t near_tokens(const struct mq_hparams *hp)
{
    const struct mq_rope *rope = &hp->rope;
    return rope->type == MQ_ROPE_LONGROPE ? (size_t)rope->original_max_positions : SIZE_MAX;
}

static uint64_t other_bytes(const struct mq_context *context, const struct mq_arm *arm,
                            size_t tokens, size_t at_once)
{
    const struct mq_hparams *hp = &arm->view->hparams;
    const struct mq_model_program *program = arm->view->program;
    const struct mq_linear_sizes sizes = mq_pass_products(arm, 1);
    const struct mq_pass_sizes pass = mq_pass_sizes(program, hp, at_once, tokens);
    return mq_linear_bytes(context, &sizes) + mq_attention_bytes(context, program, tokens) +
           mq_mixers_bytes(context, program) + pass.arm_bytes +
           (arm->compute == MQ_COMPUTE_INT8 ? pass.int8_bytes : 0) +
           4 * ((uint64_t)hp->vocab + tokens);
}

/* Of the memory that is left: for rows that are quantized on the fly all, since making them costs a
 * search; a model as it is stored is kept where it is small, since a large one is in the page cache
 * already, whose place a copy would take. */
static uint64_t room_for_weights(const struct mq_arm *arm, const struct mq_sequence_memory *m)
{
    const uint64_t left = m->budget_bytes - m->cache_bytes - m->other_bytes;
    const uint64_t all = mq_stored_size(arm->view).weight_bytes;
    return arm->levels ? left : all <= m->budget_bytes / 4 ? mq_min_u64(left, all) : 0;
}

static bool fits(const struct mq_sequence_memory *m)
{
    return m->cache_bytes <= m->budget_bytes && m->other_bytes <= m->budget_bytes - m->cache_bytes;
}

/* Half of what is left may hold keys and values that could be formed again. */
static void keep_formed(struct mq_sequence_memory *m, const struct mq_view *view, size_t tokens)
{
    const uint64_t formed = mq_cache_formed_bytes(view, tokens);
    m->keeps_formed =
        formed > 0 && formed <= (m->budget_bytes - m->cache_bytes - m->other_bytes) / 2;
    m->cache_bytes += m->keeps_formed ? formed : 0;
}

struct mq_sequence_memory mq_sequence_memory(const struct mq_context *context,
                                             const struct mq_arm *arm, size_t tokens,
                                             size_t at_once)
{
    struct mq_sequence_memory m = {.budget_bytes = mq_memory_or_half(context)};
    const size_t most = at_once ? at_once : MOST_AT_ONCE;
    for (m.at_once = mq_min_u64(most, tokens);; m.at_once = (m.at_once + 1) / 2) {
        m.cache_bytes = mq_cache_bytes(arm->view, tokens, m.at_once);
        m.other_bytes = other_bytes(context, arm, tokens, m.at_once);
        if (m.at_once <= 1 || fits(&m))
            break;
    }
    if (fits(&m))
        keep_formed(&m, arm->view, tokens);
    m.weights_bytes = fits(&m) ? room_for_weights(arm, &m) : 0;
    return m;
}

/* ---- what the pass tells ---- */

static bool wants_logits(void *user, size_t token)
{
    const struct mq_sequence *s = user;
    return s->last && token + 1 == s->windows.length;
}

static moeq_status on_logits(void *user, const size_t *token_index, size_t tokens,
                             const float *const *logits, moeq_error *err)
{
    struct mq_sequence *s = user;
    (void)token_index, (void)tokens, (void)err;
    memcpy(s->logits, logits[0], s->arm->view->hparams.vocab * sizeof(float));
    return MOEQ_OK;
}

/* ---- making ---- */

static moeq_status check_memory(const struct mq_sequence_memory *m, const struct mq_arm *arm,
                                size_t tokens, moeq_error *err)
{
    if (fits(m))
        return MOEQ_OK;
    return mq_fail(err, MOEQ_NO_MEMORY,
                   "%s: %zu tokens take %" PRIu64 " MiB for what is kept of them (keys, values, "
                   "states) and %" PRIu64 " MiB for buffers, more than the %" PRIu64 " MiB of "
                   "--memory: ask for fewer tokens (-n, --context) or allow more memory",
                   arm->view->path, tokens, m->cache_bytes >> 20, m->other_bytes >> 20,
                   m->budget_bytes >> 20);
}

static moeq_status create(struct mq_sequence *s, const struct mq_sequence_memory *memory,
                          moeq_error *err)
{
    const struct mq_view *view = s->arm->view;
    const struct mq_linear_sizes sizes = mq_pass_products(s->arm, 1);
    struct mq_pass *pass = &s->pass;
    *pass = (struct mq_pass){
        .context = s->context,
        .kernels = mq_kernels_get(s->context->isa),
        .windows = &s->windows,
        .observer = &s->observer,
        .hparams = &view->hparams,
        .program = view->program,
        .arms_count = 1,
    };
    s->windows.count = 1;
    s->observer =
        (struct mq_observer){.user = s, .wants_logits = wants_logits, .on_logits = on_logits};
    s->ids = calloc(s->capacity, sizeof *s->ids);
    s->logits = calloc(view->hparams.vocab, sizeof(float));
    if (!s->ids || !s->logits)
        return mq_fail_memory(err, "preparing a sequence");
    if (memory->weights_bytes > 0)
        MQ_TRY(mq_kept_weights_create(s->context, MQ_KEPT_ALL, memory->weights_bytes, &s->kept,
                                      err));
    MQ_TRY(mq_cache_create(view, s->capacity, s->at_once, memory->keeps_formed, &s->cache, err));
    MQ_TRY(mq_linear_create(s->context, &sizes, &pass->linear, err));
    mq_linear_keep(pass->linear, s->kept);
    pass->kept = s->kept;
    MQ_TRY(mq_attention_create(s->context, pass->program, pass->hparams, s->capacity,
                               &pass->attention, err));
    MQ_TRY(mq_mixers_create(s->context, pass->program, &pass->mixers, err));
    MQ_TRY(mq_pass_create(pass, s->arm, s->at_once, s->capacity, err));
    pass->arms[0].cache = s->cache;
    s->near_tokens = near_tokens(pass->hparams);
    s->far = s->capacity > s->near_tokens; /* as mq_attention_create has filled them */
    return MOEQ_OK;
}

moeq_status mq_sequence_create(const struct mq_context *context, const struct mq_arm *arm,
                               size_t tokens, size_t at_once, struct mq_sequence **sequence,
                               moeq_error *err)
{
    *sequence = NULL;
    MQ_TRY(mq_arms_check(arm, 1, tokens, err));
    if (tokens == 0 || tokens > INT32_MAX)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "a sequence of %zu tokens: expected from 1 to %d", tokens, INT32_MAX);
    const struct mq_sequence_memory memory = mq_sequence_memory(context, arm, tokens, at_once);
    MQ_TRY(check_memory(&memory, arm, tokens, err));
    struct mq_sequence *s = calloc(1, sizeof *s);
    if (!s)
        return mq_fail_memory(err, "preparing a sequence");
    s->context = context;
    s->arm = arm;
    s->capacity = tokens;
    s->at_once = memory.at_once;
    const moeq_status status = create(s, &memory, err);
    if (status == MOEQ_OK)
        *sequence = s;
    else
        mq_sequence_destroy(s);
    return status;
}

void mq_sequence_destroy(struct mq_sequence *s)
{
    if (!s)
        return;
    mq_pass_destroy(&s->pass);
    mq_mixers_destroy(s->pass.mixers);
    mq_attention_destroy(s->pass.attention);
    mq_linear_destroy(s->pass.linear);
    mq_cache_destroy(s->cache);
    mq_kept_weights_destroy(s->kept);
    free(s->ids);
    free(s->logits);
    free(s);
}

/* ---- running ---- */

/* Runs the ids that the cache does not have yet, up to `end`. */
static moeq_status run(struct mq_sequence *s, size_t end, moeq_error *err)
{
    struct mq_pass *pass = &s->pass;
    const size_t pieces = (end - s->cache->tokens + s->at_once - 1) / s->at_once;
    pass->pass = 0;
    pass->passes = pieces;
    pass->weights_done = 0;
    /* a single token comes too often, and is done too soon, to tell of its progress */
    pass->weights_total =
        end - s->cache->tokens > 1 ? pieces * mq_pass_weights_sum(s->arm->view, 0, UINT32_MAX, true) : 0;
    while (s->cache->tokens < end) {
        const size_t n = mq_min_u64(s->at_once, end - s->cache->tokens);
        s->windows.ids = s->ids + s->cache->tokens;
        s->windows.length = n;
        s->last = s->cache->tokens + n == end;
        pass->pass++;
        MQ_TRY(mq_pass_run(pass, 0, 1, err));
        s->cache->tokens += n;
    }
    return MOEQ_OK;
}

moeq_status mq_sequence_append(struct mq_sequence *s, const int32_t *ids, size_t count,
                               const float **logits, moeq_error *err)
{
    const uint32_t vocab = s->pass.hparams->vocab;
    const size_t have = s->cache->tokens;
    if (count == 0 || count > s->capacity - have)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%zu tokens more: expected from 1 to %zu, as %zu of %zu are there", count,
                       s->capacity - have, have, s->capacity);
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= vocab)
            return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                           "%s: token %zu has the id %d; the model's vocabulary has %u",
                           s->arm->view->path, have + i, ids[i], vocab);
    memcpy(s->ids + have, ids, count * sizeof *ids);
    const bool far = have + count > s->near_tokens;
    if (far != s->far) { /* all keys turn otherwise */
        mq_attention_turn_for(s->pass.attention, s->pass.hparams,
                              far ? s->capacity : s->near_tokens);
        s->far = far;
        mq_cache_clear(s->cache);
    }
    MQ_TRY(run(s, have + count, err));
    *logits = s->logits;
    return MOEQ_OK;
}

size_t mq_sequence_tokens(const struct mq_sequence *s)
{
    return s->cache->tokens;
}

void mq_sequence_clear(struct mq_sequence *s)
{
    mq_cache_clear(s->cache);
}
