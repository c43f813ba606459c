/* pieces.c: a text cut into pieces. */
#include "pieces.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void mq_pieces_free(struct mq_pieces *pieces)
{
    mq_buffer_free(&pieces->text);
    free(pieces->spans);
    memset(pieces, 0, sizeof *pieces);
}

void mq_pieces_clear(struct mq_pieces *pieces)
{
    mq_buffer_clear(&pieces->text);
    pieces->count = 0;
    pieces->failed = false;
}

void mq_pieces_add(struct mq_pieces *pieces, size_t start, size_t end)
{
    if (pieces->count == pieces->capacity) {
        const size_t capacity = pieces->capacity ? pieces->capacity * 2 : 64;
        struct mq_span *spans = capacity <= SIZE_MAX / sizeof *spans
                                    ? realloc(pieces->spans, capacity * sizeof *spans)
                                    : NULL;
        if (!spans) {
            pieces->failed = true;
            return;
        }
        pieces->spans = spans;
        pieces->capacity = capacity;
    }
    pieces->spans[pieces->count++] = (struct mq_span){start, end};
}

void mq_pieces_swap(struct mq_pieces *a, struct mq_pieces *b)
{
    const struct mq_pieces t = *a;
    *a = *b;
    *b = t;
}
