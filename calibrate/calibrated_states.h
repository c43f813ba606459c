/*
 * calibrated_states.h: where a pass of calibrated.h has got to, kept beside the output, so that an interrupted
 * conversion runs no layer twice: the states that enter the next layer. They are the original's: what was
 * made of a layer before makes no difference to them.
 */
#ifndef MQ_CALIBRATED_STATES_H
#define MQ_CALIBRATED_STATES_H

#include "calibrated.h"

struct mq_calibrated_states {
    struct mq_convert_sink *sink;
    struct mq_calibrated_result *result;
    const uint64_t *attention_matrices; /* a part of result->matrices that is counted apart */
    size_t hidden;
    double least_seconds;  /* of work that is worth keeping; below 0: none */
    double since, writing; /* when states were kept last, and how long that took */
};

/* How many bytes they are. */
uint64_t mq_calibrated_states_bytes(const struct mq_calibrated *calibrated);

void mq_calibrated_states_begin(struct mq_calibrated_states *states, double least_seconds);
/* For the observer's on_begin: what an earlier run has left. */
moeq_status mq_calibrated_states_restore(struct mq_calibrated_states *states, size_t tokens,
                                         float *hidden, uint32_t *layer, moeq_error *err);
/* For its on_hidden: keeps the states that enter a layer, if it is time. What goes wrong with that is noted in the
 * result and does not stop the conversion. */
moeq_status mq_calibrated_states_keep(struct mq_calibrated_states *states, uint32_t layer,
                                      size_t tokens, const float *hidden, moeq_error *err);

#endif
