/*
 * rope.c: rotary position embeddings.
 *
 * Powers, sines and cosines are those of portable_math.h, the same bits everywhere. Frequencies and
 * angles are rounded to f32 where Hugging Face Transformers does (modeling_rope_utils.py), since an
 * angle of thousands of radians carries that rounding into the result.
 */
#include "rope.h"

#include "portable_math.h"

#define PI 0x1.921fb54442d18p+1

/* Llama 3.1: frequencies of wavelengths beyond the original context are divided by `factor`, those
 * well within it stay, with a ramp between (Transformers' _compute_llama3_parameters, in f32). */
static float llama3(const struct mq_rope *rope, float frequency)
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

static float linear(const struct mq_rope *rope, float frequency)
{
    return frequency / (float)rope->factor;
}

static float unscaled(const struct mq_rope *rope, float frequency)
{
    (void)rope;
    return frequency;
}

/* What each type makes of a frequency. */
static float (*const stretch[MQ_ROPE_TYPES])(const struct mq_rope *rope, float frequency) = {
#define ROW(id, name) [MQ_ROPE_##id] = name,
    MQ_ROPE_TYPE_LIST(ROW)
#undef ROW
};

void mq_rope_fill(const struct mq_rope *rope, uint32_t head_dim, size_t positions, float *cosines,
                  float *sines)
{
    const size_t half = head_dim / 2;
    const double log_theta = mq_log(rope->theta);
    for (size_t i = 0; i < half; i++) {
        const float exponent = (float)(2 * i) / (float)head_dim;
        const float base = 1.0f / (float)mq_exp(log_theta * (double)exponent);
        const float frequency = stretch[rope->type](rope, base);
        for (size_t p = 0; p < positions; p++) {
            const float angle = (float)p * frequency;
            double sine, cosine;
            mq_sincos((double)angle, &sine, &cosine);
            cosines[p * half + i] = (float)cosine;
            sines[p * half + i] = (float)sine;
        }
    }
}
