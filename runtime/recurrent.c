/*
 * recurrent.c: convolutions, recurrences and gated norms over windows, heads and blocks of
 * channels.
 *
 * A recurrence takes one head of one window at a time, in chunks of tokens: q, k and v of a chunk
 * are packed, so that the scan reads unbroken streams, and every block of the state's columns goes
 * through the whole chunk while the first-level cache holds it.
 */
#include "recurrent.h"

#include "checked.h"
#include "portable_math.h"
#include "kernels.h"
#include "recurrent_int.h"
#include "round_bf16.h"

#include <math.h>
#include <omp.h>
#include <string.h>

/* Channels of one task: of 4 taps their rows, 8 KiB, fit the first-level cache. */
#define CHANNEL_BLOCK 512
/* Tokens of one chunk: their q, k and v and a state of 128 x 128, 112 KiB, fit the second-level
 * cache. */
#define CHUNK 32
#define LANES 16

#define TABLE(isa)                                                                                 \
    {                                                                                              \
        .convolve = mq_convolve_##isa, .times = mq_times_##isa, .times_silu = mq_times_silu_##isa, \
        .unit = mq_unit_##isa, .scan = mq_scan_##isa,                                              \
    }

static const struct mq_recurrent_kernels tables[MQ_ISA_COUNT] = {
    [MQ_ISA_GENERIC] = TABLE(generic),
#if defined(__x86_64__)
    [MQ_ISA_AVX2] = TABLE(avx2),
    [MQ_ISA_AVX512] = TABLE(avx512),
#elif defined(__aarch64__)
    [MQ_ISA_NEON] = TABLE(neon),
#endif
};

const struct mq_recurrent_kernels *mq_recurrent_kernels_get(enum mq_isa isa)
{
    return &tables[tables[isa].scan ? isa : MQ_ISA_GENERIC];
}

/* ---- convolution ---- */

void mq_convolution_weights(const float *stored, size_t count, size_t taps, float *weights,
                            size_t to, size_t ld)
{
    for (size_t c = 0; c < count; c++)
        for (size_t j = 0; j < taps; j++)
            weights[j * ld + to + c] = stored[c * taps + j];
}

/* y *= x */
static void times(const struct mq_recurrent_kernels *kernels, const struct mq_convolution_job *job,
                  float *y, const float *x, size_t n)
{
    kernels->times(y, x, n);
    if (job->bf16)
        mq_round_bf16(y, n);
}

size_t mq_convolution_past(size_t channels, size_t taps)
{
    return taps ? 3 * (taps - 1) * channels : 0;
}

/* Of n channels: puts u of the first tokens at hand behind that of the tokens before, and that of
 * the last ones where nothing touches it until the convolution is done. */
static void keep_inputs(const struct mq_convolution_job *job, const float *u, size_t channel,
                        size_t n)
{
    const size_t all = job->groups * job->channels, before = job->taps - 1;
    float *past = job->past + channel;
    for (size_t t = 0; t < before && t < job->length; t++)
        memcpy(past + (before + t) * all, u + t * job->ld, n * sizeof(float));
    for (size_t i = 0; i < before; i++) { /* the token `before - i` before the next one */
        const float *from = job->length + i < before
                                ? past + (job->length + i) * all
                                : u + (job->length + i - before) * job->ld;
        memcpy(past + (2 * before + i) * all, from, n * sizeof(float));
    }
}

/* Channels [first, first + n) of one group, in one window from token `start` on: from the last
 * token to the first, since each takes what stands before it. */
