/* portable_math.c: the scalar forms. */
#include "portable_math.h"

#include <string.h>

#define TWO_OVER_PI 0x1.45f306dc9c883p-1
/* pi/2 in three parts; the first two have 33 bits, so n times them is exact up to n = 2^20. */
#define HALF_PI_1 0x1.921fb544p+0
#define HALF_PI_2 0x1.0b4611a6p-34
#define HALF_PI_3 0x1.3198a2e037073p-69

double mq_exp(double x)
{
    mq_vd lanes = x - (mq_vd){0};
    mq_vd_exp(&lanes);
    return lanes[0];
}

/*
 * x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| <
 * 0.1716. The series 2 (s + s^3/3 + s^5/5 + ...) is cut after s^21: the next term is below 1e-18.
 */
double mq_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t e = (int64_t)(bits >> 52 & 0x7ff) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 0x1.6a09e667f3bcdp0) { /* sqrt(2) */
        m *= 0.5;
        e++;
    }
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    double p = 0;
    for (int k = 21; k >= 3; k -= 2)
        p = (p + 1.0 / k) * z;
    /* ln2's first part has 21 trailing zero bits: e times it is exact. */
    const double n = (double)e, log_m = 2.0 * s + 2.0 * s * p;
    return n * 0x1.62e42feep-1 + (n * 0x1.a39ef35793c76p-33 + log_m);
}

/* The nearest integer, ties to even, for |x| < 2^51. */
static double nearest(double x)
{
    const double magic = 0x1.8p52;
    return (x + magic) - magic;
}

void mq_sincos(double x, double *sine, double *cosine)
{
    /* x = n pi/2 + r, |r| <= pi/4: after r^19 the series' rest is below 1e-18 */
    const double n = nearest(x * TWO_OVER_PI);
    const double r = ((x - n * HALF_PI_1) - n * HALF_PI_2) - n * HALF_PI_3;
    const double r2 = r * r;
    double s = 1, c = 1;
    for (int k = 18; k >= 2; k -= 2) {
        s = 1 - s * r2 / (k * (k + 1));
        c = 1 - c * r2 / (k * (k - 1));
    }
    s *= r;
    switch ((int64_t)n & 3) {
    case 0:
        *sine = s, *cosine = c;
        break;
    case 1:
        *sine = c, *cosine = -s;
        break;
    case 2:
        *sine = -s, *cosine = -c;
        break;
    default:
        *sine = -c, *cosine = s;
        break;
    }
}
