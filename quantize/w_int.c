/*
 * w_int.c: the symmetric integers of compressed-tensors ("pack-quantized"), which vLLM, SGLang and Transformers load.
 *
 *     bf16 scale | codes of 4 or 8 bits, the first in the lowest bits        weight = scale (code - zero)
 *
 * of 32, 64 or 128 weights; zero is 8 or 128. Scales are positive. The levels of whole rows, w4c and w8c, have blocks
 * as w4g128 and w8g128, all with the row's scale.
 *
 * The search for the scale of a group, one group a lane: of scales at parts of the largest weight the one whose codes fit
 * best once the scale follows them; then what is stored, of the bf16 values beside it.
 */
#include "bit_codes_int.h"
#include "codecs_int.h"
#include "wide_scales_int.h"

enum { SCALE_BYTES = 2, MAX_GROUP = 128, ROW_BLOCK = 128, LANES = 16 };

struct kind {
    int bits;
    size_t group; /* weights of a block */
};

MQ_INLINE size_t block_bytes(struct kind k)
{
    return SCALE_BYTES + k.group * (size_t)k.bits / 8;
}

/* ---- decoding ---- */

/* Codes less their zero. */
MQ_INLINE void unpack_codes(struct kind k, const uint8_t *packed, int8_t *codes)
{
    uint8_t u[MAX_GROUP];
    if (k.bits == 4)
        mq_unpack_nibbles(packed, k.group, u);
    else
        memcpy(u, packed, k.group);
    for (size_t i = 0; i < k.group; i++)
        codes[i] = (int8_t)(u[i] - (1 << (k.bits - 1)));
}

MQ_INLINE void decode(struct kind k, const uint8_t *blocks, size_t n, float *weights)
{
    int8_t codes[MAX_GROUP];
    for (; n; n -= k.group, blocks += block_bytes(k)) {
        const v16 scale = v_set1(mq_bf16_at(blocks));
        unpack_codes(k, blocks + SCALE_BYTES, codes);
        for (size_t i = 0; i < k.group; i += LANES, weights += LANES)
            v_store(weights, v_mul(scale, v_from_i8(codes + i)));
    }
}

/* Scales are repeated: those of integers are of 32 weights. */
MQ_INLINE void unpack(struct kind k, const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                      float *mins)
{
    memset(mins, 0, n / 32 * sizeof *mins);
    for (; n; n -= k.group, blocks += block_bytes(k), codes += k.group) {
        for (size_t i = 0; i < k.group; i += 32)
            *scales++ = mq_bf16_at(blocks);
        unpack_codes(k, blocks + SCALE_BYTES, codes);
    }
}

/* ---- the search ---- */

struct search {
    int candidates;
    float from, to; /* scales tried, relative to the one at which the largest weight has the largest code */
};

/* What each number buys: search/efforts.c. */
static const struct search searches[2][MQ_EFFORT_COUNT] = {
    {{8, 0.8f, 1.05f}, {16, 0.7f, 1.08f}}, /* 4 bits */
    {{4, 0.99f, 1.04f}, {8, 0.99f, 1.06f}},
};

MQ_INLINE const struct search *search_of(struct kind k, enum mq_effort effort)
{
    return &searches[k.bits == 8][effort];
}

/* Weights, one group a lane, near 1. */
struct lanes {
    v16 x[MAX_GROUP];
    bool weighted;                     /* by importance: */
    v16 w[MAX_GROUP], wx[MAX_GROUP]; /* see mq_weigh; not set otherwise */
};

/* Terms have the importance as a factor. */
struct sums {
    v16 ee, xq, qq; /* sum (x - scale q)^2, sum x q, sum q^2 */
};

