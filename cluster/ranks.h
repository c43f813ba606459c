/* ranks.h: what the parts of this folder share: the ranks of this program, as MPI has them. */
#ifndef MQ_RANKS_H
#define MQ_RANKS_H

#include "peers.h"

#include <mpi.h>
#include <stdatomic.h>

struct mq_control;

struct mq_ranks {
    struct mq_peers peers; /* user: this */
    MPI_Comm data, control;
    uint64_t piece_bytes; /* of a message, at most: MPI counts in int */
    char (*hosts)[MPI_MAX_PROCESSOR_NAME];
    atomic_uint_fast64_t sent, received; /* bytes, of what is done */
    atomic_uint under_way;               /* messages begun and not ended */
    atomic_bool abandoned;               /* some will never be: MPI cannot be finalized */
    struct mq_control *messenger;
};

/* messages.c: how they travel. */
void mq_messages_begin(struct mq_ranks *ranks);

/*
 * control.c: a thread of each rank that tells rank 0, and hears from it, whether all are alive, how far they are, and who
 * has failed.
 */

/* Collective. `err_fd`: where this rank is to write what cannot wait. Ends the program where there is no thread. */
void mq_control_begin(struct mq_ranks *ranks, atomic_bool *cancel, int err_fd);

/* MOEQ_CANCELLED, and whose failure it was, once a rank has failed. */
moeq_status mq_control_check(const struct mq_ranks *ranks, moeq_error *err);

/* For struct mq_peers. `all`: of rank 0. */
void mq_control_far(struct mq_ranks *ranks, const struct mq_far *own, struct mq_far *all);

/* The command of this rank has ended with so much and `text` to say ("" where it was said). Returns when all ranks have ended
 * and rank 0 has said why: the code that all exit with. Where no orderly end can be had, it ends the program with it. MPI has some seconds
 * from then on to be finalized. */
int mq_control_end(struct mq_ranks *ranks, int code, const char *text, bool verbose);

/* Ends the process with that code, and without a word, if it is still there then: MPI may not come back. 0: not any more. */
void mq_control_give_up_after(unsigned seconds, int code);

#endif
