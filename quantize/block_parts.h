/*
 * block_parts.h: what a block of a level is made of, for encoders that choose each part themselves.
 *
 *     weight = d s[i / sub_weights] code[i] - dmin m[i / sub_weights]
 *
 * Layouts: the codecs' files. A level with one scale a block (q8_0) has s = 1.
 */
#ifndef MQ_BLOCK_PARTS_H
#define MQ_BLOCK_PARTS_H

#include "levels.h"

enum { MQ_PARTS_WEIGHTS = 256, MQ_PARTS_SUBS = 16 };

struct mq_block_parts {
    float d, dmin; /* halves */
    int16_t s[MQ_PARTS_SUBS], m[MQ_PARTS_SUBS];
    int8_t codes[MQ_PARTS_WEIGHTS];
};

struct mq_block_form {
    const char *level;
    uint16_t weights, sub_weights; /* of a block; weights / sub_weights sub-blocks */
    int16_t code_min, code_max;
    int16_t scale_min, scale_max; /* equal: none is stored */
    int16_t min_max;              /* of m, from 0; 0: none is stored */
    void (*read)(const uint8_t *block, struct mq_block_parts *parts);
    void (*write)(const struct mq_block_parts *parts, uint8_t *block);
};

/* NULL for a level that has no such form. */
const struct mq_block_form *mq_block_form_of(const struct mq_level *level);

#endif
