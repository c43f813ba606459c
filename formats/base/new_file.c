/* new_file.c: a temporary of its own, fsync, rename. */
#include "new_file.h"

#include "error.h"
#include "file.h"
#include "other_systems.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

moeq_status mq_copy_permissions(int fd, const char *path, moeq_error *err)
{
    struct stat st;
    const bool is_there = stat(path, &st) == 0;
    if (is_there ? fchmod(fd, st.st_mode & 07777) == 0 : errno == ENOENT)
        return MOEQ_OK;
    return mq_fail_errno(err, path, "cannot keep its permissions");
}

moeq_status mq_check_room(int fd, const char *path, uint64_t bytes, moeq_error *err)
{
    struct statvfs fs;
    if (fstatvfs(fd, &fs) != 0)
        return MOEQ_OK; /* reserving says that there is no room */
    const uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (available >= bytes)
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_NO_SPACE, path,
                        "needs %.2f GiB (%" PRIu64 " bytes), the disk has %.2f GiB (%" PRIu64
                        ") free; make room there, or write to another place",
                        (double)bytes / 0x1p30, bytes, (double)available / 0x1p30, available);
}

moeq_status mq_reserve(int fd, const char *path, uint64_t bytes, moeq_error *err)
{
    if (MQ_AGAIN(fallocate(fd, 0, 0, (off_t)bytes)) == 0)
        return MOEQ_OK;
    if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
        return mq_fail_errno(err, path, "cannot reserve the output's size");
    /* A file system that cannot reserve: then at least the size is right and the gaps are zero. */
    if (MQ_AGAIN(ftruncate(fd, (off_t)bytes)) != 0)
        return mq_fail_errno(err, path, "cannot set the output's size");
    return MOEQ_OK;
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

mode_t mq_mode_at(const char *path, mode_t mode)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_mode & 0777 : mode;
}

#define SUFFIX_FORMAT ".%016" PRIx64 ".part" /* "out.html.0123456789abcdef.part" */

static bool is_temporary(const char *name, const char *stem, size_t n)
{
    const size_t digits = 16;
    return strncmp(name, stem, n) == 0 && name[n] == '.' &&
           strspn(name + n + 1, "0123456789abcdef") == digits &&
           strcmp(name + n + 1 + digits, ".part") == 0;
}

/* Temporaries of this very target that nobody has locked: their writers were killed. */
static void remove_left(const char *path)
{
    char stem[PATH_MAX], folder[PATH_MAX], name[PATH_MAX];
    if (!mq_name_beside(path, "", stem))
        return;
    const char *slash = strrchr(stem, '/');
    const char *base = slash ? slash + 1 : stem;
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(base - stem) : 1, slash ? stem : ".");
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!is_temporary(e->d_name, base, strlen(base)) ||
            snprintf(name, sizeof name, "%.*s%s", (int)(base - stem), stem, e->d_name) >=
                (int)sizeof name)
            continue;
        const int fd = MQ_AGAIN(open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        if (fd >= 0 && MQ_AGAIN(flock(fd, LOCK_EX | LOCK_NB)) == 0)
            unlink(name);
        if (fd >= 0)
            close(fd);
    }
    if (d)
        closedir(d);
}

/* The temporary, locked, so that remove_left knows it for one that is being written. */
static moeq_status create(struct mq_new_file *file, mode_t mode, moeq_error *err)
{
    enum { TRIES = 100 };
    for (int i = 0; i < TRIES && file->fd < 0; i++) {
        char suffix[32];
        snprintf(suffix, sizeof suffix, SUFFIX_FORMAT, random_number());
        if (!mq_name_beside(file->path, suffix, file->part))
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, file->path, "path is too long");
        file->fd = MQ_AGAIN(open(file->part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                                 mq_mode_at(file->path, mode)));
        if (file->fd < 0 && errno != EEXIST)
            break;
    }
    if (file->fd < 0)
        return mq_fail_errno(err, file->part, "cannot create");
    (void)MQ_AGAIN(flock(file->fd, LOCK_EX | LOCK_NB));
    return mq_copy_permissions(file->fd, file->path, err);
}

moeq_status mq_refuse_device_folder(const char *path, moeq_error *err)
{
    static const char *const folders[] = {"/dev/", "/proc/"};
    char folder[PATH_MAX], real[PATH_MAX + 1];
    const char *slash = strrchr(path, '/');
    const size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    if (n >= sizeof folder)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "path is too long");
    snprintf(folder, sizeof folder, "%.*s", n ? (int)n : 1, n ? path : ".");
    if (!realpath(folder, real))
        return errno == ENOENT || errno == ENOTDIR ? MOEQ_OK /* creating it says so */
                                                   : mq_fail_errno(err, folder, "cannot find");
    strcat(real, "/");
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (strncmp(real, folders[i], strlen(folders[i])) == 0 &&
            strncmp(real, "/dev/shm/", 9) != 0)
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                                "is no place for a file; name a file elsewhere");
    return MOEQ_OK;
}

