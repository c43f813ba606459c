/*
 * weights_int.h: the importance of columns as weights of the IQ searches' sums, and what is done with the
 * scale that these end with.
 */
#ifndef MQ_WEIGHTS_INT_H
#define MQ_WEIGHTS_INT_H

#include "search_int.h"

/* Weights of n columns, n a multiple of 16: their importance relative to the largest of a block, so that no
 * sum overflows, and never 0 (mq_weigh, of which this is the form for a block that is not in lanes). All 1 where
 * nothing is known of the block. */
MQ_INLINE void mq_importance_weights(const float *importance, int n, float *weights)
{
    v16 max = v_zero();
    for (int i = 0; importance && i < n; i += 16)
        max = v_max(max, v_load(importance + i));
    const float largest = v_max_lane(max);
    const v16 inverse = v_set1(largest > MQ_WEIGHT_MIN ? 1.0f / largest : 0.0f);
    for (int i = 0; i < n; i += 16)
        v_store(weights + i,
                largest > MQ_WEIGHT_MIN
                    ? v_clamp(v_mul(v_load(importance + i), inverse), MQ_IMPORTANCE_MIN, 1.0f)
                    : v_set1(1.0f));
}

/* The least-squares scale xq / qq stretched, see mq_unbias: by more of the shrinkage where the sums are weighted by
 * importance. At 2 bits a block may shrink by a tenth and more, hence the wider bounds. */
MQ_INLINE float mq_unbiased_scale(float xx, float xq, float qq, bool weighted)
{
    if (!(xq * xq > 0.0f) || !(qq > 0.0f))
        return 0.0f;
    const float d = xq / qq, f = xx / (d * xq);
    const float bounded = f < 0.8f ? 0.8f : f > 1.25f ? 1.25f : f;
    return d * (1.0f + (weighted ? MQ_UNBIAS_WEIGHTED : MQ_UNBIAS) * (bounded - 1.0f));
}

#endif
