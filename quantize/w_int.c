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
#include "weights_int.h"
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

/* The largest weight's code before it is rounded and cut: where scales are tried, for groups whose largest weight is
 * positive, and negative. Found greedily: search/runtime_levels.py. */
static const float parts[3][2][16] = {
    {{7.4f, 7.0f, 7.8f, 6.1f, 6.7f, 7.2f, 8.1f, 7.6f, 5.8f, 6.3f, 6.9f, 5.3f, 7.9f, 7.3f, 8.3f,
      7.5f},
     {8.2f, 8.6f, 7.8f, 7.1f, 8.9f, 8.0f, 8.4f, 7.3f, 6.8f, 6.1f, 7.6f, 9.2f, 8.8f, 7.0f, 8.1f,
      8.5f}}, /* 32 weights */
    {{7.7f, 7.2f, 8.2f, 7.5f, 7.9f, 6.9f, 8.5f, 7.4f, 8.0f, 6.2f, 8.8f, 7.1f, 6.7f, 8.3f, 7.6f,
      7.8f},
     {8.4f, 8.9f, 7.9f, 9.3f, 7.2f, 8.2f, 8.6f, 7.7f, 9.1f, 8.1f, 9.6f, 8.7f, 6.9f, 7.4f, 8.3f,
      8.5f}}, /* 64 weights */
    {{8.3f, 7.7f, 8.9f, 8.0f, 8.6f, 9.3f, 7.4f, 8.2f, 8.4f, 9.6f, 7.8f, 7.2f, 9.1f, 8.7f, 7.6f,
      8.1f},
     {8.8f, 9.4f, 8.3f, 9.9f, 7.9f, 9.1f, 8.6f, 9.6f, 8.1f, 10.3f, 7.7f, 8.4f, 8.9f, 9.2f, 7.3f,
      8.7f}}, /* 128 weights */
};

/* What each number buys: search/runtime_levels.py. */
struct search {
    int parts;    /* of 4 bits: scales that are tried */
    int down, up; /* steps of bf16 beside the scale that is found */
};
static const struct search searches[2][MQ_EFFORT_COUNT] = {
    {{8, 0, 0}, {16, -1, 1}},
    {{0, -1, 3}, {0, -2, 9}},
};

/* Weights, one group a lane, near 1. */
struct lanes {
    v16 x[MAX_GROUP];
    bool weighted;                   /* by importance: */
    v16 w[MAX_GROUP], wx[MAX_GROUP]; /* see mq_weigh; not set otherwise */
    struct kind kind;
    float most; /* the largest code; the smallest is one further from 0 */
};

struct sums {
    v16 xq, qq; /* sum x q, sum q^2 */
};

MQ_INLINE void add_codes(const struct lanes *in, size_t i, v16 inverse, bool weighted,
                         struct sums *s)
{
    const v16 q = mq_codes(in->x[i], inverse, -in->most - 1, in->most);
    s->xq = v_fma(q, weighted ? in->wx[i] : in->x[i], s->xq);
    s->qq = v_fma(q, weighted ? v_mul(q, in->w[i]) : q, s->qq);
}

/* Even and odd weights apart, which hides the additions' latency. */
MQ_INLINE struct sums sums_as(const struct lanes *in, v16 inverse, bool weighted)
{
    struct sums even = {v_zero(), v_zero()}, odd = even;
    MQ_UNROLL(4)
    for (size_t i = 0; i < in->kind.group; i += 2) {
        add_codes(in, i, inverse, weighted, &even);
        add_codes(in, i + 1, inverse, weighted, &odd);
    }
    return (struct sums){v_add(even.xq, odd.xq), v_add(even.qq, odd.qq)};
}

MQ_OUTLINE struct sums sums(const struct lanes *in, v16 inverse)
{
    return in->weighted ? sums_as(in, inverse, true) : sums_as(in, inverse, false);
}

