/* error.h: recording an error. The first one recorded in a moeq_error sticks. */
#ifndef MQ_ERROR_H
#define MQ_ERROR_H

#include "moeq.h"

#include <stdarg.h>

/* Records a failure that concerns no file in particular; returns `status` (or, if an error was
 * recorded already, that one's status). `err` may be NULL. */
moeq_status mq_fail(moeq_error *err, moeq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As mq_fail, for a file. The message becomes "path: text". */
moeq_status mq_fail_file(moeq_error *err, moeq_status status, const char *path, const char *format,
                         ...) __attribute__((format(printf, 4, 5)));

/* As mq_fail, for a tensor of a file at a byte offset.
 * The message becomes "path: tensor 'name' at byte N: text". */
moeq_status mq_fail_tensor(moeq_error *err, moeq_status status, const char *path,
                           const char *tensor, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* The same for a function that takes arguments itself. */
moeq_status mq_fail_tensor_list(moeq_error *err, moeq_status status, const char *path,
                                const char *tensor, uint64_t offset, const char *format,
                                va_list args) __attribute__((format(printf, 6, 0)));

/* Gives the status back of a failure that is about a tensor which is not there, and so has no offset: sets err->tensor. */
moeq_status mq_fail_about(moeq_error *err, const char *tensor, moeq_status status);

/* As mq_fail, for a system call that failed: "path: what: strerror(errno)".
 * ENOSPC and EDQUOT become MOEQ_NO_SPACE, ENOENT MOEQ_NOT_FOUND, everything else MOEQ_IO. */
moeq_status mq_fail_errno(moeq_error *err, const char *path, const char *what);

/* Out of memory while doing `what`; never allocates. */
moeq_status mq_fail_memory(moeq_error *err, const char *what);

/* Hands on a failure that was recorded aside, in `why`, to see first what it is. As with mq_fail
 * the first error sticks, and `err` may be NULL. */
moeq_status mq_fail_with(moeq_error *err, const moeq_error *why);

/* What a failure returns is never MOEQ_OK, which a static analyzer does not see. */
#if defined __clang_analyzer__ && !defined MQ_ERROR_C
static inline moeq_status mq_analyzed_failure(moeq_status is, moeq_status returned)
{
    (void)returned;
    return is;
}
#define mq_fail(err, is, ...) mq_analyzed_failure(is, mq_fail(err, is, __VA_ARGS__))
#define mq_fail_file(err, is, ...) mq_analyzed_failure(is, mq_fail_file(err, is, __VA_ARGS__))
#define mq_fail_tensor(err, is, ...) mq_analyzed_failure(is, mq_fail_tensor(err, is, __VA_ARGS__))
#define mq_fail_errno(...) mq_analyzed_failure(MOEQ_IO, mq_fail_errno(__VA_ARGS__))
#define mq_fail_memory(...) mq_analyzed_failure(MOEQ_NO_MEMORY, mq_fail_memory(__VA_ARGS__))
#endif

/* Propagates a failure out of the calling function. */
#define MQ_TRY(expression)                         \
    do {                                           \
        moeq_status mq_try_status_ = (expression); \
        if (mq_try_status_ != MOEQ_OK)             \
            return mq_try_status_;                 \
    } while (0)

/* The same, jumping to the caller's `out:` label with `status` set. */
#define MQ_TRY_OUT(expression) \
    do {                       \
        status = (expression); \
        if (status != MOEQ_OK) \
            goto out;          \
    } while (0)

#endif
