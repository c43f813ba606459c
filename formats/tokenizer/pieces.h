/* pieces.h: a text cut into pieces, which is what the pre-tokenizers and the decoders work on. */
#ifndef MQ_PIECES_H
#define MQ_PIECES_H

#include "buffer.h"

struct mq_span {
    size_t start, end; /* bytes [start, end) of the text */
};

/* Out of memory is sticky, as in mq_buffer. */
struct mq_pieces {
    struct mq_buffer text;
    struct mq_span *spans;
    size_t count, capacity;
    bool failed;
};

void mq_pieces_free(struct mq_pieces *pieces);
void mq_pieces_clear(struct mq_pieces *pieces); /* keeps the memory */

/* Appends a span of the text. */
void mq_pieces_add(struct mq_pieces *pieces, size_t start, size_t end);

/* Ends a piece that was appended to the text from offset `start` on. */
static inline void mq_pieces_end(struct mq_pieces *pieces, size_t start)
{
    mq_pieces_add(pieces, start, pieces->text.size);
}

static inline bool mq_pieces_ok(const struct mq_pieces *pieces)
{
    return !pieces->failed && mq_buffer_ok(&pieces->text);
}

void mq_pieces_swap(struct mq_pieces *a, struct mq_pieces *b);

#endif
