/*
 * nonfinite.h: NaN and infinite weights: how many, and where.
 *
 * Blocks cannot hold them, and a model with one gives NaN for every token, so they are an error
 * that counts them over the whole model; plan->allow_nonfinite lets those through that are copied.
 */
#ifndef MQ_NONFINITE_H
#define MQ_NONFINITE_H

#include "buffer.h"
#include "plan.h"

/* Those of a tensor, or of a part of it. */
struct mq_nonfinite {
    uint64_t count, first; /* first: its index among the weights */
    bool first_is_nan;
};

/* Those of n weights that are stored as "f32", "f16" or "bf16". */
struct mq_nonfinite mq_nonfinite_count(const char *storage, const void *weights, uint64_t n);

/* Adds those of a part that begins at weight `at`; the order of the parts makes no difference. */
void mq_nonfinite_add(struct mq_nonfinite *tensor, uint64_t at, const struct mq_nonfinite *part);

/* Encoders are for finite weights and make them stay finite. Afterwards this puts those that are
 * not into their places among the n that were encoded as `storage`, a float: NaN as a quiet NaN. */
void mq_nonfinite_carry(const float *weights, uint64_t n, const char *storage, void *encoded);

/* Whether the output can hold such weights: it has floats, or the very bytes of the source. */
bool mq_nonfinite_fit(const struct mq_plan_entry *entry);

/* Of all tensors, found[i] being those of plan->entries[i]: how many there are, and the sentence
 * that says so and where, appended to `text`; 0 and nothing where there are none. */
uint64_t mq_nonfinite_describe(const struct mq_plan *plan, const struct mq_nonfinite *found,
                               struct mq_buffer *text);

/* The error that names the first of them, and all as above. At least one is not 0. */
moeq_status mq_nonfinite_refuse(const struct mq_plan *plan, const struct mq_nonfinite *found,
                                moeq_error *err);

/* convert.c: reads what `plan` copies; appends the sentence as above; *weights: their number. */
moeq_status mq_convert_scan(const struct mq_context *context, const struct mq_plan *plan,
                            struct mq_buffer *sentence, uint64_t *weights, moeq_error *err);

#endif