/* sum (x - scale q)^2: as residuals, as a difference of sums would cancel at 8 bits. */
MQ_INLINE v16 error_as(const struct lanes *in, v16 scale, bool weighted)
{
    const v16 inverse = v_inverse_or_zero(scale);
    v16 even = v_zero(), odd = even;
    MQ_UNROLL(4)
    for (size_t i = 0; i < in->kind.group; i += 2) {
        const v16 q = mq_codes(in->x[i], inverse, -in->most - 1, in->most);
        const v16 r = mq_codes(in->x[i + 1], inverse, -in->most - 1, in->most);
        const v16 e = v_fnma(q, scale, in->x[i]), f = v_fnma(r, scale, in->x[i + 1]);
        even = v_fma(e, weighted ? v_mul(e, in->w[i]) : e, even);
        odd = v_fma(f, weighted ? v_mul(f, in->w[i + 1]) : f, odd);
    }
    return v_add(even, odd);
}

MQ_OUTLINE v16 error_at(const struct lanes *in, v16 scale)
{
    return in->weighted ? error_as(in, scale, true) : error_as(in, scale, false);
}

/* Of bf16's values beside a scale the best. */
MQ_OUTLINE v16 search_steps(const struct lanes *in, const struct search *search, v16 scale)
{
    const v16 nearest = mq_round_bf16(scale);
    const m16 some = v_gt(nearest, v_zero());
    v16 best = nearest, best_error = v_set1(INFINITY);
    if (search->down == search->up)
        return nearest;
    for (int step = search->down; step <= search->up; step++) {
        const v16 beside = v_select(some, mq_step_bf16(nearest, step), v_zero());
        const v16 error = error_at(in, beside);
        const m16 better = v_lt(error, best_error);
        best_error = v_select(better, error, best_error);
        best = v_select(better, beside, best);
    }
    return best;
}

/* Takes over sums in the lanes where they gain more: sum (x - a q)^2 falls by xq^2 / qq at a = xq / qq. */
MQ_INLINE void keep_better(struct sums s, struct sums *best)
{
    const v16 gain = v_mul(v_mul(s.xq, s.xq), v_max(best->qq, v_set1(1e-30f)));
    const m16 better = v_gt(gain, v_mul(v_mul(best->xq, best->xq), s.qq));
    best->xq = v_select(better, s.xq, best->xq);
    best->qq = v_select(better, s.qq, best->qq);
}

/* Codes of 4 bits: the scale at which they are rounded, and (*stored) what is stored with them: the least-squares one
 * stretched (mq_unbias). */
MQ_OUTLINE v16 search_few(const struct lanes *in, const struct search *search, v16 *stored)
{
    const float(*const of_signs)[16] = parts[in->kind.group / 64];
    v16 high = v_zero(), low = v_zero(), xx = v_zero();
    for (size_t i = 0; i < in->kind.group; i++) {
        high = v_max(high, in->x[i]);
        low = v_min(low, in->x[i]);
        xx = v_fma(in->x[i], in->weighted ? in->wx[i] : in->x[i], xx);
    }
    const m16 negative = v_gt(v_neg(low), high);
    const v16 inverse_largest = v_inverse_or_zero(v_max(high, v_neg(low)));
    struct sums best = {v_zero(), v_zero()};
    for (int c = 0; c < search->parts; c++) {
        const v16 part = v_select(negative, v_set1(of_signs[1][c]), v_set1(of_signs[0][c]));
        keep_better(sums(in, v_mul(part, inverse_largest)), &best);
    }
    keep_better(sums(in, v_mul(best.qq, v_inverse_or_zero(best.xq))), &best); /* Lloyd */
    const v16 found = v_mul(best.xq, v_inverse_or_zero(best.qq));
    const v16 scale = search_steps(in, search, found);
    const struct sums last = sums(in, v_inverse_or_zero(scale));
    const v16 fitted = v_mul(last.xq, v_inverse_or_zero(last.qq));
    const v16 share = v_mul(fitted, last.xq);
    *stored = mq_round_bf16(
        v_mul(fitted, mq_unbias(xx, share, in->weighted ? MQ_UNBIAS_WEIGHTED : MQ_UNBIAS)));
    return scale;
}

