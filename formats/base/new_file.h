/*
 * new_file.h: files that appear under their name only when they are complete and on the disk.
 *
 * They are written to a temporary beside their target that no one else has: a name of their own,
 * created, never opened. So nothing that lies there is emptied, and no link is followed; where the
 * target itself is a link, the file takes the link's place. As long as one is written, the target
 * is claimed (claim.h): a second writer is refused. What writers that were killed have left there
 * is removed by the next.
 */
#ifndef MQ_NEW_FILE_H
#define MQ_NEW_FILE_H

#include "claim.h"
#include "peers.h"

#include <sys/types.h>

/* Fails where names stand for devices and processes, not for files: /dev and /proc. Links there, such as /dev/stdout, may
 * lead to a file, whose place no new one could take. */
moeq_status mq_refuse_device_folder(const char *path, moeq_error *err);

struct mq_new_file {
    int fd; /* -1 where closed */
    struct mq_claim claim;
    char path[PATH_MAX], part[PATH_MAX];
    const struct mq_peers *peers; /* who writes it too; NULL: nobody */
};

/* Creates the temporary, with the permissions of the file at `path` if there is one. */
moeq_status mq_new_file_open(struct mq_new_file *file, const char *path, moeq_error *err);
/* And if there is none with these, less the umask, instead of 0666. */
moeq_status mq_new_file_open_mode(struct mq_new_file *file, const char *path, mode_t mode,
                                  moeq_error *err);
/* And by all of the peers together, each of which writes bytes of its own at their places: the first has the claim and the
 * temporary, the others open it, to write only. Each of them finishes it; who gives it up fails, so that the first does. */
moeq_status mq_new_file_open_shared(struct mq_new_file *file, const char *path, mode_t mode,
                                    const struct mq_peers *peers, moeq_error *err);
/* The permissions to create something with that will stand at `path`: those of the file there, or `mode`. */
mode_t mq_mode_at(const char *path, mode_t mode);

/* Syncs, and renames to the final name; if that fails, removes the temporary. With peers, what all have written is on the
 * disk before the name is there, which it is when any of them returns. */
moeq_status mq_new_file_finish(struct mq_new_file *file, moeq_error *err);

/* Gives up an unfinished file and removes it; after finish, or twice, it does nothing. */
void mq_new_file_abort(struct mq_new_file *file);

/* Fails if the disk that a file is on has not so much room; then takes it. `path` names the file in errors. */
moeq_status mq_check_room(int fd, const char *path, uint64_t bytes, moeq_error *err);
moeq_status mq_reserve(int fd, const char *path, uint64_t bytes, moeq_error *err);

/* Gives an open file the permissions of the one at `path`, which it is to replace, if there is. */
moeq_status mq_copy_permissions(int fd, const char *path, moeq_error *err);

/* A whole small file. */
moeq_status mq_file_replace(const char *path, const void *bytes, size_t n, moeq_error *err);
/* The same of a path that the caller may have claimed already. */
moeq_status mq_file_replace_claimed(const char *path, const void *bytes, size_t n,
                                    const struct mq_claims *claims, moeq_error *err);

#endif
