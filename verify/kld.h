/*
 * kld.h: what one token's logits say: negative log-likelihood, most likely token, KL divergence.
 *
 * Exponentials and sums are double, in a fixed order (portable_math.h): errors are near 1e-15, far
 * below the KL divergence of any quantization, and the bits are the same on every machine.
 */
#ifndef MQ_KLD_H
#define MQ_KLD_H

#include "cpu.h"

#include <stddef.h>

/* The softmax of one row of logits, without its n values. */
struct mq_softmax {
    float max;
    int32_t top; /* index of the largest logit, the lowest of equals */
    bool finite; /* false: a logit is NaN or infinite, the rest means nothing */
    double sum;  /* of exp(logit - max) */
    double log_sum;
};

/* Doubles of room for the exponentials of n logits. */
static inline size_t mq_softmax_room(size_t n)
{
    return (n + 7) / 8 * 8;
}

/* n >= 1. exps[mq_softmax_room(n)] receives exp(logit - max), for mq_softmax_kl; NULL is fine. */
void mq_softmax_of(enum mq_isa isa, const float *logits, size_t n, double *exps,
                   struct mq_softmax *softmax);

/* -log p(target), in nats. */
double mq_softmax_nll(const struct mq_softmax *softmax, const float *logits, int32_t target);

/*
 * KL(base || arm) = sum p (log p - log q), in nats; exactly 0 if the logits are equal. Never
 * negative: what rounding leaves below 0 (about 1e-16) counts as 0.
 */
double mq_softmax_kl(enum mq_isa isa, const float *base, const struct mq_softmax *base_softmax,
                     const double *base_exps, const float *arm,
                     const struct mq_softmax *arm_softmax, size_t n);

#endif
