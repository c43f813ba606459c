/* claim.c: flock, which Linux and macOS have, and which goes with the process. */
#include "claim.h"

#include "error.h"
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names ---- */

enum { SUFFIX_ROOM = 32, HASH_ROOM = 17 };

/* FNV-1a: no one is to be kept from finding two names of one hash, who would only be told to wait. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

/* The longest name in the folder of a path. */
static size_t longest_name(const char *path, size_t folder)
{
    char text[PATH_MAX];
    snprintf(text, sizeof text, "%.*s", (int)folder, path);
    const long found = pathconf(folder ? text : ".", _PC_NAME_MAX);
    return found > SUFFIX_ROOM + HASH_ROOM ? (size_t)found : NAME_MAX;
}

bool mq_name_beside(const char *path, const char *suffix, char name[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    const size_t folder = slash ? (size_t)(slash + 1 - path) : 0, n = strlen(path) - folder;
    if (strlen(path) >= PATH_MAX)
        return false;
    const size_t longest = longest_name(path, folder);
    int size;
    if (n + SUFFIX_ROOM <= longest) {
        size = snprintf(name, PATH_MAX, "%s%s", path, suffix);
    } else {
        size_t kept = longest - SUFFIX_ROOM - HASH_ROOM;
        while (kept && ((unsigned char)path[folder + kept] & 0xc0) == 0x80) /* whole characters */
            kept--;
        size = snprintf(name, PATH_MAX, "%.*s~%016" PRIx64 "%s", (int)(folder + kept), path,
                        hash_of(path + folder), suffix);
    }
    return size >= 0 && size < PATH_MAX;
}

/* ---- the lock ---- */

/* The file there, or a new one; -1 with errno. *gone: there was one, and is not any more. */
static int open_part(const struct mq_claim *claim, bool *gone)
{
    const int flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    int fd = MQ_AGAIN(open(claim->part, O_RDWR | O_CREAT | O_EXCL | flags, 0666));
    *gone = false;
    if (fd >= 0 || errno != EEXIST)
        return fd;
    fd = MQ_AGAIN(open(claim->part, O_RDONLY | flags));
    *gone = fd < 0 && errno == ENOENT;
    return fd;
}

static moeq_status fail_open(const struct mq_claim *claim, const char *path, moeq_error *err)
{
    if (errno == ELOOP || errno == EMLINK)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, claim->part,
                            "is a symbolic link, where the unfinished output would be: remove it");
    if (errno == EACCES && access(claim->part, F_OK) == 0)
        return mq_fail_errno(err, claim->part, "lies where the unfinished output would be");
    return mq_fail_errno(err, path, "cannot create");
}

/* Whether what is open still is what has the name. */
static bool has_name(const struct mq_claim *claim, const struct stat *held)
{
    struct stat named;
    return lstat(claim->part, &named) == 0 && named.st_dev == held->st_dev &&
           named.st_ino == held->st_ino;
}

/* One try; *again: someone else gave the name up meanwhile. */
static moeq_status try_to_take(struct mq_claim *claim, const char *path, bool *again,
                               moeq_error *err)
{
    struct stat held;
    claim->fd = open_part(claim, again);
    if (*again)
        return MOEQ_OK;
    if (claim->fd < 0)
        return fail_open(claim, path, err);
    if (fstat(claim->fd, &held) != 0)
        return mq_fail_errno(err, claim->part, "cannot stat");
    if (!S_ISREG(held.st_mode))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, claim->part,
                            "exists and is no regular file");
    /* Some file systems have no locks: there, writers still have temporaries of their own. */
    if (MQ_AGAIN(flock(claim->fd, LOCK_EX | LOCK_NB)) != 0 && errno == EWOULDBLOCK)
        return mq_fail_file(err, MOEQ_IO, path, "another command is writing this file");
    claim->ours = held.st_size == 0;
    *again = !has_name(claim, &held);
    return MOEQ_OK;
}

moeq_status mq_claim_take(struct mq_claim *claim, const char *path, moeq_error *err)
{
    enum { TRIES = 100 };
    bool again = true;
    moeq_status status = MOEQ_OK;
    claim->fd = -1;
    claim->held = claim->ours = false;
    if (!mq_name_beside(path, ".part", claim->part))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "path is too long");
    for (int i = 0; i < TRIES && again && status == MOEQ_OK; i++) {
        status = try_to_take(claim, path, &again, err);
        if ((again || status != MOEQ_OK) && claim->fd >= 0) {
            close(claim->fd);
            claim->fd = -1;
        }
    }
    if (status == MOEQ_OK && again)
        return mq_fail_file(err, MOEQ_IO, path, "other commands are writing this file");
    claim->held = status == MOEQ_OK;
    return status;
}

void mq_claim_release(struct mq_claim *claim)
{
    struct stat held;
    if (!claim->held)
        return;
    /* Under the lock: whoever opens it from here on finds out that it has no name any more. */
    if (claim->ours && fstat(claim->fd, &held) == 0 && held.st_size == 0 && has_name(claim, &held))
        unlink(claim->part);
    close(claim->fd);
    claim->fd = -1;
    claim->held = false;
}

bool mq_claims_hold(const struct mq_claims *claims, const char *path)
{
    char part[PATH_MAX];
    if (!claims || !mq_name_beside(path, ".part", part))
        return false;
    for (size_t i = 0; i < claims->count; i++)
        if (strcmp(claims->held[i].part, part) == 0)
            return true;
    return false;
}
