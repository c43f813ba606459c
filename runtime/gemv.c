/*
 * gemv.c: a panel's rows, as they lie, times few tokens; compiled once per instruction set.
 *
 * The chains of gemm.c: a lane is a row, and k goes in order. Four columns of eight rows are brought
 * into lanes by halves (row r beside row r + 4, which loads do) and two interleavings of four numbers.
 */
#include "kernels.h"
#include "vec16.h"

enum { LANES = 8, STEP = 4, MOST_TOKENS = 4 };

/* Rows one by one: the reference, and what is left over by blocks. */
static void row_by_row(size_t m, const float *x, size_t ldx, const float *rows, size_t stride,
                       size_t count, size_t k, float *sums)
{
    for (size_t i = 0; i < m; i++)
        for (size_t r = 0; r < count; r++)
            for (size_t kk = 0; kk < k; kk++)
                sums[i * MQ_PANEL + r] =
                    fmaf(x[i * ldx + kk], rows[r * stride + kk], sums[i * MQ_PANEL + r]);
}

#if defined(MQ_USE_AVX512) || defined(MQ_USE_AVX2) || defined(MQ_USE_NEON)
typedef float v8 __attribute__((vector_size(32)));

#if defined(MQ_USE_NEON)
MQ_INLINE v8 halves(const float *lo, const float *hi)
{
    v8 both;
    memcpy(&both, lo, sizeof both / 2);
    memcpy((char *)&both + sizeof both / 2, hi, sizeof both / 2);
    return both;
}
MQ_INLINE v8 fma8(float a, v8 b, v8 c)
{
    float32x4_t w[2], sum[2];
    memcpy(w, &b, sizeof w);
    memcpy(sum, &c, sizeof sum);
    sum[0] = vfmaq_n_f32(sum[0], w[0], a);
    sum[1] = vfmaq_n_f32(sum[1], w[1], a);
    memcpy(&c, sum, sizeof c);
    return c;
}
#else
MQ_INLINE v8 fma8(float a, v8 b, v8 c)
{
    return (v8)_mm256_fmadd_ps(_mm256_set1_ps(a), (__m256)b, (__m256)c);
}
MQ_INLINE v8 halves(const float *lo, const float *hi)
{
    return (v8)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(lo)), _mm_loadu_ps(hi), 1);
}
#endif

/* out[j] = column j of STEP columns of LANES rows. */
MQ_INLINE void columns_of(const float *rows, size_t stride, v8 out[STEP])
{
    v8 a[4];
#pragma GCC unroll 4
    for (size_t r = 0; r < 4; r++)
        a[r] = halves(rows + r * stride, rows + (r + 4) * stride);
    const v8 lo01 = __builtin_shufflevector(a[0], a[1], 0, 8, 1, 9, 4, 12, 5, 13);
    const v8 hi01 = __builtin_shufflevector(a[0], a[1], 2, 10, 3, 11, 6, 14, 7, 15);
    const v8 lo23 = __builtin_shufflevector(a[2], a[3], 0, 8, 1, 9, 4, 12, 5, 13);
    const v8 hi23 = __builtin_shufflevector(a[2], a[3], 2, 10, 3, 11, 6, 14, 7, 15);
    out[0] = __builtin_shufflevector(lo01, lo23, 0, 1, 8, 9, 4, 5, 12, 13);
    out[1] = __builtin_shufflevector(lo01, lo23, 2, 3, 10, 11, 6, 7, 14, 15);
    out[2] = __builtin_shufflevector(hi01, hi23, 0, 1, 8, 9, 4, 5, 12, 13);
    out[3] = __builtin_shufflevector(hi01, hi23, 2, 3, 10, 11, 6, 7, 14, 15);
}

/* m (a constant where this is inlined) tokens by MQ_PANEL rows, onto sums[m][MQ_PANEL]. */
MQ_INLINE void whole(const int m, const float *x, size_t ldx, const float *rows, size_t stride,
                     size_t k, float *sums)
{
    enum { V = MQ_PANEL / LANES };
    v8 sum[MOST_TOKENS][V];
    size_t kk = 0;
    memcpy(sum, sums, (size_t)m * sizeof sum[0]);
    for (; kk + STEP <= k; kk += STEP)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) {
            v8 w[STEP];
            columns_of(rows + (size_t)v * LANES * stride + kk, stride, w);
#pragma GCC unroll 4
            for (size_t j = 0; j < STEP; j++)
#pragma GCC unroll 4
                for (int i = 0; i < m; i++)
                    sum[i][v] = fma8(x[(size_t)i * ldx + kk + j], w[j], sum[i][v]);
        }
    memcpy(sums, sum, (size_t)m * sizeof sum[0]);
    row_by_row((size_t)m, x + kk, ldx, rows + kk, stride, MQ_PANEL, k - kk, sums);
}

static void whole_panel(size_t m, const float *x, size_t ldx, const float *rows, size_t stride,
                        size_t k, float *sums)
{
    if (m == 1)
        whole(1, x, ldx, rows, stride, k, sums);
    else if (m == 2)
        whole(2, x, ldx, rows, stride, k, sums);
    else if (m == 3)
        whole(3, x, ldx, rows, stride, k, sums);
    else
        whole(4, x, ldx, rows, stride, k, sums);
}
#else
static void whole_panel(size_t m, const float *x, size_t ldx, const float *rows, size_t stride,
                        size_t k, float *sums)
{
    row_by_row(m, x, ldx, rows, stride, MQ_PANEL, k, sums);
}
#endif

void MQ_ISA_NAME(mq_gemv_multiply_rows)(const float *x, size_t ldx, size_t m, const float *rows,
                                        size_t stride, size_t count, size_t k, float *y, size_t ldy,
                                        bool resume)
{
    float sums[MOST_TOKENS * MQ_PANEL] = {0};
    for (size_t i = 0; resume && i < m; i++)
        memcpy(sums + i * MQ_PANEL, y + i * ldy, count * sizeof(float));
    if (count == MQ_PANEL)
        whole_panel(m, x, ldx, rows, stride, k, sums);
    else /* the last rows of a matrix */
        row_by_row(m, x, ldx, rows, stride, count, k, sums);
    for (size_t i = 0; i < m; i++)
        memcpy(y + i * ldy, sums + i * MQ_PANEL, count * sizeof(float));
}
