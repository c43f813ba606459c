/*
 * other_systems.h: for the few files that call what Linux has. Elsewhere (macOS) it gives the same names their meaning
 * there; on Linux it is empty. Found out with the headers of macOS, by `clang -fsyntax-only`; not run on one.
 */
#ifndef MQ_OTHER_SYSTEMS_H
#define MQ_OTHER_SYSTEMS_H

#if defined(__APPLE__)

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define st_mtim st_mtimespec
#define st_ctim st_ctimespec

/* Room is not reserved: callers then set the size alone, as on file systems that cannot. */
static inline int fallocate(int fd, int mode, off_t at, off_t bytes)
{
    (void)fd, (void)mode, (void)at, (void)bytes;
    errno = EOPNOTSUPP;
    return -1;
}

/* fsync leaves data in the drive's own memory there. */
static inline int fdatasync(int fd)
{
    return fcntl(fd, F_FULLFSYNC) == 0 ? 0 : fsync(fd);
}

enum { POSIX_FADV_WILLNEED = 3, GRND_NONBLOCK = 1, MFD_CLOEXEC = 1 };

static inline int posix_fadvise(int fd, off_t at, off_t bytes, int advice)
{
    (void)fd, (void)at, (void)bytes, (void)advice;
    return 0; /* a hint */
}

static inline ssize_t getrandom(void *bytes, size_t size, unsigned flags)
{
    (void)flags;
    return getentropy(bytes, size) == 0 ? (ssize_t)size : -1;
}

/* A file that has lost its name. */
static inline int memfd_create(const char *name, unsigned flags)
{
    char path[] = "/tmp/moeq-XXXXXX";
    (void)name, (void)flags;
    const int fd = mkstemp(path);
    if (fd >= 0) {
        unlink(path);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    return fd;
}

#endif /* __APPLE__ */

#endif
