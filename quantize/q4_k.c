/*
 * q4_k.c: 4-bit codes. A block of 256 weights in 144 bytes, the layout of GGML's Q4_K:
 *
 *     f16 d | f16 dmin | u8 scales[12] | u8 codes[128]
 *
 * Eight sub-blocks of 32 weights with a 6-bit scale s and minimum m each (six_bit_int.h):
 * weight = d s code - dmin m. Sub-blocks 2c and 2c+1 are the low and the high nibbles of
 * codes[32c .. 32c+31].
 */
#include "codecs_int.h"
#include "six_bit_int.h"

enum { SUB_WEIGHTS = 32, CODE_MAX = 15, SCALE_MAX = 63, MAX_EXPONENT = 26, BLOCK_BYTES = 144 };
#include "affine_int.h"

enum { CODES_AT = MQ_SIX_BIT_END };

/* Chosen greedily as in q3_k.c. */
static const struct cut cuts[24] = {
    {.015f, .015f},  {.03f, -.015f},  {0, .03f},       {.015f, 0},       {.015f, -.06f},
    {-.015f, 0},     {-.015f, .03f},  {.03f, 0},       {-.075f, .015f},  {.015f, .03f},
    {-.06f, -.015f}, {-.15f, 0},      {0, -.015f},     {0, .015f},       {.03f, .015f},
    {0, .045f},      {.045f, 0},      {-.015f, .015f}, {-.015f, -.045f}, {0, 0},
    {0, -.06f},      {.015f, -.015f}, {0, -.135f},     {-.06f, -.09f}};

static const struct search searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {cuts, 8, 1, false, 0.05f},
    [MQ_EFFORT_BEST] = {cuts, 24, 2, true, 0.05f},
};

static void pack_block(const struct coded *coded, size_t b, uint8_t *block)
{
    memcpy(block, coded->d + 16 * b, 2);
    memcpy(block + MQ_SIX_BIT_DMIN_AT, coded->dmin + 16 * b, 2);
    mq_six_bit_pack(coded->s + 8 * b, coded->m + 8 * b, block + MQ_SIX_BIT_AT);
    for (size_t c = 0; c < 8; c++) { /* 16 bytes at a time: half of a pair of sub-blocks */
        const uint8_t *low = coded->codes[c % 2] + 16 * (8 * b + c / 2 * 2);
        uint8_t pairs[16]; /* apart, as the compiler must fear that `block` is one of `codes` */
        for (size_t i = 0; i < 16; i++)
            pairs[i] = (uint8_t)(low[i] | low[i + 16] << 4);
        memcpy(block + CODES_AT + 16 * c, pairs, sizeof pairs);
    }
}

void MQ_ISA_NAME(mq_q4_k_encode)(const float *weights, size_t n, enum mq_effort effort,
                                 uint8_t *blocks)
{
    encode(weights, n, &searches[effort], blocks);
}

void MQ_ISA_NAME(mq_q4_k_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, weights += BLOCK_WEIGHTS) {
        const uint8_t *codes = blocks + CODES_AT;
        uint8_t code[BLOCK_WEIGHTS];
        for (int c = 0; c < 4; c++)
            for (int l = 0; l < 32; l++) {
                code[64 * c + l] = codes[32 * c + l] & 15;
                code[64 * c + 32 + l] = codes[32 * c + l] >> 4;
            }
        mq_six_bit_decode(blocks, code, weights);
    }
}
