/*
 * hand_over.h: tokens' states on their way from one stage of a pipeline to the next.
 *
 * While a batch is computed, the next one comes in and the one before goes out. Of the arms those have states to hand on
 * that have their own where the stages meet (mq_pass_has_own).
 */
#ifndef MQ_HAND_OVER_H
#define MQ_HAND_OVER_H

#include "pass_int.h"

struct mq_hand_over {
    const struct mq_peers *peers;
    struct mq_pass *pass;
    const struct mq_observer *observer; /* whose figures go with the states */
    const struct mq_part *part;
    size_t carry_bytes; /* of a token */
    void *carry;        /* of a batch */
    struct mq_message **incoming; /* [arms + 1]: their states, then what is carried */
    struct mq_message **outgoing; /* [2][arms + 1]: of the last two batches */
    size_t sent; /* batches */
};

/* Bytes of messages under way for each token. */
uint64_t mq_hand_over_bytes(const struct mq_arm *arms, size_t count,
                            const struct mq_observer *observer);

/* For batches of so many tokens at most. Destroy is fine on one of zeros. */
moeq_status mq_hand_over_create(struct mq_hand_over *h, size_t tokens, moeq_error *err);
void mq_hand_over_destroy(struct mq_hand_over *h);

/* Asks for a batch of so many tokens. */
moeq_status mq_hand_over_ask(struct mq_hand_over *h, size_t tokens, moeq_error *err);
/* Waits for it: the windows that the pass is at. */
moeq_status mq_hand_over_take(struct mq_hand_over *h, moeq_error *err);
/* Sends the windows that the pass is at, when the batch before the last one is gone. */
moeq_status mq_hand_over_send(struct mq_hand_over *h, moeq_error *err);
/* Waits until all are gone. */
moeq_status mq_hand_over_finish(struct mq_hand_over *h, moeq_error *err);

#endif
