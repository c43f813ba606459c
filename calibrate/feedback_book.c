/* feedback_book.c: entries sorted by their first halves. */
#include "feedback_book.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static void find_magnitudes(const struct mq_code_grid *grid, struct mq_feedback_book *book)
{
    bool seen[256] = {false};
    double squares = 0.0;
    for (unsigned i = 0; i < grid->entries; i++)
        for (unsigned c = 0; c < grid->columns; c++) {
            const unsigned magnitude = mq_code_grid_entry(grid, i) >> 8 * c & 255;
            seen[magnitude] = true;
            squares += (double)(magnitude * magnitude);
        }
    for (unsigned m = 0; m < 256; m++)
        if (seen[m] && book->digits < MQ_BOOK_DIGITS)
            book->magnitudes[book->digits++] = (float)m;
    book->rms = (float)sqrt(squares / (double)(grid->entries * grid->columns));
}

static unsigned digit_of(const struct mq_feedback_book *book, unsigned magnitude)
{
    unsigned digit = 0;
    while (book->magnitudes[digit] < (float)magnitude)
        digit++;
    return digit;
}

/* Of columns [from, from + n / 2) of an entry. */
static unsigned pattern_of(const struct mq_feedback_book *book, unsigned entry, unsigned from)
{
    const uint64_t bytes = mq_code_grid_entry(book->grid, entry);
    unsigned pattern = 0;
    for (unsigned c = from + book->grid->columns / 2; c-- > from;)
        pattern = pattern * (unsigned)book->digits + digit_of(book, bytes >> 8 * c & 255);
    return pattern;
}

void mq_feedback_book_make(const struct mq_code_grid *grid, struct mq_feedback_book *book)
{
    const unsigned half = grid->columns / 2;
    *book = (struct mq_feedback_book){.grid = grid, .patterns = 1};
    find_magnitudes(grid, book);
    for (unsigned c = 0; c < half; c++)
        book->patterns *= book->digits;
    for (unsigned i = 0; i < grid->entries; i++)
        book->begin[pattern_of(book, i, 0) + 1]++;
    for (int p = 0; p < book->patterns; p++)
        book->begin[p + 1] = (uint16_t)(book->begin[p + 1] + book->begin[p]);
    uint16_t next[MQ_BOOK_PATTERNS];
    memcpy(next, book->begin, sizeof next);
    for (unsigned i = 0; i < grid->entries; i++)
        book->second[next[pattern_of(book, i, 0)]++] = (uint8_t)pattern_of(book, i, half);
    for (int p = 0; p < book->patterns; p++)
        for (int c = 0, rest = p; c < (int)half; c++, rest /= book->digits)
            book->columns[c][p] = book->magnitudes[rest % book->digits];
}