static moeq_status open_claimed(struct mq_new_file *file, const char *path, mode_t mode,
                                const struct mq_claims *claims, moeq_error *err)
{
    file->fd = -1;
    file->claim.held = false;
    file->peers = NULL;
    if (!path[0] || strlen(path) >= sizeof file->path)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            path[0] ? "path is too long" : "no usable file name");
    MQ_TRY(mq_refuse_device_folder(path, err));
    struct stat st; /* rename would put a file in the place of a device or a pipe */
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "exists and is no regular file");
    memcpy(file->path, path, strlen(path) + 1);
    if (!mq_claims_hold(claims, path))
        MQ_TRY(mq_claim_take(&file->claim, path, err));
    remove_left(path);
    const moeq_status status = create(file, mode, err);
    if (status != MOEQ_OK)
        mq_new_file_abort(file);
    return status;
}

moeq_status mq_new_file_open_mode(struct mq_new_file *file, const char *path, mode_t mode,
                                  moeq_error *err)
{
    return open_claimed(file, path, mode, NULL, err);
}

/* Not to read: NFS then sends the bytes that were written, never the page around them, where another process may have
 * written meanwhile. */
static moeq_status open_others(struct mq_new_file *file, const char *path, moeq_error *err)
{
    snprintf(file->path, sizeof file->path, "%s", path);
    file->fd = MQ_AGAIN(open(file->part, O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
    return file->fd >= 0 ? MOEQ_OK
                         : mq_fail_errno(err, file->part,
                                         "cannot open what the first process has created there "
                                         "(all of them need the same folder)");
}

moeq_status mq_new_file_open_shared(struct mq_new_file *file, const char *path, mode_t mode,
                                    const struct mq_peers *peers, moeq_error *err)
{
    const bool first = mq_peers_first(peers);
    moeq_status status = MOEQ_OK;
    *file = (struct mq_new_file){.fd = -1};
    if (first)
        status = mq_new_file_open_mode(file, path, mode, err);
    if (mq_peers_count(peers) == 1)
        return status;
    if (status != MOEQ_OK)
        file->part[0] = '\0';
    const moeq_status told =
        mq_peers_broadcast(peers, file->part, sizeof file->part, status == MOEQ_OK ? err : NULL);
    status = status == MOEQ_OK ? told : status;
    if (!first && status == MOEQ_OK && file->part[0])
        status = open_others(file, path, err);
    status = mq_peers_agree(peers, status, err);
    file->peers = peers;
    if (status != MOEQ_OK)
        mq_new_file_abort(file);
    return status;
}

moeq_status mq_new_file_open(struct mq_new_file *file, const char *path, moeq_error *err)
{
    return mq_new_file_open_mode(file, path, 0666, err);
}

/* If all went well; otherwise the temporary goes. */
static moeq_status give_name(const struct mq_new_file *file, moeq_status status, moeq_error *err)
{
    if (status == MOEQ_OK && rename(file->part, file->path) != 0)
        status = mq_fail_errno(err, file->path, "cannot rename the finished file to this name");
    if (status == MOEQ_OK)
        return mq_sync_folder_of(file->path, err);
    unlink(file->part);
    return status;
}

moeq_status mq_new_file_finish(struct mq_new_file *file, moeq_error *err)
{
    moeq_status status = MOEQ_OK;
    const int fd = file->fd;
    if (MQ_AGAIN(fsync(fd)) != 0)
        status = mq_fail_errno(err, file->part, "cannot sync");
    file->fd = -1;
    if (close(fd) != 0 && errno != EINTR && status == MOEQ_OK) /* closed all the same */
        status = mq_fail_errno(err, file->part, "cannot close");
    status = mq_peers_agree(file->peers, status, err);
    if (mq_peers_first(file->peers))
        status = give_name(file, status, err);
    mq_claim_release(&file->claim);
    return mq_peers_agree(file->peers, status, err);
}

void mq_new_file_abort(struct mq_new_file *file)
{
    if (file->fd >= 0) {
        if (mq_peers_first(file->peers))
            unlink(file->part);
        close(file->fd);
        file->fd = -1;
    }
    mq_claim_release(&file->claim);
}

moeq_status mq_file_replace(const char *path, const void *bytes, size_t n, moeq_error *err)
{
    return mq_file_replace_claimed(path, bytes, n, NULL, err);
}

moeq_status mq_file_replace_claimed(const char *path, const void *bytes, size_t n,
                                    const struct mq_claims *claims, moeq_error *err)
{
    struct mq_new_file file;
    MQ_TRY(open_claimed(&file, path, 0666, claims, err));
    const moeq_status status = mq_write_at(file.fd, file.part, 0, bytes, n, err);
    if (status == MOEQ_OK)
        return mq_new_file_finish(&file, err);
    mq_new_file_abort(&file);
    return status;
}
