/*
 * levels.h: the level table: how weights are stored as blocks.
 *
 * A level is one row of the table in levels.c plus its codec's file (README.md). Rows of a matrix
 * are encoded alone, one after the other, so rows can be sliced. A row whose length is no multiple
 * of the level's block keeps its tail in q8_0 blocks of 32 weights, and a tail below 32 in f16:
 *
 *     | block 256 | block 256 | ... | q8_0 32 | q8_0 32 | f16 x (cols % 32) |
 */
#ifndef MQ_LEVELS_H
#define MQ_LEVELS_H

#include "context.h"

/* How hard the encoders search for scales; same layout, same decoder. */
enum mq_effort { MQ_EFFORT_DEFAULT, MQ_EFFORT_BEST, MQ_EFFORT_COUNT };
/* What users call encoders that see the model's inputs (calibrate), beside the efforts of a search. */
#define MQ_EFFORT_CALIBRATED "calibrated"
const char *mq_effort_name(enum mq_effort effort);
bool mq_effort_find(const char *name, enum mq_effort *effort);

/* Rows whose blocks share what is stored of them: see mq_level.encode_band. */
struct mq_band {
    const float *weights;
    const float *importance; /* of the columns, n; or NULL */
    size_t rows, n, stride;  /* n weights of each row, whole blocks, the rows' beginnings `stride` apart */
    uint8_t *blocks;
    size_t row_bytes; /* from a row's first block to the next one's */
};

/* Of mq_level.attention and .embeddings. */
#define MQ_AS_IN_SOURCE "source"

struct mq_level {
    const char *name;        /* "q4_k" */
    const char *alias;       /* "q4"; NULL if there is none */
    const char *description; /* one line for --help */
    uint32_t block_weights, block_bytes;
    /* Levels that differ by a number only stand together in the table and have this in common, which lists say
     * instead of their descriptions; NULL: none. */
    const char *family;
    /* The levels that the default policy has for attention and shared experts, and for embeddings and head, beside
     * experts of this level: by name, or MQ_AS_IN_SOURCE. NULL: q8_0, or the level itself if it is not quantized. */
    const char *attention, *embeddings;
    uint32_t half_at; /* of levels that are encoded, without wide_scales, where a block has its f16 scale, behind which is that of its minima */
    float error; /* of levels that are encoded, the relative error of Gaussian weights: level_error.h */
    bool quantized; /* false: f32, f16, bf16, where a block is one weight */
    /* Of one byte a weight behind what comes first in a block: the last block of a row has only as
     * many as there are weights, and there is no tail. */
    bool may_be_cut;
    bool wide_scales; /* bf16 or f32: weights of any size have scales */
    /* Rows that are encoded together, from a multiple of as many on: 1, but for levels with a scale for several rows. */
    uint16_t band_rows;
    /* Encodes or decodes n weights, n a multiple of block_weights (or what is cut
     * at the end of a row), with one kernel variant. A level that is read only has no encoder: see
     * mq_level_can_encode. importance: n floats, or NULL (see mq_level_encode_rows). */
    void (*encode[MQ_ISA_COUNT])(const float *weights, size_t n, const float *importance,
                                 enum mq_effort effort, uint8_t *blocks);
    /* Of levels whose blocks share a scale in a row, or in several: encodes up to band_rows of them. `encode` is then the
     * same of one row. NULL: blocks are encoded each alone. */
    void (*encode_band[MQ_ISA_COUNT])(const struct mq_band *band, enum mq_effort effort);
    void (*decode[MQ_ISA_COUNT])(const uint8_t *blocks, size_t n, float *weights);
    /*
     * The same weights as integers, for products in integers; NULL if not quantized, or to floats:
     *
     *     weights[i] = scales[i / group] * codes[i] - mins[i / group]        group: 32 or 16
     *
     * exactly, as scales and mins are halves (11 bits) times integers of at most 8 bits (of levels with wide
     * scales: rounded once, as decoding rounds; the minima of mlx8: once more). mins are
     * all 0 unless has_mins; the codes of its blocks (not of a row's tail) are in
     * code_min..code_max.
     */
    void (*unpack[MQ_ISA_COUNT])(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins);
    uint8_t group;
    bool has_mins;
    int8_t code_min, code_max;
};

/* The table; a level's index is stable within one build only. */
extern const struct mq_level mq_levels[];
extern const size_t mq_levels_count;

/* By name or alias, NULL if unknown. The names of unquantized levels are those that
 * mq_tensor.storage has for plain tensors. */
const struct mq_level *mq_level_find(const char *name);

/* By the exact name that mq_tensor.storage has: a level of the table, or one of a type of block
 * that is known by its size only and can be carried from file to file (decode, encode and unpack
 * are NULL). NULL if unknown. */
const struct mq_level *mq_level_of_storage(const char *storage);
bool mq_level_can_decode(const struct mq_level *level);

/* False for a level that is only found in files from elsewhere. Its rows have no tails: they are
 * multiples of its block. */
bool mq_level_can_encode(const struct mq_level *level);

/* Bytes of a row of `cols` weights, tail included. */
uint64_t mq_level_row_bytes(const struct mq_level *level, uint64_t cols);

/* Bits per weight of such a row: 8 * bytes / cols. */
double mq_level_row_bits(const struct mq_level *level, uint64_t cols);

/* rows x cols floats (row-major, contiguous) <-> rows of mq_level_row_bytes each. The same bytes
 * from every `isa`. Weights must be finite (see mq_first_not_finite); what is stored then is too: a
 * weight beyond the largest that the level can hold is stored as the largest. importance: of the
 * columns, `cols` finite floats >= 0: an error of a weight counts by its square times the
 * importance of its column. NULL: all count alike. The first row is the first of a band (mq_level.band_rows), and no
 * band is cut but at the end of the matrix. */
void mq_level_encode_rows(const struct mq_level *level, enum mq_isa isa, enum mq_effort effort,
                          const float *importance, const float *weights, size_t rows, size_t cols,
                          uint8_t *bytes);
void mq_level_decode_rows(const struct mq_level *level, enum mq_isa isa, const uint8_t *bytes,
                          size_t rows, size_t cols, float *weights);

/* Rows of a quantized level as integers: codes [rows][cols - cols % 32], scales and mins
 * [rows][(cols - cols % 32) / group], and the last cols % 32 weights as floats [rows][cols % 32].
 */
void mq_level_unpack_rows(const struct mq_level *level, enum mq_isa isa, const uint8_t *bytes,
                          size_t rows, size_t cols, int8_t *codes, float *scales, float *mins,
                          float *tails);

/* Index of the first NaN or infinity among n weights, or n if all are finite. */
size_t mq_first_not_finite(enum mq_isa isa, const float *weights, size_t n);

#endif
