/*
 * q5_k.c: 5-bit codes. A block of 256 weights in 176 bytes, the layout of GGML's Q5_K:
 *
 *     f16 d | f16 dmin | u8 scales[12] | u8 high[32] | u8 low[128]
 *
 * As Q4_K, whose codes are the low four bits of these; bit j of high[l] is the fifth of weight l of
 * sub-block j.
 */
#include "codecs_int.h"
#include "six_bit_int.h"

enum { SUB_WEIGHTS = 32, CODE_MAX = 31, SCALE_MAX = 63, MAX_EXPONENT = 27, BLOCK_BYTES = 176 };
#include "affine_int.h"

enum { HIGH_AT = MQ_SIX_BIT_END, LOW_AT = HIGH_AT + 32 };

/* Chosen greedily as in q3_k.c. `search/greedy.py q5_k` finds the first 4 again and then others:
 * these are from the first search, whose sub-blocks were not kept. With the first 8 or with all 24,
 * the squared errors of the two lists are the same to 0.05 %. */
static const struct cut cuts[24] = {
    {0, 0},       {-.03f, .0075f},    {-.0075f, .0075f}, {.0075f, -.0075f}, {.0075f, -.0375f},
    {-.0675f, 0}, {.0075f, .0075f},   {-.105f, 0},       {-.0075f, -.03f},  {.015f, -.0075f},
    {0, .015f},   {-.075f, .0075f},   {-.03f, 0},        {.0075f, -.075f},  {.0075f, 0},
    {-.0075f, 0}, {-.0375f, -.1125f}, {-.0075f, .015f},  {-.0075f, -.105f}, {.0075f, -.1125f},
    {0, -.0075f}, {-.105f, -.0675f},  {.0075f, .015f},   {.015f, 0}};

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
    for (size_t half = 0; half < 2; half++) {
        const uint8_t *codes = coded->codes[half] + 16 * 8 * b;
        uint8_t high[16] = {0};
        for (size_t sub = 0; sub < 8; sub++)
            for (size_t i = 0; i < 16; i++)
                high[i] |= (uint8_t)(codes[16 * sub + i] >> 4 << sub);
        memcpy(block + HIGH_AT + 16 * half, high, sizeof high);
    }
}

void MQ_ISA_NAME(mq_q5_k_encode)(const float *weights, size_t n, const float *importance,
                                 enum mq_effort effort, uint8_t *blocks)
{
    encode(weights, n, importance, &searches[effort], blocks);
}

MQ_INLINE void unpack_codes(const uint8_t *block, uint8_t codes[BLOCK_WEIGHTS])
{
    const uint8_t *high = block + HIGH_AT, *low = block + LOW_AT;
    MQ_UNROLL(4) /* shifts by constants */
    for (int c = 0; c < 4; c++, low += 32, codes += 64)
        for (int l = 0; l < 32; l++) {
            const int bits = high[l] >> 2 * c;
            codes[l] = (uint8_t)((low[l] & 15) | (bits & 1) << 4);
            codes[32 + l] = (uint8_t)(low[l] >> 4 | (bits & 2) << 3);
        }
}

void MQ_ISA_NAME(mq_q5_k_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, weights += BLOCK_WEIGHTS) {
        uint8_t codes[BLOCK_WEIGHTS];
        unpack_codes(blocks, codes);
        mq_six_bit_decode(blocks, codes, weights);
    }
}

void MQ_ISA_NAME(mq_q5_k_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, codes += BLOCK_WEIGHTS) {
        mq_six_bit_scales(blocks, scales, mins);
        unpack_codes(blocks, (uint8_t *)codes);
        scales += SUB_BLOCKS;
        mins += SUB_BLOCKS;
    }
}
