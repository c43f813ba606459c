/*
 * q4_k.c: 4-bit codes. A block of 256 weights in 144 bytes, the layout of GGML's Q4_K:
 *
 *     f16 d | f16 dmin | u8 scales[12] | u8 low[128]
 *
 * Eight sub-blocks of 32 weights with a 6-bit scale s and minimum m each (six_bit_int.h):
 * weight = d s code - dmin m.
 */
#include "codecs_int.h"
#include "six_bit_int.h"

enum { SUB_WEIGHTS = 32, CODE_MAX = 15, SCALE_MAX = 63, MAX_EXPONENT = 26, BLOCK_BYTES = 144 };
#include "affine_int.h"

enum { LOW_AT = MQ_SIX_BIT_END };

/* Chosen greedily as in q3_k.c: `search/greedy.py q4_k` finds all 24 again. */
static const struct cut cuts[24] = {
    {.015f, .015f},  {.03f, -.015f},  {0, .03f},       {.015f, 0},       {.015f, -.06f},
    {-.015f, 0},     {-.015f, .03f},  {.03f, 0},       {-.075f, .015f},  {.015f, .03f},
    {-.06f, -.015f}, {-.15f, 0},      {0, -.015f},     {0, .015f},       {.03f, .015f},
    {0, .045f},      {.045f, 0},      {-.015f, .015f}, {-.015f, -.045f}, {0, 0},
    {0, -.06f},      {.015f, -.015f}, {0, -.135f},     {-.06f, -.09f}};

/* What each number buys: search/efforts.c. */
static const struct search searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {cuts, 8, 1, false, 0.05f},
    [MQ_EFFORT_BEST] = {cuts, 24, 2, true, 0.05f},
};

static void pack_block(const struct coded *coded, size_t b, uint8_t *block)
{
    mq_six_bit_head(coded->d + 16 * b, coded->dmin + 16 * b, coded->s + 8 * b, coded->m + 8 * b,
                    block);
    for (size_t c = 0; c < 8; c++)
        mq_pack_nibbles(coded->codes[c % 2] + 16 * (8 * b + c / 2 * 2), block + LOW_AT + 16 * c);
}

void MQ_ISA_NAME(mq_q4_k_encode)(const float *weights, size_t n, const float *importance,
                                 enum mq_effort effort, uint8_t *blocks)
{
    encode(weights, n, importance, &searches[effort], blocks);
}

MQ_INLINE void unpack_codes(const uint8_t *block, uint8_t codes[BLOCK_WEIGHTS])
{
    const uint8_t *low = block + LOW_AT;
    for (int c = 0; c < 4; c++, low += 32, codes += 64)
        for (int l = 0; l < 32; l++) {
            codes[l] = low[l] & 15;
            codes[32 + l] = low[l] >> 4;
        }
}

void MQ_ISA_NAME(mq_q4_k_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, weights += BLOCK_WEIGHTS) {
        uint8_t codes[BLOCK_WEIGHTS];
        unpack_codes(blocks, codes);
        mq_six_bit_decode(blocks, codes, weights);
    }
}

void MQ_ISA_NAME(mq_q4_k_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, codes += BLOCK_WEIGHTS) {
        mq_six_bit_scales(blocks, scales, mins);
        unpack_codes(blocks, (uint8_t *)codes);
        scales += SUB_BLOCKS;
        mins += SUB_BLOCKS;
    }
}
