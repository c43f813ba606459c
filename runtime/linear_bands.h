/*
 * linear_bands.h: rows of weights quantized on the fly at a level that encodes several rows together
 * (mq_level.band_rows): the same bytes as a converted file has, whichever rows are asked for.
 */
#ifndef MQ_LINEAR_BANDS_H
#define MQ_LINEAR_BANDS_H

#include "linear.h"

/* The band that was encoded last, and room for it. */
struct mq_linear_band {
    float *rows;    /* [band_rows][cols] */
    uint8_t *bytes; /* [band_rows] rows of blocks */
    uint8_t *raw;   /* [raw_rows] rows as they are stored */
    uint64_t raw_rows;
    bool is_there;
    struct mq_weights of;
    uint64_t first; /* its first row */
};

/* Whether a level's rows are encoded several at a time. */
static inline bool mq_level_has_bands(const struct mq_level *level)
{
    return level && level->band_rows > 1;
}

/* Rows [row, row + count) at weights->level, at `out` one behind the other. */
moeq_status mq_linear_encode_bands(struct mq_linear_band *band, const struct mq_weights *weights,
                                   enum mq_isa isa, uint64_t row, uint64_t count, uint8_t *out,
                                   moeq_error *err);

/* The same with room of its own, for a few rows. */
moeq_status mq_weights_encode_bands(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                                    uint64_t count, uint8_t *out, moeq_error *err);

#endif
