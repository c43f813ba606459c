/*
 * division.h: how a conversion is divided among the ranks of a job (peers.h).
 *
 * A plan fixes every byte, so ranks take ranges of chunks, in the plan's order, of about equal work, and all write into
 * the same files. On a file system that does not promise what several hosts then need (that of a page of a file each
 * keeps the bytes which it has written), a host takes whole files, and its ranks ranges of what is in them.
 */
#ifndef MQ_DIVISION_H
#define MQ_DIVISION_H

#include "peers.h"
#include "plan.h"

struct mq_file_system {
    uint64_t type; /* of statfs */
    const char *name;
    bool shared; /* several hosts may write into one file at once, each its own bytes */
};
/* One that is not known is called so, and not shared. */
const struct mq_file_system *mq_file_system_of(uint64_t type);

struct mq_division {
    const struct mq_peers *peers; /* NULL: one process does all */
    unsigned hosts;
    bool by_files;           /* each host whole files */
    const char *file_system; /* its name, where known */
};

/* Of a plan whose output lies there (NULL: somewhere), as this process sees the folder. Fails where one file is all that
 * several hosts are to share, and may not. */
moeq_status mq_division_look(const struct mq_plan *plan, const char *output,
                             const struct mq_peers *peers, struct mq_division *division,
                             moeq_error *err);

/* "4 ranks on 2 hosts, by ranges of rows"; "..., by whole files (nfs)". */
void mq_division_describe(const struct mq_division *division, char *text, size_t room);

/*
 * owners[count]: the rank that does each of so many things in a row, which are so much work each. files[count]: of by_files,
 * the one that each is in, below files_count; NULL: they are of none.
 */
moeq_status mq_division_deal(const struct mq_division *division, const uint64_t *work,
                             const uint32_t *files, size_t files_count, size_t count,
                             unsigned *owners, moeq_error *err);

/* groups[plan's files]: for each the first of those that it has tensors in common with. */
void mq_division_group_files(const struct mq_plan *plan, uint32_t *groups);

#endif