static void convolve_block(const struct mq_recurrent_kernels *kernels,
                           const struct mq_convolution_job *job, size_t start, size_t group,
                           size_t first, size_t n)
{
    const size_t at = start * job->ld + group * job->group_stride + first;
    const size_t channel = group * job->channels + first, all = job->groups * job->channels;
    for (size_t t = 0; job->before && t < job->length; t++)
        times(kernels, job, job->x + at + t * job->ld, job->before + at + t * job->ld, n);
    if (job->past)
        keep_inputs(job, job->x + at, channel, n);
    for (size_t t = job->length; t-- > 0;) {
        float *x = job->x + at + t * job->ld;
        /* a token whose taps reach back beyond the first one at hand is convolved beside them */
        const bool beside = job->past && t < job->taps - 1;
        float *y = beside ? job->past + (job->taps - 1 + t) * all + channel : x;
        kernels->convolve(y, beside ? all : job->ld, mq_min_u64(job->position + t, job->taps - 1),
                          job->weights + channel, all, job->taps,
                          job->bias ? job->bias + channel : NULL, n, job->silu);
        if (beside)
            memcpy(x, y, n * sizeof(float));
        if (job->bf16)
            mq_round_bf16(x, n);
        if (job->after)
            times(kernels, job, x, job->after + at + t * job->ld, n);
    }
    for (size_t i = 0; job->past && i + 1 < job->taps; i++)
        memcpy(job->past + i * all + channel,
               job->past + (2 * (job->taps - 1) + i) * all + channel, n * sizeof(float));
}

void mq_convolve(const struct mq_context *context, const struct mq_convolution_job *job)
{
    const struct mq_recurrent_kernels *kernels = mq_recurrent_kernels_get(context->isa);
    const size_t blocks = (job->channels + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK;
    const int64_t tasks = (int64_t)(job->windows * job->groups * blocks);
    const uint64_t numbers = job->windows * job->length * job->groups * job->channels;
#pragma omp parallel for num_threads(mq_team(context, numbers * (job->taps + 12))) schedule(dynamic)
    for (int64_t task = 0; task < tasks; task++) {
        if (mq_cancelled(context))
            continue;
        const size_t block = (size_t)task % blocks, group = (size_t)task / blocks % job->groups;
        const size_t window = (size_t)task / blocks / job->groups, first = block * CHANNEL_BLOCK;
        convolve_block(kernels, job, window * job->length, group, first,
                       mq_min_u64(CHANNEL_BLOCK, job->channels - first));
    }
}

/* ---- recurrence ---- */

static float *head_row(const struct mq_head_rows *heads, size_t head, size_t token)
{
    return heads->rows + token * heads->ld + head / heads->per_group * heads->group_stride +
           head % heads->per_group * heads->head_stride;
}

/* Where a thread's parts begin. */
struct scratch {
    float *state, *q, *k, *v, *decay, *gain;
};

static size_t padded(size_t n)
{
    return mq_round_up(n, LANES);
}

size_t mq_recurrence_state(size_t key_dim, size_t value_dim)
{
    return padded(key_dim) * padded(value_dim);
}

size_t mq_recurrence_scratch(size_t key_dim, size_t value_dim)
{
    const size_t keys = padded(key_dim), values = padded(value_dim);
    return mq_round_up(keys * values + CHUNK * (2 * keys + values + 2), 1024);
}

static struct scratch place(const struct mq_recurrence_job *job, float *base)
{
    const size_t keys = padded(job->key_dim), values = padded(job->value_dim);
    struct scratch s = {.state = base};
    s.q = s.state + keys * values;
    s.k = s.q + CHUNK * keys;
    s.v = s.k + CHUNK * keys;
    s.decay = s.v + CHUNK * values;
    s.gain = s.decay + CHUNK;
    return s;
}

/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|); where e^-|x| is small, two terms of the series keep
 * the digits that 1 + e^-|x| would lose. */
static double softplus(double x)
{
    const double y = mq_exp(x > 0 ? -x : x);
    return (x > 0 ? x : 0) + (y < 1e-5 ? y - 0.5 * y * y : mq_log(1 + y));
}

/* The two numbers of each token of a chunk that the scan takes. */
static void make_steps(const struct mq_recurrence_job *job, size_t head, size_t token, size_t count,
                       const struct scratch *s)
{
    const double rate = -mq_exp((double)job->decay[head]), bias = (double)job->step_bias[head];
    for (size_t t = 0; t < count; t++) {
        double step = softplus((double)*head_row(&job->a, head, token + t) + bias);
        if (!job->delta && step < (double)job->least_step)
            step = (double)job->least_step;
        s->decay[t] = (float)mq_exp(rate * step);
        s->gain[t] = job->delta
                         ? (float)(1 / (1 + mq_exp(-(double)*head_row(&job->b, head, token + t))))
                         : (float)step;
    }
}

