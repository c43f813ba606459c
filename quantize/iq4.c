/*
 * iq4.c: GGML's IQ4_NL and IQ4_XS: 4-bit codes that stand for sixteen values, closer to each other near 0.
 *
 *     iq4_nl,  18 B of 32:    f16 d | u8 q[16]                           weight = d value(code)
 *     iq4_xs, 136 B of 256:   f16 d | u16 h | u8 s[4] | u8 q[128]        weight = d (scale - 32) value(code)
 *
 * Weights l and l + 16 of each 32 have their codes in the low and the high nibble of q[l]. Sub-block j of 32 has the low
 * four bits of its scale in a nibble of s[j / 2], the low one where j is even, and the high two in bits 2j, 2j+1 of h.
 *
 * The search, with one sub-block of 32 a lane, is that of symmetric_int.h with the nearest value for the nearest integer:
 *
 *   1. try inverse scales c / (weight of largest magnitude), then Lloyd: code again with the best scale found;
 *   2. iq4_xs: d, 16 values at once; then with true errors the scales next to the ones found, and, as the values are not
 *      symmetric, those next to the scale of the other sign that has the same range;
 *   3. refit d to the codes by least squares, and unbias it.
 */
#include "codecs_int.h"
#include "iq_grids.h"
#include "six_bit_int.h"
#include "weights_int.h"

enum { NL_BLOCK = 32, NL_BYTES = 18, XS_BLOCK = 256, XS_BYTES = 136, SUB = 32, SUBS = 8 };
enum { LANES_WEIGHTS = 16 * SUB, XS_SCALE_MIN = -32, XS_SCALE_MAX = 31 };

MQ_INLINE float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return mq_f16_to_f32(h);
}

MQ_INLINE void look_up(const uint8_t *q, int8_t codes[SUB])
{
    static const int8_t values[16] = {MQ_IQ4_VALUES};
    for (int l = 0; l < SUB / 2; l++) {
        codes[l] = values[q[l] & 15];
        codes[l + SUB / 2] = values[q[l] >> 4];
    }
}

MQ_INLINE void xs_scales(const uint8_t *block, float scales[SUBS])
{
    const float d = half_at(block);
    uint16_t h;
    memcpy(&h, block + 2, sizeof h);
    for (int j = 0; j < SUBS; j++) {
        const int low = block[4 + j / 2] >> 4 * (j % 2) & 15, high = h >> 2 * j & 3;
        scales[j] = d * (float)((low | high << 4) - 32);
    }
}

/* Sub-blocks of 32 with a scale each, a block at a time. */
MQ_INLINE void scale_codes(const int8_t *codes, const float *scales, int count, float *weights)
{
    for (int i = 0; i < 2 * count; i++)
        v_store(weights + 16 * i, v_mul(v_set1(scales[i / 2]), v_from_i8(codes + 16 * i)));
}

void MQ_ISA_NAME(mq_iq4_nl_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                   float *mins)
{
    for (size_t b = 0; b < n / NL_BLOCK; b++, blocks += NL_BYTES) {
        scales[b] = half_at(blocks);
        mins[b] = 0;
        look_up(blocks + 2, codes + NL_BLOCK * b);
    }
}

void MQ_ISA_NAME(mq_iq4_nl_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= NL_BLOCK, blocks += NL_BYTES, weights += NL_BLOCK) {
        int8_t codes[SUB];
        const float d = half_at(blocks);
        look_up(blocks + 2, codes);
        scale_codes(codes, &d, 1, weights);
    }
}

void MQ_ISA_NAME(mq_iq4_xs_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                   float *mins)
{
    memset(mins, 0, n / SUB * sizeof *mins);
    for (; n; n -= XS_BLOCK, blocks += XS_BYTES, scales += SUBS) {
        xs_scales(blocks, scales);
        for (int j = 0; j < SUBS; j++, codes += SUB)
            look_up(blocks + 8 + 16 * j, codes);
    }
}

void MQ_ISA_NAME(mq_iq4_xs_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= XS_BLOCK, blocks += XS_BYTES, weights += XS_BLOCK) {
        int8_t codes[XS_BLOCK];
        float scales[SUBS];
        xs_scales(blocks, scales);
        for (int j = 0; j < SUBS; j++)
            look_up(blocks + 8 + 16 * j, codes + SUB * j);
        scale_codes(codes, scales, SUBS, weights);
    }
}

/* ---- encoders ---- */

