/*
 * activations.c: everything between the matrix products, compiled once per instruction set.
 *
 * Plain loops here are element by element, or sums over explicit partial sums, so that a
 * vectorizing compiler cannot change their bits (and -ffp-contract=off keeps it from fusing).
 */
#include "kernels.h"
#include "vec16.h"

/* The squares are exact in double; eight interleaved partial sums, folded in a fixed order. */
void MQ_ISA_NAME(mq_rms_norm)(const float *x, const float *weight, size_t n, float eps, float *y)
{
    double sum[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int lane = 0; lane < 8; lane++)
            sum[lane] += (double)x[i + (size_t)lane] * (double)x[i + (size_t)lane];
    for (int lane = 0; i < n; i++, lane++)
        sum[lane] += (double)x[i] * (double)x[i];
    for (int half = 4; half; half /= 2)
        for (int lane = 0; lane < half; lane++)
            sum[lane] += sum[lane + half];
    const float scale = (float)(1.0 / sqrt(sum[0] / (double)n + (double)eps));
    for (i = 0; i < n; i++)
        y[i] = x[i] * scale * weight[i];
}

float MQ_ISA_NAME(mq_softmax)(float *x, size_t n, float scale)
{
    const v16 factor = v_set1(scale);
    v16 top = v_set1(-INFINITY);
    for (size_t i = 0; i < n; i += 16) {
        const v16 scaled = v_mul(v_load(x + i), factor);
        top = v_max(top, scaled);
        v_store(x + i, scaled);
    }
    const v16 max = v_set1(v_max_lane(top));
    v16 sum = v_zero();
    for (size_t i = 0; i < n; i += 16) {
        const v16 e = v_exp(v_sub(v_load(x + i), max));
        sum = v_add(sum, e);
        v_store(x + i, e);
    }
    return v_sum(sum);
}

void MQ_ISA_NAME(mq_rotate)(float *restrict x, const float *restrict cosines,
                            const float *restrict sines, size_t half)
{
    float *restrict low = x, *restrict high = x + half;
    for (size_t i = 0; i < half; i++) {
        const float a = low[i], b = high[i];
        low[i] = a * cosines[i] - b * sines[i];
        high[i] = b * cosines[i] + a * sines[i];
    }
}

void MQ_ISA_NAME(mq_silu_times)(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        v_store(y + i, v_mul(v_silu(v_load(y + i)), v_load(x + i)));
    if (i < n) {
        float a[16] = {0}, b[16] = {0};
        memcpy(a, y + i, (n - i) * sizeof(float));
        memcpy(b, x + i, (n - i) * sizeof(float));
        v_store(a, v_mul(v_silu(v_load(a)), v_load(b)));
        memcpy(y + i, a, (n - i) * sizeof(float));
    }
}

void MQ_ISA_NAME(mq_add_scaled)(float *restrict y, const float *restrict x, float weight, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += weight * x[i];
}

/* Sums of (q - w)^2 and w^2 over a row: eight interleaved partial sums, folded in a fixed order. */
void MQ_ISA_NAME(mq_sum_squares)(const float *w, const float *q, size_t n, double result[2])
{
    double error[8] = {0}, weight[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t lane = 0; lane < 8; lane++) {
            const double a = (double)w[i + lane], d = (double)q[i + lane] - a;
            error[lane] += d * d;
            weight[lane] += a * a;
        }
    }
    for (size_t lane = 0; i < n; i++, lane++) {
        const double a = (double)w[i], d = (double)q[i] - a;
        error[lane] += d * d;
        weight[lane] += a * a;
    }
    for (size_t half = 4; half; half /= 2) {
        for (size_t lane = 0; lane < half; lane++) {
            error[lane] += error[lane + half];
            weight[lane] += weight[lane + half];
        }
    }
    result[0] = error[0];
    result[1] = weight[0];
}
