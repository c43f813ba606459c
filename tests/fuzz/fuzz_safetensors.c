/*
 * fuzz_safetensors.c: header JSON for a data section of as many bytes as the first two say.
 *
 * Beyond "no crash": what is accepted lies inside the data, side by side, and is found by name.
 */
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const uint64_t data_bytes = data[0] | (uint64_t)data[1] << 8;
    const size_t n = size - 2;
    /* Terminated, as the reader of files does it. */
    char *json = malloc(n + 1);
    struct mq_arena *arena = mq_arena_create();
    struct mq_safetensors st = {.file = {.fd = -1}, .header_bytes = 8 + n};
    moeq_error err = {0};
    if (!json || !arena)
        abort();
    memcpy(json, data + 2, n);
    json[n] = '\0';
    st.file.path = strdup("fuzz");
    if (mq_safetensors_parse(json, n, data_bytes, arena, &st, &err) == MOEQ_OK) {
        uint64_t at = st.header_bytes;
        for (size_t i = 0; i < st.count; i++) {
            const struct mq_st_entry *e = &st.entries[i];
            if (e->offset != at || mq_safetensors_find(&st, e->name) != e)
                abort();
            at += e->size_bytes;
        }
        if (at != st.header_bytes + data_bytes)
            abort();
    } else if (!err.message[0] || strchr(err.message, '\n')) {
        abort();
    }
    mq_safetensors_close(&st);
    mq_arena_destroy(arena);
    free(json);
    return 0;
}
