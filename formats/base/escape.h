/* escape.h: text from outside in a format that has characters of its own. */
#ifndef MQ_ESCAPE_H
#define MQ_ESCAPE_H

#include "buffer.h"

/* Writes the character text[i], a byte of well-formed UTF-8, as the format has it. */
typedef void mq_escape_fn(struct mq_buffer *out, const char *text, size_t i);

/* Appends a text, each byte through put; each that is no UTF-8 becomes U+FFFD. */
void mq_escape(struct mq_buffer *out, const char *text, mq_escape_fn *put);

/* The same of what a buffer holds, which is freed; where it has failed, so has `out`. */
void mq_escape_buffer(struct mq_buffer *out, struct mq_buffer *text, mq_escape_fn *put);

/* Appends a word of a command as a shell reads it: as it is where nothing in it has a meaning, else quoted; with control
 * characters as $'...' (Bash, zsh, POSIX of 2024), so that it never breaks a line. `prefix`, of letters without a
 * meaning, stands before it in the same word. One that begins with '-' would be an option, and begins with "./". */
void mq_shell_word(struct mq_buffer *out, const char *prefix, const char *text);

/* Appends a command in which each '%' of `form` is the next of `words`, as a shell reads it: what messages suggest. */
void mq_shell_command(struct mq_buffer *out, const char *form, const char *const *words);

#endif
