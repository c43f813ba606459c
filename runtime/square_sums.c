/* square_sums.c: sums of squares, for observers. Compiled once per instruction set. */
#include "exact_sum.h"
#include "kernels.h"
#include "vec16.h"

void MQ_ISA_NAME(mq_column_squares)(const float *restrict x, size_t ldx, size_t rows, size_t n,
                                    double *restrict sums)
{
    enum { LANES = 16 };
    size_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        double s[LANES];
        for (size_t l = 0; l < LANES; l++)
            s[l] = sums[j + l];
        for (size_t i = 0; i < rows; i++)
            for (size_t l = 0; l < LANES; l++) {
                const double v = (double)x[i * ldx + j + l];
                s[l] += v * v; /* the product is exact */
            }
        for (size_t l = 0; l < LANES; l++)
            sums[j + l] = s[l];
    }
    for (; j < n; j++)
        for (size_t i = 0; i < rows; i++) {
            const double v = (double)x[i * ldx + j];
            sums[j] += v * v;
        }
}

/* In double, as long as that is exact: 64 numbers of at most 2^39 are below 2^45, 53 bits above 2^-8. */
void MQ_ISA_NAME(mq_exact_squares)(const float *x, size_t ldx, size_t rows, size_t n,
                                   int64_t sum[2])
{
    enum { LANES = 16, FEW = 64 };
    for (size_t first = 0; first < rows; first += FEW) {
        const size_t end = rows - first < FEW ? rows : first + FEW;
        for (size_t j = 0; j < n; j += LANES) {
            const size_t lanes = n - j < LANES ? n - j : LANES;
            double units[LANES] = {0}, fines[LANES] = {0};
            for (size_t i = first; i < end; i++) {
                float v[LANES] = {0};
                double unit, fine;
                for (size_t l = 0; l < lanes; l++)
                    v[l] = x[i * ldx + j + l];
                for (size_t l = 0; l < LANES; l++) {
                    mq_exact_split((double)v[l] * (double)v[l], &unit, &fine);
                    units[l] += unit;
                    fines[l] += fine;
                }
            }
            for (size_t l = 0; l < LANES; l++) {
                sum[0] += (int64_t)(units[l] * (1 << MQ_EXACT_UNIT_BITS));
                sum[1] += (int64_t)(fines[l] * (double)(INT64_C(1) << MQ_EXACT_FINE_BITS));
            }
        }
    }
}
