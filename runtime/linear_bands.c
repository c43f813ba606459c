/* linear_bands.c: see the header. */
#include "linear_bands.h"

#include "checked.h"
#include "error.h"
#include "weights_rows.h"

#include <stdlib.h>
#include <string.h>

static moeq_status encode_band(struct mq_linear_band *band, const struct mq_weights *w,
                               enum mq_isa isa, uint64_t first, moeq_error *err)
{
    const uint64_t cols = w->tensor->cols;
    const uint64_t n = mq_min_u64(w->level->band_rows, w->tensor->rows - first);
    band->is_there = false;
    for (uint64_t r = 0, count; r < n; r += count) {
        count = mq_min_u64(band->raw_rows, n - r);
        MQ_TRY(mq_weights_read(w, isa, first + r, count, band->raw, band->rows + r * cols, err));
    }
    mq_level_encode_rows(w->level, isa, w->effort, w->importance, band->rows, n, cols, band->bytes);
    band->of = *w;
    band->first = first;
    band->is_there = true;
    return MOEQ_OK;
}

moeq_status mq_linear_encode_bands(struct mq_linear_band *band, const struct mq_weights *weights,
                                   enum mq_isa isa, uint64_t row, uint64_t count, uint8_t *out,
                                   moeq_error *err)
{
    const uint64_t row_bytes = mq_level_row_bytes(weights->level, weights->tensor->cols);
    const uint64_t band_rows = weights->level->band_rows, end = row + count;
    for (uint64_t n; row < end; row += n, out += n * row_bytes) {
        const uint64_t first = row / band_rows * band_rows;
        n = mq_min_u64(first + band_rows, end) - row;
        if (!band->is_there || band->first != first || !mq_weights_equal(&band->of, weights))
            MQ_TRY(encode_band(band, weights, isa, first, err));
        memcpy(out, band->bytes + (row - first) * row_bytes, n * row_bytes);
    }
    return MOEQ_OK;
}

moeq_status mq_weights_encode_bands(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                                    uint64_t count, uint8_t *out, moeq_error *err)
{
    const uint64_t n = weights->level->band_rows, cols = weights->tensor->cols;
    struct mq_linear_band band = {
        .rows = malloc(n * cols * sizeof(float)),
        .bytes = malloc(n * mq_level_row_bytes(weights->level, cols)),
        .raw = malloc(weights->tensor->row_bytes),
        .raw_rows = 1,
    };
    moeq_status status = MOEQ_OK;
    if (!band.rows || !band.bytes || !band.raw)
        status = mq_fail_memory(err, "encoding rows that share scales");
    else
        status = mq_linear_encode_bands(&band, weights, isa, row, count, out, err);
    free(band.rows);
    free(band.bytes);
    free(band.raw);
    return status;
}
