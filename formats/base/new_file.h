/*
 * new_file.h: files that appear under their name only when they are complete and on the disk.
 *
 * They are written to a temporary beside their target that no one else has: a name of their own,
 * created, never opened. So two writers to one target do not write into each other's file (the last
 * to finish stands there, whole), nothing that lies there is emptied, and no link is followed.
 */
#ifndef MQ_NEW_FILE_H
#define MQ_NEW_FILE_H

#include "moeq.h"

#include <limits.h>

struct mq_new_file {
    int fd; /* -1 where closed */
    char path[PATH_MAX], part[PATH_MAX];
};

/* Creates the temporary, with the permissions of the file at `path` if there is one. */
moeq_status mq_new_file_open(struct mq_new_file *file, const char *path, moeq_error *err);

/* Syncs, and renames to the final name; if that fails, removes the temporary. */
moeq_status mq_new_file_finish(struct mq_new_file *file, moeq_error *err);

/* Gives up an unfinished file and removes it; after finish, or twice, it does nothing. */
void mq_new_file_abort(struct mq_new_file *file);

/* Gives an open file the permissions of the one at `path`, which it is to replace, if there is. */
moeq_status mq_copy_permissions(int fd, const char *path, moeq_error *err);

/* A whole small file. */
moeq_status mq_file_replace(const char *path, const void *bytes, size_t n, moeq_error *err);

#endif
