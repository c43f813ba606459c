/*
 * iq_blocks.c: decoders of GGML's types with codebooks, and of its ternary ones. Blocks of 256 weights:
 *
 *     iq1_s,    50 B:  f16 d | u8 q[32] | u16 h[8]                              groups of 8, scales of 32
 *     iq1_m,    56 B:          u8 q[32] | u8 h[16] | u16 s[4]                   groups of 8, scales of 16
 *     iq2_xxs,  66 B:  f16 d | { u8 q[4] | u32 s }[8]                           groups of 8, scales of 32
 *     iq2_xs,   74 B:  f16 d | u16 q[32] | u8 s[8]                              groups of 8, scales of 16
 *     iq2_s,    82 B:  f16 d | u8 q[32] | u8 signs[32] | u8 h[8] | u8 s[8]      groups of 8, scales of 16
 *     iq3_xxs,  98 B:  f16 d | u8 q[64] | u32 s[8]                              groups of 4, scales of 32
 *     iq3_s,   110 B:  f16 d | u8 q[64] | u8 h[8] | u8 signs[32] | u8 s[4]      groups of 4, scales of 32
 *     tq1_0,    54 B:          u8 q[48] | u8 h[4] | f16 d
 *     tq2_0,    66 B:          u8 q[64] | f16 d
 *
 * A group's entry in the codebook (iq_grids.h) has its number's low bits in q and the rest in h (of iq2_xs: all nine
 * in the low bits of q). With its scale s, a number of 3 or 4 bits:
 *
 *     iq2_*            weight = d (s + 1/2) / 4 (+-magnitude)
 *     iq3_xxs          weight = d (s + 1/2) / 2 (+-magnitude)
 *     iq3_s            weight = d (2 s + 1) (+-magnitude)
 *     iq1_*            weight = d (2 s + 1) (t - 1 +- 1/8), t of 0, 1, 2; one sign of the 1/8 for all of a group
 *                      (iq1_m) or of a sub-block (iq1_s)
 *     tq*              weight = d (t - 1)
 *
 * Where signs have seven bits for eight weights, the number of minus signs is even. Which bits are where: below. All
 * these products are exact in floats, so their order is free. Source of the layouts: ggml-common.h.
 */
#include "codecs_int.h"
#include "iq_grids.h"
#include "lanes_int.h"

enum { BLOCK = 256 };

#define EACH_BYTE UINT64_C(0x0101010101010101)

MQ_INLINE float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return mq_f16_to_f32(h);
}

