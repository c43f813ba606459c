/*
 * recurrent.h: what the recurrent mixers compute between their products, on plain arrays.
 *
 * Everything starts anew with each window, or goes on from tokens of which something was kept. Windows, heads and blocks of channels run side by side;
 * within them tokens follow each other in order, so that neither the number of threads nor the
 * instruction set changes a bit.
 */
#ifndef MQ_RECURRENT_H
#define MQ_RECURRENT_H

#include "context.h"

#include <stddef.h>

/*
 * A short causal convolution of each channel for itself, in place:
 *
 *     u[t] = x[t] * before[t]
 *     y[t] = bias + sum over j < taps of weights[taps - 1 - j] * u[t - j], where t - j >= 0
 *     x[t] = y[t] | silu(y[t]), times after[t]
 *
 * The channels of a token stand in `groups` parts of its row, `group_stride` apart, of `channels`
 * each; those of `before` and `after` (NULL: 1) likewise, from other places in rows of stride ld.
 */
struct mq_convolution_job {
    float *x;
    size_t ld;
    size_t groups, group_stride, channels;
    const float *before, *after;
    const float *weights; /* [taps][groups * channels] */
    const float *bias;    /* [groups * channels]; NULL: none */
    size_t taps;
    bool silu;
    bool bf16; /* u, y and x are rounded to bf16 */
    size_t length, windows;
    /* Of one window that goes on from `position` tokens: mq_convolution_past floats, zero at first.
     * NULL: windows start anew. */
    float *past;
    size_t position;
};
/* Three times [taps - 1][channels]: u of the last tokens, and room to work in. */
size_t mq_convolution_past(size_t channels, size_t taps);
/* Stops early if cancelled; so do the others. */
void mq_convolve(const struct mq_context *context, const struct mq_convolution_job *job);

/* Weights as files have them, [channels][taps], to columns [to, to + count) of a matrix
 * [taps][ld] that mq_convolve takes. */
void mq_convolution_weights(const float *stored, size_t count, size_t taps, float *weights,
                            size_t to, size_t ld);

/* Vectors of heads in every token's row: head h begins at rows + token * ld +
 * (h / per_group) * group_stride + (h % per_group) * head_stride. */
struct mq_head_rows {
    float *rows;
    size_t ld, per_group, group_stride, head_stride;
};

/*
 * The recurrence of a head with a state S[key_dim][value_dim], 0 at first; a, b, decay, step_bias
 * and skip are a number of each head:
 *
 *     step = softplus(a + step_bias)
 *
 *     gated DeltaNet (delta)              Mamba2
 *     q = q / |q| / sqrt(key_dim)         step = max(step, least_step)
 *     k = k / |k|                         k is its B, q its C, v its x
 *     S = exp(-exp(decay) * step) * S     S = exp(-exp(decay) * step) * S
 *     S += k (x) sigmoid(b) (v - S' k)    S += k (x) step * v
 *     out = S' q                          out = S' q + skip * v
 *
 * where |x| = sqrt(sum of x^2 + 1e-6). (Transformers 5.24: modeling_qwen3_next.py,
 * torch_recurrent_gated_delta_rule; modeling_nemotron_h.py.)
 */
struct mq_recurrence_job {
    bool delta;
    size_t heads, heads_per_key; /* head h takes q and k of key head h / heads_per_key */
    size_t key_dim, value_dim;
    struct mq_head_rows q, k;   /* of key heads */
    struct mq_head_rows v, out; /* out may be v */
    struct mq_head_rows a, b;   /* head_dim 1; b: delta alone */
    const float *decay, *step_bias;
    const float *skip; /* Mamba2 alone */
    float least_step;
    float *scratch; /* [threads][mq_recurrence_scratch(key_dim, value_dim)], 64-byte aligned */
    size_t length, windows;
    /* Of one window that goes on: the states of all heads, [heads][mq_recurrence_state(..)], zero at
     * first, which become those after the last token. NULL: windows start with 0. */
    float *states;
};
size_t mq_recurrence_state(size_t key_dim, size_t value_dim); /* floats */
size_t mq_recurrence_scratch(size_t key_dim, size_t value_dim); /* floats, a multiple of 1,024 */
void mq_recur(const struct mq_context *context, const struct mq_recurrence_job *job);

/*
 * Norm and gate of what a recurrence gives, over each head (or group of heads) of n numbers:
 *
 *     x = x / rms(x) * weight * silu(gate)    norm first
 *     x = y / rms(y) * weight, y = x * silu(gate)    gate_first
 */
struct mq_gated_norm_job {
    struct mq_head_rows x, gate;
    size_t heads, n;
    const float *weight; /* of head h from weight + h * weight_stride */
    size_t weight_stride;
    float eps;
    bool gate_first;
    size_t tokens;
};
void mq_gated_norm(const struct mq_context *context, const struct mq_gated_norm_job *job);

#endif
