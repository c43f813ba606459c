/*
 * feedback_lanes_int.h: sums of products, for 16 rows side by side.
 *
 * Vectors over columns are arrays [column][16], or of v16; matrices over them are row-major.
 */
#ifndef MQ_FEEDBACK_LANES_INT_H
#define MQ_FEEDBACK_LANES_INT_H

#include "feedback_kernels.h"

#include "search_int.h"

#define MQ_LANES_STATIC static __attribute__((unused))

enum { SUB_MOST = 32 };

/* Columns whose vectors are kept in registers at a time. */
#if defined(MQ_USE_AVX512)
enum { KEPT = 16 };
#else
enum { KEPT = 4 };
#endif

/*
 * y[c] += sum over i < count of v[i] m(i, c), for columns from..to, where m(i, c) = m[i * down + c * right] with
 * either 1. Each sum is one chain over i.
 */
MQ_INLINE void add_product(const v16 *v, size_t count, const float *m, size_t down, size_t right,
                           size_t from, size_t to, float *y)
{
    size_t c = from;
    for (; c + KEPT <= to; c += KEPT) {
        v16 sum[KEPT];
        MQ_UNROLL(16)
        for (int k = 0; k < KEPT; k++)
            sum[k] = v_load(y + 16 * (c + (size_t)k));
        for (size_t i = 0; i < count; i++) {
            const float *at = m + i * down + c * right;
            const v16 factor = v[i];
            MQ_UNROLL(16)
            for (int k = 0; k < KEPT; k++)
                sum[k] = v_fma(factor, v_set1(at[(size_t)k * right]), sum[k]);
        }
        MQ_UNROLL(16)
        for (int k = 0; k < KEPT; k++)
            v_store(y + 16 * (c + (size_t)k), sum[k]);
    }
    for (; c < to; c++) {
        v16 sum = v_load(y + 16 * c);
        for (size_t i = 0; i < count; i++)
            sum = v_fma(v[i], v_set1(m[i * down + c * right]), sum);
        v_store(y + 16 * c, sum);
    }
}

MQ_LANES_STATIC void add_rows(const v16 *v, size_t count, const float *m, size_t ldm, size_t from,
                              size_t to, float *y)
{
    add_product(v, count, m, ldm, 1, from, to, y);
}

MQ_LANES_STATIC void add_columns(const v16 *v, size_t count, const float *m, size_t ldm,
                                 size_t from, size_t to, float *y)
{
    add_product(v, count, m, 1, ldm, from, to, y);
}

MQ_INLINE v16 inverse_or_zero(v16 a)
{
    const m16 usable = v_gt(v_abs(a), v_set1(MQ_WEIGHT_MIN));
    return v_select(usable, v_div(v_set1(1.0f), v_select(usable, a, v_set1(1.0f))), v_zero());
}

MQ_INLINE v16 clamp_between(v16 x, int lo, int hi)
{
    return v_clamp(x, (float)lo, (float)hi);
}

/* feedback_triangles.c: as in mq_feedback_kernels. */
bool MQ_ISA_NAME(mq_feedback_factor)(float *a, size_t lda, size_t n, float *D);
void MQ_ISA_NAME(mq_feedback_solve_back)(float *v, const float *f, size_t ldf, size_t columns);
void MQ_ISA_NAME(mq_feedback_solve_on)(float *v, const float *f, size_t ldf, size_t columns);

/* q changes by -minus[i] in `count` columns from `begin` on: g follows in columns from..to. */
MQ_INLINE void follow(const v16 *minus, size_t count, size_t begin, const float *h, size_t ldh,
                      size_t from, size_t to, float *g)
{
    add_rows(minus, count, h + begin * ldh, ldh, from, to, g);
}

#endif
