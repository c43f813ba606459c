/* json_string.h: strings of a JSON text with their length: cJSON ends them at U+0000. */
#ifndef MQ_JSON_STRING_H
#define MQ_JSON_STRING_H

#include "moeq.h"
#include "buffer.h"

/* Appends the string whose quotes stand at `from` and before `end`, of a text that was scanned. */
void mq_json_decode_string(const char *text, size_t from, size_t end, struct mq_buffer *out);

/* Appends the string that is the value of a member of the outermost object, every character of it,
 * to `value` and sets *found; of members of the same name the last one, as Python reads them. The
 * text must have passed mq_json_parse. */
moeq_status mq_json_string_member(const char *text, size_t n, const char *key,
                                  struct mq_buffer *value, bool *found, moeq_error *err);

#endif
