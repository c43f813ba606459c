/*
 * test_io_failures.c: converting with the n-th system call failing, for every n until all goes
 * well; and with short and interrupted transfers. After each failure: an error with the file's
 * name, no half-written OUT, and the next run ends with the bytes of an undisturbed one.
 */
#include "stored.h"
#include "test_model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* state of the wrappers; one thread converts, so plain variables do */
static int countdown;  /* 0: off; 1: the next call fails */
static int error_code; /* with this errno */
static bool short_transfers;
static unsigned transfers;
static int no_fallocate; /* the errno of a file system that has none */

static bool fails(void)
{
    if (countdown <= 0 || --countdown > 0)
        return false;
    errno = error_code;
    return true;
}

/* Declares the real function and the wrapper, which fails or passes on. */
#define WRAP(type, name, parameters, arguments)              \
    type __real_##name parameters;                           \
    type __wrap_##name parameters;                           \
    type __wrap_##name parameters                            \
    {                                                        \
        return fails() ? (type)-1 : __real_##name arguments; \
    }

WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, ftruncate, (int fd, off_t n), (fd, n))
WRAP(int, rename, (const char *from, const char *to), (from, to))

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
ssize_t __real_pread(int fd, void *bytes, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t at);
ssize_t __real_pwrite(int fd, const void *bytes, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t at);

int __real_fallocate(int fd, int mode, off_t at, off_t n);
int __wrap_fallocate(int fd, int mode, off_t at, off_t n);

int __wrap_fallocate(int fd, int mode, off_t at, off_t n)
{
    if (no_fallocate) {
        errno = no_fallocate;
        return -1;
    }
    return fails() ? -1 : __real_fallocate(fd, mode, at, n);
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const mode_t mode = va_arg(args, mode_t);
    va_end(args);
    return fails() ? -1 : __real_open(path, flags, mode);
}

/* Every third transfer is interrupted, the others stop after at most 1000 bytes. */
static bool interrupted(size_t *n)
{
    if (!short_transfers)
        return false;
    if (*n > 1000)
        *n = 1000;
    errno = EINTR;
    return ++transfers % 3 == 0;
}

ssize_t __wrap_pread(int fd, void *bytes, size_t n, off_t at)
{
    return fails() || interrupted(&n) ? -1 : __real_pread(fd, bytes, n, at);
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    return fails() || interrupted(&n) ? -1 : __real_pwrite(fd, bytes, n, at);
}

/* What is converted to: `complete` makes it a whole, and names the files that are compared. */
static char reference[1024], output[1024], complete[1100], reference_complete[1100];
static uint64_t shard_bytes;

static moeq_status run(struct mq_convert_result *result, moeq_error *err)
{
    const struct mq_context context = {.isa = MQ_ISA_GENERIC, .threads = 1};
    memset(err, 0, sizeof *err);
    return test_convert_sharded(mq_test_source(MIXTRAL), "bf16", shard_bytes, output, false,
                                &context, result, err);
}

/* Of several files the names must be as long, and the index is compared: it has their checksums. */
static void prepare(uint64_t size)
{
    moeq_error err = {0};
    char folder[1024], command[2100];
    shard_bytes = size;
    strcpy(folder, mq_test_temporary("reference"));
    strcpy(reference, test_path(folder, "output.moeq"));
    strcpy(output, mq_test_temporary("output.moeq"));
    snprintf(command, sizeof command, "rm -rf '%s' && mkdir '%s'", folder, folder);
    ck_assert_int_eq(system(command), 0);
    snprintf(complete, sizeof complete, "%s%s", output, size ? ".index.json" : "");
    snprintf(reference_complete, sizeof reference_complete, "%s%s", reference,
             size ? ".index.json" : "");
    ck_assert_msg(test_convert_sharded(mq_test_source(MIXTRAL), "bf16", size, reference, false,
                                       NULL, NULL, &err) == MOEQ_OK,
                  "%s", err.message);
}

/* The index vouches for sizes and last words; opening it reads both. */
static bool is_good(void)
{
    struct mq_view *view;
    if (!test_files_equal(complete, reference_complete) ||
        mq_model_open(complete, &view, NULL) != MOEQ_OK)
        return false;
    mq_view_close(view);
    return true;
}

