/* feedback_book.h: a codebook by halves of its entries, for searches that try all of them. */
#ifndef MQ_FEEDBACK_BOOK_H
#define MQ_FEEDBACK_BOOK_H

#include "block_parts.h"

enum { MQ_BOOK_PATTERNS = 81, MQ_BOOK_ENTRIES = 1024, MQ_BOOK_DIGITS = 8 };

/*
 * An entry of n columns is two patterns of n / 2 digits each, to the base `digits`, the first column's lowest; a digit
 * is the number of a magnitude. What an entry costs is what its patterns cost together: so the entries that begin
 * with a pattern need one sum, for the cheapest second pattern among them.
 */
struct mq_feedback_book {
    const struct mq_code_grid *grid;
    int digits, patterns; /* patterns = digits^(n / 2) */
    float magnitudes[MQ_BOOK_DIGITS];
    float rms;                            /* of all entries' magnitudes */
    uint16_t begin[MQ_BOOK_PATTERNS + 1]; /* of the entries with first pattern i */
    uint8_t second[MQ_BOOK_ENTRIES];      /* theirs */
    float columns[4][MQ_BOOK_PATTERNS];   /* magnitudes of a pattern */
};

void mq_feedback_book_make(const struct mq_code_grid *grid, struct mq_feedback_book *book);

#endif
