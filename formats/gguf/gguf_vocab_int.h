/*
 * gguf_vocab_int.h: a tokenizer.json on its way into a GGUF file, and the steps of that way.
 *
 *     gguf_vocab_export.c    chooses: loads the tokens, then calls
 *       gguf_vocab_spm.c       byte-fallback BPE as "llama"
 *       gguf_vocab_bpe.c       byte-level BPE as "gpt2"
 *         gguf_vocab_pre.c       its pre-tokenizer's name
 *       gguf_vocab_scored.c    a SentencePiece model as "llama" or "t5"
 *       gguf_vocab_special.c   special ids; whether BOS and EOS are added
 *       gguf_vocab_chat.c      chat templates
 *     gguf_vocab.c           what all of these share
 */
#ifndef MQ_GGUF_VOCAB_INT_H
#define MQ_GGUF_VOCAB_INT_H

#include "gguf_vocab_export.h"

#include "json.h"
#include "strmap.h"

struct mq_vocab_token {
    const char *text; /* as the GGUF file has it; NULL: the tokenizer has no such id */
    enum mq_gguf_token_type type;
    float score; /* of "llama" only */
};

/* The side files' JSON; what is not there is NULL. */
struct mq_vocab_files {
    cJSON *tokenizer, *tokenizer_config, *config, *generation_config;
};

/* A tokenizer.json on its way. Texts are the JSON tree's or the arena's. */
struct mq_vocab {
    const char *path;             /* for messages */
    const struct mq_buffer *text; /* the file as it is */
    moeq_error *err;
    struct mq_arena *arena;
    const cJSON *model, *normalizer, *pre_tokenizer, *added; /* parts of tokenizer.json */
    struct mq_vocab_token *tokens;                           /* [count] */
    uint32_t count;
    struct mq_strmap ids;      /* a token's text in tokenizer.json -> id */
    struct mq_buffer warnings; /* joined by "; " */
    struct mq_buffer notes;    /* sentences */
    size_t renumbered;         /* added tokens with another id than the file says */
    bool space_prefix;         /* a space is put in front of a text */
    bool says_eos;             /* whether EOS is added is said even where nobody says it */
    size_t left_out;           /* added tokens that have no row in the model */
};

/* A piece of text, not terminated. */
struct mq_vocab_text {
    const char *data;
    size_t size;
};

/* ---- gguf_vocab.c ---- */

/* "... cannot be expressed in a GGUF file" */
moeq_status mq_vocab_unsupported(struct mq_vocab *v, const char *what, const char *value);

/* Notes something that llama.cpp does otherwise; a part of a sentence. */
void mq_vocab_warn(struct mq_vocab *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Notes something that a user should know, in whole sentences. */
void mq_vocab_note(struct mq_vocab *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Calls `step` for a component, or for each in a Sequence of them, whose members stand in `list`.
 * NULL or null: none. */
moeq_status mq_vocab_each(struct mq_vocab *v, const cJSON *component, const char *list,
                          const char *what, void *user,
                          moeq_status (*step)(struct mq_vocab *v, const cJSON *component,
                                              const char *type, void *user));

/* True for a Unicode normalization form, which llama.cpp applies to neither kind; notes it. */
bool mq_vocab_is_unicode_form(struct mq_vocab *v, const char *type);

/* The merges of the model: the first, and the halves of one, ["a", "b"] or "a b". */
moeq_status mq_vocab_first_merge(struct mq_vocab *v, const cJSON **first);
moeq_status mq_vocab_merge_halves(struct mq_vocab *v, const cJSON *merge,
                                  struct mq_vocab_text *left, struct mq_vocab_text *right);

/* The text with spaces for U+2581: llama.cpp looks for it in text that has not been escaped. NULL
 * when out of memory. */
const char *mq_vocab_with_spaces(struct mq_arena *arena, const char *text);

/* tokenizer.ggml.tokens and .token_type; scores between them if asked for. */
void mq_vocab_put_tokens(struct mq_gguf_writer *w, struct mq_vocab *v, bool with_scores);

/* ---- the steps ---- */

/* Each checks that its kind can express the tokenizer, and completes the tokens' types and scores;
 * then writes the keys from tokenizer.ggml.model on up to the merges. */
moeq_status mq_vocab_put_spm(struct mq_gguf_writer *w, struct mq_vocab *v);
moeq_status mq_vocab_put_bpe(struct mq_gguf_writer *w, struct mq_vocab *v);
moeq_status mq_vocab_put_scored(struct mq_gguf_writer *w, struct mq_vocab *v);

/* The pieces of a SentencePiece model, with their own types and scores. */
moeq_status mq_vocab_load_scored(struct mq_vocab *v);

/* The row of the pre-tokenizer; an error where there is none. */
struct mq_gguf_pre;
moeq_status mq_vocab_find_pre(struct mq_vocab *v, const struct mq_gguf_pre **pre);

/* tokenizer.ggml.bos_token_id and its like, .add_bos_token, .add_eos_token. */
moeq_status mq_vocab_put_specials(struct mq_gguf_writer *w, struct mq_vocab *v,
                                  const struct mq_vocab_files *files, const struct mq_hparams *h);

/* tokenizer.chat_template, of named ones .NAME, and tokenizer.chat_templates. */
moeq_status mq_vocab_put_chat_templates(struct mq_gguf_writer *w, struct mq_vocab *v,
                                        const struct mq_view *view, const cJSON *tokenizer_config);

#endif
