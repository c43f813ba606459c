/*
 * json_span.h: where the members of an object stand in a JSON text, without a tree of all of it.
 *
 * For texts of many megabytes of which a small part is needed. The grammar is not checked: what is
 * no JSON gives some span or none, inside the text in any case.
 */
#ifndef MQ_JSON_SPAN_H
#define MQ_JSON_SPAN_H

#include <stdbool.h>
#include <stddef.h>

/* A value's place in a text. */
struct mq_json_span {
    size_t at, size;
};

/* The value of a key in the object that begins at the first brace from `in` on; of equal keys the
 * first. False: there is no such key, or no such object. Keys are compared as they are written. */
bool mq_json_find_member(const char *text, struct mq_json_span in, const char *key,
                         struct mq_json_span *value);

#endif