static const struct search {
    int candidates;  /* of inverse_scales */
    int lloyd_steps; /* recodings with the best scale */
    float d_span; /* 16 d within 1 +- d_span of the one that gives the largest scale XS_SCALE_MIN */
    int neighbours; /* integer scales tried on either side */
    int rounds;     /* of these, the second with the refitted d */
} searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {14, 1, 0.12f, 2, 1},
    [MQ_EFFORT_BEST] = {24, 2, 0.12f, 3, 2},
};

/* Negative: the weight of largest magnitude gets code 0, -127. */
static const float inverse_scales[24] = {-127.0f, -109.2f, -136.0f, -118.1f, 113.0f,  -144.8f,
                                         -100.3f, 126.0f,  -131.5f, -113.7f, -122.6f, -140.3f,
                                         100.0f,  -104.8f, -149.2f, 107.0f,  120.0f,  -95.9f,
                                         -153.7f, 133.0f,  -91.4f,  94.0f,   -158.0f, -87.0f};

/* Weights, one sub-block a lane. */
struct lanes {
    v16 x[SUB], w[SUB], wx[SUB];
    bool weighted;
};

struct sums {
    v16 xl, ll; /* sum w x value, sum w value^2 */
};

/* of_code[k] of the code k whose value is nearest to t. */
MQ_INLINE v16 nearest(v16 t, const float of_code[16])
{
    static const float between[15] = {-115.5f, -93.5f, -74,   -57,   -42, -28.5f, -16, -4.5f,
                                      7,       19,     31.5f, 45.5f, 61,  79,     101};
    v16 v = v_set1(of_code[0]);
    MQ_UNROLL(15)
    for (int k = 0; k < 15; k++)
        v = v_select(v_gt(t, v_set1(between[k])), v_set1(of_code[k + 1]), v);
    return v;
}

static const float values[16] = {MQ_IQ4_VALUES};

MQ_OUTLINE struct sums sums(const struct lanes *in, v16 inverse)
{
    struct sums s = {v_zero(), v_zero()};
    for (int i = 0; i < SUB; i++) {
        const v16 l = nearest(v_mul(in->x[i], inverse), values);
        s.xl = v_fma(l, in->wx[i], s.xl);
        s.ll = v_fma(l, v_mul(l, in->w[i]), s.ll);
    }
    return s;
}

MQ_INLINE struct sums select_sums(m16 m, struct sums yes, struct sums no)
{
    return (struct sums){v_select(m, yes.xl, no.xl), v_select(m, yes.ll, no.ll)};
}

/* Step 1. Gains xl^2 / ll are compared without dividing; ll starts above 0, for lanes of zeros never win. */
static struct sums fit_sub_blocks(const struct lanes *in, const struct search *search)
{
    v16 largest = in->x[0];
    for (int i = 1; i < SUB; i++)
        largest = v_select(v_gt(v_abs(in->x[i]), v_abs(largest)), in->x[i], largest);
    const m16 usable = v_gt(v_abs(largest), v_set1(MQ_WEIGHT_MIN));
    const v16 unit = v_select(usable, v_div(v_set1(1.0f), largest), v_zero());
    struct sums best = {v_zero(), v_set1(1e-30f)};
    for (int c = 0; c < search->candidates + search->lloyd_steps; c++) {
        const v16 inverse = c < search->candidates ? v_mul(unit, v_set1(inverse_scales[c]))
                                                   : v_mul(best.ll, v_inverse_or_zero(best.xl));
        const struct sums s = sums(in, inverse);
        const v16 gain = v_mul(v_mul(s.xl, s.xl), best.ll);
        best = select_sums(v_gt(gain, v_mul(v_mul(best.xl, best.xl), s.ll)), s, best);
    }
    return best;
}

/* d of the block whose eight sub-blocks have the best scales a, curvatures ll. */
static float search_d(const float a[SUBS], const float ll[SUBS], float span)
{
    float largest = 0.0f, candidates[16];
    for (int j = 0; j < SUBS; j++)
        largest = fabsf(a[j]) > fabsf(largest) ? a[j] : largest;
    const v16 step = v_set1(2.0f * span / 15.0f);
    const v16 divisor = v_fma(v_iota(), step, v_set1(1.0f - span));
    const v16 magnitude = mq_round_scale(v_div(v_set1(fabsf(largest) / -XS_SCALE_MIN), divisor));
    const v16 d = v_mul(magnitude, v_set1(largest > 0.0f ? -1.0f : 1.0f));
    const v16 inverse = v_inverse_or_zero(d);
    v16 error = v_zero();
    for (int j = 0; j < SUBS; j++) {
        const v16 aj = v_set1(a[j]);
        const v16 e = v_fnma(mq_codes(aj, inverse, XS_SCALE_MIN, XS_SCALE_MAX), d, aj);
        error = v_fma(v_mul(e, e), v_set1(ll[j]), error);
    }
    v_store(candidates, d);
    return candidates[mq_smallest_lane(error)];
}

