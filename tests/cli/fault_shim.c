/*
 * fault_shim.c: LD_PRELOAD of the program itself: the n-th call of one kind fails, once; or all are cut short, or the
 * program dies there, or what it writes is logged (faults.py drives it).
 *
 *   FAULT_CALL    kinds, joined by commas: `kinds` below
 *   FAULT_NUMBER  which call of these, from 1 on
 *   FAULT_ERRNO   of the others than memory; EIO if it is not given
 *   FAULT_MODE    once (as if not given); from: that one and all after it; kill: SIGKILL instead; short: transfers of all
 *                 kinds named are of fewer bytes than asked for; again: every second call of them fails
 *   FAULT_MARK    a file that says which call it was: its name, the file it was about, who called it
 *   FAULT_COUNTS  a file of 64-bit numbers, one a kind: how many calls there were
 *   FAULT_SITES   a file of 64-bit numbers, one a call of these: a hash of the stack it was called with
 *   FAULT_LOG     a file that says what was written and named, in order (`struct event`)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    MEMORY, OPEN, OPENDIR, PREAD, READ, PWRITE, WRITE, FSYNC, RENAME, TRUNCATE, FALLOCATE, CLOSE, UNLINK, MKDIR, FLOCK,
    STAT, STATVFS, CHMOD, REALPATH, FLUSH, MMAP, KINDS
};
static const char *const kinds[KINDS] = {
    "memory", "open", "opendir", "pread", "read", "pwrite", "write", "fsync", "rename", "truncate", "fallocate", "close",
    "unlink", "mkdir", "flock", "stat", "statvfs", "chmod", "realpath", "flush", "mmap"};

static const char *mark;
static unsigned wanted; /* a bit for each kind */
static long number;
static int code = EIO, log_fd = -1, sites_fd = -1;
static enum { ONCE, FROM, KILL, SHORT, AGAIN } mode;
static atomic_long calls, own_counts[KINDS], *counts = own_counts;
/* Of the shim itself: its own calls are not counted. (Not found through __tls_get_addr, which AddressSanitizer has taken before
 * it is ready.) */
static _Thread_local const char *within __attribute__((tls_model("initial-exec")));
static _Thread_local int inside __attribute__((tls_model("initial-exec")));

static unsigned bits_of(const char *names)
{
    unsigned bits = 0;
    for (size_t k = 0; k < KINDS; k++) {
        const size_t n = strlen(kinds[k]);
        for (const char *at = names; (at = strstr(at, kinds[k])); at += n)
            if ((at == names || at[-1] == ',') && (!at[n] || at[n] == ','))
                bits |= 1u << k;
    }
    return bits;
}

static int appended(const char *variable)
{
    const char *path = getenv(variable);
    return path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600) : -1;
}

