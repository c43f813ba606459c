/*
 * block_parts.h: what a block of a level is made of, for encoders that choose each part themselves.
 *
 *     weight = d unit (s[i / sub_weights] + half) code[i] - dmin m[i / sub_weights]
 *
 * Layouts: the codecs' files. A level with one scale a block (q8_0) has s = 1.
 */
#ifndef MQ_BLOCK_PARTS_H
#define MQ_BLOCK_PARTS_H

#include "levels.h"

#include <stdbool.h>

enum { MQ_PARTS_WEIGHTS = 256, MQ_PARTS_SUBS = 16 };

struct mq_block_parts {
    float d, dmin; /* halves, or bf16 */
    int16_t s[MQ_PARTS_SUBS], m[MQ_PARTS_SUBS];
    int8_t codes[MQ_PARTS_WEIGHTS];
};

/* A codebook: magnitudes of as many neighbouring codes as an entry has columns. */
struct mq_code_grid {
    uint16_t entries;
    uint8_t columns;      /* 8 or 4 */
    bool even_signs;      /* of each 8 codes an even number is negative */
    const uint64_t *of_8; /* a byte a column, the first lowest; ascending */
    const uint32_t *of_4;
};

uint64_t mq_code_grid_entry(const struct mq_code_grid *grid, unsigned i);

struct mq_block_form {
    const char *level;
    uint16_t weights, sub_weights; /* of a block; weights / sub_weights sub-blocks */
    int16_t code_min, code_max;
    int16_t scale_min, scale_max; /* equal: none is stored */
    int16_t min_max;              /* of m, from min_min; 0: none is stored */
    int16_t min_min;              /* 0; 1 where m is 1 and dmin alone is stored */
    bool wide;                    /* d and dmin are bf16 */
    float unit, half;
    /* Codes are all integers between code_min and code_max, or MQ_IQ4_VALUES alone, or groups of a codebook. */
    bool uneven;
    const struct mq_code_grid *grid;
    void (*read)(const uint8_t *block, struct mq_block_parts *parts);
    void (*write)(const struct mq_block_parts *parts, uint8_t *block);
};

/* NULL for a level that has no such form. */
const struct mq_block_form *mq_block_form_of(const struct mq_level *level);

#endif
