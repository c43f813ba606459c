/*
 * fuzz_tokenizer.c: a tokenizer.json up to the first NUL byte, then the text to encode.
 *
 * Beyond "no crash": what has been encoded decodes without error, and all ids are of the
 * vocabulary; what loads passes the check.
 */
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_text(const struct mq_tokenizer *t, const char *text, size_t n)
{
    struct mq_ids ids = {0};
    struct mq_buffer decoded = {0};
    moeq_error err = {0};
    if (mq_tokenizer_encode(t, text, n, true, &ids, &err) == MOEQ_OK) {
        for (size_t i = 0; i < ids.size; i++)
            if (ids.data[i] < 0 || (uint32_t)ids.data[i] >= mq_tokenizer_vocab_size(t))
                abort();
        const moeq_status status =
            mq_tokenizer_decode(t, ids.data, ids.size, false, &decoded, &err);
        if (status != MOEQ_OK && status != MOEQ_LIMIT)
            abort();
    } else if (ids.size || !err.message[0]) {
        abort();
    }
    mq_ids_free(&ids);
    mq_buffer_free(&decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    const size_t json_size = nul ? (size_t)(nul - data) : size;
    struct mq_tokenizer *t;
    moeq_error err = {0};
    if (mq_tokenizer_load((const char *)data, json_size, "fuzz", &t, &err) != MOEQ_OK) {
        if (t || !err.message[0])
            abort();
        return 0;
    }
    if (mq_tokenizer_check((const char *)data, json_size, "fuzz", &err) != MOEQ_OK)
        abort();
    if (nul)
        run_text(t, (const char *)nul + 1, size - json_size - 1);
    mq_tokenizer_free(t);
    return 0;
}
