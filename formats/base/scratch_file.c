/* scratch_file.c: see the header. */
#include "scratch_file.h"

#include "checked.h"
#include "other_systems.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

/* Where the file system cannot make a file without a name, its name is taken away. */
static int open_in(const char *folder, char *path)
{
#ifdef O_TMPFILE
    const int unnamed = MQ_AGAIN(open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (unnamed >= 0)
        return unnamed;
#endif
    (void)folder;
    const int fd = mkstemp(path);
    if (fd >= 0) {
        unlink(path);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    return fd;
}

static bool is_in_memory(int fd)
{
#ifdef __linux__
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
#else
    (void)fd;
    return false;
#endif
}

bool mq_scratch_file_open(const char *folder, struct mq_file *file)
{
    const char *places[] = {folder ? folder : getenv("TMPDIR"), "/tmp", "/var/tmp"};
    const size_t count = folder ? 1 : sizeof places / sizeof *places;
    for (size_t i = 0; i < count; i++) {
        char path[4096];
        const int n =
            places[i] ? snprintf(path, sizeof path, "%s/moeq-scratch-XXXXXX", places[i]) : -1;
        const int fd = n > 0 && (size_t)n < sizeof path ? open_in(places[i], path) : -1;
        if (fd < 0)
            continue;
        *file = (struct mq_file){.fd = fd, .path = strdup(path)};
        if (file->path && (folder || !is_in_memory(fd)))
            return true;
        free(file->path);
        close(fd);
    }
    return false;
}

bool mq_scratch_file_fits(const struct mq_file *file, uint64_t end, uint64_t bytes)
{
    struct statvfs fs;
    struct rlimit most;
    uint64_t needed;
    if (fstatvfs(file->fd, &fs) != 0 || getrlimit(RLIMIT_FSIZE, &most) != 0 ||
        !mq_add_u64(end, bytes, &needed) || needed > INT64_MAX)
        return false;
    const uint64_t spare = (uint64_t)fs.f_blocks / 20, free_blocks = fs.f_bavail;
    return (most.rlim_cur == RLIM_INFINITY || needed <= most.rlim_cur) && free_blocks > spare &&
           bytes / fs.f_frsize < free_blocks - spare;
}
