/* error.c: recording an error. */
#define MQ_ERROR_C /* no macros of its functions */
#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *moeq_status_text(moeq_status status)
{
    static const char *const texts[] = {
#define STATUS_TEXT(name, text) text,
        MOEQ_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    };
    if ((unsigned)status >= MOEQ_STATUS_COUNT)
        return "unknown status";
    return texts[status];
}

static void copy_field(char *field, size_t capacity, const char *text)
{
    size_t n = strlen(text);
    if (n >= capacity)
        n = capacity - 1;
    memcpy(field, text, n);
    field[n] = '\0';
}

/* Names in messages come from files: control characters would let a file write to the terminal. */
static void make_printable(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

static moeq_status record(moeq_error *err, moeq_status status, const char *path, const char *tensor,
                          const uint64_t *offset, const char *format, va_list args)
{
    if (!err)
        return status;
    if (err->status != MOEQ_OK)
        return err->status;
    err->status = status;
    size_t n = 0;
    const size_t room = sizeof err->message;
    if (path) {
        copy_field(err->path, sizeof err->path, path);
        n += (size_t)snprintf(err->message + n, room - n, "%s: ", err->path);
    }
    if (tensor) {
        copy_field(err->tensor, sizeof err->tensor, tensor);
        n += (size_t)snprintf(err->message + n, room - n, "tensor '%s'", err->tensor);
    }
    if (offset) {
        err->has_offset = true;
        err->offset = *offset;
        n += (size_t)snprintf(err->message + n, room - n, "%sat byte %llu: ", tensor ? " " : "",
                              (unsigned long long)*offset);
    } else if (tensor) {
        n += (size_t)snprintf(err->message + n, room - n, ": ");
    }
    vsnprintf(err->message + n, room - n, format, args);
    make_printable(err->message);
    return status;
}

moeq_status mq_fail(moeq_error *err, moeq_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    status = record(err, status, NULL, NULL, NULL, format, args);
    va_end(args);
    return status;
}

moeq_status mq_fail_file(moeq_error *err, moeq_status status, const char *path, const char *format,
                         ...)
{
    va_list args;
    va_start(args, format);
    status = record(err, status, path, NULL, NULL, format, args);
    va_end(args);
    return status;
}

moeq_status mq_fail_tensor_list(moeq_error *err, moeq_status status, const char *path,
                                const char *tensor, uint64_t offset, const char *format,
                                va_list args)
{
    return record(err, status, path, tensor, &offset, format, args);
}

moeq_status mq_fail_tensor(moeq_error *err, moeq_status status, const char *path,
                           const char *tensor, uint64_t offset, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    status = record(err, status, path, tensor, &offset, format, args);
    va_end(args);
    return status;
}

moeq_status mq_fail_about(moeq_error *err, const char *tensor, moeq_status status)
{
    if (err && !err->tensor[0])
        snprintf(err->tensor, sizeof err->tensor, "%s", tensor);
    return status;
}

moeq_status mq_fail_errno(moeq_error *err, const char *path, const char *what)
{
    const int e = errno;
    moeq_status status = MOEQ_IO;
    if (e == ENOSPC || e == EDQUOT)
        status = MOEQ_NO_SPACE;
    else if (e == ENOENT)
        status = MOEQ_NOT_FOUND;
    else if (e == ENOMEM)
        status = MOEQ_NO_MEMORY;
    return mq_fail_file(err, status, path, "%s: %s%s", what,
                        status == MOEQ_NO_MEMORY ? moeq_status_text(status) : strerror(e),
                        status == MOEQ_NO_SPACE ? "; make room there, or write to another place"
                                                : "");
}

moeq_status mq_fail_memory(moeq_error *err, const char *what)
{
    return mq_fail(err, MOEQ_NO_MEMORY, "out of memory while %s", what);
}

moeq_status mq_fail_with(moeq_error *err, const moeq_error *why)
{
    if (!err)
        return why->status;
    if (err->status == MOEQ_OK)
        *err = *why;
    return err->status;
}
