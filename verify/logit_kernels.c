/*
 * logit_kernels.c: the loops over a vocabulary, compiled once per instruction set.
 *
 * Value i goes to partial sum i % 8; the eight are folded in a fixed order: the same bits from
 * every variant. Eight doubles are one vector or several, as the processor has them.
 */
#include "kld_int.h"
#include "portable_math.h"
#include "vec16.h"

enum { SUMS = 8, PARTS = SUMS / MQ_VD_LANES };

typedef float floats __attribute__((vector_size(MQ_VD_BYTES / 2)));

/* As many floats as doubles fit, widened; of the last n < MQ_VD_LANES of an array, zeros behind. */
MQ_INLINE void load(const float *x, size_t n, mq_vd *v)
{
    floats f = {0};
    if (n >= MQ_VD_LANES)
        memcpy(&f, x, sizeof f);
    else
        memcpy(&f, x, n * sizeof *x);
    *v = __builtin_convertvector(f, mq_vd);
}

/* Values left for part `part` of a row of `left`. */
MQ_INLINE size_t left_of(size_t left, int part)
{
    const size_t before = (size_t)(part * MQ_VD_LANES);
    return left > before ? left - before : 0;
}

MQ_INLINE double fold(const mq_vd *v)
{
    double t[SUMS];
    memcpy(t, v, sizeof t);
    for (int half = SUMS / 2; half; half /= 2)
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

/* One step of exp_sum: at most SUMS values. `left` is a constant SUMS but for the last step. */
MQ_INLINE void exp_step(const float *x, size_t left, double max, double *exps, mq_vd *sums,
                        mq_vd *zeros)
{
    for (int part = 0; part < PARTS; part++) {
        const size_t n = left_of(left, part);
        mq_vd v;
        load(x + part * MQ_VD_LANES, n, &v);
        zeros[part] += v * 0.0; /* NaN from NaN and from infinity */
        v -= max;
        mq_vd_exp(&v);
        for (size_t i = n; i < MQ_VD_LANES; i++)
            v[i] = 0;
        sums[part] += v;
        if (exps)
            memcpy(exps + part * MQ_VD_LANES, &v, sizeof v);
    }
}

double MQ_ISA_NAME(mq_logits_exp_sum)(const float *x, size_t n, float max, double *exps,
                                      double *finite)
{
    mq_vd sums[PARTS] = {0}, zeros[PARTS] = {0};
    size_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        exp_step(x + i, SUMS, (double)max, exps ? exps + i : NULL, sums, zeros);
    if (i < n)
        exp_step(x + i, n - i, (double)max, exps ? exps + i : NULL, sums, zeros);
    *finite = fold(zeros);
    return fold(sums);
}

MQ_INLINE void cross_step(const float *base, double base_max, const double *base_exps,
                          const float *arm, double arm_max, size_t left, mq_vd *sums)
{
    for (int part = 0; part < PARTS; part++) {
        const size_t n = left_of(left, part);
        mq_vd a, b, e;
        load(base + part * MQ_VD_LANES, n, &a);
        load(arm + part * MQ_VD_LANES, n, &b);
        memcpy(&e, base_exps + part * MQ_VD_LANES, sizeof e); /* zero behind the end */
        sums[part] += e * ((a - base_max) - (b - arm_max));
    }
}

double MQ_ISA_NAME(mq_logits_cross)(const float *base, float base_max, const double *base_exps,
                                    const float *arm, float arm_max, size_t n)
{
    mq_vd sums[PARTS] = {0};
    size_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        cross_step(base + i, (double)base_max, base_exps + i, arm + i, (double)arm_max, SUMS, sums);
    if (i < n)
        cross_step(base + i, (double)base_max, base_exps + i, arm + i, (double)arm_max, n - i,
                   sums);
    return fold(sums);
}
