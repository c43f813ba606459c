/*
 * fuzz_gguf_vocab.c: a tokenizer.json up to the first NUL byte, then a tokenizer_config.json, as
 * the metadata of a GGUF file.
 *
 * Beyond "no crash": a failure has a message, and success tokens and types, one for each id.
 */
#include "gguf_vocab_export.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VOCAB = 512 };

/* How often an array of VOCAB elements of this type is there. */
static unsigned count_arrays(const struct mq_buffer *metadata, uint8_t type)
{
    const uint8_t head[] = {MQ_GGUF_ARRAY, 0,          0, 0, type, 0, 0, 0,
                            VOCAB & 0xff,  VOCAB >> 8, 0, 0, 0,    0, 0, 0};
    unsigned count = 0;
    const char *at = metadata->data, *end = at + metadata->size;
    while ((at = memmem(at, (size_t)(end - at), head, sizeof head))) {
        count++;
        at++;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    struct mq_view view = {.path = "fuzz"};
    view.side[MQ_SIDE_TOKENIZER].data = (char *)(uintptr_t)data;
    view.side[MQ_SIDE_TOKENIZER].size = nul ? (size_t)(nul - data) : size;
    if (nul) {
        view.side[MQ_SIDE_TOKENIZER_CONFIG].data = (char *)(uintptr_t)nul + 1;
        view.side[MQ_SIDE_TOKENIZER_CONFIG].size = size - view.side[MQ_SIDE_TOKENIZER].size - 1;
    }
    view.hparams.vocab = VOCAB;
    view.hparams.bos = view.hparams.eos = -1;
    struct mq_gguf_writer w = {.architecture = "llama"};
    struct mq_arena *arena = mq_arena_create();
    const char *warning;
    moeq_error err = {0};
    if (!arena)
        return 0;
    if (mq_gguf_put_vocab(&w, &view, arena, &warning, &err) != MOEQ_OK) {
        if (!err.message[0])
            abort();
    } else if (!count_arrays(&w.metadata, MQ_GGUF_STRING) ||
               !count_arrays(&w.metadata, MQ_GGUF_I32)) {
        abort();
    }
    mq_gguf_writer_free(&w);
    mq_arena_destroy(arena);
    return 0;
}
