/* gguf_tokenizer_int.h: the vocabulary of a GGUF file, while a tokenizer.json is made of it. */
#ifndef MQ_GGUF_TOKENIZER_INT_H
#define MQ_GGUF_TOKENIZER_INT_H

#include "gguf_int.h"
#include "strmap.h"

struct mq_gguf_piece {
    const char *text; /* in the header: not terminated; UTF-8 */
    uint32_t size;
    enum mq_gguf_token_type type;
    bool left_out; /* no text may become it: without text in UTF-8, or a later one has its text */
};

struct mq_gguf_vocab {
    const struct mq_gguf *gguf;
    struct mq_gguf_piece *pieces; /* by id; owned */
    uint32_t count;
    const struct mq_gguf_key *scores; /* one for each; NULL where the file has none */
    uint32_t doubles, unreadable;     /* tokens that are left out */
    bool scoreless;                   /* pieces are joined by place alone */
    const char *passed_over;          /* why the original tokenizer.json is not taken, or NULL */
};

/* gguf_token_types.c: gives tokens that llama.cpp knows by their texts the types that it gives
 * them, whatever the file says. texts: text -> id. */
void mq_gguf_override_types(struct mq_gguf_vocab *vocab, const struct mq_strmap *texts);

/* Whether a piece may be one of the text's characters or joined of them. */
static inline bool mq_gguf_takes_part(const struct mq_gguf_piece *piece)
{
    return piece->size && !piece->left_out &&
           (piece->type == MQ_GGUF_TOKEN_NORMAL || piece->type == MQ_GGUF_TOKEN_USER_DEFINED ||
            piece->type == MQ_GGUF_TOKEN_UNUSED); /* llama.cpp builds these as well */
}

/* gguf_merges.c: whether pieces have the same score, so that the place of a pair in the text says
 * which is joined first. No ranks of merges express that. */
moeq_status mq_gguf_scores_tie(const struct mq_gguf_vocab *vocab, bool *tie, bool *all,
                               moeq_error *err);

/* gguf_merges.c: appends the merges of a sentencepiece model, in order: ["left", "right"], ... */
moeq_status mq_gguf_put_merges(struct mq_buffer *json, const struct mq_gguf_vocab *vocab,
                               moeq_error *err);

#endif
