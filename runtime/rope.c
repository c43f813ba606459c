/*
 * rope.c: rotary position embeddings.
 *
 * libm's pow, sin and cos differ between versions and machines in the last bits; here they are
 * series in double, which IEEE arithmetic makes the same everywhere. Frequencies and angles are
 * rounded to f32 where Hugging Face Transformers does (modeling_rope_utils.py), since an angle of
 * thousands of radians carries that rounding into the result.
 */
#include "rope.h"

#include "f16.h"

#include <math.h>

#define LN2_HI 0x1.62e42fefa38p-1   /* the leading 42 bits of ln 2: n LN2_HI is exact */
#define LN2_LO 0x1.ef35793c7673p-45 /* ln 2 - LN2_HI */
#define TWO_OVER_PI 0x1.45f306dc9c883p-1
#define PI 0x1.921fb54442d18p+1
/* pi/2 in three parts; the first two have 33 bits, so n times them is exact up to n = 2^20. */
#define HALF_PI_1 0x1.921fb544p+0
#define HALF_PI_2 0x1.0b4611a6p-34
#define HALF_PI_3 0x1.3198a2e037073p-69

double mq_exact_log(double x)
{
    /* x = m 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh(s), s = (m - 1) / (m + 1), |s| <
     * 0.172: after the power 23 the series' rest is below 1e-19 */
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int e = (int)(bits >> 52 & 2047) - 1023;
    bits = (bits & 0xfffffffffffffu) | (uint64_t)1023 << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    const double s = (m - 1) / (m + 1), s2 = s * s;
    double series = 0;
    for (int power = 23; power >= 3; power -= 2)
        series = (series + 1.0 / power) * s2;
    return e * LN2_HI + (e * LN2_LO + (2 * s + 2 * s * series));
}

/* The nearest integer, ties to even, for |x| < 2^51. */
static double nearest(double x)
{
    const double magic = 0x1.8p52;
    return (x + magic) - magic;
}

double mq_exact_exp(double x)
{
    /* x = n ln 2 + r, |r| <= 0.347: after r^14 the series' rest is below 1e-19 */
    const double n = nearest(x / (LN2_HI + LN2_LO));
    const double r = (x - n * LN2_HI) - n * LN2_LO;
    double p = 1;
    for (int k = 14; k >= 1; k--)
        p = 1 + p * r / k;
    const uint64_t bits = (uint64_t)((int)n + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

void mq_exact_sincos(double x, double *sine, double *cosine)
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

/* Llama 3.1: frequencies of wavelengths beyond the original context are divided by `factor`, those
 * well within it stay, with a ramp between (Transformers' _compute_llama3_parameters, in f32). */
static float llama3_frequency(const struct mq_rope *rope, float frequency)
{
    const double original = rope->original_max_positions;
    const float wavelength = (float)(2 * PI) / frequency;
    if ((double)wavelength > original / rope->low_freq_factor)
        return frequency / (float)rope->factor;
    if ((double)wavelength < original / rope->high_freq_factor)
        return frequency;
    const float smooth = ((float)original / wavelength - (float)rope->low_freq_factor) /
                         (float)(rope->high_freq_factor - rope->low_freq_factor);
    return (1.0f - smooth) * frequency / (float)rope->factor + smooth * frequency;
}

void mq_rope_fill(const struct mq_rope *rope, uint32_t head_dim, size_t positions, float *cosines,
                  float *sines)
{
    const size_t half = head_dim / 2;
    const double log_theta = mq_exact_log(rope->theta);
    for (size_t i = 0; i < half; i++) {
        const float exponent = (float)(2 * i) / (float)head_dim;
        float frequency = 1.0f / (float)mq_exact_exp(log_theta * (double)exponent);
        if (rope->type == MQ_ROPE_LLAMA3)
            frequency = llama3_frequency(rope, frequency);
        else if (rope->type == MQ_ROPE_LINEAR)
            frequency = frequency / (float)rope->factor;
        for (size_t p = 0; p < positions; p++) {
            const float angle = (float)p * frequency;
            double sine, cosine;
            mq_exact_sincos((double)angle, &sine, &cosine);
            cosines[p * half + i] = (float)cosine;
            sines[p * half + i] = (float)sine;
        }
    }
}
