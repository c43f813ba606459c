/*
 * chat.h: a chat as a model's own template writes it, for the common forms.
 *
 * Templates are programs (Jinja); they are not run here. A template is recognised as one of the
 * known forms by pieces of its text, and the form says what stands around the messages. What is not
 * recognised is refused: a prompt that differs from what a model was trained on is answered worse,
 * and nothing would say so.
 */
#ifndef MQ_CHAT_H
#define MQ_CHAT_H

#include "buffer.h"
#include "moeq.h"

#include <stdbool.h>

struct mq_chat_form;

/* The form of a template of n bytes; NULL: none that is known. */
const struct mq_chat_form *mq_chat_find(const char *text, size_t n);

const char *mq_chat_form_name(const struct mq_chat_form *form);
/* The token that ends an answer, beside those that the model says; NULL: none. */
const char *mq_chat_form_end(const struct mq_chat_form *form);

/* What was said before: a message and its answer. */
struct mq_chat_exchange {
    const char *user;
    size_t user_size;
    const char *answer;
    size_t answer_size;
};

/* What is said. */
struct mq_chat_turn {
    const char *system; /* NULL: nothing */
    size_t system_size;
    const struct mq_chat_exchange *earlier;
    size_t earlier_count;
    const char *user; /* what is to be answered */
    size_t user_size;
    const char *eos;  /* what the template calls eos_token; NULL: the form's own end */
    const char *date; /* "2025-08-01", for forms that tell the model the day */
};

/* Appends the text of a chat, up to where the answer begins, as the template of n bytes gives it
 * (with add_generation_prompt). `bos`: what the template calls bos_token. Fails where the form has
 * no place for a system message, or cannot do without one, or where it is not known how it writes
 * answers that were given. */
moeq_status mq_chat_write(const struct mq_chat_form *form, const char *text, size_t n,
                          const char *bos, const struct mq_chat_turn *turn, struct mq_buffer *out,
                          moeq_error *err);

/* The names of all forms, in the order of the table; NULL at the end. */
const char *mq_chat_form_at(size_t i);

#endif
