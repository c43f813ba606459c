/*
 * sequence.h: one sequence of tokens through one model, some at a time: what was computed of the
 * tokens before is kept (cache.h), and of the weights a token reads its chosen experts' rows alone.
 *
 * The logits are, to the last bit, those that mq_evaluate gives for the last token of the whole
 * sequence as one window, however it came in pieces.
 */
#ifndef MQ_SEQUENCE_H
#define MQ_SEQUENCE_H

#include "evaluator.h"

struct mq_sequence;

/* Bytes for sequences of up to so many tokens. The more come at once, the less often weights are
 * read for a prompt, and the more memory their states take: as many as fit context->memory_bytes
 * (0: half of the machine's), but not above `at_once` (0: as many as are worth it). */
struct mq_sequence_memory {
    uint64_t cache_bytes, other_bytes, budget_bytes;
    bool keeps_formed; /* cache_bytes has keys and values that are formed of latents (cache.h) */
    uint64_t weights_bytes; /* of rows that may be kept (kept_weights.h), out of what is left */
    size_t at_once;
};
struct mq_sequence_memory mq_sequence_memory(const struct mq_context *context,
                                             const struct mq_arm *arm, size_t tokens,
                                             size_t at_once);

/* `arm` must outlive it. Fails where the memory does not suffice, naming the options that help. */
moeq_status mq_sequence_create(const struct mq_context *context, const struct mq_arm *arm,
                               size_t tokens, size_t at_once, struct mq_sequence **sequence,
                               moeq_error *err);
void mq_sequence_destroy(struct mq_sequence *sequence); /* NULL is fine */

/* Appends ids, at least one, and gives the logits after the last one: [vocab], until the next call.
 * After a failure there is nothing to do but mq_sequence_destroy or mq_sequence_clear. */
moeq_status mq_sequence_append(struct mq_sequence *sequence, const int32_t *ids, size_t count,
                               const float **logits, moeq_error *err);

size_t mq_sequence_tokens(const struct mq_sequence *sequence);
/* Forgets all tokens. */
void mq_sequence_clear(struct mq_sequence *sequence);

#endif
