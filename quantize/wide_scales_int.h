/*
 * wide_scales_int.h: what the levels of other runtimes share, whose scales are bf16 or f32: their range is that of
 * floats, so weights of any size are held.
 *
 * Searches see weights times a power of two, one for each group, that brings the largest to 1..2: sums are of that
 * size then whatever the weights', and rounding a scale to bf16 is the same.
 */
#ifndef MQ_WIDE_SCALES_INT_H
#define MQ_WIDE_SCALES_INT_H

#include "search_int.h"

/* Larger weights are taken as this: scales and what they decode to stay finite, if a search goes eight times as far. */
#define MQ_WIDE_MAX 0x1p125f

/* The power of two at or below `largest`, and 0 for what counts as 0. */
MQ_INLINE float mq_power_below(float largest)
{
    uint32_t bits;
    float power;
    memcpy(&bits, &largest, sizeof bits);
    bits &= UINT32_C(0x7f800000);
    memcpy(&power, &bits, sizeof power);
    return largest > MQ_WEIGHT_MIN ? power : 0.0f;
}

/* 1 / power, and 0 for 0. */
MQ_INLINE float mq_inverse_power(float power)
{
    uint32_t bits;
    memcpy(&bits, &power, sizeof bits);
    bits = power > 0.0f ? (UINT32_C(254) << 23) - bits : 0;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* Both for every lane. */
MQ_INLINE v16 mq_powers_below(v16 largest, v16 *inverse)
{
    float p[16], q[16];
    v_store(p, largest);
    for (int i = 0; i < 16; i++) {
        p[i] = mq_power_below(p[i]);
        q[i] = mq_inverse_power(p[i]);
    }
    *inverse = v_load(q);
    return v_load(p);
}

MQ_INLINE v16 mq_round_bf16(v16 a)
{
    uint8_t halves[32];
    v_store_bf16(halves, a);
    return v_load_bf16(halves);
}

/* The next of bf16's values, away from 0: n steps up, or down. `a` is one of them, and not near an end of their range. */
MQ_INLINE v16 mq_step_bf16(v16 a, int n)
{
    float f[16];
    v_store(f, a);
    for (int i = 0; i < 16; i++) {
        uint32_t bits;
        memcpy(&bits, &f[i], sizeof bits);
        bits += (uint32_t)n << 16;
        memcpy(&f[i], &bits, sizeof bits);
    }
    return v_load(f);
}

MQ_INLINE float mq_bf16_at(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return mq_bf16_to_f32(half);
}

/* Loads 16 groups of n weights, n a multiple of 16, that stand one after the other: one a lane, brought near 1. The
 * powers that they were divided by. */
MQ_INLINE v16 mq_load_groups(const float *weights, size_t n, v16 *x)
{
    v16 largest = v_zero(), inverse;
    for (size_t i = 0; i < n; i += 16)
        v_transpose(weights + i, n, x + i);
    for (size_t i = 0; i < n; i++) {
        x[i] = v_clamp(x[i], -MQ_WIDE_MAX, MQ_WIDE_MAX);
        largest = v_max(largest, v_abs(x[i]));
    }
    const v16 power = mq_powers_below(largest, &inverse);
    for (size_t i = 0; i < n; i++)
        x[i] = v_mul(x[i], inverse);
    return power;
}

/* The importance of the same columns: w and w x (mq_weigh). */
MQ_INLINE void mq_load_importance(const float *importance, size_t n, const v16 *x, v16 *w, v16 *wx)
{
    for (size_t i = 0; i < n; i += 16)
        v_transpose(importance + i, n, w + i);
    mq_weigh(x, (int)n, mq_largest(w, (int)n), w, wx);
}

#endif
