/*
 * moeq.h: the installed C API. This is all an embedder sees.
 *
 * Every call returns a moeq_status; results come through out-parameters or callbacks, and the
 * details of a failure through a moeq_error that the caller owns. The library never prints, exits
 * or aborts, and keeps no mutable global state.
 */
#ifndef MOEQ_H
#define MOEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOEQ_VERSION_MAJOR 0
#define MOEQ_VERSION_MINOR 1
#define MOEQ_VERSION_PATCH 0
#define MOEQ_VERSION_STRING "0.1.0"

/* One list of status codes and their texts; the enum and moeq_status_text() are both made of it. */
#define MOEQ_STATUS_LIST(X)                                                                        \
    X(OK, "success")                                                                               \
    X(NO_MEMORY, "out of memory")                                                                  \
    X(IO, "input/output error")                                                                    \
    X(NOT_FOUND, "not found")                                                                      \
    X(MALFORMED, "malformed file")                                                                 \
    X(UNSUPPORTED, "not supported")                                                                \
    X(CORRUPT, "checksum mismatch")                                                                \
    X(LIMIT, "limit exceeded")                                                                     \
    X(INVALID_ARGUMENT, "invalid argument")                                                        \
    X(NO_SPACE, "not enough disk space")                                                           \
    X(CANCELLED, "interrupted")

typedef enum moeq_status {
#define MOEQ_STATUS_ENUM(name, text) MOEQ_##name,
    MOEQ_STATUS_LIST(MOEQ_STATUS_ENUM)
#undef MOEQ_STATUS_ENUM
        MOEQ_STATUS_COUNT
} moeq_status;

const char *moeq_status_text(moeq_status status);

/*
 * What went wrong, and where. Zero-initialize it; the first error recorded sticks. `message` is a
 * complete sentence that already names path, tensor and offset where they are known; the other
 * fields repeat them for programs.
 */
typedef struct moeq_error {
    moeq_status status;
    bool has_offset;
    uint64_t offset;   /* bytes from the start of `path` */
    char path[512];    /* "" if no file is concerned */
    char tensor[256];  /* "" if no tensor is concerned */
    char message[1400];
} moeq_error;

/*API*/
#ifdef __cplusplus
}
#endif

#endif /* MOEQ_H */
