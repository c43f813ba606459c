/* text_lines.h: texts as lines of JSON, {"text": "...", "add_special_tokens": true}: tokenize --jsonl. */
#ifndef MQ_TEXT_LINES_H
#define MQ_TEXT_LINES_H

#include "buffer.h"
#include "moeq.h"

struct mq_text_line {
    struct mq_buffer text;   /* any bytes of UTF-8, U+0000 too; the caller's to mq_buffer_free */
    bool add_special_tokens; /* absent: true */
};

/* The next line from *at on that is not blank, and *at behind it; *more: there is one. `path` names the lines' file in
 * messages. The text of an earlier line is replaced. */
moeq_status mq_text_line_next(const char *path, const struct mq_buffer *lines, size_t *at,
                              struct mq_text_line *line, bool *more, moeq_error *err);

#endif
