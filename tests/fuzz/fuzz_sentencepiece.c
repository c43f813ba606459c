/*
 * fuzz_sentencepiece.c: the size of a SentencePiece model (two bytes, little-endian), the model,
 * then the text to encode with the tokenizer made of it.
 *
 * Beyond "no crash": a failure has a message, a model that reads makes a tokenizer.json that loads
 * (unless its charsmap is damaged), and all ids are of the vocabulary.
 */
#include "sentencepiece.h"
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_text(const struct mq_tokenizer *t, const char *text, size_t n)
{
    struct mq_ids ids = {0};
    moeq_error err = {0};
    if (mq_tokenizer_encode(t, text, n, true, &ids, &err) == MOEQ_OK) {
        for (size_t i = 0; i < ids.size; i++)
            if (ids.data[i] < 0 || (uint32_t)ids.data[i] >= mq_tokenizer_vocab_size(t))
                abort();
    } else if (ids.size || !err.message[0]) {
        abort();
    }
    mq_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t wanted = size < 2 ? 0 : (size_t)data[0] | (size_t)data[1] << 8;
    if (size < 2)
        return 0;
    const char *model = (const char *)data + 2;
    const size_t n = wanted < size - 2 ? wanted : size - 2;
    const struct mq_buffer config = {0};
    struct mq_buffer json = {0};
    struct mq_tokenizer *t = NULL;
    moeq_error err = {0};
    if (mq_spm_to_json(model, n, "fuzz", &config, &json, NULL, &err) != MOEQ_OK) {
        if (!err.message[0])
            abort();
    } else if (mq_tokenizer_load(json.data, json.size, "fuzz", &t, &err) == MOEQ_OK) {
        run_text(t, model + n, size - 2 - n);
    } else if (!strstr(err.message, "precompiled_charsmap")) {
        abort();
    }
    mq_tokenizer_free(t);
    mq_buffer_free(&json);
    return 0;
}
