/*
 * int8.h: matrix products of 8-bit integers (--compute int8).
 *
 * Weights are what mq_level_unpack_rows makes of a level's blocks: a code of 8 bits each, a scale
 * and a min per group of 32 or 16. Activations are quantized per token and block of 32 columns, as
 * q8_0 does:
 *
 *     top = max |x|, scale = top / 127, code = x * (127 / top) rounded to the nearest integer,
 *     ties to even; all in floats. A block with top <= 2^-100 is all zeros, with scale 0; one
 *     with a NaN or infinity has the scale NaN, which goes into every product with it.
 *
 * An element of a product is then one chain over the groups of columns, in order:
 *
 *     sum = fma(dot, weight_scale * scale, sum)          dot: the exact sum of a group's products
 *     sum = fma(-min, scale * codes_sum, sum)            only for levels that have mins
 *
 * (|dot| <= 32 * 128 * 127 < 2^24 is exact in a float, too.) It starts from the product in floats
 * of the last cols % 32 columns, 0 if there are none. So nothing depends on the instruction set.
 */
#ifndef MQ_INT8_H
#define MQ_INT8_H

#include "cpu.h"

#define MQ_INT8_BLOCK 32

/* What belongs to 32 codes of a token. */
struct mq_int8_block {
    float scale;
    float scaled_sum; /* scale * the sum of the codes */
    int32_t bias;     /* -128 * the sum of the codes: see offset_bits in gemm_int8.c */
};

/* The same of each 16 of them, for weights with groups of 16. Apart, so that other products do not
 * read it. */
struct mq_int8_halves {
    float scaled_sum[2];
    int32_t bias[2];
};

/* Tokens; strides in elements. */
struct mq_int8_tokens {
    const int8_t *codes;                 /* [tokens][k] */
    const struct mq_int8_block *blocks;  /* [tokens][k / 32] */
    const struct mq_int8_halves *halves; /* the same */
    size_t codes_stride, blocks_stride;
};

/* Rows of weights in panels of MQ_PANEL (kernels.h), one panel behind the other. */
struct mq_int8_panels {
    const int8_t *codes; /* [panels][k / 4][MQ_PANEL][4], as finish_pack leaves them */
    const float *scales; /* [panels][k / group][MQ_PANEL] */
    const float *mins;   /* the same; NULL if all are 0 */
    int group;           /* 32 or 16 */
    /* All codes are in code_min..code_max: AVX2 has less to do where that is little. */
    int8_t code_min, code_max;
};

struct mq_int8_kernels {
    const char *name;
    /* k activations, k a multiple of 32. */
    void (*quantize)(const float *x, size_t k, int8_t *codes, struct mq_int8_block *blocks,
                     struct mq_int8_halves *halves);
    /* Turns n bytes of packed codes into what `multiply` reads where it is told the same code_min
     * and code_max; n is a multiple of 64. */
    void (*finish_pack)(int8_t *codes, size_t n, int8_t code_min, int8_t code_max);
    /* y[i][j] (+)= product over k columns, for i < m, j < n; `resume`: goes on from y. k is a
     * multiple of 32. Writes nothing beyond n. */
    void (*multiply)(const struct mq_int8_tokens *x, size_t m, const struct mq_int8_panels *w,
                     size_t k, size_t n, float *y, size_t ldy, bool resume);
};

/* The best for an instruction set and this processor, lowered by the environment variable
 * MOEQ_INT8=generic|avx2|avxvnni|vnni|amx if it is set (an unknown name there is ignored). */
const struct mq_int8_kernels *mq_int8_kernels_get(enum mq_isa isa);

/* All variants, for tests and benchmarks: the i-th, the reference first; NULL behind the last.
 * *available: whether it runs here. */
const struct mq_int8_kernels *mq_int8_variant(size_t i, bool *available);

/* What gemm_int8.c exports for each variant. */
#define MQ_INT8_DECLARE(variant)                                                             \
    void mq_int8_quantize_##variant(const float *, size_t, int8_t *, struct mq_int8_block *, \
                                    struct mq_int8_halves *);                                \
    void mq_int8_finish_pack_##variant(int8_t *, size_t, int8_t, int8_t);                    \
    void mq_int8_multiply_##variant(const struct mq_int8_tokens *, size_t,                   \
                                    const struct mq_int8_panels *, size_t, size_t, float *,  \
                                    size_t, bool);
MQ_INT8_DECLARE(generic)
MQ_INT8_DECLARE(avx2)
MQ_INT8_DECLARE(avxvnni)
MQ_INT8_DECLARE(vnni)
MQ_INT8_DECLARE(amx)
#undef MQ_INT8_DECLARE

#endif
