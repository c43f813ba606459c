/* f16.h: IEEE half and bfloat16 <-> float, one value at a time, the same bits as the hardware's. */
#ifndef MQ_F16_H
#define MQ_F16_H

#include <stdint.h>
#include <string.h>

static inline uint32_t mq_float_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float mq_bits_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float mq_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t exponent = h >> 10 & 31u, fraction = h & 0x3ffu;
    if (exponent == 31) /* infinity; NaNs come out quiet, as vcvtph2ps makes them */
        return mq_bits_float(sign | 0x7f800000u | (fraction ? fraction << 13 | 0x400000u : 0));
    if (exponent == 0) { /* zero and subnormals: fraction 2^-24, exact in a float */
        const float x = (float)fraction * 0x1p-24f;
        return sign ? -x : x;
    }
    return mq_bits_float(sign | (exponent + 112) << 23 | fraction << 13);
}

/* Rounds to nearest, ties to even; beyond 65504 (after rounding) gives infinity. */
static inline uint16_t mq_f32_to_f16(float x)
{
    const uint32_t u = mq_float_bits(x), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a >= 0x7f800000u) /* infinity, NaN (quiet, keeping the top of its payload) */
        return (uint16_t)(sign | 0x7c00u | (a > 0x7f800000u ? 0x200u | (a >> 13 & 0x3ffu) : 0));
    if (a >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* below 2^-14: adding 0.5 aligns the fraction to 2^-24 and rounds it */
        const float shifted = mq_bits_float(a) + 0.5f;
        return (uint16_t)(sign | (mq_float_bits(shifted) - 0x3f000000u));
    }
    const uint32_t odd = a >> 13 & 1u;
    return (uint16_t)(sign | ((a + 0xfffu + odd - 0x38000000u) >> 13));
}

static inline float mq_bf16_to_f32(uint16_t b)
{
    return mq_bits_float((uint32_t)b << 16);
}

/* Rounds to nearest, ties to even; NaNs stay NaNs (quiet). */
static inline uint16_t mq_f32_to_bf16(float x)
{
    const uint32_t u = mq_float_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

#endif
