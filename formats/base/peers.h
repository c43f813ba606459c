/*
 * peers.h: the processes that share a job, as the job sees them: the ranks of moeq-mpi. A process alone has none (NULL).
 *
 * All of them run the same command and come to the same decisions from the same files; what only one knows it sends. What
 * the calls below hand over is in order between two ranks on one channel, and of any size. A rank that fails ends all
 * others: whoever waits, or looks at context->cancel, is told (MOEQ_CANCELLED; the message names the rank).
 *
 * How messages travel is the program's affair (cluster/), so that nothing here knows of MPI.
 */
#ifndef MQ_PEERS_H
#define MQ_PEERS_H

#include "moeq.h"

enum mq_channel {
    MQ_CHANNEL_TOGETHER, /* what all ranks do at once: the functions below */
    MQ_CHANNEL_STATES,   /* tokens on their way from layer to layer */
};

/* How far a process is with what the others do, too, if `kind` is the same. */
struct mq_far {
    uint64_t kind, done, total;
};

struct mq_message; /* on its way; its bytes are the channel's own */

struct mq_peers {
    void *user;
    unsigned rank, count; /* this process, of so many */
    unsigned on_host;     /* of them on this machine, this one included; */
    unsigned on_cpus;     /* of those, with the same processors to run on */
    /* Takes a copy of the bytes, and returns at once. */
    moeq_status (*send)(void *user, unsigned to, enum mq_channel channel, const void *bytes,
                        uint64_t n, struct mq_message **message, moeq_error *err);
    /* Asks for n bytes, and returns at once. The sender sends as many. */
    moeq_status (*receive)(void *user, unsigned from, enum mq_channel channel, uint64_t n,
                           struct mq_message **message, moeq_error *err);
    /* Until it is there, or gone; NULL is fine. `bytes`: where what was received goes; of what was sent, NULL. Ends the
     * message, also when it fails. */
    moeq_status (*wait)(void *user, struct mq_message **message, void *bytes, moeq_error *err);
    /* Says how far this process is, and asks, at rank 0, how far all are that are at the same: the sum. */
    void (*far)(void *user, const struct mq_far *own, struct mq_far *all);
    /* The machine that a rank runs on; which of them this is, counted from 0, and how many there are. */
    const char *(*host)(void *user, unsigned rank);
    unsigned (*host_number)(void *user, unsigned rank);
};

/* How many there are: 1 without peers. */
static inline unsigned mq_peers_count(const struct mq_peers *peers)
{
    return peers ? peers->count : 1;
}

/* Whether this is the one that prints, names files, and is alone where there are no peers. */
static inline bool mq_peers_first(const struct mq_peers *peers)
{
    return !peers || peers->rank == 0;
}

/* All of the following are called by every rank, in the same order; without peers they do what one rank alone does. */

/* bytes: those of rank 0. */
moeq_status mq_peers_broadcast(const struct mq_peers *peers, void *bytes, uint64_t n,
                               moeq_error *err);

/* all[count][n]: every rank's n bytes, at every rank. n is the same everywhere. */
moeq_status mq_peers_gather(const struct mq_peers *peers, const void *bytes, uint64_t n, void *all,
                            moeq_error *err);

/* The same of bytes of which every rank has another number. *all (to be freed; never NULL): those of rank r are
 * [begin[r], begin[r + 1]); begin[count + 1]. */
moeq_status mq_peers_gather_all(const struct mq_peers *peers, const void *bytes, uint64_t n,
                                void **all, uint64_t *begin, moeq_error *err);

/* numbers[count] become the sum, the least, the greatest of every rank's. */
enum mq_reduction { MQ_SUM, MQ_LEAST, MQ_MOST };
moeq_status mq_peers_reduce(const struct mq_peers *peers, enum mq_reduction how, uint64_t *numbers,
                            size_t count, moeq_error *err);

/* Fails everywhere where a rank has other numbers than rank 0: "rank 2 on HOST has WORDS[i] than rank 0 on HOST". */
moeq_status mq_peers_same(const struct mq_peers *peers, const uint32_t *numbers,
                          const char *const *words, size_t count, moeq_error *err);

/* Waits for all. If some come with a failure (`status`, and the message in err), all leave with that of the lowest rank. */
moeq_status mq_peers_agree(const struct mq_peers *peers, moeq_status status, moeq_error *err);

#endif
