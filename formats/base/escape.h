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

#endif
