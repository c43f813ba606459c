/*
 * golden_lines.h: reads the JSON lines of golden ids. They hold U+0000 in texts, at which cJSON
 * ends a string, so this is a small reader of its own for files we make ourselves.
 */
#ifndef GOLDEN_LINES_H
#define GOLDEN_LINES_H

#include "tokenizer.h"

struct golden {
    struct mq_buffer text, decoded, decoded_skip, category;
    struct mq_ids ids;
    bool add_special_tokens;
};

/* Reads the line at `*at` and steps to the next one; false at the end of the file. */
bool golden_next(const char **at, struct golden *golden);
void golden_free(struct golden *golden);

/* The ids of a text, special tokens too, as text: "1 5 9". Static storage. */
const char *ids_as_text(const struct mq_tokenizer *tokenizer, const char *text);

#endif
