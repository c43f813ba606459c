/* square_sums.c: sums of squares, for observers. Compiled once per instruction set. */
#include "exact_sum.h"
#include "kernels.h"
#include "vec16.h"

enum { LANES = 16, FEW = 64 };

/* The squares of `rows` <= FEW numbers in each of `lanes` <= LANES columns. In double, as long as that is
 * exact: FEW numbers of at most 2^39 are below 2^45, 53 bits above 2^-8. */
static inline void add_few(const float *x, size_t ldx, size_t rows, size_t lanes,
                           double *restrict units, double *restrict fines)
{
    for (size_t i = 0; i < rows; i++) {
        float v[LANES] = {0};
        double unit, fine;
        for (size_t l = 0; l < lanes; l++)
            v[l] = x[i * ldx + l];
        for (size_t l = 0; l < LANES; l++) {
            mq_exact_split((double)v[l] * (double)v[l], &unit, &fine); /* the product is exact */
            units[l] += unit;
            fines[l] += fine;
        }
    }
}

static inline int64_t whole_units(double units)
{
    return (int64_t)(units * (1 << MQ_EXACT_UNIT_BITS));
}

static inline int64_t whole_fines(double fines)
{
    return (int64_t)(fines * (double)(INT64_C(1) << MQ_EXACT_FINE_BITS));
}

void MQ_ISA_NAME(mq_exact_squares)(const float *x, size_t ldx, size_t rows, size_t n,
                                   int64_t sum[2])
{
    for (size_t first = 0; first < rows; first += FEW)
        for (size_t j = 0; j < n; j += LANES) {
            double units[LANES] = {0}, fines[LANES] = {0};
            add_few(x + first * ldx + j, ldx, rows - first < FEW ? rows - first : FEW,
                    n - j < LANES ? n - j : LANES, units, fines);
            for (size_t l = 0; l < LANES; l++) {
                sum[0] += whole_units(units[l]);
                sum[1] += whole_fines(fines[l]);
            }
        }
}

void MQ_ISA_NAME(mq_exact_column_squares)(const float *x, size_t ldx, size_t rows, size_t n,
                                          struct mq_exact_sum *sums)
{
    for (size_t first = 0; first < rows; first += FEW)
        for (size_t j = 0; j < n; j += LANES) {
            const size_t lanes = n - j < LANES ? n - j : LANES;
            double units[LANES] = {0}, fines[LANES] = {0};
            add_few(x + first * ldx + j, ldx, rows - first < FEW ? rows - first : FEW, lanes, units,
                    fines);
            for (size_t l = 0; l < lanes; l++)
                mq_exact_sum_join(&sums[j + l], whole_units(units[l]), whole_fines(fines[l]));
        }
}