static void pack(float *to, const float *from, size_t n)
{
    memcpy(to, from, n * sizeof(float));
    memset(to + n, 0, (padded(n) - n) * sizeof(float));
}

static void pack_chunk(const struct mq_recurrent_kernels *kernels,
                       const struct mq_recurrence_job *job, size_t head, size_t token, size_t count,
                       const struct scratch *s)
{
    const size_t keys = padded(job->key_dim), values = padded(job->value_dim);
    const size_t key_head = head / job->heads_per_key;
    const float q_scale = (float)(1 / sqrt((double)job->key_dim));
    for (size_t t = 0; t < count; t++) {
        const float *q = head_row(&job->q, key_head, token + t);
        const float *k = head_row(&job->k, key_head, token + t);
        if (job->delta) {
            kernels->unit(q, job->key_dim, q_scale, s->q + t * keys);
            kernels->unit(k, job->key_dim, 1.0f, s->k + t * keys);
        } else {
            pack(s->q + t * keys, q, job->key_dim);
            pack(s->k + t * keys, k, job->key_dim);
        }
        pack(s->v + t * values, head_row(&job->v, head, token + t), job->value_dim);
    }
}

static void run_head(const struct mq_context *context, const struct mq_recurrent_kernels *kernels,
                     const struct mq_recurrence_job *job, size_t head, size_t window)
{
    const size_t keys = padded(job->key_dim), values = padded(job->value_dim);
    struct scratch s =
        place(job, job->scratch + (size_t)omp_get_thread_num() *
                                      mq_recurrence_scratch(job->key_dim, job->value_dim));
    if (job->states)
        s.state = job->states + head * mq_recurrence_state(job->key_dim, job->value_dim);
    else
        memset(s.state, 0, keys * values * sizeof(float));
    for (size_t first = 0; first < job->length && !mq_cancelled(context); first += CHUNK) {
        const size_t token = window * job->length + first;
        const size_t count = mq_min_u64(CHUNK, job->length - first);
        const struct mq_scan scan = {.state = s.state,
                                     .q = s.q,
                                     .k = s.k,
                                     .v = s.v,
                                     .decay = s.decay,
                                     .gain = s.gain,
                                     .skip = job->skip ? job->skip[head] : 0.0f,
                                     .delta = job->delta,
                                     .tokens = count,
                                     .key_dim = keys,
                                     .value_dim = values};
        pack_chunk(kernels, job, head, token, count, &s);
        make_steps(job, head, token, count, &s);
        kernels->scan(&scan);
        for (size_t t = 0; t < count; t++)
            memcpy(head_row(&job->out, head, token + t), s.v + t * values,
                   job->value_dim * sizeof(float));
    }
}

void mq_recur(const struct mq_context *context, const struct mq_recurrence_job *job)
{
    const struct mq_recurrent_kernels *kernels = mq_recurrent_kernels_get(context->isa);
    const int64_t tasks = (int64_t)(job->windows * job->heads);
    const uint64_t states = job->windows * job->length * job->heads;
    const int team = mq_team(context, states * job->key_dim * job->value_dim);
#pragma omp parallel for num_threads(team) schedule(dynamic)
    for (int64_t task = 0; task < tasks; task++)
        run_head(context, kernels, job, (size_t)task % job->heads, (size_t)task / job->heads);
}

/* ---- norm and gate ---- */

void mq_gated_norm(const struct mq_context *context, const struct mq_gated_norm_job *job)
{
    const struct mq_recurrent_kernels *kernels = mq_recurrent_kernels_get(context->isa);
    const struct mq_kernels *norms = mq_kernels_get(context->isa);
    const int team = mq_team(context, 16 * job->tokens * job->heads * job->n);
#pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t t = 0; t < (int64_t)job->tokens; t++) {
        if (mq_cancelled(context))
            continue;
        for (size_t h = 0; h < job->heads; h++) {
            float *x = head_row(&job->x, h, (size_t)t);
            const float *gate = head_row(&job->gate, h, (size_t)t);
            if (job->gate_first)
                kernels->times_silu(x, gate, job->n);
            norms->rms_norm(x, job->weight + h * job->weight_stride, job->n, job->eps, x);
            if (!job->gate_first)
                kernels->times_silu(x, gate, job->n);
        }
    }
}
