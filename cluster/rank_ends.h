/* rank_ends.h: of how all ranks have ended, what is said and with what they exit. */
#ifndef MQ_RANK_ENDS_H
#define MQ_RANK_ENDS_H

#include <stdbool.h>
#include <stdint.h>

enum { MQ_RANK_TEXT = 2000 };

/* How a rank's command has ended. */
struct mq_rank_end {
    bool ended;
    bool followed;                 /* it stopped because another had failed */
    bool abandoned;                /* messages of it are on their way for ever */
    bool lost;                     /* nothing is heard of it; `text` says so */
    int32_t code;                  /* enum mq_exit */
    uint64_t read, sent, received; /* bytes: of files, to and from ranks */
    char text
        [MQ_RANK_TEXT]; /* what it would print of its failure, lines that begin with "moeq-mpi"; "": nothing */
};

typedef const char *mq_host_fn(void *user, unsigned rank);

/* A command that has judged, and found a regression, has done what it should. */
bool mq_ends_is_failure(const struct mq_rank_end *end);

/* "rank 2 on node7: message": why the others are to stop; the code that it ended with. At least one has failed. */
int mq_ends_cause(const struct mq_rank_end *ends, unsigned count, mq_host_fn *host, void *user,
                  char text[MQ_RANK_TEXT]);

/* The code for all; `text` becomes what is to be printed, "" for nothing. What all ranks have to say is said as of one. */
int mq_ends_verdict(const struct mq_rank_end *ends, unsigned count, mq_host_fn *host, void *user,
                    char text[2 * MQ_RANK_TEXT]);

/* A line: bytes read, sent, received. */
void mq_ends_traffic(const struct mq_rank_end *end, unsigned rank, const char *host,
                     char text[MQ_RANK_TEXT]);

bool mq_all_true(const bool *flags, unsigned count);

#endif
