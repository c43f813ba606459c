/*
 * six_bit_int.h: what the layouts of Q4_K and Q5_K share.
 *
 * Both begin with f16 d | f16 dmin | u8 scales[12]; the latter hold eight pairs of 6 bits:
 *
 *     byte j     (j < 4):  low 6 bits: scale j                high 2 bits: of scale j + 4
 *     byte j + 4 (j < 4):  low 6 bits: minimum j              high 2 bits: of minimum j + 4
 *     byte j + 8 (j < 4):  low 4 bits: of scale j + 4         high 4 bits: of minimum j + 4
 *
 * Both have u8 low[128] with the low four bits of the codes: sub-blocks 2c and 2c + 1 are the low
 * and the high nibbles of low[32c .. 32c+31].
 */
#ifndef MQ_SIX_BIT_INT_H
#define MQ_SIX_BIT_INT_H

#include "lanes_int.h"

enum { MQ_SIX_BIT_DMIN_AT = 2, MQ_SIX_BIT_AT = 4, MQ_SIX_BIT_END = 16 };

MQ_INLINE void mq_six_bit_pack(const uint8_t s[8], const uint8_t m[8], uint8_t packed[12])
{
    const uint32_t s0 = mq_load4(s), s4 = mq_load4(s + 4), m0 = mq_load4(m), m4 = mq_load4(m + 4);
    mq_store4(packed, s0 | (s4 << 2 & 0xc0c0c0c0u));
    mq_store4(packed + 4, m0 | (m4 << 2 & 0xc0c0c0c0u));
    mq_store4(packed + 8, (s4 & 0x0f0f0f0fu) | (m4 << 4 & 0xf0f0f0f0u));
}

MQ_INLINE void mq_six_bit_unpack(const uint8_t packed[12], uint8_t s[8], uint8_t m[8])
{
    const uint32_t low_s = mq_load4(packed), low_m = mq_load4(packed + 4);
    const uint32_t nibbles = mq_load4(packed + 8);
    mq_store4(s, low_s & 0x3f3f3f3fu);
    mq_store4(m, low_m & 0x3f3f3f3fu);
    mq_store4(s + 4, (nibbles & 0x0f0f0f0fu) | (low_s >> 2 & 0x30303030u));
    mq_store4(m + 4, (nibbles >> 4 & 0x0f0f0f0fu) | (low_m >> 2 & 0x30303030u));
}

/* The head of a block, from what a search of affine_int.h leaves. */
MQ_INLINE void mq_six_bit_head(const uint8_t d[2], const uint8_t dmin[2], const uint8_t s[8],
                               const uint8_t m[8], uint8_t *block)
{
    memcpy(block, d, 2);
    memcpy(block + MQ_SIX_BIT_DMIN_AT, dmin, 2);
    mq_six_bit_pack(s, m, block + MQ_SIX_BIT_AT);
}

/* 16 bytes of `low`: halves of two sub-blocks that stand one after the other. */
MQ_INLINE void mq_pack_nibbles(const uint8_t codes[32], uint8_t low[16])
{
    uint8_t pairs[16]; /* apart, as the compiler must fear that `low` is one of `codes` */
    for (int i = 0; i < 16; i++)
        pairs[i] = (uint8_t)((codes[i] & 15) | codes[16 + i] << 4);
    memcpy(low, pairs, sizeof pairs);
}

/* d s and dmin m of the eight sub-blocks. */
MQ_INLINE void mq_six_bit_scales(const uint8_t *block, float scales[8], float mins[8])
{
    uint8_t six_bit[16]; /* scales, then minima */
    mq_six_bit_unpack(block + MQ_SIX_BIT_AT, six_bit, six_bit + 8);
    float both[16];
    const v16 d = v_join(v_set1_f16(block), v_set1_f16(block + MQ_SIX_BIT_DMIN_AT));
    v_store(both, v_mul(d, v_from_u8(six_bit)));
    memcpy(scales, both, 8 * sizeof *scales);
    memcpy(mins, both + 8, 8 * sizeof *mins);
}

/* The weights of a block with these codes: d s code - dmin m. */
MQ_INLINE void mq_six_bit_decode(const uint8_t *block, const uint8_t codes[256], float *weights)
{
    float scales[8], mins[8];
    mq_six_bit_scales(block, scales, mins);
    for (int i = 0; i < 16; i++) {
        const v16 scale = v_set1(scales[i / 2]), min = v_set1(mins[i / 2]);
        v_store(weights + 16 * i, v_sub(v_mul(scale, v_from_u8(codes + 16 * i)), min));
    }
}

#endif
