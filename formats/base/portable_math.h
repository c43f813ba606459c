/*
 * portable_math.h: exp, log, sine and cosine in double, the same bits on every machine.
 *
 * libm's differ between versions and processors by their last bit. These use IEEE additions,
 * multiplications and divisions in a fixed order only (no fused ones), so that every figure that
 * the referee prints can be compared digit by digit. Their error is below 2 units in the last
 * place.
 */
#ifndef MQ_PORTABLE_MATH_H
#define MQ_PORTABLE_MATH_H

#include <stdint.h>

/* e^x for x in [-708, 709]; x outside is moved to the nearer end. mq_exp(0) is exactly 1. */
double mq_exp(double x);

/* The natural logarithm of a positive, normal number; mq_log(1) is exactly 0. */
double mq_log(double x);

/* Of |x| <= 1e6 radians; the error is below 4e-16. */
void mq_sincos(double x, double *sine, double *cosine);

/*
 * ---- several at once, for the kernels that are compiled once per instruction set ----
 *
 * A vector as wide as the processor's (GCC keeps wider ones in memory). Lanes do not mix, so the
 * width does not change the bits.
 */
#if defined(MQ_USE_AVX512)
#define MQ_VD_BYTES 64
#elif defined(MQ_USE_AVX2)
#define MQ_VD_BYTES 32
#else
#define MQ_VD_BYTES 16
#endif
enum { MQ_VD_LANES = MQ_VD_BYTES / 8 };
typedef double mq_vd __attribute__((vector_size(MQ_VD_BYTES)));
typedef int64_t mq_vi64 __attribute__((vector_size(MQ_VD_BYTES)));

/*
 * *x = e^*x in each lane: x = n ln2 + r with |r| <= ln2 / 2, a Taylor polynomial for e^r, then n is
 * added to the exponent. Degree 13 suffices: (ln2 / 2)^14 / 14! = 4e-18, below half an ulp of 1.
 * By pointer: passing vectors by value would depend on the instruction set's calling convention.
 */
static inline __attribute__((always_inline)) void mq_vd_exp(mq_vd *x)
{
    const double low = -708.0, high = 709.0; /* where results are normal numbers */
    /* Adding 1.5 * 2^52 rounds to an integer, which then stands in the sum's low bits. */
    const double magic = 0x1.8p52;
    /* ln2 in two parts; the first has 21 trailing zero bits, so that n times it is exact. */
    const double log2e = 0x1.71547652b82fep0, ln2_high = 0x1.62e42feep-1,
                 ln2_low = 0x1.a39ef35793c76p-33;
    const mq_vd lows = low - (mq_vd){0}, highs = high - (mq_vd){0};
    mq_vd v = *x;
    const mq_vi64 below = v<lows, above = v> highs;
    v = (mq_vd)(((mq_vi64)v & ~(below | above)) | ((mq_vi64)lows & below) |
                ((mq_vi64)highs & above));
    const mq_vd shifted = v * log2e + magic, n = shifted - magic;
    const mq_vd r = (v - n * ln2_high) - n * ln2_low;
    mq_vd p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0; /* 1/13!, 1/12!, ... */
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = (p * r) * r + r + 1.0;
    *x = (mq_vd)((mq_vi64)p + ((mq_vi64)shifted << 52));
}

#endif
