/*
 * fault_shim.c: LD_PRELOAD of the program itself: the n-th call of one kind fails, once.
 *
 *   FAULT_CALL   malloc (with calloc and realloc), open, pread, pwrite, fsync, rename
 *   FAULT_NUMBER which call, from 1 on
 *   FAULT_ERRNO  of the others than malloc; EIO if it is not given
 *   FAULT_MARK   a file that is made when the call was reached
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *wanted, *mark;
static long number;
static int code = EIO;
static atomic_long calls;

__attribute__((constructor)) static void start(void)
{
    const char *n = getenv("FAULT_NUMBER"), *e = getenv("FAULT_ERRNO");
    number = n ? atol(n) : 0;
    code = e ? atoi(e) : EIO;
    mark = getenv("FAULT_MARK");
    wanted = getenv("FAULT_CALL");
}

static int fails(const char *call)
{
    if (!wanted || strcmp(call, wanted) != 0 || atomic_fetch_add(&calls, 1) + 1 != number)
        return 0;
    const long fd = mark ? syscall(SYS_openat, AT_FDCWD, mark, O_CREAT | O_WRONLY, 0600) : -1;
    if (fd >= 0)
        syscall(SYS_close, fd);
    errno = strcmp(call, "malloc") == 0 ? ENOMEM : code;
    return 1;
}

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t n);

void *malloc(size_t n)
{
    return fails("malloc") ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return fails("malloc") ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t n)
{
    return fails("malloc") ? NULL : __libc_realloc(old, n);
}

#define FAULT(type, name, call, parameters, arguments)  \
    type name parameters                                \
    {                                                   \
        static type(*real) parameters;                  \
        if (!real)                                      \
            *(void **)&real = dlsym(RTLD_NEXT, #name);  \
        return fails(call) ? (type)-1 : real arguments; \
    }

FAULT(ssize_t, pread, "pread", (int fd, void *b, size_t n, off_t at), (fd, b, n, at))
FAULT(ssize_t, pread64, "pread", (int fd, void *b, size_t n, off64_t at), (fd, b, n, at))
FAULT(ssize_t, pwrite, "pwrite", (int fd, const void *b, size_t n, off_t at), (fd, b, n, at))
FAULT(ssize_t, pwrite64, "pwrite", (int fd, const void *b, size_t n, off64_t at), (fd, b, n, at))
FAULT(int, fsync, "fsync", (int fd), (fd))
FAULT(int, fdatasync, "fsync", (int fd), (fd))
FAULT(int, rename, "rename", (const char *from, const char *to), (from, to))

#define FAULT_OPEN(name)                                                \
    int name(const char *path, int flags, ...)                          \
    {                                                                   \
        static int (*real)(const char *, int, ...);                     \
        va_list list;                                                   \
        va_start(list, flags);                                          \
        const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0; \
        va_end(list);                                                   \
        if (!real)                                                      \
            *(void **)&real = dlsym(RTLD_NEXT, #name);                  \
        return fails("open") ? -1 : real(path, flags, mode);            \
    }

FAULT_OPEN(open)
FAULT_OPEN(open64)