MQ_INLINE unsigned load2(const uint8_t *p)
{
    uint16_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

/* ---- groups of eight ---- */

/* The magnitudes, negated where a bit of `signs` is set. Each byte gets the bits, keeps its own, and carries it,
 * whichever it is, to the top by adding 0x7f. Minus a magnitude is its complement and 1: no byte carries. */
MQ_INLINE void put_signed(uint64_t magnitudes, unsigned signs, int8_t *codes)
{
    const uint64_t own = signs * EACH_BYTE & UINT64_C(0x8040201008040201);
    const uint64_t minus = (own + 0x7f * EACH_BYTE) >> 7 & EACH_BYTE;
    const uint64_t eight = (magnitudes ^ minus * 255) + minus;
    memcpy(codes, &eight, sizeof eight);
}

/* Eight signs of seven bits: an even number of them is minus. */
MQ_INLINE unsigned even_signs(unsigned seven)
{
    unsigned parity = seven ^ seven >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return seven | (parity & 1) << 7;
}

/* 8 (t - 1) + 1, or - 1 where `minus`: bytes with their top bits set lend nothing to each other. */
MQ_INLINE void put_ternary(uint64_t eight_t, bool minus, int8_t *codes)
{
    const uint64_t zero = minus ? 9 * EACH_BYTE : 7 * EACH_BYTE;
    const uint64_t eight = ((eight_t | 0x80 * EACH_BYTE) - zero) ^ 0x80 * EACH_BYTE;
    memcpy(codes, &eight, sizeof eight);
}

MQ_INLINE void iq2_xxs_block(const uint8_t *block, int8_t *codes, float *scales)
{
    const float d = half_at(block);
    for (int i = 0; i < 8; i++) {
        const uint8_t *q = block + 2 + 8 * i;
        const uint32_t s = mq_load4(q + 4);
        scales[i] = d * (0.5f + (float)(s >> 28)) * 0.25f;
        for (int g = 0; g < 4; g++, codes += 8)
            put_signed(mq_iq2_xxs_grid[q[g]], even_signs(s >> 7 * g & 127), codes);
    }
}

MQ_INLINE void iq2_xs_block(const uint8_t *block, int8_t *codes, float *scales)
{
    const float d = half_at(block);
    for (int i = 0; i < 16; i++)
        scales[i] = d * (0.5f + (float)(block[66 + i / 2] >> 4 * (i % 2) & 15)) * 0.25f;
    for (int g = 0; g < 32; g++, codes += 8) {
        const unsigned q = load2(block + 2 + 2 * g);
        put_signed(mq_iq2_xs_grid[q & 511], even_signs(q >> 9), codes);
    }
}

MQ_INLINE void iq2_s_block(const uint8_t *block, int8_t *codes, float *scales)
{
    const float d = half_at(block);
    const uint8_t *q = block + 2, *signs = q + 32, *h = signs + 32, *s = h + 8;
    for (int i = 0; i < 16; i++)
        scales[i] = d * (0.5f + (float)(s[i / 2] >> 4 * (i % 2) & 15)) * 0.25f;
    for (int g = 0; g < 32; g++, codes += 8)
        put_signed(mq_iq2_s_grid[q[g] | (h[g / 4] >> 2 * (g % 4) & 3) << 8], signs[g], codes);
}

MQ_INLINE void iq3_xxs_block(const uint8_t *block, int8_t *codes, float *scales)
{
    const float d = half_at(block);
    const uint8_t *q = block + 2;
    for (int i = 0; i < 8; i++) {
        const uint32_t s = mq_load4(block + 66 + 4 * i);
        scales[i] = d * (0.5f + (float)(s >> 28)) * 0.5f;
        for (int g = 0; g < 4; g++, codes += 8, q += 2) {
            const uint64_t high = mq_iq3_xxs_grid[q[1]];
            put_signed(mq_iq3_xxs_grid[q[0]] | high << 32, even_signs(s >> 7 * g & 127), codes);
        }
    }
}

MQ_INLINE void iq3_s_block(const uint8_t *block, int8_t *codes, float *scales)
{
    const float d = half_at(block);
    const uint8_t *q = block + 2, *h = q + 64, *signs = h + 8, *s = signs + 32;
    for (int i = 0; i < 8; i++)
        scales[i] = d * (float)(1 + 2 * (s[i / 2] >> 4 * (i % 2) & 15));
    for (int g = 0; g < 32; g++, codes += 8) {
        const unsigned bits = h[g / 4] >> 2 * (g % 4);
        const uint64_t high = mq_iq3_s_grid[q[2 * g + 1] | (bits & 2) << 7];
        put_signed(mq_iq3_s_grid[q[2 * g] | (bits & 1) << 8] | high << 32, signs[g], codes);
    }
}

MQ_INLINE void iq1_s_block(const uint8_t *block, int8_t *codes, float *scales)
{
    const float d = half_at(block) * 0.125f;
    const uint8_t *q = block + 2;
    for (int i = 0; i < 8; i++, q += 4) {
        const unsigned h = load2(block + 34 + 2 * i);
        scales[i] = d * (float)(2 * (h >> 12 & 7) + 1);
        for (int g = 0; g < 4; g++, codes += 8)
            put_ternary(mq_iq1_s_grid[q[g] | (h >> 3 * g & 7) << 8], h >> 15, codes);
    }
}

/* The bits of d are the high four of the four s, those of the first lowest. */
MQ_INLINE void iq1_m_block(const uint8_t *block, int8_t *codes, float *scales)
{
    const uint8_t *q = block, *h = q + 32, *s = h + 16;
    unsigned bits = 0;
    for (int i = 0; i < 4; i++)
        bits |= load2(s + 2 * i) >> 12 << 4 * i;
    const float d = mq_f16_to_f32((uint16_t)bits) * 0.125f;
    for (int i = 0; i < 16; i++)
        scales[i] = d * (float)(2 * (load2(s + 2 * (i / 4)) >> 3 * (i % 4) & 7) + 1);
    for (int g = 0; g < 32; g++, codes += 8) {
        const unsigned nibble = h[g / 2] >> 4 * (g % 2) & 15;
        put_ternary(mq_iq1_s_grid[q[g] | (nibble & 7) << 8], nibble >> 3, codes);
    }
}

/* ---- ternary ---- */

/* n digits to the base 3 of each of `count` bytes: a byte is 256/243 times the five digits as a number, rounded up, so
 * multiplying by 3 brings the digit that is next in size above the byte. */
MQ_INLINE void put_digits(const uint8_t *bytes, int count, int n, int8_t *codes)
{
    static const uint8_t powers[5] = {1, 3, 9, 27, 81};
    for (int i = 0; i < n; i++)
        for (int l = 0; l < count; l++)
            codes[i * count + l] = (int8_t)(((uint8_t)(bytes[l] * powers[i]) * 3 >> 8) - 1);
}

MQ_INLINE void tq1_0_block(const uint8_t *block, int8_t *codes, float *scales)
{
    put_digits(block, 32, 5, codes);
    put_digits(block + 32, 16, 5, codes + 160);
    put_digits(block + 48, 4, 4, codes + 240);
    for (int i = 0; i < 8; i++)
        scales[i] = half_at(block + 52);
}

MQ_INLINE void tq2_0_block(const uint8_t *block, int8_t *codes, float *scales)
{
    for (int half = 0; half < 2; half++)
        for (int j = 0; j < 4; j++)
            for (int l = 0; l < 32; l++)
                codes[128 * half + 32 * j + l] = (int8_t)((block[32 * half + l] >> 2 * j & 3) - 1);
    for (int i = 0; i < 8; i++)
        scales[i] = half_at(block + 64);
}

/* ---- rows of blocks ---- */

#define LEVEL(level, block_bytes, group)                                                    \
    void MQ_ISA_NAME(mq_##level##_decode)(const uint8_t *blocks, size_t n, float *weights)  \
    {                                                                                       \
        for (; n; n -= BLOCK, blocks += (block_bytes)) {                                    \
            int8_t codes[BLOCK];                                                            \
            float scales[BLOCK / (group)];                                                  \
            level##_block(blocks, codes, scales);                                           \
            for (int i = 0; i < BLOCK; i += 16, weights += 16)                              \
                v_store(weights, v_mul(v_set1(scales[i / (group)]), v_from_i8(codes + i))); \
        }                                                                                   \
    }                                                                                       \
    void MQ_ISA_NAME(mq_##level##_unpack)(const uint8_t *blocks, size_t n, int8_t *codes,   \
                                          float *scales, float *mins)                       \
    {                                                                                       \
        memset(mins, 0, n / (group) * sizeof *mins);                                        \
        for (; n; n -= BLOCK, blocks += (block_bytes), codes += BLOCK) {                    \
            level##_block(blocks, codes, scales);                                           \
            scales += BLOCK / (group);                                                      \
        }                                                                                   \
    }
LEVEL(iq1_s, 50, 32)
LEVEL(iq1_m, 56, 16)
LEVEL(iq2_xxs, 66, 32)
LEVEL(iq2_xs, 74, 16)
LEVEL(iq2_s, 82, 16)
LEVEL(iq3_xxs, 98, 32)
LEVEL(iq3_s, 110, 32)
LEVEL(tq1_0, 54, 32)
LEVEL(tq2_0, 66, 32)