__attribute__((constructor)) static void start(void)
{
    static const char *const modes[] = {"once", "from", "kill", "short", "again"};
    const char *n = getenv("FAULT_NUMBER"), *e = getenv("FAULT_ERRNO"), *m = getenv("FAULT_MODE"),
               *call = getenv("FAULT_CALL"), *count = getenv("FAULT_COUNTS");
    void *frames[2];
    inside = 1;
    backtrace(frames, 2); /* loads what it needs */
    number = n ? atol(n) : 0;
    code = e ? atoi(e) : EIO;
    mark = getenv("FAULT_MARK");
    for (size_t i = 0; m && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(m, modes[i]) == 0)
            mode = i;
    const int fd = count ? (int)syscall(SYS_openat, AT_FDCWD, count, O_CREAT | O_RDWR, 0600) : -1;
    if (fd >= 0 && syscall(SYS_ftruncate, fd, sizeof own_counts) == 0)
        counts = (void *)syscall(SYS_mmap, NULL, sizeof own_counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        syscall(SYS_close, fd);
    log_fd = appended("FAULT_LOG");
    sites_fd = appended("FAULT_SITES");
    wanted = call ? bits_of(call) : 0;
    inside = 0;
}

/* What a descriptor is of. */
static const char *name_of(int fd, char name[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const long n = syscall(SYS_readlinkat, AT_FDCWD, link, name, PATH_MAX - 1);
    name[n > 0 ? n : 0] = '\0';
    return name;
}

/* "pread /tmp/x\n", then the addresses it was called from: module, offset. */
static void leave_mark(const char *call, const char *path, int fd)
{
    enum { FRAMES = 24 };
    static char text[PATH_MAX + FRAMES * (PATH_MAX + 32)];
    char name[PATH_MAX];
    void *frames[FRAMES];
    if (!mark)
        return;
    size_t n = (size_t)snprintf(text, sizeof text, "%s %s\n", call, path      ? path
                                                                       : fd >= 0 ? name_of(fd, name)
                                                                       : within  ? within
                                                                                 : "");
    const int found = backtrace(frames, FRAMES);
    for (int i = 2; i < found; i++) {
        Dl_info info;
        if (dladdr(frames[i], &info) && info.dli_fname)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s %tx %s\n", info.dli_fname,
                                  (char *)frames[i] - (char *)info.dli_fbase - 1,
                                  info.dli_sname ? info.dli_sname : "");
    }
    const int to = (int)syscall(SYS_openat, AT_FDCWD, mark, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    if (to >= 0) {
        syscall(SYS_write, to, text, n);
        syscall(SYS_close, to);
    }
}

/* FNV-1a of where the frames are in their modules. */
static void note_site(void)
{
    enum { FRAMES = 24 };
    void *frames[FRAMES];
    uint64_t hash = 0xcbf29ce484222325u;
    inside = 1;
    const int found = backtrace(frames, FRAMES);
    for (int i = 2; i < found; i++) {
        Dl_info info;
        const uint64_t at = (uint64_t)frames[i];
        hash = (hash ^ (dladdr(frames[i], &info) ? at - (uint64_t)info.dli_fbase : at)) * 0x100000001b3u;
    }
    syscall(SYS_write, sites_fd, &hash, sizeof hash);
    inside = 0;
}

static int fails_at(enum kind kind, const char *call, const char *path, int fd)
{
    if (inside)
        return 0;
    atomic_fetch_add(&counts[kind], 1);
    if (!(wanted >> kind & 1) || mode == SHORT)
        return 0;
    if (sites_fd >= 0)
        note_site();
    const long now = atomic_fetch_add(&calls, 1) + 1;
    if (mode == AGAIN ? now % 2 == 0 : mode == FROM ? now < number : now != number)
        return 0;
    inside = 1;
    if (mode == ONCE || now == number)
        leave_mark(call, path, fd);
    inside = 0;
    if (mode == KILL)
        syscall(SYS_kill, getpid(), SIGKILL);
    errno = kind == MEMORY ? ENOMEM : code;
    return 1;
}

/* ---- memory: glibc's own names; of AddressSanitizer's, if that is there ---- */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t n);
void *__libc_memalign(size_t unit, size_t n);
extern void *__interceptor_malloc(size_t n) __attribute__((weak));
extern void *__interceptor_calloc(size_t n, size_t size) __attribute__((weak));
extern void *__interceptor_realloc(void *old, size_t n) __attribute__((weak));
extern void *__interceptor_aligned_alloc(size_t unit, size_t n) __attribute__((weak));

#define MEMORY_CALL(name, of_libc, parameters, arguments)                    \
    void *name parameters                                                    \
    {                                                                        \
        if (fails_at(MEMORY, #name, NULL, -1))                               \
            return NULL;                                                     \
        return __interceptor_##name ? __interceptor_##name arguments : of_libc arguments; \
    }

MEMORY_CALL(malloc, __libc_malloc, (size_t n), (n))
MEMORY_CALL(calloc, __libc_calloc, (size_t n, size_t size), (n, size))
MEMORY_CALL(realloc, __libc_realloc, (void *old, size_t n), (old, n))
MEMORY_CALL(aligned_alloc, __libc_memalign, (size_t unit, size_t n), (unit, n))

int posix_memalign(void **memory, size_t unit, size_t n)
{
    void *got = aligned_alloc(unit, n);
    if (got)
        *memory = got;
    return got ? 0 : ENOMEM;
}

/* ---- what is logged ---- */

/* In front of: the path; the other path of a rename, or the bytes of a write. */
struct event {
    uint32_t kind, path_bytes, more_bytes, is_folder;
    uint64_t inode, at, size;
};

static pthread_mutex_t logging = PTHREAD_MUTEX_INITIALIZER;

static void note(enum kind kind, const char *path, int fd, uint64_t at, uint64_t size, const void *more, size_t n)
{
    char name[PATH_MAX];
    struct stat st = {0};
    const int before = errno;
    if (log_fd < 0)
        return;
    inside = 1;
    if (fd >= 0) {
        fstat(fd, &st);
        path = path ? path : name_of(fd, name);
    }
    struct event e = {kind, (uint32_t)strlen(path), (uint32_t)n, S_ISDIR(st.st_mode), st.st_ino, at, size};
    const struct iovec parts[] = {{&e, sizeof e}, {(void *)path, e.path_bytes}, {(void *)more, n}};
    syscall(SYS_writev, log_fd, parts, 3);
    inside = 0;
    errno = before;
}

/* Calls that change something happen in the order of the log. */
#define LOGGED(type, result, call, ...)        \
    pthread_mutex_lock(&logging);              \
    const type result = call;                  \
    if (result >= 0)                           \
        note(__VA_ARGS__);                     \
    pthread_mutex_unlock(&logging);            \
    return result

#define REAL(name) (real ? real : (*(void **)&real = dlsym(RTLD_NEXT, #name), real))

/* ---- transfers ---- */

/* Fewer than asked for, if that is the mode: other numbers at each call, the same in each run. */
static size_t shorter(enum kind kind, size_t n)
{
    if (mode != SHORT || !(wanted >> kind & 1) || n < 2 || inside)
        return n;
    const uint32_t now = (uint32_t)atomic_fetch_add(&calls, 1) * 2654435761u;
    return now >> 30 == 0 ? 1 : 1 + now % (n - 1);
}

#define TRANSFER(name, kind, type, parameters, ...)                      \
    ssize_t name parameters                                              \
    {                                                                    \
        static ssize_t(*real) parameters;                                \
        if (fails_at(kind, #name, NULL, fd))                             \
            return -1;                                                   \
        n = shorter(kind, n);                                            \
        __VA_ARGS__;                                                     \
    }

TRANSFER(pread, PREAD, ssize_t, (int fd, void *b, size_t n, off_t at), return REAL(pread)(fd, b, n, at))
TRANSFER(pread64, PREAD, ssize_t, (int fd, void *b, size_t n, off64_t at), return REAL(pread64)(fd, b, n, at))
TRANSFER(read, READ, ssize_t, (int fd, void *b, size_t n), return REAL(read)(fd, b, n))
TRANSFER(write, WRITE, ssize_t, (int fd, const void *b, size_t n), return REAL(write)(fd, b, n))
TRANSFER(pwrite, PWRITE, ssize_t, (int fd, const void *b, size_t n, off_t at),
         LOGGED(ssize_t, put, REAL(pwrite)(fd, b, n, at), PWRITE, NULL, fd, (uint64_t)at, (uint64_t)put, b, (size_t)put))
TRANSFER(pwrite64, PWRITE, ssize_t, (int fd, const void *b, size_t n, off64_t at),
         LOGGED(ssize_t, put, REAL(pwrite64)(fd, b, n, at), PWRITE, NULL, fd, (uint64_t)at, (uint64_t)put, b, (size_t)put))

/* ---- the others ---- */

/* Which of these the thread is in: what they allocate is theirs. */
static void leave(const char *const *before)
{
    within = *before;
}

#define OTHER(type, failure, name, kind, path, fd, parameters, ...) \
    type name parameters                                            \
    {                                                               \
        static type(*real) parameters;                              \
        if (fails_at(kind, #name, path, fd))                        \
            return failure;                                         \
        const char *before __attribute__((cleanup(leave))) = within; \
        within = #name;                                             \
        __VA_ARGS__;                                                \
    }

/* Nothing waits for the disk: these runs do not end with the machine's, and a sync takes a hundred times as long as they do. */
#define SYNC_CALL(name)                             \
    int name(int fd)                                \
    {                                               \
        if (fails_at(FSYNC, #name, NULL, fd))       \
            return -1;                              \
        LOGGED(int, done, fcntl(fd, F_GETFD), FSYNC, NULL, fd, 0, 0, "", 0) & 0; \
    }

SYNC_CALL(fsync)
SYNC_CALL(fdatasync)
OTHER(int, -1, rename, RENAME, to, -1, (const char *from, const char *to),
      LOGGED(int, done, REAL(rename)(from, to), RENAME, from, -1, 0, 0, to, strlen(to)))
OTHER(int, -1, ftruncate, TRUNCATE, NULL, fd, (int fd, off_t n),
      LOGGED(int, done, REAL(ftruncate)(fd, n), TRUNCATE, NULL, fd, 0, (uint64_t)n, "", 0))
OTHER(int, -1, ftruncate64, TRUNCATE, NULL, fd, (int fd, off64_t n),
      LOGGED(int, done, REAL(ftruncate64)(fd, n), TRUNCATE, NULL, fd, 0, (uint64_t)n, "", 0))
OTHER(int, -1, fallocate, FALLOCATE, NULL, fd, (int fd, int how, off_t at, off_t n),
      LOGGED(int, done, REAL(fallocate)(fd, how, at, n), FALLOCATE, NULL, fd, (uint64_t)at, (uint64_t)n, "", 0))
OTHER(int, -1, fallocate64, FALLOCATE, NULL, fd, (int fd, int how, off64_t at, off64_t n),
      LOGGED(int, done, REAL(fallocate64)(fd, how, at, n), FALLOCATE, NULL, fd, (uint64_t)at, (uint64_t)n, "", 0))
OTHER(int, -1, unlink, UNLINK, path, -1, (const char *path),
      LOGGED(int, done, REAL(unlink)(path), UNLINK, path, -1, 0, 0, "", 0))
OTHER(int, -1, mkdir, MKDIR, path, -1, (const char *path, mode_t m), return REAL(mkdir)(path, m))
OTHER(int, -1, flock, FLOCK, NULL, fd, (int fd, int how), return REAL(flock)(fd, how))
OTHER(int, -1, stat, STAT, path, -1, (const char *path, struct stat *st), return REAL(stat)(path, st))
OTHER(int, -1, lstat, STAT, path, -1, (const char *path, struct stat *st), return REAL(lstat)(path, st))
OTHER(int, -1, fstat, STAT, NULL, fd, (int fd, struct stat *st), return REAL(fstat)(fd, st))
OTHER(int, -1, fstatat, STAT, path, -1, (int fd, const char *path, struct stat *st, int how),
      return REAL(fstatat)(fd, path, st, how))
OTHER(int, -1, access, STAT, path, -1, (const char *path, int how), return REAL(access)(path, how))
OTHER(int, -1, fstatvfs, STATVFS, NULL, fd, (int fd, struct statvfs *st), return REAL(fstatvfs)(fd, st))
OTHER(int, -1, fchmod, CHMOD, NULL, fd, (int fd, mode_t m), return REAL(fchmod)(fd, m))
OTHER(char *, NULL, realpath, REALPATH, path, -1, (const char *path, char *name), return REAL(realpath)(path, name))
OTHER(DIR *, NULL, opendir, OPENDIR, path, -1, (const char *path), return REAL(opendir)(path))
OTHER(FILE *, NULL, fopen, OPEN, path, -1, (const char *path, const char *how), return REAL(fopen)(path, how))
OTHER(FILE *, NULL, fopen64, OPEN, path, -1, (const char *path, const char *how), return REAL(fopen64)(path, how))
/* A stream remembers that it failed. */
OTHER(int, (f->_flags |= _IO_ERR_SEEN, EOF), fflush, FLUSH, NULL, f ? fileno(f) : -1, (FILE *f), return REAL(fflush)(f))
OTHER(void *, MAP_FAILED, mmap, MMAP, NULL, fd, (void *at, size_t n, int p, int how, int fd, off_t from),
      return REAL(mmap)(at, n, p, how, fd, from))

/* The descriptor is closed all the same, as Linux does. */
int close(int fd)
{
    static int (*real)(int);
    const int failed = fails_at(CLOSE, "close", NULL, fd);
    const int done = REAL(close)(fd);
    if (failed)
        errno = code;
    return failed ? -1 : done;
}

#define OPEN_CALL(name)                                                                          \
    int name(const char *path, int flags, ...)                                                   \
    {                                                                                            \
        static int (*real)(const char *, int, ...);                                              \
        va_list list;                                                                            \
        va_start(list, flags);                                                                   \
        const mode_t m = flags & O_CREAT ? va_arg(list, mode_t) : 0;                             \
        va_end(list);                                                                            \
        if (fails_at(OPEN, #name, path, -1))                                                     \
            return -1;                                                                           \
        LOGGED(int, fd, REAL(name)(path, flags, m), OPEN, path, fd, (uint64_t)flags, 0, "", 0);  \
    }

OPEN_CALL(open)
OPEN_CALL(open64)
