/*
 * change_file.c: preloaded into moeq (changing.sh, writers.sh): at its n-th read a file is written to by someone else, or
 * it stops.
 *
 *   CHANGE_FILE   the file, whose last byte is flipped
 *   CHANGE_AT     n; or "rename": before the first file gets its name (to stop)
 *   CHANGE_BACK   if set, its time of modification is set back afterwards
 *   CHANGE_STOP   instead of all that: SIGSTOP
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef ssize_t pread_fn(int fd, void *bytes, size_t n, off_t at);

static atomic_int reads;

static void change(pread_fn *real)
{
    const char *path = getenv("CHANGE_FILE"), *at = getenv("CHANGE_AT");
    struct stat st;
    char byte;
    const char *stop = getenv("CHANGE_STOP");
    if ((!path && !stop) || !at || atomic_fetch_add(&reads, 1) + 1 != atoi(at))
        return;
    if (stop) {
        raise(SIGSTOP);
        return;
    }
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || real(fd, &byte, 1, st.st_size - 1) != 1)
        abort();
    byte ^= 1;
    /* clocks of file systems are coarse: a write of this very moment could bear the old time */
    const struct timespec wait = {.tv_nsec = 20000000};
    nanosleep(&wait, NULL);
    if (pwrite(fd, &byte, 1, st.st_size - 1) != 1)
        abort();
    const struct timespec back[2] = {st.st_atim, st.st_mtim};
    if (getenv("CHANGE_BACK") && futimens(fd, back) != 0)
        abort();
    close(fd);
}

ssize_t pread(int fd, void *bytes, size_t n, off_t at);
ssize_t pread64(int fd, void *bytes, size_t n, off_t at);

ssize_t pread(int fd, void *bytes, size_t n, off_t at)
{
    pread_fn *real = (pread_fn *)dlsym(RTLD_NEXT, "pread");
    change(real);
    return real(fd, bytes, n, at);
}

ssize_t pread64(int fd, void *bytes, size_t n, off_t at)
{
    return pread(fd, bytes, n, at);
}

int rename(const char *from, const char *to)
{
    typedef int rename_fn(const char *, const char *);
    static atomic_flag stopped = ATOMIC_FLAG_INIT;
    rename_fn *real = (rename_fn *)dlsym(RTLD_NEXT, "rename");
    const char *at = getenv("CHANGE_AT");
    if (at && strcmp(at, "rename") == 0 && !atomic_flag_test_and_set(&stopped))
        raise(SIGSTOP);
    return real(from, to);
}
