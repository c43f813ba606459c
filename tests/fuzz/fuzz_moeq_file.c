/*
 * fuzz_moeq_file.c: a whole moeq file, or the index of several, opened as a model.
 *
 * Beyond "no crash": every row that an accepted view promises can be read, or is damaged by its
 * checksum, and decoded.
 */
#include "levels.h"
#include "stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first and the last row of a tensor. */
static void read_rows(const struct mq_view *view, const struct mq_tensor *t)
{
    const struct mq_level *level;
    moeq_error err = {0};
    if (mq_tensor_level(view, t, &level, &err) != MOEQ_OK)
        abort();
    if (t->row_bytes > 1 << 20 || t->cols > 1 << 20)
        return;
    uint8_t *bytes = calloc(t->row_bytes, 1);
    float *weights = malloc(t->cols * sizeof *weights);
    if (!bytes || !weights)
        abort();
    for (int last = 0; last < 2; last++) {
        err = (moeq_error){0};
        const moeq_status status =
            mq_view_read_rows(view, t, last ? t->rows - 1 : 0, 1, bytes, &err);
        if (status != MOEQ_OK && (status != MOEQ_CORRUPT || !err.message[0]))
            abort();
        mq_level_decode_rows(level, MQ_ISA_GENERIC, bytes, 1, t->cols, weights);
    }
    free(bytes);
    free(weights);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    char path[64];
    struct mq_view *view;
    moeq_error err = {0};
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (mq_model_open(path, &view, &err) == MOEQ_OK) {
        for (size_t i = 0; i < view->tensors_count; i++)
            read_rows(view, &view->tensors[i]);
        mq_view_close(view);
    } else if (!err.message[0] || strchr(err.message, '\n')) {
        abort();
    }
    close(fd);
    return 0;
}
