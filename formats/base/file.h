/* file.h: files read and written at offsets. */
#ifndef MQ_FILE_H
#define MQ_FILE_H

#include "moeq.h"
#include "buffer.h"

#include <errno.h>
#include <sys/types.h>

/* A file opened for reading. Reads at offsets: many threads may share it. */
struct mq_file {
    int fd;
    uint64_t size_bytes;
    char *path; /* owned; for messages */
    /* As it was opened: mq_file_check_unchanged compares with them. */
    dev_t device;
    ino_t inode;
    int64_t mtime_ns, ctime_ns;
    nlink_t links;
    mode_t mode;
    uid_t owner;
    gid_t group;
};

/* Opens a regular file (symbolic links are followed). */
moeq_status mq_file_open(const char *path, struct mq_file *file, moeq_error *err);
void mq_file_close(struct mq_file *file);

/* Fails unless the file at the path still is the one that was opened, with its size and times: what
 * was read before may be of another content than what was read after. (A time of change alone, with
 * other links, another mode or owner, is no other content.) */
moeq_status mq_file_check_unchanged(const struct mq_file *file, moeq_error *err);

/* The same of what was opened, whatever stands at its path now: for what has been read at once. */
moeq_status mq_file_check_whole(const struct mq_file *file, moeq_error *err);

/* Size, place and times of an open file, from its fstat. */
struct stat;
void mq_file_set_facts(struct mq_file *file, const struct stat *st);

/* What mq_file_check_unchanged needs of a file that is about to be read, and closed again: not to be closed. `path` must
 * outlive it. */
moeq_status mq_file_mark(const char *path, struct mq_file *mark, moeq_error *err);

/* Reads exactly n bytes at an offset, or fails saying how many there were. */
moeq_status mq_file_read_at(const struct mq_file *file, uint64_t offset, void *bytes, size_t n,
                            moeq_error *err);

/* Has the kernel read bytes [offset, offset + bytes) into the page cache, and does not wait for it.
 * Only time hangs on this, so what goes wrong is not of interest: reading itself will tell. */
void mq_file_prefetch(const struct mq_file *file, uint64_t offset, uint64_t bytes);

/* The whole file as a buffer; refuses files above `cap` bytes before allocating, and one that changes
 * meanwhile. */
moeq_status mq_file_read_all(const char *path, uint64_t cap, struct mq_buffer *bytes,
                             moeq_error *err);

/* Writes exactly n bytes at an offset. `path` is for the message. */
moeq_status mq_write_at(int fd, const char *path, uint64_t offset, const void *bytes, size_t n,
                        moeq_error *err);

/* fsync of the folder that holds `path`, so that a rename in it is durable. */
moeq_status mq_sync_folder_of(const char *path, moeq_error *err);

/* A system call, made again as long as signals interrupt it (Ctrl-C comes as one). */
#define MQ_AGAIN(call)                           \
    __extension__({                              \
        int mq_result;                           \
        do                                       \
            mq_result = (call);                  \
        while (mq_result < 0 && errno == EINTR); \
        mq_result;                               \
    })

enum mq_path_kind { MQ_PATH_ABSENT, MQ_PATH_FOLDER, MQ_PATH_FILE /* or a device, a pipe */ };

/* Fails where the file system does not say. */
moeq_status mq_path_look(const char *path, enum mq_path_kind *kind, moeq_error *err);
/* The same of what will be opened, which says what is wrong: what cannot be asked about may be there. */
bool mq_path_is_folder(const char *path);
bool mq_path_exists(const char *path);

#endif
