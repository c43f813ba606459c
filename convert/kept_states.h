/*
 * kept_states.h: what an encoder (convert.h) has got to, on the disk beside the output: OUT.part.states.
 *
 *     0     magic "moeqstat"
 *     8     12 numbers of 64 bits, as the machine has them: version, the plan's identity, tensors finished, step,
 *           four of the encoder's own, bytes of states, their CRC-32, 0, the CRC-32 of all before
 *     104   the states
 *
 * It is written under a name of its own, synced and renamed. Read by none but the run that goes on, on the same
 * machine; anything else that is found there is left as it is, and nothing is written over it.
 */
#ifndef MQ_KEPT_STATES_H
#define MQ_KEPT_STATES_H

#include "convert.h"

#define MQ_KEPT_SUFFIX ".part.states"

struct mq_kept_states {
    uint32_t identity; /* of the plan */
    uint64_t finished; /* tensors, when it was written */
    struct mq_convert_point point;
};

/* False if a file is there that is no such one. */
bool mq_kept_states_may_write(const char *path);
moeq_status mq_kept_states_write(const char *path, const struct mq_kept_states *kept,
                                 const void *bytes, moeq_error *err);
/* Fails if there is none, or it is not whole, or of another plan, or of another size than
 * kept->point.bytes. */
moeq_status mq_kept_states_read(const char *path, struct mq_kept_states *kept, moeq_error *err);
/* The states themselves, after that; fails if they are not what was written. */
moeq_status mq_kept_states_load(const char *path, void *bytes, moeq_error *err);
/* Removes it, if it is one. */
void mq_kept_states_remove(const char *path);

#endif