/* Two blocks, as lanes 0..7 and 8..15. */
struct fit {
    v16 d;      /* of the lane's block */
    v16 scales; /* XS_SCALE_MIN..XS_SCALE_MAX; codes are rounded at scales * d */
    struct sums best;
};

MQ_INLINE void try_scales(const struct lanes *in, v16 candidate, v16 *best_error, struct fit *fit)
{
    const v16 scale = v_mul(candidate, fit->d);
    const struct sums s = sums(in, v_inverse_or_zero(scale));
    const v16 error = v_mul(scale, v_fms(scale, s.ll, v_add(s.xl, s.xl))); /* less sum w x^2 */
    const m16 better = v_lt(error, *best_error);
    *best_error = v_select(better, error, *best_error);
    fit->scales = v_select(better, candidate, fit->scales);
    fit->best = select_sums(better, s, fit->best);
}

/* Step 2, with true errors. */
static void refine(const struct lanes *in, v16 a, int neighbours, struct fit *fit)
{
    const v16 first = mq_codes(a, v_inverse_or_zero(fit->d), XS_SCALE_MIN, XS_SCALE_MAX);
    const v16 mirrored = mq_codes(first, v_set1(-113.0f / 127.0f), XS_SCALE_MIN, XS_SCALE_MAX);
    v16 best_error = v_set1(INFINITY);
    for (int k = 0; k <= 2 * neighbours + 3; k++) { /* 0, -1, +1, -2, +2; mirrored: -1, 0, +1 */
        const bool turned = k > 2 * neighbours;
        const int offset = turned ? k - 2 * neighbours - 2 : k & 1 ? -(k + 1) / 2 : k / 2;
        const v16 candidate = v_add(turned ? mirrored : first, v_set1((float)offset));
        try_scales(in, v_clamp(candidate, XS_SCALE_MIN, XS_SCALE_MAX), &best_error, fit);
    }
}

/* The codes of 16 sub-blocks, 32 of each. */
static void code(const struct lanes *in, v16 scale, uint8_t codes[16][SUB])
{
    static const float numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const v16 inverse = v_inverse_or_zero(scale);
    uint8_t by_weight[2][256], by_block[2][256];
    for (int i = 0; i < SUB; i++)
        v_store_low8(by_weight[i / 16] + i % 16 * 16,
                     v_add(nearest(v_mul(in->x[i], inverse), numbers), v_set1(MQ_MAGIC)));
    mq_transpose_bytes(by_weight[0], by_block[0]);
    mq_transpose_bytes(by_weight[1], by_block[1]);
    for (int b = 0; b < 16; b++) {
        memcpy(codes[b], by_block[0] + 16 * b, 16);
        memcpy(codes[b] + 16, by_block[1] + 16 * b, 16);
    }
}

/* n weights, at most 16 sub-blocks; what is missing of them is zeros. `block` columns are weighted together. */
static void load(const float *weights, size_t n, const float *importance, int block,
                 int max_exponent, struct lanes *in)
{
    float x[LANES_WEIGHTS] = {0}, w[LANES_WEIGHTS];
    memcpy(x, weights, n * sizeof *x);
    for (int at = 0; at < LANES_WEIGHTS; at += block)
        mq_importance_weights(importance && (size_t)at < n ? importance + at : NULL, block, w + at);
    for (int half = 0; half < SUB; half += 16) {
        mq_load_lanes(x + half, SUB, max_exponent, in->x + half);
        v_transpose(w + half, SUB, in->w + half);
    }
    for (int i = 0; i < SUB; i++)
        in->wx[i] = v_mul(in->w[i], in->x[i]);
    in->weighted = importance != NULL;
}

static v16 squares(const struct lanes *in)
{
    v16 xx = v_zero();
    for (int i = 0; i < SUB; i++)
        xx = v_fma(in->wx[i], in->x[i], xx);
    return xx;
}

