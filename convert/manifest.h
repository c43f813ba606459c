/*
 * manifest.h: a detached list of SHA-256 sums of a model's files, in the format of sha256sum, whose -c
 * checks it too: for files that carry no checksums of their own, and for whoever signs lists.
 */
#ifndef MQ_MANIFEST_H
#define MQ_MANIFEST_H

#include "context.h"
#include "sums_list.h"

#include <string.h>

struct mq_manifest_file {
    const char *path, *name; /* name: in the model's folder */
    uint64_t size_bytes;
    const char *expected;       /* NULL: the list does not name it */
    char found[MQ_SHA256_TEXT]; /* once hashed */
};

struct mq_manifest {
    const char *folder;
    bool whole;                     /* the model is the folder */
    struct mq_manifest_file *files; /* by name */
    size_t count;
    size_t others;  /* lines of the list that are about none of them */
    uint64_t bytes; /* of all files */
    struct mq_arena *arena;
};

/*
 * The files that a path stands for: of a folder all regular files that stand in it, but hidden ones,
 * unfinished ones (.part) and `list` itself; of a moeq index it and its shards; of one of several GGUF
 * files all of them; otherwise the file. Nothing is read. Free it in any case.
 */
moeq_status mq_manifest_list(const char *path, const char *list, struct mq_manifest *manifest,
                             moeq_error *err);
void mq_manifest_free(struct mq_manifest *manifest);

/* Reads all of them once, in parallel. */
moeq_status mq_manifest_hash(const struct mq_context *context, struct mq_manifest *manifest,
                             moeq_error *err);

/* Writes their sums. Fails if something else than a list stands there. */
moeq_status mq_manifest_check_place(const char *list, moeq_error *err);
moeq_status mq_manifest_write(const struct mq_manifest *manifest, const char *list,
                              moeq_error *err);

/* What a list says of them. Weights that it does not name are an error. */
moeq_status mq_manifest_expect(struct mq_manifest *manifest, const char *list, moeq_error *err);
/* Whether a hashed file is what it should be, so far as the list says. */
static inline bool mq_manifest_good(const struct mq_manifest_file *file)
{
    return !file->expected || strcmp(file->expected, file->found) == 0;
}
/* MOEQ_OK, or the first file that is not. */
moeq_status mq_manifest_status(const struct mq_manifest *manifest, moeq_error *err);

#endif