static void clean(void)
{
    char command[2100];
    snprintf(command, sizeof command, "rm -f '%.*s'*", (int)strlen(output) - 5, output);
    ck_assert_int_eq(system(command), 0);
}

/* Every step-th call. */
static void sweep(uint64_t size, int step, int code, moeq_status expected)
{
    prepare(size);
    for (int n = 1;; n += step) {
        moeq_error err;
        clean();
        countdown = n;
        error_code = code;
        const moeq_status status = run(NULL, &err);
        const bool reached = countdown <= 0;
        countdown = 0;
        if (!reached) {
            ck_assert_msg(status == MOEQ_OK, "%s", err.message);
            ck_assert_int_gt(n, 100); /* or the wrapping does not work */
            break;
        }
        ck_assert_msg(status == expected, "call %d: %s: %s", n, moeq_status_text(status),
                      err.message);
        ck_assert_msg(err.path[0] != '\0', "call %d: no file in: %s", n, err.message);
        /* Once renamed, the file is complete even if the folder's sync fails. */
        if (access(complete, F_OK) == 0)
            ck_assert(is_good());
        ck_assert_msg(run(NULL, &err) == MOEQ_OK, "after call %d: %s", n, err.message);
        ck_assert_msg(is_good(), "after call %d: other bytes", n);
    }
    clean();
}

START_TEST(every_call_fails_once)
{
    sweep(0, 1, EIO, MOEQ_IO);
}
END_TEST

START_TEST(the_disk_fills_up)
{
    sweep(0, 5, ENOSPC, MOEQ_NO_SPACE);
}
END_TEST

START_TEST(shards)
{
    sweep(200000, 1, EIO, MOEQ_IO);
    sweep(200000, 7, ENOSPC, MOEQ_NO_SPACE);
}
END_TEST

/* Opening a model in two GGUF files, and reading a row: the n-th call fails. */
START_TEST(gguf_files)
{
    const char *path = mq_test_source("tests/fixtures/gguf/mixtral-00001-of-00002.gguf");
    for (int n = 1;; n++) {
        struct mq_view *view = NULL;
        moeq_error err = {0};
        uint8_t row[68];
        countdown = n;
        error_code = EIO;
        moeq_status status = mq_model_open(path, &view, &err);
        if (status == MOEQ_OK)
            status =
                mq_view_read_rows(view, mq_view_find(view, MQ_ROLE_ATTN_Q, 1, -1), 1, 1, row, &err);
        const bool reached = countdown <= 0;
        countdown = 0;
        mq_view_close(view);
        if (!reached) {
            ck_assert_msg(status == MOEQ_OK, "%s", err.message);
            ck_assert_int_gt(n, 5);
            break;
        }
        ck_assert_msg(status == MOEQ_IO, "call %d: %s: %s", n, moeq_status_text(status),
                      err.message);
        ck_assert_msg(err.path[0] != '\0', "call %d: no file in: %s", n, err.message);
    }
}
END_TEST

START_TEST(short_and_interrupted_transfers)
{
    moeq_error err;
    prepare(0);
    clean();
    short_transfers = true;
    const moeq_status status = run(NULL, &err);
    short_transfers = false;
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    ck_assert_uint_gt(transfers, 1000);
    ck_assert(is_good());
    clean();
}
END_TEST

/* A file system that cannot reserve space still gets a file of the right size. */
START_TEST(file_systems_without_fallocate)
{
    static const int codes[] = {EOPNOTSUPP, ENOSYS, EINVAL};
    prepare(0);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        moeq_error err;
        clean();
        no_fallocate = codes[i];
        const moeq_status status = run(NULL, &err);
        no_fallocate = 0;
        ck_assert_msg(status == MOEQ_OK, "%s", err.message);
        ck_assert(is_good());
    }
    clean();
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, every_call_fails_once);
    tcase_add_test(tests, shards);
    tcase_add_test(tests, gguf_files);
    tcase_add_test(tests, the_disk_fills_up);
    tcase_add_test(tests, short_and_interrupted_transfers);
    tcase_add_test(tests, file_systems_without_fallocate);
}

int main(void)
{
    return mq_test_main("test_io_failures", add_tests);
}