MQ_INLINE void add_codes(const struct lanes *in, size_t i, float most, v16 scale, v16 inverse,
                         bool weighted, struct sums *s)
{
    const v16 x = in->x[i], q = mq_codes(x, inverse, -most - 1, most), e = v_fnma(q, scale, x);
    s->ee = v_fma(e, weighted ? v_mul(e, in->w[i]) : e, s->ee);
    s->xq = v_fma(q, weighted ? in->wx[i] : x, s->xq);
    s->qq = v_fma(q, weighted ? v_mul(q, in->w[i]) : q, s->qq);
}

/* Even and odd weights apart, which hides the additions' latency. */
MQ_INLINE struct sums sums_as(const struct lanes *in, struct kind k, v16 scale, bool weighted)
{
    const v16 inverse = v_inverse_or_zero(scale);
    const float most = (float)((1 << (k.bits - 1)) - 1);
    struct sums even = {v_zero(), v_zero(), v_zero()}, odd = even;
    MQ_UNROLL(4)
    for (size_t i = 0; i < k.group; i += 2) {
        add_codes(in, i, most, scale, inverse, weighted, &even);
        add_codes(in, i + 1, most, scale, inverse, weighted, &odd);
    }
    return (struct sums){v_add(even.ee, odd.ee), v_add(even.xq, odd.xq), v_add(even.qq, odd.qq)};
}

MQ_OUTLINE struct sums sums(const struct lanes *in, struct kind k, v16 scale)
{
    return in->weighted ? sums_as(in, k, scale, true) : sums_as(in, k, scale, false);
}

/* Takes over the scale in the lanes where it lowers the error. */
MQ_INLINE void keep_better(v16 scale, v16 error, v16 *best, v16 *best_error)
{
    const m16 better = v_lt(error, *best_error);
    *best_error = v_select(better, error, *best_error);
    *best = v_select(better, scale, *best);
}

MQ_OUTLINE v16 search_scale(const struct lanes *in, struct kind k, const struct search *search)
{
    v16 largest = v_zero(), best = v_zero(), best_error = v_set1(INFINITY);
    for (size_t i = 0; i < k.group; i++)
        largest = v_max(largest, v_abs(in->x[i]));
    const v16 unit = v_mul(largest, v_set1(1.0f / (float)((1 << (k.bits - 1)) - 1)));
    for (int c = 0; c < search->candidates; c++) {
        const float part = (float)c / (float)(search->candidates - 1);
        const float stretch = search->from + (search->to - search->from) * part;
        const v16 scale = mq_round_bf16(v_mul(unit, v_set1(stretch)));
        const struct sums s = sums(in, k, scale);
        keep_better(scale, s.ee, &best, &best_error);
        const v16 refit = mq_round_bf16(v_mul(s.xq, v_inverse_or_zero(s.qq)));
        keep_better(refit, sums(in, k, refit).ee, &best, &best_error);
    }
    return best;
}

/* 16 groups at once, of which `count` are stored. */
static void encode_lanes(struct kind k, const float *weights, const float *importance,
                         enum mq_effort effort, uint8_t *blocks, size_t count)
{
    struct lanes in;
    uint8_t codes[LANES][MAX_GROUP], scales[2 * LANES];
    const v16 power = mq_load_groups(weights, k.group, in.x);
    in.weighted = importance != NULL;
    if (importance)
        mq_load_importance(importance, k.group, in.x, in.w, in.wx);
    const v16 scale = search_scale(&in, k, search_of(k, effort)), inverse = v_inverse_or_zero(scale);
    const float zero = (float)(1 << (k.bits - 1));
    for (size_t at = 0; at < k.group; at += LANES) {
        uint8_t by_weight[256], by_group[256];
        for (size_t i = 0; i < LANES; i++)
            v_store_low8(by_weight + LANES * i,
                         v_add(mq_codes(in.x[at + i], inverse, -zero, zero - 1),
                               v_set1(MQ_MAGIC + zero)));
        mq_transpose_bytes(by_weight, by_group);
        for (size_t b = 0; b < LANES; b++)
            memcpy(codes[b] + at, by_group + LANES * b, LANES);
    }
    v_store_bf16(scales, v_mul(scale, power));
    for (size_t b = 0; b < count; b++, blocks += block_bytes(k)) {
        memcpy(blocks, scales + SCALE_BYTES * b, SCALE_BYTES);
        mq_pack_codes(codes[b], k.group, k.bits, blocks + SCALE_BYTES);
    }
}

