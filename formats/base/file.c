/* file.c: POSIX file access with errors that name the file. */
#include "file.h"

#include "checked.h"
#include "error.h"
#include "other_systems.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void mq_file_set_facts(struct mq_file *file, const struct stat *st)
{
    file->size_bytes = (uint64_t)st->st_size;
    file->device = st->st_dev;
    file->inode = st->st_ino;
    file->mtime_ns = nanoseconds(st->st_mtim);
    file->ctime_ns = nanoseconds(st->st_ctim);
    file->links = st->st_nlink;
    file->mode = st->st_mode;
    file->owner = st->st_uid;
    file->group = st->st_gid;
}

moeq_status mq_file_open(const char *path, struct mq_file *file, moeq_error *err)
{
    memset(file, 0, sizeof *file);
    file->fd = -1;
    /* O_NONBLOCK: opening a FIFO must not hang; it has no effect on regular files. */
    const int fd = MQ_AGAIN(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (fd < 0)
        return mq_fail_errno(err, path, "cannot open");
    struct stat st;
    if (fstat(fd, &st) != 0) {
        const moeq_status status = mq_fail_errno(err, path, "cannot stat");
        close(fd);
        return status;
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "expected a file, found %s",
                            S_ISDIR(st.st_mode) ? "a folder" : "a device, pipe or socket");
    }
    file->path = strdup(path);
    if (!file->path) {
        close(fd);
        return mq_fail_memory(err, "opening a file");
    }
    file->fd = fd;
    mq_file_set_facts(file, &st);
    return MOEQ_OK;
}

moeq_status mq_file_mark(const char *path, struct mq_file *mark, moeq_error *err)
{
    struct stat st;
    *mark = (struct mq_file){.fd = -1, .path = (char *)path};
    if (stat(path, &st) != 0)
        return mq_fail_errno(err, path, "cannot open");
    mq_file_set_facts(mark, &st);
    return MOEQ_OK;
}

static moeq_status compare(const struct mq_file *file, const struct mq_file *now, moeq_error *err)
{
    if (now->device != file->device || now->inode != file->inode)
        return mq_fail_file(err, MOEQ_IO, file->path,
                            "changed while it was read: another file has taken its place");
    if (now->size_bytes != file->size_bytes)
        return mq_fail_file(err, MOEQ_IO, file->path,
                            "changed while it was read: it had %llu bytes, now it has %llu",
                            (unsigned long long)file->size_bytes,
                            (unsigned long long)now->size_bytes);
    if (now->mtime_ns != file->mtime_ns)
        return mq_fail_file(err, MOEQ_IO, file->path,
                            "changed while it was read: it was written to since it was opened");
    /* A writer can set the time of modification back, but not this one. */
    if (now->ctime_ns != file->ctime_ns && now->links == file->links && now->mode == file->mode &&
        now->owner == file->owner && now->group == file->group)
        return mq_fail_file(err, MOEQ_IO, file->path,
                            "changed while it was read: it was written to since it was opened, and "
                            "its time of modification set back (ctime)");
    return MOEQ_OK;
}

moeq_status mq_file_check_unchanged(const struct mq_file *file, moeq_error *err)
{
    struct stat st;
    struct mq_file now;
    if (stat(file->path, &st) != 0)
        return mq_fail_errno(err, file->path, "changed while it was read");
    mq_file_set_facts(&now, &st);
    return compare(file, &now, err);
}

moeq_status mq_file_check_whole(const struct mq_file *file, moeq_error *err)
{
    struct stat st;
    struct mq_file now;
    if (fstat(file->fd, &st) != 0)
        return mq_fail_errno(err, file->path, "cannot stat");
    mq_file_set_facts(&now, &st);
    return compare(file, &now, err);
}

void mq_file_close(struct mq_file *file)
{
    if (file->path && file->fd >= 0)
        close(file->fd);
    free(file->path);
    memset(file, 0, sizeof *file);
    file->fd = -1;
}

