/*
 * search_int.h: what the searches for scales share.
 *
 * Rounding: v_fma(x, inverse_scale, MQ_MAGIC) leaves round(x / scale) in the low bits of the sum,
 * so clamping the sum clamps the code, and the sum's low byte is the code. The sum needs no bound:
 * what is beyond 2^22 is far outside of the clamp anyway.
 */
#ifndef MQ_SEARCH_INT_H
#define MQ_SEARCH_INT_H

#include "lanes_int.h"

/* The finite halves: a scale must not become infinite, nor vanish while its codes are not 0. */
#define MQ_F16_MAX 65504.0f
#define MQ_F16_MIN 0x1p-24f

/* Weights below this are 0 in every codec; their inverses could overflow. */
#define MQ_WEIGHT_MIN 1e-30f

/* The share of the least-squares shrinkage that the stored scale makes good (see mq_unbias). Found
 * by search/unbias.py, which builds with others; where weights count by importance it is all of it
 * that serves best. */
#ifndef MQ_UNBIAS
#define MQ_UNBIAS 0.75f
#endif
#define MQ_UNBIAS_WEIGHTED 1.0f

/*
 * Transposes 16 rows of 16 weights (rows `stride` apart), clamped to 2^max_exponent, which no block
 * of the codec reaches (26 for Q4_K: 63 * 15 * 65504 < 2^26), so that nothing is lost.
 *
 * The searches' sums of products stay far below FLT_MAX then. The largest is n^2 D of Q5_K:
 *
 *     n = 32 * (sum of 32 products of a weight and a 5-bit code) < 2^(5 + 5 + 27 + 5)
 *     D = 32 * (sum of 32 squares of codes) < 2^20
 *     n^2 D < 2^(2 * 42 + 20) = 2^104
 */
MQ_INLINE void mq_load_lanes(const float *weights, size_t stride, int max_exponent, v16 x[16])
{
    const float max = (float)(1 << max_exponent);
    v_transpose(weights, stride, x);
    for (int i = 0; i < 16; i++)
        x[i] = v_clamp(x[i], -max, max);
}

/*
 * The importance of columns, taken into lanes as the weights x are, for a search that weighs errors
 * by it: w, relative to the largest of the block (`max`, one a lane), and w x. Blocks of which
 * nothing is known have 1 everywhere. Columns and sub-blocks of which nothing is known count
 * MQ_IMPORTANCE_MIN, so that no sum and no determinant of a sub-block vanishes, and floats still
 * hold what such a column adds; and as w is at most 1, no sum exceeds mq_load_lanes' bounds.
 */
#define MQ_IMPORTANCE_MIN 0x1p-20f
MQ_INLINE void mq_weigh(const v16 *x, int n, v16 max, v16 *w, v16 *wx)
{
    const m16 known = v_gt(max, v_set1(MQ_WEIGHT_MIN)); /* else 1 / max could overflow */
    const v16 inverse = v_select(known, v_div(v_set1(1.0f), max), v_zero());
    const v16 least = v_select(known, v_set1(MQ_IMPORTANCE_MIN), v_set1(1.0f));
    for (int i = 0; i < n; i++) {
        w[i] = v_min(v_max(v_mul(w[i], inverse), least), v_set1(1.0f));
        wx[i] = v_mul(w[i], x[i]);
    }
}

MQ_INLINE v16 mq_largest(const v16 *a, int n)
{
    v16 max = a[0];
    for (int i = 1; i < n; i++)
        max = v_max(max, a[i]);
    return max;
}

/* round(x * inverse) clamped to integers lo..hi */
MQ_INLINE v16 mq_codes(v16 x, v16 inverse, float lo, float hi)
{
    const v16 t = v_fma(x, inverse, v_set1(MQ_MAGIC));
    return v_sub(v_clamp(t, MQ_MAGIC + lo, MQ_MAGIC + hi), v_set1(MQ_MAGIC));
}

/* The finite half next to a scale >= 0, and 0 only for 0. */
MQ_INLINE v16 mq_round_scale(v16 scale)
{
    const v16 rounded = v_round_f16(v_clamp(scale, MQ_F16_MIN, MQ_F16_MAX));
    return v_select(v_gt(scale, v_zero()), rounded, v_zero());
}

/* The same for one scale of either sign, to be stored. */
MQ_INLINE uint16_t mq_scale_to_f16(float scale)
{
    const float a = fabsf(scale);
    const float clamped = a < MQ_F16_MIN ? MQ_F16_MIN : a > MQ_F16_MAX ? MQ_F16_MAX : a;
    return a > 0.0f ? mq_f32_to_f16(copysignf(clamped, scale)) : 0;
}

/*
 * A least-squares scale makes the error e orthogonal to the decoded weights q, hence x.e = -|e|^2:
 * what is decoded is the original shrunk by |e|^2 / |x|^2, coherently, plus noise. Since trained
 * rows are aligned with their inputs, the shrinkage costs more than the noise; stretching the scale
 * towards f = |x|^2 / x.q, where it vanishes, lowers the KL divergence of Q3_K by a tenth, and
 * raises the plain error only in second order. Beyond 10 % the block is one that no scale fits; f
 * is bounded there. The sums are weighted by importance where the search's are.
 */
MQ_INLINE v16 mq_unbias(v16 xx, v16 xq, float share)
{
    const v16 f = v_clamp(v_div(xx, v_max(xq, v_set1(MQ_WEIGHT_MIN))), 0.9f, 1.1f);
    return v_fma(v_set1(share), v_sub(f, v_set1(1.0f)), v_set1(1.0f));
}

/* The first lane that holds the smallest value. */
MQ_INLINE int mq_smallest_lane(v16 a)
{
    const v16 smallest = v_set1(-v_max_lane(v_neg(a)));
    return __builtin_ctz(~m_bits(v_gt(a, smallest)));
}

#endif
