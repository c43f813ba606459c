/*
 * gguf_pre.h: tokenizer.ggml.pre, the name of how words are cut.
 *
 * A GGUF file of the tokenizer "gpt2" (byte-level BPE) has its pieces and merges in it, but of its
 * pre-tokenizer only a name; llama.cpp has the expressions built in. Every name that it knows is in
 * the table here.
 */
#ifndef MQ_GGUF_PRE_H
#define MQ_GGUF_PRE_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>

enum { MQ_GGUF_PRE_SPLITS = 6 };

/* Where words are cut: by one expression after another, each of which makes words of what it
 * matches and of what is between (a Split of tokenizer.json with the behavior Isolated); then bytes
 * become ByteLevel's alphabet. */
struct mq_gguf_rule {
    const char *splits[MQ_GGUF_PRE_SPLITS + 1]; /* ends with NULL */
    const char *differs; /* where llama.cpp's own expressions match something else; NULL: nowhere */
};

struct mq_gguf_pre {
    const char *name;                /* "llama-bpe" */
    const struct mq_gguf_rule *rule; /* NULL: not supported */
    bool ignore_merges;              /* a word that is a piece as a whole is not built by merges */
    bool add_bos;     /* a text begins with BOS unless tokenizer.ggml.add_bos_token says not */
    const char *what; /* not supported: what it is */
};

/* Of names with one rule and one ignore_merges a file is written with the first. */
extern const struct mq_gguf_pre mq_gguf_pres[];
extern const size_t mq_gguf_pres_count;

/* The row of a name of n bytes; NULL: unknown. */
const struct mq_gguf_pre *mq_gguf_pre_find(const char *name, size_t n);

/* Whether two expressions are the same text, but for escaped characters: "\n" is also written as
 * the newline itself. */
bool mq_gguf_same_regex(const char *a, const char *b);

/* Appends the rule as the pre_tokenizer of a tokenizer.json. prefix: a space in front of texts. */
void mq_gguf_put_rule(struct mq_buffer *json, const struct mq_gguf_rule *rule, bool prefix);

/* Appends the first name of each rule: "llama-bpe, qwen2, ...". */
void mq_gguf_put_pre_names(struct mq_buffer *text);

#endif
