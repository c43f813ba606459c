/*
 * rope.c: rotary position embeddings.
 *
 * Powers, sines and cosines are those of portable_math.h, the same bits everywhere. Frequencies and
 * angles are rounded to f32 where Hugging Face Transformers does (modeling_rope_utils.py), since an
 * angle of thousands of radians carries that rounding into the result.
 */
#include "rope.h"

#include "portable_math.h"

#include <math.h>

#define PI 0x1.921fb54442d18p+1

/* One rotary embedding that is being filled: of `dim` numbers, for so many positions. */
struct filling {
    const struct mq_rope *rope;
    uint32_t dim;
    size_t positions;
};

/* Llama 3.1: frequencies of wavelengths beyond the original context are divided by `factor`, those
 * well within it stay, with a ramp between (Transformers' _compute_llama3_parameters, in f32). */
static float llama3(const struct filling *f, size_t i, float frequency)
{
    const struct mq_rope *rope = f->rope;
    const double original = rope->original_max_positions;
    const float wavelength = (float)(2 * PI) / frequency;
    (void)i;
    if ((double)wavelength > original / rope->low_freq_factor)
        return frequency / (float)rope->factor;
    if ((double)wavelength < original / rope->high_freq_factor ||
        rope->low_freq_factor == rope->high_freq_factor)
        return frequency;
    const float smooth = ((float)original / wavelength - (float)rope->low_freq_factor) /
                         (float)(rope->high_freq_factor - rope->low_freq_factor);
    return (1.0f - smooth) * frequency / (float)rope->factor + smooth * frequency;
}

static float linear(const struct filling *f, size_t i, float frequency)
{
    (void)i;
    return frequency / (float)f->rope->factor;
}

static float unscaled(const struct filling *f, size_t i, float frequency)
{
    (void)f, (void)i;
    return frequency;
}

/* The number of a head whose pair turns so many times within the original positions. */
static double yarn_dimension(const struct filling *f, double turns)
{
    return f->dim * mq_log(f->rope->original_max_positions / (turns * 2 * PI)) /
           (2 * mq_log(f->rope->theta));
}

/* Pairs that turn often stay, those that turn seldom are slowed down by `factor`, with a ramp
 * between (Transformers' _compute_yarn_parameters). */
static float yarn(const struct filling *f, size_t i, float frequency)
{
    const struct mq_rope *rope = f->rope;
    double low = yarn_dimension(f, rope->beta_fast), high = yarn_dimension(f, rope->beta_slow);
    low = fmax(rope->truncate ? floor(low) : low, 0);
    high = fmin(rope->truncate ? ceil(high) : high, f->dim - 1.0);
    if (low == high)
        high += 0.001;
    const double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
    return (float)((double)frequency / rope->factor * ramp + (double)frequency * (1 - ramp));
}

/* Which list is for windows of such a length. */
static const struct mq_rope_list *list_of(const struct filling *f)
{
    const bool far = (double)f->positions > f->rope->original_max_positions;
    return far ? &f->rope->far : &f->rope->near;
}

static float longrope(const struct filling *f, size_t i, float frequency)
{
    const struct mq_rope_list *list = list_of(f);
    return i < list->count ? (float)((double)frequency / list->divisors[i]) : frequency;
}

/* Transformers' _compute_proportional_rope_parameters. */
static float partly(const struct filling *f, size_t i, float frequency)
{
    return i < (size_t)(f->rope->part * f->dim / 2) ? frequency / (float)f->rope->factor : 0;
}

/* What each type makes of a frequency. */
static float (*const stretch[MQ_ROPE_TYPES])(const struct filling *f, size_t i, float frequency) = {
#define ROW(id, name) [MQ_ROPE_##id] = name,
    MQ_ROPE_TYPE_LIST(ROW)
#undef ROW
};

static double magnitude_of(const struct filling *f)
{
    return f->rope->type == MQ_ROPE_YARN       ? f->rope->magnitude
           : f->rope->type == MQ_ROPE_LONGROPE ? list_of(f)->magnitude
                                               : 1;
}

void mq_rope_fill(const struct mq_rope *rope, uint32_t dim, size_t positions, float *cosines,
                  float *sines)
{
    const struct filling f = {rope, dim, positions};
    const size_t half = dim / 2;
    const double log_theta = mq_log(rope->theta), magnitude = magnitude_of(&f);
    for (size_t i = 0; i < half; i++) {
        const float exponent = (float)(2 * i) / (float)dim;
        const float base = 1.0f / (float)mq_exp(log_theta * (double)exponent);
        const float frequency = stretch[rope->type](&f, i, base);
        for (size_t p = 0; p < positions; p++) {
            const float angle = (float)p * frequency;
            double sine, cosine;
            mq_sincos((double)angle, &sine, &cosine);
            cosines[p * half + i] = (float)(cosine * magnitude);
            sines[p * half + i] = (float)(sine * magnitude);
        }
    }
}