/* Codes of 8 bits: it is luck how near they come to the weights. */
MQ_OUTLINE v16 search_many(const struct lanes *in, const struct search *search)
{
    v16 largest = v_zero();
    for (size_t i = 0; i < in->kind.group; i++)
        largest = v_max(largest, v_abs(in->x[i]));
    return search_steps(in, search, v_mul(largest, v_set1(1.0f / in->most)));
}

/* 16 groups at once, of which `count` are stored. */
static void encode_lanes(struct kind k, const float *weights, const float *importance,
                         enum mq_effort effort, uint8_t *blocks, size_t count)
{
    struct lanes in;
    uint8_t codes[LANES][MAX_GROUP], scales[2 * LANES];
    const v16 power = mq_load_groups(weights, k.group, in.x);
    in.kind = k;
    in.most = (float)((1 << (k.bits - 1)) - 1);
    in.weighted = importance != NULL;
    if (importance)
        mq_load_importance(importance, k.group, in.x, in.w, in.wx);
    const struct search *search = &searches[k.bits == 8][effort];
    v16 stored;
    const v16 scale = k.bits == 8 ? search_many(&in, search) : search_few(&in, search, &stored);
    if (k.bits == 8)
        stored = scale;
    const v16 inverse = v_inverse_or_zero(scale);
    const float zero = (float)(1 << (k.bits - 1));
    for (size_t at = 0; at < k.group; at += LANES) {
        uint8_t by_weight[256], by_group[256];
        for (size_t i = 0; i < LANES; i++)
            v_store_low8(
                by_weight + LANES * i,
                v_add(mq_codes(in.x[at + i], inverse, -zero, zero - 1), v_set1(MQ_MAGIC + zero)));
        mq_transpose_bytes(by_weight, by_group);
        for (size_t b = 0; b < LANES; b++)
            memcpy(codes[b] + at, by_group + LANES * b, LANES);
    }
    v_store_bf16(scales, v_mul(stored, power));
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
        encode_lanes(k, padded, importance ? padded_importance : NULL, effort, blocks, n / k.group);
    }
}

/* ---- one scale for a row ---- */

/* A row of n weights: its sums at a scale, in double from block to block. */
struct row {
    const float *x, *importance; /* NULL: all alike, */
    bool weighted;               /* or (as well) nothing known of any */
    size_t n;
    float inverse_power, inverse_importance;
};

