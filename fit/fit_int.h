/* fit_int.h: what memory (fit_memory.c), places (fit_place.c) and verdicts (fit.c) share. */
#ifndef MQ_FIT_INT_H
#define MQ_FIT_INT_H

#include "fit.h"

/* No total comes near it, so that sums of a few totals cannot overflow. */
#define MQ_FIT_MAX_BYTES (UINT64_C(1) << 60)

/* ---- fit_memory.c ---- */

/* Parameters, bytes a token and of states, buffers: all that is the same for every level. Fails on sizes
 * that no model has. */
moeq_status mq_fit_measure(struct mq_fit *fit, moeq_error *err);

/* What a layer holds of a sequence of so many tokens, beside its state. */
uint64_t mq_fit_cache_bytes(const struct mq_fit *fit, uint32_t layer, uint64_t tokens);
uint64_t mq_fit_state_bytes(const struct mq_fit *fit, uint32_t layer);

/* Buffers of one card for so many tokens; copies: of the inputs. logit_rows: tokens whose logits are
 * held. */
uint64_t mq_fit_buffer_bytes(const struct mq_fit *fit, uint64_t tokens, uint32_t copies,
                             uint32_t logit_rows);
/* Copies of the inputs where nothing is on the host. */
uint32_t mq_fit_copies(const struct mq_fit_target *target);

/* ---- fit_place.c ---- */

/* What a plan puts where, in bytes. */
struct mq_fit_parts {
    const struct mq_fit *fit;
    uint32_t layers;
    uint64_t *layer, *experts; /* [layers]: all of a layer's weights; its experts among them */
    uint64_t output; /* head and last norm, and the embedding table where it is on a card */
    uint64_t widest; /* of a layer's matrices, those of all its experts as one */
};

/* Also fills the row's host_embedding_bytes and active_bytes. */
moeq_status mq_fit_collect(const struct mq_fit *fit, const struct mq_plan *plan,
                           struct mq_fit_parts *parts, struct mq_fit_row *row, moeq_error *err);

/* Verdict, longest context, offload and speed of a row whose bytes are known. */
void mq_fit_place(const struct mq_fit_parts *parts, struct mq_fit_row *row);

#endif
