/*
 * prompt.h: what a model is to go on from, as token ids; where its answers end; and text that comes
 * token by token.
 */
#ifndef MQ_PROMPT_H
#define MQ_PROMPT_H

#include "chat.h"
#include "model_view.h"
#include "tokenizer.h"

/* A text to go on from, or what is said in a chat. */
struct mq_prompt {
    bool chat;
    const char *text; /* of a chat: the user's last message */
    size_t size;
    const struct mq_chat_exchange *earlier; /* of a chat: what was said before it */
    size_t earlier_count;
    const char *system; /* of a chat; NULL: none */
    size_t system_size;
    const char *date; /* of a chat: see mq_chat_turn */
};

/* The tokenizer of a model; it says why where there is none. */
moeq_status mq_prompt_tokenizer(const struct mq_view *view, struct mq_tokenizer **tokenizer,
                                moeq_error *err);

/* Appends the ids: of a text with the tokenizer's special tokens (an empty one: BOS alone), of a
 * chat as the model's own template writes it. *end_token: the token that ends an answer by the
 * template; NULL: none. Fails for a template of no known form. */
moeq_status mq_prompt_ids(const struct mq_view *view, const struct mq_tokenizer *tokenizer,
                          const struct mq_prompt *prompt, struct mq_ids *ids,
                          const char **end_token, moeq_error *err);

/* Appends the ids that end a text: eos_token_id of generation_config.json and config.json (of GGUF
 * files, which see gguf_config.c, their EOS, EOT and EOM), the tokenizer's eos_token, and
 * `end_token` where it is one token. */
moeq_status mq_end_tokens(const struct mq_view *view, const struct mq_tokenizer *tokenizer,
                          const char *end_token, struct mq_ids *ends, moeq_error *err);

/*
 * The text of a sequence as tokens come: what a token adds is known once its last character is
 * whole. Decoding goes by a few tokens of context, so that it costs the same for every token and
 * that spaces between tokens are those of the whole text.
 */
struct mq_text_stream {
    const struct mq_tokenizer *tokenizer;
    struct mq_ids ids;    /* so far; those of the prompt, which is not told, too */
    size_t context, told; /* told: of the ids, those whose text was given */
};
/* Begins behind a prompt. */
moeq_status mq_text_stream_begin(const struct mq_tokenizer *tokenizer, const int32_t *prompt,
                                 size_t count, struct mq_text_stream *stream, moeq_error *err);
void mq_text_stream_end(struct mq_text_stream *stream);
/* Appends to `text` what is whole now; flush: all there is. */
moeq_status mq_text_stream_push(struct mq_text_stream *stream, int32_t id, struct mq_buffer *text,
                                moeq_error *err);
moeq_status mq_text_stream_flush(struct mq_text_stream *stream, struct mq_buffer *text,
                                 moeq_error *err);

#endif
