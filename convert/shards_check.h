/*
 * shards_check.h: `check INDEX`: is every file of a moeq model what was written, and does the index
 * belong to them?
 */
#ifndef MQ_SHARDS_CHECK_H
#define MQ_SHARDS_CHECK_H

#include "integrity.h"

struct mq_shard_result {
    const char *path;
    struct mq_integrity_result integrity; /* of a file that is there in its full size */
    moeq_error problem;                   /* the first; status MOEQ_OK if the file is sound */
};

struct mq_shards_result {
    const char *path; /* the index's */
    struct mq_shard_result *shards;
    size_t count;
    uint64_t file_bytes, tensors_checked; /* of all */
    moeq_error problem;    /* where all shards are sound: the index does not fit, or: */
    struct mq_zeros zeros; /* found only in the whole (mq_zero_matrices) */
    struct mq_arena *arena;
};

/* Reads every shard once, as mq_integrity_check. MOEQ_OK means that the check was done: what is
 * missing, foreign or damaged is in the result. Fails if the index itself cannot be read. */
moeq_status mq_shards_check(const struct mq_context *context, const char *index,
                            struct mq_shards_result *result, moeq_error *err);
void mq_shards_free(struct mq_shards_result *result);

/* MOEQ_OK for a sound model; otherwise the first problem. */
moeq_status mq_shards_status(const struct mq_shards_result *result, moeq_error *err);

#endif
