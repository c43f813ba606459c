/* ids_file.c: token ids from a safetensors file. */
#include "ids_file.h"

#include "error.h"
#include "safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define IDS_CAP_BYTES (UINT64_C(1) << 30) /* of a pipe */

moeq_status mq_ids_file_read(const char *path, uint32_t vocabulary, struct mq_arena *arena,
                             struct mq_windows *windows, int32_t **ids, struct mq_file *identity,
                             moeq_error *err)
{
    struct mq_safetensors st;
    MQ_TRY(mq_safetensors_open_input(path, IDS_CAP_BYTES, arena, &st, err));
    path = st.file.path;
    *identity = st.file; /* its numbers only */
    *ids = NULL;
    moeq_status status = MOEQ_OK;
    unsigned char *bytes = NULL;
    const struct mq_st_entry *e = mq_safetensors_find(&st, "input_ids");
    if (!e || (e->dtype != MQ_I32 && e->dtype != MQ_I64) || e->dims != 2 || e->size_bytes == 0) {
        status = mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                              "expected a tensor 'input_ids', I32 or I64 [windows, tokens], not "
                              "empty; found %s",
                              e ? "one of another type or shape" : "none");
        goto out;
    }
    const size_t width = mq_dtype_bytes(e->dtype), n = (size_t)(e->size_bytes / width);
    bytes = malloc((size_t)e->size_bytes); /* not more than the file has */
    *ids = malloc(n * sizeof **ids);
    if (!bytes || !*ids) {
        status = mq_fail_memory(err, "reading token ids");
        goto out;
    }
    MQ_TRY_OUT(mq_file_read_at(&st.file, e->offset, bytes, (size_t)e->size_bytes, err));
    for (size_t i = 0; i < n; i++) {
        int64_t id = 0;
        int32_t narrow;
        if (width == 8) {
            memcpy(&id, bytes + 8 * i, 8);
        } else {
            memcpy(&narrow, bytes + 4 * i, 4);
            id = narrow;
        }
        if (id < 0 || id >= vocabulary) {
            status = mq_fail_tensor(
                err, MOEQ_INVALID_ARGUMENT, path, e->name, e->offset + i * width,
                "id %" PRId64 " (number %zu) is outside the vocabulary of %u", id, i, vocabulary);
            goto out;
        }
        (*ids)[i] = (int32_t)id;
    }
    *windows = (struct mq_windows){*ids, (size_t)e->shape[0], (size_t)e->shape[1]};
out:
    free(bytes);
    mq_safetensors_close(&st);
    return status;
}
