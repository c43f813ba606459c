/*
 * protocol.h: from a text to token windows, and which of their predictions are scored.
 *
 *   half   windows of 512 tokens (`context`) without overlap; the first token of each is replaced
 *          by BOS; the logits at positions context/2 .. context - 2 are scored, each predicting the
 *          token behind it: 255 of 512. What llama.cpp's llama-perplexity does.
 *
 *   full   windows of 2048 tokens (`context`) without overlap; every token but the first of each is
 *          scored: 2047 of 2048. BOS stands only where the tokenizer put it, at the beginning of
 *          the text. What the GPTQ papers do.
 *
 * The text is tokenized once, with the tokenizer's special tokens. A last window that is not full
 * is dropped. Texts that have names (domains: text_input.h) are each tokenized and cut by itself, so that no window
 * crosses from one to the next.
 */
#ifndef MQ_PROTOCOL_H
#define MQ_PROTOCOL_H

#include "evaluator.h"
#include "tasks.h"
#include "text_input.h"

/* id, name, default context, first scored position for a context c, BOS at each window's start */
#define MQ_PROTOCOL_LIST(X)             \
    X(HALF, "half", 512, (c) / 2, true) \
    X(FULL, "full", 2048, 0, false)

enum mq_protocol {
#define MQ_PROTOCOL_ENUM(id, name, context, first, bos) MQ_PROTOCOL_##id,
    MQ_PROTOCOL_LIST(MQ_PROTOCOL_ENUM)
#undef MQ_PROTOCOL_ENUM
        MQ_PROTOCOL_COUNT
};

const char *mq_protocol_name(enum mq_protocol protocol);
bool mq_protocol_find(const char *name, enum mq_protocol *protocol);
size_t mq_protocol_default_context(enum mq_protocol protocol);

/* Zero-initialized: half, its default context, all tokens. */
struct mq_protocol_options {
    enum mq_protocol protocol;
    size_t context;    /* tokens a window; 0: the protocol's default */
    size_t max_tokens; /* use at most so many tokens of the text, or of each domain; 0: all */
    /* Of each domain use as many windows as these have, if they have as many domains; NULL: see above. */
    const struct mq_text_windows *like;
    const struct mq_task_files *tasks; /* to be evaluated beside the text; NULL: none */
};

/* A text of its own within the windows. */
struct mq_text_domain {
    char *name; /* owned */
    size_t first_window, windows;
    size_t text_tokens;
};

/* Windows ready to evaluate, and how they came about. Free with mq_text_windows_free. */
struct mq_text_windows {
    struct mq_windows windows;
    int32_t *ids; /* owned: what windows.ids points at */
    enum mq_protocol protocol;
    size_t text_tokens;   /* tokens of the whole text, special tokens included */
    size_t first_scored;  /* the first position in a window whose logits are scored */
    size_t scored_window; /* scored predictions a window */
    int32_t bos;          /* what replaced the windows' first tokens; -1: nothing did */
    uint32_t ids_crc32;   /* of the windows' ids as little-endian I32: same crc, same tokens */
    struct mq_text_domain *domains; /* owned; in the order of windows */
    size_t domains_count;           /* 0: one text */
    struct mq_task_set *tasks;      /* owned; multiple choice beside the text; NULL: none */
};

static inline size_t mq_scored_tokens(const struct mq_text_windows *text)
{
    return text->windows.count * text->scored_window;
}

/*
 * Cuts ids into windows. `bos` is the token that the tokenizer begins a text with, -1 if it has
 * none (then half keeps the windows' first tokens). `what` names the text in messages. Fails if
 * there is not one whole window, saying how many tokens are needed and how many there are.
 */
moeq_status mq_protocol_windows(const struct mq_protocol_options *options, const int32_t *ids,
                                size_t count, int32_t bos, const char *what,
                                struct mq_text_windows *text, moeq_error *err);

/* Adds the windows of another text, of the same length, to what may be none yet: ids, windows and ids_crc32. */
moeq_status mq_text_windows_append(struct mq_text_windows *all, const struct mq_text_windows *more,
                                   moeq_error *err);

/* Appends a domain that has the last `windows` windows. */
moeq_status mq_text_windows_name(struct mq_text_windows *text, const char *name, size_t windows,
                                 size_t text_tokens, moeq_error *err);

/* Windows of their own, with all that belongs to them. */
moeq_status mq_text_windows_copy(const struct mq_text_windows *from, struct mq_text_windows *to,
                                 moeq_error *err);

/* Tokenizes a text with the model's tokenizer and cuts it. Fails for a model without a tokenizer,
 * and for a context beyond the model's positions. */
moeq_status mq_protocol_text(const struct mq_protocol_options *options, const struct mq_view *view,
                             const struct mq_text *source, struct mq_text_windows *text,
                             moeq_error *err);

/* The text's ids with the tokenizer's special tokens, and the token that it begins every text with
 * (-1 if none). The ids are the caller's to mq_ids_free. */
struct mq_ids;
moeq_status mq_tokenize_text(const struct mq_view *view, const struct mq_text *source,
                             struct mq_ids *ids, int32_t *bos, moeq_error *err);

void mq_text_windows_free(struct mq_text_windows *text);

#endif
