/*
 * fuzz_moeq_file.c: a whole moeq file, or the index of several, opened as a model.
 *
 * Beyond "no crash": every row that an accepted view promises can be read, or is damaged by its
 * checksum, and decoded.
 */
#include "fuzz_support.h"

#include "levels.h"
#include "stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
        for (size_t i = 0; i < view->tensors_count; i++) {
            const struct mq_level *level;
            fuzz_expect(mq_tensor_level(view, &view->tensors[i], &level, &err) == MOEQ_OK);
            fuzz_read_rows(view, &view->tensors[i], 1);
        }
        mq_view_close(view);
    } else if (!err.message[0] || strchr(err.message, '\n')) {
        abort();
    }
    close(fd);
    return 0;
}
