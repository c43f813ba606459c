/* new_file.c: a temporary of its own, fsync, rename. */
#include "new_file.h"

#include "error.h"
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

moeq_status mq_copy_permissions(int fd, const char *path, moeq_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0 || fchmod(fd, st.st_mode & 07777) == 0)
        return MOEQ_OK;
    return mq_fail_errno(err, path, "cannot keep its permissions");
}

static uint64_t random_number(void)
{
    uint64_t number = 0;
    struct timespec now;
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) == (ssize_t)sizeof number)
        return number;
    clock_gettime(CLOCK_MONOTONIC, &now); /* O_EXCL makes the name ours; this only varies it */
    return (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 32;
}

/* "out.html.0123456789abcdef.part"; where that is longer than a name may be, without "out.html". */
static bool name_part(struct mq_new_file *file, uint64_t number)
{
    const char *slash = strrchr(file->path, '/');
    const size_t folder = slash ? (size_t)(slash + 1 - file->path) : 0;
    const size_t name = strlen(file->path) - folder;
    const size_t suffix = sizeof ".0123456789abcdef.part" - 1;
    const size_t kept = name + suffix <= NAME_MAX ? name : 0;
    const int n = snprintf(file->part, sizeof file->part, "%.*s.%016" PRIx64 ".part",
                           (int)(folder + kept), file->path, number);
    return n >= 0 && (size_t)n < sizeof file->part;
}

moeq_status mq_new_file_open(struct mq_new_file *file, const char *path, moeq_error *err)
{
    enum { TRIES = 100 };
    file->fd = -1;
    if (!path[0] || strlen(path) >= sizeof file->path)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            path[0] ? "path is too long" : "no usable file name");
    struct stat st; /* rename would put a file in the place of a device or a pipe */
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "exists and is no regular file");
    strcpy(file->path, path);
    for (int i = 0; i < TRIES && file->fd < 0; i++) {
        if (!name_part(file, random_number()))
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "path is too long");
        file->fd = open(file->part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (file->fd < 0 && errno != EEXIST)
            return mq_fail_errno(err, file->part, "cannot create");
    }
    if (file->fd < 0)
        return mq_fail_errno(err, file->part, "cannot create");
    const moeq_status status = mq_copy_permissions(file->fd, path, err);
    if (status != MOEQ_OK)
        mq_new_file_abort(file);
    return status;
}

moeq_status mq_new_file_finish(struct mq_new_file *file, moeq_error *err)
{
    moeq_status status = MOEQ_OK;
    const int fd = file->fd;
    if (fsync(fd) != 0)
        status = mq_fail_errno(err, file->part, "cannot sync");
    file->fd = -1;
    if (close(fd) != 0 && status == MOEQ_OK)
        status = mq_fail_errno(err, file->part, "cannot close");
    if (status == MOEQ_OK && rename(file->part, file->path) != 0)
        status = mq_fail_errno(err, file->path, "cannot rename the finished file to this name");
    if (status == MOEQ_OK)
        return mq_sync_folder_of(file->path, err);
    unlink(file->part);
    return status;
}

void mq_new_file_abort(struct mq_new_file *file)
{
    if (file->fd < 0)
        return;
    close(file->fd);
    unlink(file->part);
    file->fd = -1;
}

moeq_status mq_file_replace(const char *path, const void *bytes, size_t n, moeq_error *err)
{
    struct mq_new_file file;
    MQ_TRY(mq_new_file_open(&file, path, err));
    const moeq_status status = mq_write_at(file.fd, file.part, 0, bytes, n, err);
    if (status == MOEQ_OK)
        return mq_new_file_finish(&file, err);
    mq_new_file_abort(&file);
    return status;
}
