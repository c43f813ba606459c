/*
 * sampler.h: the next token from a row of logits.
 *
 *     temperature 0      the most likely one, the lowest id of equals
 *     else               p = softmax(logits / temperature) over the top_k largest logits (0: all), of
 *                        those the most likely that reach top_p together (1: all); then by chance
 *
 * Chance is splitmix64 from a seed, exponentials are portable_math.h's and sums have one order: the
 * same seed gives the same tokens on every machine.
 */
#ifndef MQ_SAMPLER_H
#define MQ_SAMPLER_H

#include "cpu.h"
#include "moeq.h"

struct mq_sampling {
    double temperature; /* 0: greedy */
    uint32_t top_k;     /* 0: all */
    double top_p;       /* 0 and 1: all */
    uint64_t seed;
};

struct mq_sampler;
moeq_status mq_sampler_create(const struct mq_sampling *sampling, size_t vocab,
                              struct mq_sampler **sampler, moeq_error *err);
void mq_sampler_free(struct mq_sampler *sampler); /* NULL is fine */

/* Logits are finite. Each call draws once, unless it is greedy. */
int32_t mq_sampler_next(struct mq_sampler *sampler, enum mq_isa isa, const float *logits);

#endif
