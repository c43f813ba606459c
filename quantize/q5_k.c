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

/* Chosen greedily as in q3_k.c. */
static const struct cut cuts[24] = {
    {0, 0},       {-.03f, .0075f},    {-.0075f, .0075f}, {.0075f, -.0075f}, {.0075f, -.0375f},
    {-.0675f, 0}, {.0075f, .0075f},   {-.105f, 0},       {-.0075f, -.03f},  {.015f, -.0075f},
    {0, .015f},   {-.075f, .0075f},   {-.03f, 0},        {.0075f, -.075f},  {.0075f, 0},
    {-.0075f, 0}, {-.0375f, -.1125f}, {-.0075f, .015f},  {-.0075f, -.105f}, {.0075f, -.1125f},
    {0, -.0075f}, {-.105f, -.0675f},  {.0075f, .015f},   {.015f, 0}};

static const struct search searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {cuts, 8, 1, false, 0.05f},
    [MQ_EFFORT_BEST] = {cuts, 24, 2, true, 0.05f},
};

static void pack_block(const struct coded *coded, size_t b, uint8_t *block)
{
    memcpy(block, coded->d + 16 * b, 2);
    memcpy(block + MQ_SIX_BIT_DMIN_AT, coded->dmin + 16 * b, 2);
    mq_six_bit_pack(coded->s + 8 * b, coded->m + 8 * b, block + MQ_SIX_BIT_AT);
    uint8_t *high = block + HIGH_AT, *low = block + LOW_AT;
    memset(high, 0, 32);
    for (size_t c = 0; c < 8; c++) { /* 16 bytes at a time: half of a pair of sub-blocks */
        const size_t half = c % 2, sub = c / 2 * 2;
        const uint8_t *code = coded->codes[half] + 16 * (8 * b + sub);
        for (size_t i = 0; i < 16; i++) {
            low[16 * c + i] = (uint8_t)((code[i] & 15) | code[16 + i] << 4);
            high[16 * half + i] |= (uint8_t)((code[i] >> 4 | code[16 + i] >> 4 << 1) << sub);
        }
    }
}

void MQ_ISA_NAME(mq_q5_k_encode)(const float *weights, size_t n, enum mq_effort effort,
                                 uint8_t *blocks)
{
    encode(weights, n, &searches[effort], blocks);
}

void MQ_ISA_NAME(mq_q5_k_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, weights += BLOCK_WEIGHTS) {
        const uint8_t *high = blocks + HIGH_AT, *low = blocks + LOW_AT;
        uint8_t code[BLOCK_WEIGHTS];
        for (int c = 0; c < 4; c++)
            for (int l = 0; l < 32; l++) {
                const int bits = high[l] >> 2 * c;
                code[64 * c + l] = (uint8_t)((low[32 * c + l] & 15) | (bits & 1) << 4);
                code[64 * c + 32 + l] = (uint8_t)(low[32 * c + l] >> 4 | (bits & 2) << 3);
            }
        mq_six_bit_decode(blocks, code, weights);
    }
}