static void encode(struct kind k, const float *weights, size_t n, const float *importance,
                   enum mq_effort effort, uint8_t *blocks)
{
    const size_t step = LANES * k.group;
    for (; n >= step; n -= step, weights += step, blocks += LANES * block_bytes(k)) {
        encode_lanes(k, weights, importance, effort, blocks, LANES);
        importance = importance ? importance + step : NULL;
    }
    if (n) {
        float padded[LANES * MAX_GROUP] = {0}, padded_importance[LANES * MAX_GROUP] = {0};
        memcpy(padded, weights, n * sizeof *weights);
        if (importance)
            memcpy(padded_importance, importance, n * sizeof *importance);
        encode_lanes(k, padded, importance ? padded_importance : NULL, effort, blocks,
                     n / k.group);
    }
}

/* ---- one scale for a row ---- */

/* A row of n weights: its sums at a scale, in double from block to block. */
struct row {
    const float *x, *importance; /* NULL: all alike */
    size_t n;
    float inverse_power, inverse_importance;
};

struct row_sums {
    double ee, xq, qq;
};

MQ_INLINE v16 row_weights(const struct row *row, size_t i)
{
    const v16 x = v_clamp(v_load(row->x + i), -MQ_WIDE_MAX, MQ_WIDE_MAX);
    return v_mul(x, v_set1(row->inverse_power));
}

MQ_OUTLINE struct row_sums sums_of_row(const struct row *row, int bits, float scale)
{
    const v16 s = v_set1(scale), inverse = v_inverse_or_zero(s), one = v_set1(1.0f);
    const float most = (float)((1 << (bits - 1)) - 1);
    struct row_sums all = {0};
    for (size_t b = 0; b < row->n; b += ROW_BLOCK) {
        v16 ee = v_zero(), xq = v_zero(), qq = v_zero();
        for (size_t i = b; i < b + ROW_BLOCK; i += LANES) {
            const v16 x = row_weights(row, i);
            const v16 q = mq_codes(x, inverse, -most - 1, most), e = v_fnma(q, s, x);
            v16 w = one;
            if (row->importance)
                w = v_clamp(v_mul(v_load(row->importance + i), v_set1(row->inverse_importance)),
                            MQ_IMPORTANCE_MIN, 1.0f);
            ee = v_fma(e, v_mul(e, w), ee);
            xq = v_fma(q, v_mul(x, w), xq);
            qq = v_fma(q, v_mul(q, w), qq);
        }
        all.ee += (double)v_sum(ee);
        all.xq += (double)v_sum(xq);
        all.qq += (double)v_sum(qq);
    }
    return all;
}

MQ_INLINE float round_bf16(float a)
{
    return mq_bf16_to_f32(mq_f32_to_bf16(a));
}

static float largest_of(const float *a, size_t n)
{
    v16 largest = v_zero();
    for (size_t i = 0; i < n; i += LANES)
        largest = v_max(largest, v_abs(v_load(a + i)));
    return v_max_lane(largest);
}

static float search_row(const struct row *row, int bits, float largest, enum mq_effort effort)
{
    const int candidates = effort == MQ_EFFORT_BEST ? 32 : 12;
    const float unit = largest / (float)((1 << (bits - 1)) - 1);
    const float from = bits == 4 ? 0.4f : 0.8f, to = 1.05f;
    float best = 0;
    double best_error = INFINITY;
    for (int c = 0; c < candidates; c++) {
        float scale = round_bf16(unit * (from + (to - from) * (float)c / (float)(candidates - 1)));
        for (int refit = 0; refit < 2; refit++) {
            const struct row_sums s = sums_of_row(row, bits, scale);
            best = s.ee < best_error ? scale : best;
            best_error = s.ee < best_error ? s.ee : best_error;
            scale = s.qq > 0 ? round_bf16((float)(s.xq / s.qq)) : 0.0f;
        }
    }
    return best;
}