/* 16 blocks, of which `count` are stored. */
static void encode_nl(const struct lanes *in, const struct search *search, uint8_t *blocks,
                      size_t count)
{
    const struct sums found = fit_sub_blocks(in, search);
    const v16 a = v_div(found.xl, found.ll), sign = v_set1(-1.0f);
    const v16 rounded = mq_round_scale(v_abs(a));
    const v16 scale = v_select(v_lt(a, v_zero()), v_mul(rounded, sign), rounded);
    const struct sums coded = sums(in, v_inverse_or_zero(scale));
    float xx[16], xl[16], ll[16];
    uint8_t codes[16][SUB];
    v_store(xx, squares(in));
    v_store(xl, coded.xl);
    v_store(ll, coded.ll);
    code(in, scale, codes);
    for (size_t b = 0; b < count; b++, blocks += NL_BYTES) {
        const uint16_t d = mq_scale_to_f16(mq_unbiased_scale(xx[b], xl[b], ll[b], in->weighted));
        memcpy(blocks, &d, sizeof d);
        mq_pack_nibbles(codes[b], blocks + 2);
    }
}

static void pack_xs(const uint8_t codes[SUBS][SUB], const float scales[SUBS], float d,
                    uint8_t *block)
{
    const uint16_t half = mq_scale_to_f16(d);
    uint16_t high = 0;
    memset(block, 0, 8);
    for (int j = 0; j < SUBS; j++) {
        const unsigned s = (unsigned)((int)scales[j] - XS_SCALE_MIN);
        high = (uint16_t)(high | s >> 4 << 2 * j);
        block[4 + j / 2] = (uint8_t)(block[4 + j / 2] | (s & 15) << 4 * (j % 2));
        mq_pack_nibbles(codes[j], block + 8 + 16 * j);
    }
    memcpy(block, &half, sizeof half);
    memcpy(block + 2, &high, sizeof high);
}

/* Two blocks, of which `count` are stored. */
static void encode_xs(const struct lanes *in, const struct search *search, uint8_t *blocks,
                      size_t count)
{
    const struct sums found = fit_sub_blocks(in, search);
    const v16 a = v_div(found.xl, found.ll);
    float scales[16], ll[16], xx[16], xq[16], qq[16];
    uint8_t codes[16][SUB];
    v_store(scales, a);
    v_store(ll, found.ll);
    struct fit fit = {.d = v_join(v_set1(search_d(scales, ll, search->d_span)),
                                  v_set1(search_d(scales + SUBS, ll + SUBS, search->d_span)))};
    for (int round = 0; round < search->rounds; round++) {
        refine(in, round ? v_mul(fit.scales, fit.d) : a, search->neighbours, &fit);
        const v16 sum_xq = v_sum_halves(v_mul(fit.scales, fit.best.xl));
        const v16 sum_qq = v_sum_halves(v_mul(v_mul(fit.scales, fit.scales), fit.best.ll));
        v_store(xq, sum_xq);
        v_store(qq, sum_qq);
        if (round + 1 < search->rounds)
            fit.d = v_mul(sum_xq, v_inverse_or_zero(sum_qq));
    }
    v_store(xx, v_sum_halves(squares(in)));
    v_store(scales, fit.scales);
    code(in, v_mul(fit.scales, fit.d), codes);
    for (size_t b = 0; b < count; b++, blocks += XS_BYTES) {
        const size_t at = SUBS * b;
        const float d = mq_unbiased_scale(xx[at], xq[at], qq[at], in->weighted);
        pack_xs(codes + at, scales + at, d, blocks);
    }
}

MQ_INLINE void encode(const float *weights, size_t n, const float *importance,
                      enum mq_effort effort, bool xs, uint8_t *blocks)
{
    const int block = xs ? XS_BLOCK : NL_BLOCK;
    for (size_t some; n; n -= some) {
        struct lanes in;
        some = n < LANES_WEIGHTS ? n : LANES_WEIGHTS;
        load(weights, some, importance, block, xs ? 28 : 23, &in);
        const size_t count = some / (size_t)block;
        if (xs)
            encode_xs(&in, &searches[effort], blocks, count);
        else
            encode_nl(&in, &searches[effort], blocks, count);
        weights += some;
        importance = importance ? importance + some : NULL;
        blocks += count * (xs ? XS_BYTES : NL_BYTES);
    }
}

void MQ_ISA_NAME(mq_iq4_nl_encode)(const float *weights, size_t n, const float *importance,
                                   enum mq_effort effort, uint8_t *blocks)
{
    encode(weights, n, importance, effort, false, blocks);
}

void MQ_ISA_NAME(mq_iq4_xs_encode)(const float *weights, size_t n, const float *importance,
                                   enum mq_effort effort, uint8_t *blocks)
{
    encode(weights, n, importance, effort, true, blocks);
}
