/*
 * claim.h: one writer at a time: the lock on an output's name.
 *
 * The lock is on OUT.part, whatever command it is that writes OUT: a conversion has its unfinished output there
 * (convert/output.c), others make an empty file for as long as they need it. A file of someone else that lies there is
 * locked as it is, and left alone; a link is refused, and never followed. A process that dies gives up its locks, and an
 * empty file that it leaves is taken over by the next.
 */
#ifndef MQ_CLAIM_H
#define MQ_CLAIM_H

#include "moeq.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct mq_claim {
    int fd;
    bool held; /* otherwise there is nothing to be released */
    bool ours; /* the file is empty, and goes with the claim */
    char part[PATH_MAX];
};

/* Fails at once where another process, or another claim of this one, has it. */
moeq_status mq_claim_take(struct mq_claim *claim, const char *path, moeq_error *err);
void mq_claim_release(struct mq_claim *claim); /* of one that is not held it does nothing */

/* What a command holds until all of it is written. */
struct mq_claims {
    struct mq_claim *held;
    size_t count;
};
bool mq_claims_hold(const struct mq_claims *claims, const char *path); /* NULL: holds nothing */

/* The name beside `path` of something that belongs to it: `path` and the suffix, of 32 bytes at most; where that is
 * longer than a name may be, the beginning of the name and a hash of it. False: no path can be so long. */
bool mq_name_beside(const char *path, const char *suffix, char name[PATH_MAX]);

#endif
