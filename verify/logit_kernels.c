/*
 * logit_kernels.c: the loops over a vocabulary, compiled once per instruction set.
 *
 * Eight partial sums in double, folded in a fixed order: the same bits from every variant. The
 * vectors are GCC's and Clang's own, which the compiler maps to what the processor has.
 */
#include "kld_int.h"
#include "portable_math.h"
#include "vec16.h"

typedef float f8 __attribute__((vector_size(32)));

enum { LANES = 8 };

/* Eight floats as doubles; `n` < 8 of them at the end of an array, zeros behind. */
MQ_INLINE void load8(const float *x, size_t n, mq_d8 *v)
{
    f8 f = {0};
    if (n >= LANES)
        memcpy(&f, x, sizeof f);
    else
        memcpy(&f, x, n * sizeof *x);
    *v = __builtin_convertvector(f, mq_d8);
}

/* Clears the lanes from n on. */
MQ_INLINE void keep_first(mq_d8 *v, size_t n)
{
    for (size_t i = n; i < LANES; i++)
        (*v)[i] = 0;
}

MQ_INLINE double fold(const mq_d8 *v)
{
    double t[LANES];
    memcpy(t, v, sizeof t);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            t[i] += t[i + half];
    return t[0];
}

float MQ_ISA_NAME(mq_logits_max)(const float *x, size_t n)
{
    v16 top = v_set1(x[0]);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        top = v_max(top, v_load(x + i));
    float max = v_max_lane(top);
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

double MQ_ISA_NAME(mq_logits_exp_sum)(const float *x, size_t n, float max, double *exps,
                                      double *finite)
{
    mq_d8 sum = {0}, zero = {0};
    for (size_t i = 0; i < n; i += LANES) {
        mq_d8 v;
        load8(x + i, n - i, &v);
        zero += v * 0.0; /* NaN from NaN and from infinity */
        v -= (double)max;
        mq_exp8(&v);
        if (n - i < LANES)
            keep_first(&v, n - i);
        sum += v;
        if (exps)
            memcpy(exps + i, &v, sizeof v);
    }
    *finite = fold(&zero);
    return fold(&sum);
}

double MQ_ISA_NAME(mq_logits_cross)(const float *base, float base_max, const double *base_exps,
                                    const float *arm, float arm_max, size_t n)
{
    mq_d8 sum = {0};
    for (size_t i = 0; i < n; i += LANES) {
        mq_d8 a, b, e;
        load8(base + i, n - i, &a);
        load8(arm + i, n - i, &b);
        memcpy(&e, base_exps + i, sizeof e); /* zero behind the end */
        sum += e * ((a - (double)base_max) - (b - (double)arm_max));
    }
    return fold(&sum);
}