moeq_status mq_file_read_at(const struct mq_file *file, uint64_t offset, void *bytes, size_t n,
                            moeq_error *err)
{
    size_t done = 0;
    while (done < n) {
        const ssize_t got = pread(file->fd, (char *)bytes + done, n - done, (off_t)(offset + done));
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return mq_fail_errno(err, file->path, "cannot read");
        }
        if (got == 0)
            return mq_fail_file(err, MOEQ_IO, file->path,
                                "file ends at byte %llu; expected %zu bytes at byte %llu "
                                "(was it truncated while open?)",
                                (unsigned long long)(offset + done), n, (unsigned long long)offset);
        done += (size_t)got;
    }
    return MOEQ_OK;
}

void mq_file_prefetch(const struct mq_file *file, uint64_t offset, uint64_t bytes)
{
    /* The kernel cuts larger requests down to its readahead window, whose usual size this is. */
    const uint64_t step = 128u << 10, end = offset + bytes;
    for (uint64_t at = offset; at < end; at += step)
        posix_fadvise(file->fd, (off_t)at, (off_t)(end - at < step ? end - at : step),
                      POSIX_FADV_WILLNEED);
}

moeq_status mq_file_read_all(const char *path, uint64_t cap, struct mq_buffer *bytes,
                             moeq_error *err)
{
    struct mq_file file;
    moeq_status status = mq_file_open(path, &file, err);
    if (status != MOEQ_OK)
        return status;
    memset(bytes, 0, sizeof *bytes);
    if (file.size_bytes > cap) {
        status = mq_fail_file(err, MOEQ_LIMIT, path, "file has %llu bytes; at most %llu expected",
                              (unsigned long long)file.size_bytes, (unsigned long long)cap);
        goto out;
    }
    const size_t n = (size_t)file.size_bytes;
    bytes->data = malloc(n + 1);
    if (!bytes->data) {
        status = mq_fail_memory(err, "reading a file");
        goto out;
    }
    bytes->capacity = n + 1;
    bytes->size = n;
    bytes->data[n] = '\0';
    status = mq_file_read_at(&file, 0, bytes->data, n, err);
    if (status == MOEQ_OK)
        status = mq_file_check_whole(&file, err);
    if (status != MOEQ_OK)
        mq_buffer_free(bytes);
out:
    mq_file_close(&file);
    return status;
}

moeq_status mq_write_at(int fd, const char *path, uint64_t offset, const void *bytes, size_t n,
                        moeq_error *err)
{
    size_t done = 0;
    while (done < n) {
        const ssize_t put =
            pwrite(fd, (const char *)bytes + done, n - done, (off_t)(offset + done));
        if (put < 0) {
            if (errno == EINTR)
                continue;
            return mq_fail_errno(err, path, "cannot write");
        }
        done += (size_t)put;
    }
    return MOEQ_OK;
}

moeq_status mq_sync_folder_of(const char *path, moeq_error *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) : 1;
    if (n >= sizeof folder)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "path is too long");
    if (slash)
        memcpy(folder, path, n);
    else
        folder[0] = '.';
    folder[n] = '\0';
    const int fd = MQ_AGAIN(open(n ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0)
        return mq_fail_errno(err, folder, "cannot open folder");
    /* Some file systems cannot sync a folder (EINVAL): then there is nothing more to do. */
    const int failed = MQ_AGAIN(fsync(fd)) != 0 && errno != EINVAL;
    const moeq_status status = failed ? mq_fail_errno(err, folder, "cannot sync folder") : MOEQ_OK;
    close(fd);
    return status;
}

moeq_status mq_path_look(const char *path, enum mq_path_kind *kind, moeq_error *err)
{
    struct stat st;
    const bool exists = stat(path, &st) == 0;
    *kind = !exists ? MQ_PATH_ABSENT : S_ISDIR(st.st_mode) ? MQ_PATH_FOLDER : MQ_PATH_FILE;
    return exists || errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP
               ? MOEQ_OK
               : mq_fail_errno(err, path, "cannot tell whether it exists");
}

bool mq_path_is_folder(const char *path)
{
    enum mq_path_kind kind;
    return mq_path_look(path, &kind, NULL) == MOEQ_OK && kind == MQ_PATH_FOLDER;
}

bool mq_path_exists(const char *path)
{
    enum mq_path_kind kind;
    return mq_path_look(path, &kind, NULL) != MOEQ_OK || kind != MQ_PATH_ABSENT;
}
