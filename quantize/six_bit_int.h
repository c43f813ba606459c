/*
 * six_bit_int.h: what the layouts of Q4_K and Q5_K share.
 *
 * Both begin with f16 d | f16 dmin | u8 scales[12]; the latter hold eight pairs of 6 bits:
 *
 *     byte j     (j < 4):  low 6 bits: scale j            high 2 bits: those of scale j + 4
 *     byte j + 4 (j < 4):  low 6 bits: minimum j          high 2 bits: those of minimum j + 4
 *     byte j + 8 (j < 4):  low 4 bits: those of scale j + 4, high 4 bits: those of minimum j + 4
 */
#ifndef MQ_SIX_BIT_INT_H
#define MQ_SIX_BIT_INT_H

#include "lanes_int.h"

enum { MQ_SIX_BIT_DMIN_AT = 2, MQ_SIX_BIT_AT = 4, MQ_SIX_BIT_END = 16 };

/* One integer for four bytes: what follows shifts and masks in each byte alone. */
MQ_INLINE uint32_t mq_load4(const uint8_t *p)
{
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

MQ_INLINE void mq_store4(uint8_t *p, uint32_t u)
{
    memcpy(p, &u, sizeof u);
}

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

/* The weights of a block with these codes: d s code - dmin m. */
MQ_INLINE void mq_six_bit_decode(const uint8_t *block, const uint8_t codes[256], float *weights)
{
    uint8_t six_bit[16]; /* scales, then minima */
    mq_six_bit_unpack(block + MQ_SIX_BIT_AT, six_bit, six_bit + 8);
    float scales[16]; /* d s, then dmin m */
    const v16 d = v_join(v_set1_f16(block), v_set1_f16(block + MQ_SIX_BIT_DMIN_AT));
    v_store(scales, v_mul(d, v_from_u8(six_bit)));
    for (int i = 0; i < 16; i++) {
        const v16 scale = v_set1(scales[i / 2]), min = v_set1(scales[8 + i / 2]);
        v_store(weights + 16 * i, v_sub(v_mul(scale, v_from_u8(codes + 16 * i)), min));
    }
}

/* The same scales and minima one by one, for products in integers. */
MQ_INLINE void mq_six_bit_scales(const uint8_t *block, float scales[8], float mins[8])
{
    uint8_t s[8], m[8];
    mq_six_bit_unpack(block + MQ_SIX_BIT_AT, s, m);
    uint16_t halves[2];
    memcpy(halves, block, sizeof halves);
    const float d = mq_f16_to_f32(halves[0]), dmin = mq_f16_to_f32(halves[1]);
    for (int j = 0; j < 8; j++) {
        scales[j] = d * (float)s[j];
        mins[j] = dmin * (float)m[j];
    }
}

#endif
