/* square_errors.c: sums of squares of differences. Compiled once per instruction set. */
#include "square_errors_int.h"
#include "vec16.h"

#include <stdbool.h>
#include <string.h>

/*
 * Blocks of a few hundred weights are summed in floats, 16 lanes side by side, and blocks in double. Where squares leave the
 * range in which floats are good for that (zeros too), a block is summed once more in double.
 */
enum { LANES = 16, BLOCK = 16 * LANES };

/* As the compiler has them for each instruction set. */
typedef float f16x __attribute__((vector_size(LANES * sizeof(float))));

static void add_exact(const float *weights, const float *stored, size_t n, double sums[2])
{
    for (size_t i = 0; i < n; i++) {
        const double w = (double)weights[i], d = w - (double)stored[i];
        sums[0] += d * d;
        sums[1] += w * w;
    }
}

/* Fixed order, pairs of pairs. */
static inline double sum_of(const f16x *lanes)
{
    double s[LANES];
    for (int k = 0; k < LANES; k++)
        s[k] = (double)(*lanes)[k];
    for (int half = LANES / 2; half; half /= 2)
        for (int k = 0; k < half; k++)
            s[k] += s[k + half];
    return s[0];
}

static inline bool is_safe(double sum)
{
    return sum > 1e-24 && sum < 1e30;
}

static inline void add_block(const float *weights, const float *stored, double sums[2])
{
    f16x lost = {0}, all = {0}, w, s;
    for (size_t i = 0; i < BLOCK; i += LANES) {
        memcpy(&w, weights + i, sizeof w);
        memcpy(&s, stored + i, sizeof s);
        s = w - s;
        lost += s * s;
        all += w * w;
    }
    const double of_lost = sum_of(&lost), of_all = sum_of(&all);
    if (!is_safe(of_lost) || !is_safe(of_all)) {
        add_exact(weights, stored, BLOCK, sums);
        return;
    }
    sums[0] += of_lost;
    sums[1] += of_all;
}

void MQ_ISA_NAME(mq_square_errors)(const float *weights, const float *stored, size_t n,
                                   double sums[2])
{
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
        add_block(weights + i, stored + i, sums);
    add_exact(weights + i, stored + i, n - i, sums);
}
