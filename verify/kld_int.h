/* kld_int.h: what logit_kernels.c exports for each instruction set. */
#ifndef MQ_KLD_INT_H
#define MQ_KLD_INT_H

#include <stddef.h>

/* max: the largest of n >= 1 values.
 * exp_sum: the sum of exp(x - max); stores each in exps[round up n to 8] (zeros behind n) unless it
 * is NULL; *finite is 0 if all values are finite, NaN otherwise.
 * cross: the sum of base_exps * ((base - base_max) - (arm - arm_max)). */
#define MQ_LOGIT_KERNELS_DECLARE(isa)                                                        \
    float mq_logits_max_##isa(const float *x, size_t n);                                     \
    double mq_logits_exp_sum_##isa(const float *x, size_t n, float max, double *exps,        \
                                   double *finite);                                          \
    double mq_logits_cross_##isa(const float *base, float base_max, const double *base_exps, \
                                 const float *arm, float arm_max, size_t n);
MQ_LOGIT_KERNELS_DECLARE(generic)
MQ_LOGIT_KERNELS_DECLARE(neon)
MQ_LOGIT_KERNELS_DECLARE(avx2)
MQ_LOGIT_KERNELS_DECLARE(avx512)
#undef MQ_LOGIT_KERNELS_DECLARE

#endif