struct row_sums {
    double ee, xx, xq, qq;
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
        v16 ee = v_zero(), xx = v_zero(), xq = v_zero(), qq = v_zero();
        for (size_t i = b; i < b + ROW_BLOCK; i += LANES) {
            const v16 x = row_weights(row, i);
            const v16 q = mq_codes(x, inverse, -most - 1, most), e = v_fnma(q, s, x);
            v16 w = one;
            if (row->importance)
                w = v_clamp(v_mul(v_load(row->importance + i), v_set1(row->inverse_importance)),
                            MQ_IMPORTANCE_MIN, 1.0f);
            ee = v_fma(e, v_mul(e, w), ee);
            xx = v_fma(x, v_mul(x, w), xx);
            xq = v_fma(q, v_mul(x, w), xq);
            qq = v_fma(q, v_mul(q, w), qq);
        }
        all.ee += (double)v_sum(ee);
        all.xx += (double)v_sum(xx);
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

/* A row's scales: at which its codes are rounded, and stored. */
struct row_scales {
    float scale, stored;
};

/* Scales that are tried, each so many times the one before, from beyond the largest weight's on; then the scale follows
 * the best one's codes, twice. */
static const struct row_search {
    int count;
    float ratio;
} row_searches[2][MQ_EFFORT_COUNT] = {
    {{10, 0.88f}, {24, 0.95f}}, /* 4 bits */
    {{4, 0.97f}, {12, 0.99f}},
};

static struct row_scales search_row(const struct row *row, int bits, float largest,
                                    enum mq_effort effort)
{
    const struct row_search *search = &row_searches[bits == 8][effort];
    float scale = 1.04f * largest / (float)((1 << (bits - 1)) - 1), best = 0.0f;
    struct row_sums kept = {INFINITY, 0, 0, 0};
    for (int c = 0; c < search->count + 2; c++) {
        const float rounded = round_bf16(scale);
        const struct row_sums s = sums_of_row(row, bits, rounded);
        best = s.ee < kept.ee ? rounded : best;
        kept = s.ee < kept.ee ? s : kept;
        scale = c < search->count - 1 ? scale * search->ratio
                : kept.qq > 0         ? (float)(kept.xq / kept.qq)
                                      : 0.0f;
    }
    if (bits == 8 || !(kept.xq > 0))
        return (struct row_scales){best, best};
    return (struct row_scales){
        best,
        round_bf16(
            mq_unbiased_scale((float)kept.xx, (float)kept.xq, (float)kept.qq, row->weighted)),
    };
}

static void encode_row(int bits, const float *weights, size_t n, const float *importance,
                       enum mq_effort effort, uint8_t *blocks)
{
    const float largest = fminf(largest_of(weights, n), MQ_WIDE_MAX);
    const float power = mq_power_below(largest);
    const float known = importance ? largest_of(importance, n) : 0.0f;
    const struct row row = {
        .x = weights,
        .importance = known > MQ_WEIGHT_MIN ? importance : NULL,
        .weighted = importance != NULL,
        .n = n,
        .inverse_power = mq_inverse_power(power),
        .inverse_importance = known > MQ_WEIGHT_MIN ? 1.0f / known : 0.0f,
    };
    const struct row_scales found = search_row(&row, bits, largest * row.inverse_power, effort);
    const v16 inverse = v_inverse_or_zero(v_set1(found.scale));
    const uint16_t stored = mq_f32_to_bf16(found.stored * power);
    const float zero = (float)(1 << (bits - 1));
    for (size_t b = 0; b < n; b += ROW_BLOCK) {
        uint8_t codes[ROW_BLOCK];
        for (size_t i = 0; i < ROW_BLOCK; i += LANES)
            v_store_low8(codes + i,
                         v_add(mq_codes(row_weights(&row, b + i), inverse, -zero, zero - 1),
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

#define GROUPS(level, bits, group)                                                                 \
    READ(level, bits, group)                                                                       \
    void MQ_ISA_NAME(mq_##level##_encode)(const float *weights, size_t n, const float *importance, \
                                          enum mq_effort effort, uint8_t *blocks)                  \
    {                                                                                              \
        encode((struct kind){bits, group}, weights, n, importance, effort, blocks);                \
    }

#define ROWS(level, bits)                                                                          \
    READ(level, bits, ROW_BLOCK)                                                                   \
    void MQ_ISA_NAME(mq_##level##_encode_band)(const struct mq_band *band, enum mq_effort effort)  \
    {                                                                                              \
        encode_band(bits, band, effort);                                                           \
    }                                                                                              \
    void MQ_ISA_NAME(mq_##level##_encode)(const float *weights, size_t n, const float *importance, \
                                          enum mq_effort effort, uint8_t *blocks)                  \
    {                                                                                              \
        encode_row(bits, weights, n, importance, effort, blocks);                                  \
    }

GROUPS(w4g32, 4, 32)
GROUPS(w4g64, 4, 64)
GROUPS(w4g128, 4, 128)
GROUPS(w8g32, 8, 32)
GROUPS(w8g64, 8, 64)
GROUPS(w8g128, 8, 128)
ROWS(w4c, 4)
ROWS(w8c, 8)
