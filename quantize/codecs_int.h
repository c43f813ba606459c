/*
 * codecs_int.h: the codecs' functions, one variant an instruction set. levels.c alone uses them.
 *
 * A codec's file is compiled once per instruction set (cmake/isa.cmake) and exports
 *
 *     MQ_ISA_NAME(mq_q8_0_encode)     weights -> blocks
 *     MQ_ISA_NAME(mq_q8_0_decode)     blocks -> weights
 *     MQ_ISA_NAME(mq_q8_0_unpack)     blocks -> integers, scales and minima
 *
 * and so on. Contracts: struct mq_level in levels.h.
 */
#ifndef MQ_CODECS_INT_H
#define MQ_CODECS_INT_H

#include "levels.h"

#define MQ_MLX_LIST(X, bits, isa) \
    X(mlx##bits##g32, isa)        \
    X(mlx##bits##g64, isa)        \
    X(mlx##bits##g128, isa)

/* Every level of the table, in the table's order. What a codec does not have (legacy_blocks.c
 * cannot encode, plain.c has no codes to unpack) is declared, and nothing uses it. */
#define MQ_CODEC_LIST(X, isa) \
    X(q8_0, isa)              \
    X(q6_k, isa)              \
    X(q5_k, isa)              \
    X(q4_k, isa)              \
    X(q3_k, isa)              \
    X(q2_k, isa)              \
    X(iq4_nl, isa)            \
    X(iq4_xs, isa)            \
    X(iq3_s, isa)             \
    X(iq3_xxs, isa)           \
    X(iq2_s, isa)             \
    X(iq2_xs, isa)            \
    X(iq2_xxs, isa)           \
    X(f32, isa)               \
    X(f16, isa)               \
    X(bf16, isa)              \
    X(w4g32, isa)             \
    X(w4g64, isa)             \
    X(w4g128, isa)            \
    X(w4c, isa)               \
    X(w8g32, isa)             \
    X(w8g64, isa)             \
    X(w8g128, isa)            \
    X(w8c, isa)               \
    X(fp8b, isa)              \
    MQ_MLX_LIST(X, 2, isa)    \
    MQ_MLX_LIST(X, 3, isa)    \
    MQ_MLX_LIST(X, 4, isa)    \
    MQ_MLX_LIST(X, 5, isa)    \
    MQ_MLX_LIST(X, 6, isa)    \
    MQ_MLX_LIST(X, 8, isa)    \
    X(q4_0, isa)              \
    X(q4_1, isa)              \
    X(q5_0, isa)              \
    X(q5_1, isa)              \
    X(mxfp4, isa)             \
    X(f8_e4m3, isa)           \
    X(i4_32, isa)             \
    X(i8_32, isa)             \
    X(a8_32, isa)             \
    X(iq1_m, isa)             \
    X(iq1_s, isa)             \
    X(tq1_0, isa)             \
    X(tq2_0, isa)             \
    X(nvfp4, isa)

#define MQ_DECLARE_CODEC(codec, isa)                                                              \
    void mq_##codec##_encode_##isa(const float *weights, size_t n, const float *importance,       \
                                   enum mq_effort effort, uint8_t *blocks);                       \
    void mq_##codec##_decode_##isa(const uint8_t *blocks, size_t n, float *weights);              \
    void mq_##codec##_unpack_##isa(const uint8_t *blocks, size_t n, int8_t *codes, float *scales, \
                                   float *mins);                                              \
    void mq_##codec##_encode_band_##isa(const struct mq_band *band, enum mq_effort effort);

#define MQ_DECLARE_CODECS(isa)           \
    MQ_CODEC_LIST(MQ_DECLARE_CODEC, isa) \
    size_t mq_not_finite_##isa(const float *weights, size_t n);

MQ_DECLARE_CODECS(generic)
MQ_DECLARE_CODECS(neon)
MQ_DECLARE_CODECS(avx2)
MQ_DECLARE_CODECS(avx512)

#endif
