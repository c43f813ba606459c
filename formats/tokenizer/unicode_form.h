/* unicode_form.h: the Unicode normalization forms. */
#ifndef MQ_UNICODE_FORM_H
#define MQ_UNICODE_FORM_H

#include "moeq.h"
#include "buffer.h"

/* Appends the form of n bytes of UTF-8 that utf8proc's options say (UTF8PROC_COMPOSE or
 * UTF8PROC_DECOMPOSE, with UTF8PROC_STABLE and perhaps UTF8PROC_COMPAT). U+0000 is a character like
 * any other. The time is linear in n. */
moeq_status mq_unicode_form(int options, const char *text, size_t n, struct mq_buffer *out,
                            moeq_error *err);

#endif
