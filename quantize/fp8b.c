/*
 * fp8b.c: 8-bit floats with one scale for 128 x 128 weights, as DeepSeek-V3 is published and vLLM and SGLang load them.
 *
 *     f32 scale | u8 e4m3[128]        weight = scale e4m3(code)
 *
 * Blocks as f8_e4m3 has them (source_blocks.c, which decodes them); those of the rows of a band, 128 from a multiple of 128
 * on, have the same scale in a column of blocks.
 *
 * A float's error is relative, so what the scale does is to move weights between the steps of the mantissa: scales over an
 * octave are tried. The smallest codes are denormal, where errors are no longer relative, but stand 2^-15 below the largest.
 */
#include "codecs_int.h"
#include "wide_scales_int.h"

enum { BLOCK = 128, SCALE_BYTES = 4, LANES = 16 };
#define E4M3_MAX 448.0f

static const int candidates[MQ_EFFORT_COUNT] = {[MQ_EFFORT_DEFAULT] = 4, [MQ_EFFORT_BEST] = 16};

/* 16 weights over their scale to the nearest codes. Of a normal number the mantissa's upper 3 bits are kept, rounded to
 * even; below 2^-6 codes are multiples of 2^-9. */
MQ_INLINE void codes_of(const float *y, uint8_t *codes)
{
    for (int i = 0; i < LANES; i++) {
        const float a = fabsf(y[i]);
        const float bounded = a < E4M3_MAX ? a : E4M3_MAX;
        const float steps = bounded * 512.0f + MQ_MAGIC;
        uint32_t bits, low, sign;
        memcpy(&bits, &bounded, sizeof bits);
        memcpy(&low, &steps, sizeof low);
        memcpy(&sign, &y[i], sizeof sign);
        const uint32_t normal = ((bits + 0x7ffff + (bits >> 20 & 1)) >> 20) - (120 << 3);
        const uint32_t code = bounded < 0x1p-6f ? low & 15 : normal;
        codes[i] = (uint8_t)(code | (sign >> 24 & 0x80));
    }
}

/* What a code stands for; none is NaN. As a half, its bits are the value times 2^-8 (source_blocks.c). */
MQ_INLINE v16 values_of(const uint8_t *codes)
{
    uint16_t half[LANES];
    for (int i = 0; i < LANES; i++)
        half[i] = (uint16_t)((codes[i] & 0x80) << 8 | (codes[i] & 0x7f) << 7);
    return v_mul(v_load_f16((const uint8_t *)half), v_set1(256));
}

/* A column of blocks. */
struct column {
    const struct mq_band *band;
    size_t at; /* its first weight */
    float inverse_power, inverse_importance;
};

MQ_INLINE v16 weights_at(const struct column *c, size_t row, size_t i)
{
    const v16 x = v_load(c->band->weights + row * c->band->stride + c->at + i);
    return v_mul(v_clamp(x, -MQ_WIDE_MAX, MQ_WIDE_MAX), v_set1(c->inverse_power));
}

MQ_INLINE v16 importance_at(const struct column *c, size_t i)
{
    if (c->inverse_importance == 0.0f)
        return v_set1(1.0f);
    const v16 w = v_load(c->band->importance + c->at + i);
    return v_clamp(v_mul(w, v_set1(c->inverse_importance)), MQ_IMPORTANCE_MIN, 1.0f);
}

/* sum (x - scale q)^2, and sum x^2 and sum x scale q, by which the scale is stretched. */
struct sums {
    double ee, xx, xq;
};

MQ_OUTLINE struct sums sums_at(const struct column *c, float scale)
{
    const v16 s = v_set1(scale), inverse = v_inverse_or_zero(s);
    struct sums all = {0};
    for (size_t row = 0; row < c->band->rows; row++) {
        v16 ee = v_zero(), xx = v_zero(), xq = v_zero();
        for (size_t i = 0; i < BLOCK; i += LANES) {
            const v16 x = weights_at(c, row, i), w = importance_at(c, i);
            float y[LANES];
            uint8_t codes[LANES];
            v_store(y, v_mul(x, inverse));
            codes_of(y, codes);
            const v16 q = v_mul(values_of(codes), s), e = v_sub(x, q);
            ee = v_fma(e, v_mul(e, w), ee);
            xx = v_fma(x, v_mul(x, w), xx);
            xq = v_fma(x, v_mul(q, w), xq);
        }
        all.ee += (double)v_sum(ee);
        all.xx += (double)v_sum(xx);
        all.xq += (double)v_sum(xq);
    }
    return all;
}

static float largest_in(const struct mq_band *band, size_t at)
{
    v16 largest = v_zero();
    for (size_t row = 0; row < band->rows; row++)
        for (size_t i = 0; i < BLOCK; i += LANES)
            largest = v_max(largest, v_abs(v_load(band->weights + row * band->stride + at + i)));
    return fminf(v_max_lane(largest), MQ_WIDE_MAX);
}

static void encode_column(const struct mq_band *band, size_t at, enum mq_effort effort)
{
    const float largest = largest_in(band, at), power = mq_power_below(largest);
    struct column c = {band, at, mq_inverse_power(power), 0.0f};
    v16 known = v_zero();
    for (size_t i = 0; band->importance && i < BLOCK; i += LANES)
        known = v_max(known, v_load(band->importance + at + i));
    if (v_max_lane(known) > MQ_WEIGHT_MIN)
        c.inverse_importance = 1.0f / v_max_lane(known);
    const float unit = largest * c.inverse_power / E4M3_MAX;
    float scale = 0.0f;
    struct sums best = {INFINITY, 0, 0};
    for (int k = 0; k < candidates[effort]; k++) {
        const float tried = unit * (1.0f + (float)k / (float)candidates[effort]);
        const struct sums s = sums_at(&c, tried);
        scale = s.ee < best.ee ? tried : scale;
        best = s.ee < best.ee ? s : best;
    }
    const v16 inverse = v_inverse_or_zero(v_set1(scale));
    const float stored = scale * power;
    for (size_t row = 0; row < band->rows; row++) {
        uint8_t *block = band->blocks + row * band->row_bytes + at / BLOCK * (SCALE_BYTES + BLOCK);
        memcpy(block, &stored, sizeof stored);
        for (size_t i = 0; i < BLOCK; i += LANES) {
            float y[LANES];
            v_store(y, v_mul(weights_at(&c, row, i), inverse));
            codes_of(y, block + SCALE_BYTES + i);
        }
    }
}

void MQ_ISA_NAME(mq_fp8b_encode_band)(const struct mq_band *band, enum mq_effort effort)
{
    for (size_t at = 0; at < band->n; at += BLOCK)
        encode_column(band, at, effort);
}

void MQ_ISA_NAME(mq_fp8b_encode)(const float *weights, size_t n, const float *importance,
                                 enum mq_effort effort, uint8_t *blocks)
{
    const struct mq_band band = {weights, importance, 1, n, n, blocks, 0};
    MQ_ISA_NAME(mq_fp8b_encode_band)(&band, effort);
}
