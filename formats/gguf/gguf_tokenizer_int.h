/* gguf_tokenizer_int.h: the vocabulary of a GGUF file, while a tokenizer.json is made of it. */
#ifndef MQ_GGUF_TOKENIZER_INT_H
#define MQ_GGUF_TOKENIZER_INT_H

#include "gguf_int.h"

struct mq_gguf_piece {
    const char *text; /* in the header: not terminated; UTF-8 */
    uint32_t size;
    enum mq_gguf_token_type type;
};

struct mq_gguf_vocab {
    const struct mq_gguf *gguf;
    struct mq_gguf_piece *pieces; /* by id; owned */
    uint32_t count;
    const struct mq_gguf_key *scores; /* one for each; NULL where the file has none */
    uint32_t doubles, unreadable;     /* tokens that are left out, which have become UNUSED */
};

/* gguf_merges.c: appends the merges of a sentencepiece model, in order: ["left", "right"], ... */
moeq_status mq_gguf_put_merges(struct mq_buffer *json, const struct mq_gguf_vocab *vocab,
                               moeq_error *err);

#endif
