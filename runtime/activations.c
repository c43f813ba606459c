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

/* Mean and variance as above, in two sweeps. */
void MQ_ISA_NAME(mq_layer_norm)(const float *x, const float *weight, const float *bias, size_t n,
                                float eps, float *y)
{
    double sum[8] = {0}, square[8] = {0};
    for (size_t i = 0; i < n; i++)
        sum[i % 8] += (double)x[i];
    for (int half = 4; half; half /= 2)
        for (int lane = 0; lane < half; lane++)
            sum[lane] += sum[lane + half];
    const double mean = sum[0] / (double)n;
    for (size_t i = 0; i < n; i++)
        square[i % 8] += ((double)x[i] - mean) * ((double)x[i] - mean);
    for (int half = 4; half; half /= 2)
        for (int lane = 0; lane < half; lane++)
            square[lane] += square[lane + half];
    const float center = (float)mean, scale = (float)(1.0 / sqrt(square[0] / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] - center) * scale * weight[i] + (bias ? bias[i] : 0.0f);
}

/* ---- activations: y = f(y) * x ---- */

MQ_INLINE v16 silu_times(v16 gate, v16 up, float limit)
{
    (void)limit;
    return v_mul(v_silu(gate), up);
}

/* 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u)) */
MQ_INLINE v16 gelu_tanh_times(v16 gate, v16 up, float limit)
{
    (void)limit;
    const v16 cube = v_mul(v_mul(gate, gate), gate);
    const v16 u = v_mul(v_set1(0.7978845608028654f), v_fma(v_set1(0.044715f), cube, gate));
    const v16 sigmoid = v_div(v_set1(1.0f), v_add(v_set1(1.0f), v_exp(v_mul(v_set1(-2.0f), u))));
    return v_mul(v_mul(gate, sigmoid), up);
}

/* g = min(gate, limit), u = up within +- limit: (u + 1) g / (1 + exp(-1.702 g))
 * (Transformers' modeling_gpt_oss.py) */
MQ_INLINE v16 swiglu_oai_times(v16 gate, v16 up, float limit)
{
    const v16 most = v_set1(limit), g = v_min(gate, most);
    const v16 u = v_max(v_min(up, most), v_set1(-limit));
    const v16 e = v_exp(v_mul(v_set1(-1.702f), g));
    return v_mul(v_add(u, v_set1(1.0f)), v_div(g, v_add(v_set1(1.0f), e)));
}

/* There is no gate: max(0, up)^2. */
MQ_INLINE v16 relu2_times(v16 gate, v16 up, float limit)
{
    (void)gate, (void)limit;
    const v16 positive = v_max(up, v_zero());
    return v_mul(positive, positive);
}

#define ACTIVATION(id, name)                                                                    \
    void MQ_ISA_NAME(mq_##name##_times)(float *y, const float *x, size_t n, float limit)        \
    {                                                                                           \
        size_t i = 0;                                                                           \
        for (; i + 16 <= n; i += 16)                                                            \
            v_store(y + i, name##_times(v_load(y + i), v_load(x + i), limit));                  \
        if (i < n) {                                                                            \
            float a[16] = {0}, b[16] = {0};                                                     \
            memcpy(a, y + i, (n - i) * sizeof(float));                                          \
            memcpy(b, x + i, (n - i) * sizeof(float));                                          \
            v_store(a, name##_times(v_load(a), v_load(b), limit));                              \
            memcpy(y + i, a, (n - i) * sizeof(float));                                          \
        }                                                                                       \
    }
MQ_ACTIVATION_LIST(ACTIVATION)

/* tanh(u) = 2 / (1 + exp(-2 u)) - 1 */
void MQ_ISA_NAME(mq_softcap)(float *x, size_t n, float scale, float cap)
{
    const v16 inward = v_set1(-2.0f * scale / cap), one = v_set1(1.0f), twice = v_set1(2.0f * cap);
    float last[16] = {0};
    for (size_t i = 0; i < n; i += 16) {
        float *at = x + i;
        if (n - i < 16)
            at = memcpy(last, at, (n - i) * sizeof(float));
        const v16 e = v_exp(v_mul(v_load(at), inward));
        v_store(at, v_sub(v_div(twice, v_add(one, e)), v_set1(cap)));
        if (at == last)
            memcpy(x + i, last, (n - i) * sizeof(float));
    }
}

/* y *= 1 / (1 + exp(-gate)) */
void MQ_ISA_NAME(mq_sigmoid_times)(float *y, const float *gate, size_t n)
{
    const v16 one = v_set1(1.0f);
    float a[16] = {0}, b[16] = {0};
    for (size_t i = 0; i < n; i += 16) {
        const size_t m = n - i < 16 ? n - i : 16;
        memcpy(a, y + i, m * sizeof(float));
        memcpy(b, gate + i, m * sizeof(float));
        v_store(a, v_div(v_load(a), v_add(one, v_exp(v_neg(v_load(b))))));
        memcpy(y + i, a, m * sizeof(float));
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
