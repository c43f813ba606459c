/*
 * iq4.c: GGML's IQ4_NL and IQ4_XS: 4-bit codes that stand for sixteen values, closer to each other near 0.
 *
 *     iq4_nl,  18 B of 32:    f16 d | u8 q[16]                           weight = d value(code)
 *     iq4_xs, 136 B of 256:   f16 d | u16 h | u8 s[4] | u8 q[128]        weight = d (scale - 32) value(code)
 *
 * Weights l and l + 16 of each 32 have their codes in the low and the high nibble of q[l]. Sub-block j of 32 has the low
 * four bits of its scale in a nibble of s[j / 2], the low one where j is even, and the high two in bits 2j, 2j+1 of h.
 */
#include "codecs_int.h"
#include "iq_grids.h"
#include "lanes_int.h"

enum { NL_BLOCK = 32, NL_BYTES = 18, XS_BLOCK = 256, XS_BYTES = 136, SUB = 32, SUBS = 8 };

MQ_INLINE float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return mq_f16_to_f32(h);
}

MQ_INLINE void look_up(const uint8_t *q, int8_t codes[SUB])
{
    static const int8_t values[16] = {MQ_IQ4_VALUES};
    for (int l = 0; l < SUB / 2; l++) {
        codes[l] = values[q[l] & 15];
        codes[l + SUB / 2] = values[q[l] >> 4];
    }
}

MQ_INLINE void xs_scales(const uint8_t *block, float scales[SUBS])
{
    const float d = half_at(block);
    uint16_t h;
    memcpy(&h, block + 2, sizeof h);
    for (int j = 0; j < SUBS; j++) {
        const int low = block[4 + j / 2] >> 4 * (j % 2) & 15, high = h >> 2 * j & 3;
        scales[j] = d * (float)((low | high << 4) - 32);
    }
}

/* Sub-blocks of 32 with a scale each, a block at a time. */
MQ_INLINE void scale_codes(const int8_t *codes, const float *scales, int count, float *weights)
{
    for (int i = 0; i < 2 * count; i++)
        v_store(weights + 16 * i, v_mul(v_set1(scales[i / 2]), v_from_i8(codes + 16 * i)));
}

void MQ_ISA_NAME(mq_iq4_nl_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                   float *mins)
{
    for (size_t b = 0; b < n / NL_BLOCK; b++, blocks += NL_BYTES) {
        scales[b] = half_at(blocks);
        mins[b] = 0;
        look_up(blocks + 2, codes + NL_BLOCK * b);
    }
}

void MQ_ISA_NAME(mq_iq4_nl_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= NL_BLOCK, blocks += NL_BYTES, weights += NL_BLOCK) {
        int8_t codes[SUB];
        const float d = half_at(blocks);
        look_up(blocks + 2, codes);
        scale_codes(codes, &d, 1, weights);
    }
}

void MQ_ISA_NAME(mq_iq4_xs_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                   float *mins)
{
    memset(mins, 0, n / SUB * sizeof *mins);
    for (; n; n -= XS_BLOCK, blocks += XS_BYTES, scales += SUBS) {
        xs_scales(blocks, scales);
        for (int j = 0; j < SUBS; j++, codes += SUB)
            look_up(blocks + 8 + 16 * j, codes);
    }
}

void MQ_ISA_NAME(mq_iq4_xs_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= XS_BLOCK, blocks += XS_BYTES, weights += XS_BLOCK) {
        int8_t codes[XS_BLOCK];
        float scales[SUBS];
        xs_scales(blocks, scales);
        for (int j = 0; j < SUBS; j++)
            look_up(blocks + 8 + 16 * j, codes + SUB * j);
        scale_codes(codes, scales, SUBS, weights);
    }
}
