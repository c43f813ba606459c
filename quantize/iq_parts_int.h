/* iq_parts_int.h: rows of block_parts.c's table that have codebooks. */
#ifndef MQ_IQ_PARTS_INT_H
#define MQ_IQ_PARTS_INT_H

#include "block_parts.h"

#define MQ_IQ_PARTS(type)                                                            \
    extern const struct mq_code_grid mq_##type##_codes;                              \
    void mq_##type##_read_parts(const uint8_t *block, struct mq_block_parts *parts); \
    void mq_##type##_write_parts(const struct mq_block_parts *parts, uint8_t *block);
MQ_IQ_PARTS(iq2_xxs)
MQ_IQ_PARTS(iq2_xs)
MQ_IQ_PARTS(iq2_s)
MQ_IQ_PARTS(iq3_xxs)
MQ_IQ_PARTS(iq3_s)
#undef MQ_IQ_PARTS

#endif
