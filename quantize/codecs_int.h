/*
 * codecs_int.h: the codecs' functions, one variant an instruction set. levels.c alone uses them.
 *
 * A codec's file is compiled once per instruction set (cmake/isa.cmake) and exports
 * MQ_ISA_NAME(mq_q8_0_encode) and so on. Contracts: struct mq_level in levels.h.
 */
#ifndef MQ_CODECS_INT_H
#define MQ_CODECS_INT_H

#include "levels.h"

#define MQ_DECLARE_DECODE(codec, isa) \
    void mq_##codec##_decode_##isa(const uint8_t *blocks, size_t n, float *weights);

#define MQ_DECLARE_CODEC(codec, isa)                                                      \
    void mq_##codec##_encode_##isa(const float *weights, size_t n, enum mq_effort effort, \
                                   uint8_t *blocks);                                      \
    MQ_DECLARE_DECODE(codec, isa)

#define MQ_DECLARE_UNPACK(codec, isa)                                                             \
    void mq_##codec##_unpack_##isa(const uint8_t *blocks, size_t n, int8_t *codes, float *scales, \
                                   float *mins);

#define MQ_DECLARE_CODECS(isa)   \
    MQ_DECLARE_CODEC(q8_0, isa)  \
    MQ_DECLARE_CODEC(q4_k, isa)  \
    MQ_DECLARE_CODEC(q6_k, isa)  \
    MQ_DECLARE_CODEC(q5_k, isa)  \
    MQ_DECLARE_CODEC(q3_k, isa)  \
    MQ_DECLARE_CODEC(q2_k, isa)  \
    MQ_DECLARE_CODEC(f32, isa)   \
    MQ_DECLARE_CODEC(f16, isa)   \
    MQ_DECLARE_CODEC(bf16, isa)  \
    MQ_DECLARE_DECODE(q4_0, isa) \
    MQ_DECLARE_DECODE(q4_1, isa) \
    MQ_DECLARE_DECODE(q5_0, isa) \
    MQ_DECLARE_DECODE(q5_1, isa) \
    MQ_DECLARE_UNPACK(q8_0, isa) \
    MQ_DECLARE_UNPACK(q4_k, isa) \
    MQ_DECLARE_UNPACK(q6_k, isa) \
    MQ_DECLARE_UNPACK(q5_k, isa) \
    MQ_DECLARE_UNPACK(q3_k, isa) \
    MQ_DECLARE_UNPACK(q2_k, isa) \
    MQ_DECLARE_UNPACK(q4_0, isa) \
    MQ_DECLARE_UNPACK(q4_1, isa) \
    MQ_DECLARE_UNPACK(q5_0, isa) \
    MQ_DECLARE_UNPACK(q5_1, isa) \
    size_t mq_not_finite_##isa(const float *weights, size_t n);

MQ_DECLARE_CODECS(generic)
MQ_DECLARE_CODECS(neon)
MQ_DECLARE_CODECS(avx2)
MQ_DECLARE_CODECS(avx512)

#endif