static void encode_row(int bits, const float *weights, size_t n, const float *importance,
                       enum mq_effort effort, uint8_t *blocks)
{
    const float largest = fminf(largest_of(weights, n), MQ_WIDE_MAX);
    const float power = mq_power_below(largest);
    const float known = importance ? largest_of(importance, n) : 0.0f;
    struct row row = {weights, known > MQ_WEIGHT_MIN ? importance : NULL, n, mq_inverse_power(power),
                      known > MQ_WEIGHT_MIN ? 1.0f / known : 0.0f};
    const float scale = search_row(&row, bits, largest * row.inverse_power, effort);
    const v16 inverse = v_inverse_or_zero(v_set1(scale));
    const uint16_t stored = mq_f32_to_bf16(scale * power);
    const float zero = (float)(1 << (bits - 1));
    for (size_t b = 0; b < n; b += ROW_BLOCK) {
        uint8_t codes[ROW_BLOCK];
        for (size_t i = 0; i < ROW_BLOCK; i += LANES)
            v_store_low8(codes + i, v_add(mq_codes(row_weights(&row, b + i), inverse, -zero, zero - 1),
                                          v_set1(MQ_MAGIC + zero)));
        memcpy(blocks, &stored, sizeof stored);
        mq_pack_codes(codes, ROW_BLOCK, bits, blocks + SCALE_BYTES);
        blocks += SCALE_BYTES + ROW_BLOCK * bits / 8;
    }
}

static void encode_band(int bits, const struct mq_band *band, enum mq_effort effort)
{
    for (size_t r = 0; r < band->rows; r++)
        encode_row(bits, band->weights + r * band->stride, band->n, band->importance, effort,
                   band->blocks + r * band->row_bytes);
}

/* ---- the levels ---- */

#define READ(level, bits, group)                                                           \
    void MQ_ISA_NAME(mq_##level##_decode)(const uint8_t *blocks, size_t n, float *weights) \
    {                                                                                      \
        decode((struct kind){bits, group}, blocks, n, weights);                            \
    }                                                                                      \
    void MQ_ISA_NAME(mq_##level##_unpack)(const uint8_t *blocks, size_t n, int8_t *codes,  \
                                          float *scales, float *mins)                      \
    {                                                                                      \
        unpack((struct kind){bits, group}, blocks, n, codes, scales, mins);                \
    }

#define GROUPS(level, bits, group)                                                   \
    READ(level, bits, group)                                                         \
    void MQ_ISA_NAME(mq_##level##_encode)(const float *weights, size_t n,            \
                                          const float *importance,                   \
                                          enum mq_effort effort, uint8_t *blocks)    \
    {                                                                                \
        encode((struct kind){bits, group}, weights, n, importance, effort, blocks); \
    }

#define ROWS(level, bits)                                                                      \
    READ(level, bits, ROW_BLOCK)                                                               \
    void MQ_ISA_NAME(mq_##level##_encode_band)(const struct mq_band *band, enum mq_effort effort) \
    {                                                                                          \
        encode_band(bits, band, effort);                                                       \
    }                                                                                          \
    void MQ_ISA_NAME(mq_##level##_encode)(const float *weights, size_t n,                      \
                                          const float *importance,                             \
                                          enum mq_effort effort, uint8_t *blocks)              \
    {                                                                                          \
        encode_row(bits, weights, n, importance, effort, blocks);                              \
    }

GROUPS(w4g32, 4, 32)
GROUPS(w4g64, 4, 64)
GROUPS(w4g128, 4, 128)
GROUPS(w8g32, 8, 32)
GROUPS(w8g64, 8, 64)
GROUPS(w8g128, 8, 128)
ROWS(w4c, 4)
ROWS(w8c, 8)
