/* recurrent_int.h: the kernels below recurrent.c, one table per instruction set. */
#ifndef MQ_RECURRENT_INT_H
#define MQ_RECURRENT_INT_H

#include "cpu.h"

#include <stdbool.h>
#include <stddef.h>

/* Columns of a state that are kept together: so many stay in the first-level cache for a whole
 * chunk of tokens. They do not depend on each other. */
#define MQ_SCAN_COLUMNS 32

/*
 * One head through a chunk of tokens. key_dim and value_dim are multiples of 16; what pads them is
 * zero. The state lies in blocks of MQ_SCAN_COLUMNS columns, the last perhaps of 16:
 * [blocks][key_dim][columns].
 */
struct mq_scan {
    float *state;
    const float *q, *k; /* [tokens][key_dim] */
    float *v;           /* [tokens][value_dim]; replaced by the outputs */
    const float *decay; /* [tokens]: the factor of the state */
    const float *gain;  /* [tokens]: of what is written to it */
    float skip;
    bool delta;
    size_t tokens, key_dim, value_dim;
};

struct mq_recurrent_kernels {
    /* One token of n channels, of a convolution: x in place, from x and the `before` <= taps - 1
     * rows before it, ld apart; tap j of weights (the oldest first) at weights + j * ldw. */
    void (*convolve)(float *x, size_t ld, size_t before, const float *weights, size_t ldw,
                     size_t taps, const float *bias, size_t n, bool silu);
    /* y *= x */
    void (*times)(float *y, const float *x, size_t n);
    /* y *= silu(x) */
    void (*times_silu)(float *y, const float *x, size_t n);
    /* y = scale * x / sqrt(sum of x^2 + 1e-6), then zeros up to a multiple of 16 */
    void (*unit)(const float *x, size_t n, float scale, float *y);
    void (*scan)(const struct mq_scan *scan);
};

const struct mq_recurrent_kernels *mq_recurrent_kernels_get(enum mq_isa isa);

#define MQ_RECURRENT_DECLARE(isa)                                                                 \
    void mq_convolve_##isa(float *, size_t, size_t, const float *, size_t, size_t, const float *, \
                           size_t, bool);                                                         \
    void mq_times_##isa(float *, const float *, size_t);                                          \
    void mq_times_silu_##isa(float *, const float *, size_t);                                     \
    void mq_unit_##isa(const float *, size_t, float, float *);                                    \
    void mq_scan_##isa(const struct mq_scan *);
MQ_RECURRENT_DECLARE(generic)
MQ_RECURRENT_DECLARE(neon)
MQ_RECURRENT_DECLARE(avx2)
MQ_RECURRENT_DECLARE(avx512)
#undef MQ_RECURRENT_DECLARE

#endif
