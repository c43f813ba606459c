/* base64.h: bytes as text (RFC 4648, with padding). */
#ifndef MQ_BASE64_H
#define MQ_BASE64_H

#include "buffer.h"

void mq_base64_encode(const void *bytes, size_t n, struct mq_buffer *text);

/* Appends the bytes of a text of whole groups of four digits. False: it is none. */
bool mq_base64_decode(const char *text, size_t n, struct mq_buffer *bytes);

#endif
