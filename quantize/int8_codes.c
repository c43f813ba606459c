/*
 * int8_codes.c: blocks -> signed 8-bit codes, for products in integers.
 *
 * weight = scale * code - min, with one scale and one min per 32 weights, both exact in a float: an
 * f16 (11 bits) times at most a 6-bit integer. For the layouts see the codecs' files.
 *
 *     level | code                               | scale | min
 *     q8_0  | as stored                          | d     | 0
 *     q4_k  | as stored, 0..15                   | d s   | dmin m
 *     q3_k  | (32 - s) (code - 4), in -128..124  | -d    | 0
 *
 * q3_k has a scale per 16 weights. It is small enough to go into the code; with its sign turned,
 * the one product beyond int8, (0 - 32) (0 - 4) = 128, becomes -128.
 */
#include "codecs_int.h"
#include "vec16.h"

enum { SUB_WEIGHTS = 32, BLOCK_WEIGHTS = 256 };

/* One integer for four bytes: what follows shifts and masks in each byte alone. */
MQ_INLINE uint32_t load4(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

MQ_INLINE void store4(uint8_t *p, uint32_t u)
{
    memcpy(p, &u, sizeof u);
}

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
    enum { BLOCK_BYTES = 144, DMIN_AT = 2, SCALES_AT = 4, CODES_AT = 16 };
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, scales += 8, mins += 8) {
        const uint32_t low_s = load4(blocks + SCALES_AT), low_m = load4(blocks + SCALES_AT + 4);
        const uint32_t nibbles = load4(blocks + SCALES_AT + 8);
        uint8_t s[8], m[8];
        store4(s, low_s & 0x3f3f3f3fu);
        store4(m, low_m & 0x3f3f3f3fu);
        store4(s + 4, (nibbles & 0x0f0f0f0fu) | (low_s >> 2 & 0x30303030u));
        store4(m + 4, (nibbles >> 4 & 0x0f0f0f0fu) | (low_m >> 2 & 0x30303030u));
        const float d = load_f16(blocks), dmin = load_f16(blocks + DMIN_AT);
        for (int j = 0; j < 8; j++) {
            scales[j] = d * (float)s[j];
            mins[j] = dmin * (float)m[j];
        }
        const uint8_t *packed = blocks + CODES_AT;
        for (int pair = 0; pair < 4; pair++, packed += 32, codes += 64)
            for (int l = 0; l < 32; l++) {
                codes[l] = (int8_t)(packed[l] & 15);
                codes[32 + l] = (int8_t)(packed[l] >> 4);
            }
    }
}

void MQ_ISA_NAME(mq_q3_k_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    enum { BLOCK_BYTES = 110, LOW_AT = 32, SCALES_AT = 96, D_AT = 108 };
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, scales += 8, mins += 8) {
        const uint32_t low0 = load4(blocks + SCALES_AT), low1 = load4(blocks + SCALES_AT + 4);
        const uint32_t high = load4(blocks + SCALES_AT + 8);
        uint8_t s[16];
        store4(s, (low0 & 0x0f0f0f0fu) | (high << 4 & 0x30303030u));
        store4(s + 4, (low1 & 0x0f0f0f0fu) | (high << 2 & 0x30303030u));
        store4(s + 8, (low0 >> 4 & 0x0f0f0f0fu) | (high & 0x30303030u));
        store4(s + 12, (low1 >> 4 & 0x0f0f0f0fu) | (high >> 2 & 0x30303030u));
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
