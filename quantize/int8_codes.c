/*
 * int8_codes.c: blocks -> signed 8-bit codes, for products in integers.
 *
 * weight = scale * code - min, with one scale and one min per 32 weights (q6_k, q2_k: per 16), both
 * exact in a float: an f16 (11 bits) times at most an 8-bit integer. For the layouts see the
 * codecs' files, where legacy_blocks.c has such functions of its own.
 *
 *     level | code                               | scale | min
 *     q8_0  | as stored                          | d     | 0
 *     q6_k  | as stored less 32, -32..31         | d s   | 0
 *     q4_k  | as stored, 0..15                   | d s   | dmin m
 *     q5_k  | as stored, 0..31                   | d s   | dmin m
 *     q3_k  | (32 - s) (code - 4), in -128..124  | -d    | 0
 *     q2_k  | as stored, 0..3                    | d s   | dmin m
 *
 * q3_k has a scale per 16 weights. It is small enough to go into the code; with its sign turned,
 * the one product beyond int8, (0 - 32) (0 - 4) = 128, becomes -128.
 */
#include "codecs_int.h"
#include "six_bit_int.h"

enum { SUB_WEIGHTS = 32, BLOCK_WEIGHTS = 256 };

MQ_INLINE float load_f16(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return mq_f16_to_f32(h);
}

void MQ_ISA_NAME(mq_q8_0_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    enum { BLOCK_BYTES = 34 };
    for (size_t b = 0; b < n / SUB_WEIGHTS; b++, blocks += BLOCK_BYTES, codes += SUB_WEIGHTS) {
        scales[b] = load_f16(blocks);
        mins[b] = 0.0f;
        memcpy(codes, blocks + 2, SUB_WEIGHTS);
    }
}

void MQ_ISA_NAME(mq_q4_k_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    enum { BLOCK_BYTES = 144, CODES_AT = MQ_SIX_BIT_END };
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, scales += 8, mins += 8) {
        mq_six_bit_scales(blocks, scales, mins);
        const uint8_t *packed = blocks + CODES_AT;
        for (int pair = 0; pair < 4; pair++, packed += 32, codes += 64)
            for (int l = 0; l < 32; l++) {
                codes[l] = (int8_t)(packed[l] & 15);
                codes[32 + l] = (int8_t)(packed[l] >> 4);
            }
    }
}

void MQ_ISA_NAME(mq_q6_k_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    enum { BLOCK_BYTES = 210, HIGH_AT = 128, SCALES_AT = 192, D_AT = 208 };
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, scales += 16, mins += 16) {
        const float d = load_f16(blocks + D_AT);
        for (int j = 0; j < 16; j++) {
            scales[j] = d * (float)(int8_t)blocks[SCALES_AT + j];
            mins[j] = 0.0f;
        }
        for (int half = 0; half < 2; half++, codes += 128) {
            const uint8_t *low = blocks + 64 * half, *high = blocks + HIGH_AT + 32 * half;
            for (int l = 0; l < 32; l++) {
                codes[l] = (int8_t)(((low[l] & 15) | (high[l] & 3) << 4) - 32);
                codes[32 + l] = (int8_t)(((low[32 + l] & 15) | (high[l] >> 2 & 3) << 4) - 32);
                codes[64 + l] = (int8_t)((low[l] >> 4 | (high[l] >> 4 & 3) << 4) - 32);
                codes[96 + l] = (int8_t)((low[32 + l] >> 4 | high[l] >> 6 << 4) - 32);
            }
        }
    }
}

void MQ_ISA_NAME(mq_q5_k_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    enum { BLOCK_BYTES = 176, HIGH_AT = MQ_SIX_BIT_END, LOW_AT = HIGH_AT + 32 };
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, scales += 8, mins += 8) {
        mq_six_bit_scales(blocks, scales, mins);
        const uint8_t *low = blocks + LOW_AT, *high = blocks + HIGH_AT;
#pragma GCC unroll 4 /* shifts by constants */
        for (int c = 0; c < 4; c++, low += 32, codes += 64)
            for (int l = 0; l < 32; l++) {
                codes[l] = (int8_t)((low[l] & 15) | (high[l] >> 2 * c & 1) << 4);
                codes[32 + l] = (int8_t)(low[l] >> 4 | (high[l] >> (2 * c + 1) & 1) << 4);
            }
    }
}

void MQ_ISA_NAME(mq_q3_k_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    enum { BLOCK_BYTES = 110, LOW_AT = 32, SCALES_AT = 96, D_AT = 108 };
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, scales += 8, mins += 8) {
        const uint32_t low0 = mq_load4(blocks + SCALES_AT), low1 = mq_load4(blocks + SCALES_AT + 4);
        const uint32_t high = mq_load4(blocks + SCALES_AT + 8);
        uint8_t s[16];
        mq_store4(s, (low0 & 0x0f0f0f0fu) | (high << 4 & 0x30303030u));
        mq_store4(s + 4, (low1 & 0x0f0f0f0fu) | (high << 2 & 0x30303030u));
        mq_store4(s + 8, (low0 >> 4 & 0x0f0f0f0fu) | (high & 0x30303030u));
        mq_store4(s + 12, (low1 >> 4 & 0x0f0f0f0fu) | (high >> 2 & 0x30303030u));
        const float d = load_f16(blocks + D_AT);
        for (int j = 0; j < 8; j++) {
            scales[j] = -d;
            mins[j] = 0.0f;
        }
#pragma GCC unroll 8 /* shifts by constants */
        for (int k = 0; k < 8; k++, codes += 32) {
            const uint8_t *low = blocks + LOW_AT + 32 * (k / 4);
            for (int half = 0; half < 2; half++) {
                const int factor = 32 - s[2 * k + half];
                for (int l = 16 * half; l < 16 * half + 16; l++) {
                    const int code = (low[l] >> 2 * (k % 4) & 3) | (blocks[l] >> k & 1) << 2;
                    codes[l] = (int8_t)(factor * (code - 4));
                }
            }
        }
    }
}

void MQ_ISA_NAME(mq_q2_k_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    enum { BLOCK_BYTES = 84, CODES_AT = 16, D_AT = 80, DMIN_AT = 82 };
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, scales += 16, mins += 16) {
        const float d = load_f16(blocks + D_AT), dmin = load_f16(blocks + DMIN_AT);
        for (int j = 0; j < 16; j++) {
            scales[j] = d * (float)(blocks[j] & 15);
            mins[j] = dmin * (float)(blocks[j] >> 4);
        }
#pragma GCC unroll 8 /* shifts by constants */
        for (int k = 0; k < 8; k++, codes += 32)
            for (int l = 0; l < 32; l++)
                codes[l] = blocks[CODES_AT + 32 * (k / 4) + l] >> 2 * (k % 4) & 3;
    }
}
