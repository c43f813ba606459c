/* escape.c: text from outside in a format that has characters of its own. */
#include "escape.h"

#include "json.h"

#include <string.h>

void mq_escape(struct mq_buffer *out, const char *text, mq_escape_fn *put)
{
    size_t left = strlen(text);
    while (left) {
        size_t good = left;
        if (mq_utf8_valid(text, left, &good))
            good = left;
        for (size_t i = 0; i < good; i++)
            put(out, text, i);
        text += good;
        left -= good;
        if (left) {
            mq_buffer_puts(out, "\ufffd");
            text++;
            left--;
        }
    }
}

void mq_escape_buffer(struct mq_buffer *out, struct mq_buffer *text, mq_escape_fn *put)
{
    if (text->data)
        mq_escape(out, text->data, put);
    out->failed = out->failed || text->failed;
    mq_buffer_free(text);
}
