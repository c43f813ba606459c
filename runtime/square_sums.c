/* square_sums.c: sums of squares, for observers. Compiled once per instruction set. */
#include "exact_sum.h"
#include "kernels.h"
#include "vec16.h"

#include <string.h>

enum { LANES = 16, FEW = 64, HALF = LANES / 2 };

/* As the compiler has them for each instruction set; comparisons give all bits, or none. */
typedef float f8 __attribute__((vector_size(HALF * sizeof(float))));
typedef double d8 __attribute__((vector_size(HALF * sizeof(double))));
typedef int64_t i8 __attribute__((vector_size(HALF * sizeof(int64_t))));

/* mq_exact_split in eight lanes, of squares, which are exact in double; added to what there is. */
static inline void add_squares(const float *x, d8 *restrict units, d8 *restrict fines)
{
    const d8 most = (d8){0} + 0x1p39, unit_magic = (d8){0} + 1.5 * 0x1p44,
             fine_magic = (d8){0} + 1.5 * 0x1p8;
    f8 v;
    memcpy(&v, x, sizeof v);
    d8 value = __builtin_convertvector(v, d8);
    value *= value;
    const i8 small = value < most;
    value = (d8)(((i8)value & small) | ((i8)most & ~small));
    const d8 unit = (value + unit_magic) - unit_magic;
    *units += unit;
    *fines += ((value - unit) + fine_magic) - fine_magic;
}

/* The squares of `rows` <= FEW numbers in each of `lanes` <= LANES columns. In double, as long as that is
 * exact: FEW numbers of at most 2^39 are below 2^45, 53 bits above 2^-8. */
static inline void add_few(const float *x, size_t ldx, size_t rows, size_t lanes,
                           double units[LANES], double fines[LANES])
{
    d8 u[2] = {{0}}, f[2] = {{0}};
    float row[LANES] = {0};
    for (size_t i = 0; i < rows; i++) {
        const float *at = x + i * ldx;
        if (lanes < LANES) {
            memcpy(row, at, lanes * sizeof *row);
            at = row;
        }
        add_squares(at, &u[0], &f[0]);
        add_squares(at + HALF, &u[1], &f[1]);
    }
    memcpy(units, u, sizeof u);
    memcpy(fines, f, sizeof f);
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
            double units[LANES], fines[LANES];
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
            double units[LANES], fines[LANES];
            add_few(x + first * ldx + j, ldx, rows - first < FEW ? rows - first : FEW, lanes, units,
                    fines);
            for (size_t l = 0; l < lanes; l++)
                mq_exact_sum_join(&sums[j + l], whole_units(units[l]), whole_fines(fines[l]));
        }
}
