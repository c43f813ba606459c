/* panel_product.c: rows to the first-level cache, block by block, and to the products. */
#include "panel_product.h"

/* A multiple of every level's block. 16 rows of them are 16 KiB: half of a first-level cache. */
enum { COLUMNS = 256 };

/* The products of a block are formed in pieces, and before each a part of the rows is asked for where the
 * next block begins: 16 short streams are more than processors follow by themselves, and asking for all at
 * once would wait. */
enum { PIECES = 4, PIECE = COLUMNS / PIECES, PIECE_ROWS = MQ_PANEL / PIECES };

static void prefetch_rows(const uint8_t *rows, size_t row_bytes, size_t first, size_t count,
                          size_t bytes)
{
    for (size_t r = first; r < first + PIECE_ROWS && r < count; r++)
        for (size_t i = 0; i < bytes; i += 64)
            __builtin_prefetch(rows + r * row_bytes + i);
}

void mq_panel_product(const struct mq_kernels *kernels, const struct mq_level *level,
                      enum mq_isa isa, const uint8_t *rows, size_t count, size_t cols,
                      const float *x, size_t ldx, size_t m, float *y, size_t ldy)
{
    _Alignas(64) float weights[MQ_PANEL * COLUMNS];
    const size_t row_bytes = mq_level_row_bytes(level, cols);
    const size_t block_bytes = mq_level_row_bytes(level, COLUMNS);
    for (size_t k = 0; k < cols; k += COLUMNS, rows += block_bytes) {
        const size_t n = cols - k < COLUMNS ? cols - k : COLUMNS;
        /* The last columns have the tail that the row has, as k is a multiple of a block. */
        for (size_t r = 0; r < count; r++)
            mq_level_decode_rows(level, isa, rows + r * row_bytes, 1, n, weights + r * n);
        for (size_t p = 0; p < n; p += PIECE) {
            if (k + COLUMNS < cols)
                prefetch_rows(rows + block_bytes, row_bytes, p / PIECE * PIECE_ROWS, count,
                              block_bytes);
            kernels->multiply_rows(x + k + p, ldx, m, weights + p, n, count,
                                   n - p < PIECE ? n - p : PIECE, y, ldy, k + p > 0);
        }
    }
}
