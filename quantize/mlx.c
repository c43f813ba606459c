/*
 * mlx.c: the affine integers of Apple's MLX.
 *
 *     bf16 scale | bf16 bias | codes of 2, 3, 4, 5, 6 or 8 bits, the first in the lowest bits
 *
 * of 32, 64 or 128 weights: weight = scale code + bias.
 *
 * One group a lane. Of few bits the search goes by sums, as that of affine_int.h but for minima that have their own
 * precision and either sign; of many bits by residuals.
 */
#include "bit_codes_int.h"
#include "codecs_int.h"
#include "wide_scales_int.h"

enum { BIAS_AT = 2, CODES_AT = 4, MAX_GROUP = 128, LANES = 16 };

struct kind {
    int bits;
    size_t group; /* weights of a block */
};

MQ_INLINE size_t block_bytes(struct kind k)
{
    return CODES_AT + k.group * (size_t)k.bits / 8;
}

/* ---- decoding ---- */

MQ_INLINE void unpack_codes(struct kind k, const uint8_t *packed, uint8_t *codes)
{
    if (k.bits == 8)
        memcpy(codes, packed, k.group);
    else if (k.bits == 4)
        mq_unpack_nibbles(packed, k.group, codes);
    else
        mq_unpack_codes(packed, k.group, k.bits, codes);
}

MQ_INLINE void decode(struct kind k, const uint8_t *blocks, size_t n, float *weights)
{
    uint8_t codes[MAX_GROUP];
    for (; n; n -= k.group, blocks += block_bytes(k)) {
        const v16 scale = v_set1(mq_bf16_at(blocks)), bias = v_set1(mq_bf16_at(blocks + BIAS_AT));
        unpack_codes(k, blocks + CODES_AT, codes);
        for (size_t i = 0; i < k.group; i += LANES, weights += LANES)
            v_store(weights, v_add(v_mul(scale, v_from_u8(codes + i)), bias));
    }
}

/* Scales are repeated: those of integers are of 32 weights. Codes of 8 bits are stored less 128, which their minimum
 * makes good. */
MQ_INLINE void unpack(struct kind k, const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                      float *mins)
{
    for (; n; n -= k.group, blocks += block_bytes(k), codes += k.group) {
        const float scale = mq_bf16_at(blocks), bias = mq_bf16_at(blocks + BIAS_AT);
        uint8_t u[MAX_GROUP];
        for (size_t i = 0; i < k.group; i += 32) {
            *scales++ = scale;
            *mins++ = -(k.bits == 8 ? bias + 128.0f * scale : bias);
        }
        unpack_codes(k, blocks + CODES_AT, u);
        for (size_t i = 0; i < k.group; i++)
            codes[i] = (int8_t)(k.bits == 8 ? u[i] - 128 : u[i]);
    }
}

/* ---- the search ---- */

/* Parts of the range that the grid leaves out below and above. */
struct cut {
    float below, above;
};

/* Found greedily: search/runtime_levels.py. */
static const struct cut cuts[][16] = {
    /* 2 bits */
    {{.18f, .18f},
     {.21f, .09f},
     {.09f, .21f},
     {.09f, .12f},
     {.15f, .3f},
     {.3f, .15f},
     {.15f, .09f},
     {.21f, .24f},
     {.03f, .24f},
     {.24f, .03f},
     {.24f, .18f},
     {.12f, .18f},
     {.12f, .36f},
     {.03f, .15f},
     {.18f, .27f},
     {.3f, .24f}},
    /* 3 bits */
    {{.06f, .06f},
     {.1f, .02f},
     {.02f, .08f},
     {.08f, .04f},
     {.08f, .12f},
     {.02f, .04f},
     {0, .1f},
     {.04f, 0},
     {.12f, .08f},
     {.08f, -.02f},
     {.16f, .06f},
     {-.02f, .04f},
     {.1f, .1f},
     {.06f, .14f},
     {.06f, .08f},
     {.02f, .02f}},
    /* 4 bits */
    {{.012f, .012f},
     {0, .036f},
     {.036f, 0},
     {.012f, -.06f},
     {.024f, .012f},
     {.012f, .024f},
     {0, .048f},
     {.048f, .024f},
     {-.012f, .012f},
     {.012f, -.012f},
     {.036f, .048f},
     {.048f, 0},
     {-.012f, -.06f},
     {.024f, .06f},
     {-.012f, -.012f},
     {-.048f, 0}},
    /* 5 bits */
    {{.006f, .006f},
     {-.006f, .012f},
     {.012f, -.006f},
     {0, -.03f},
     {-.006f, 0},
     {-.03f, -.03f},
     {.006f, 0},
     {-.024f, 0},
     {.006f, .018f},
     {.024f, -.006f},
     {-.006f, -.024f},
     {.018f, .006f},
     {0, .024f},
     {.006f, .012f},
     {-.03f, -.012f},
     {.006f, -.006f}},
};

/* What each number buys: search/runtime_levels.py. */
struct search {
    int cuts;       /* of up to 5 bits: grids that are tried */
    int down, up;   /* steps of bf16 beside the scale that is found, of all bits */
    int bias_steps; /* of 6 bits and more: and beside the bias */
};
static const struct search searches[2][MQ_EFFORT_COUNT] = {
    {{8, 0, 0, 0}, {16, -1, 1, 0}},
    {{0, -1, 2, 0}, {0, -2, 4, 1}},
};

/* Weights, one group a lane, near 1. */
struct lanes {
    v16 x[MAX_GROUP];
    bool weighted;                   /* by importance: */
    v16 w[MAX_GROUP], wx[MAX_GROUP]; /* see mq_weigh; not set otherwise */
    struct kind kind;
    float most; /* the largest code */
};

/* Of each lane, whatever its codes. */
struct totals {
    v16 s0, x1, xx; /* weights' number, sum x, sum x^2 */
    v16 inverse_s0;
    v16 low, high, most_scale;
};

struct sums {
    v16 s1, sx, s2; /* sum l, sum x l, sum l^2 */
};

/* x ~ a l + b */
struct pair {
    v16 a, b;
};

static struct totals add_up(const struct lanes *in)
{
    struct totals t = {.s0 = v_set1((float)in->kind.group),
                       .x1 = v_zero(),
                       .xx = v_zero(),
                       .low = in->x[0],
                       .high = in->x[0]};
    const v16 *wx = in->weighted ? in->wx : in->x;
    for (size_t i = 0; i < in->kind.group; i++) {
        t.x1 = v_add(t.x1, wx[i]);
        t.xx = v_fma(in->x[i], wx[i], t.xx);
        t.low = v_min(t.low, in->x[i]);
        t.high = v_max(t.high, in->x[i]);
    }
    if (in->weighted) {
        t.s0 = v_zero();
        for (size_t i = 0; i < in->kind.group; i++)
            t.s0 = v_add(t.s0, in->w[i]);
    }
    t.inverse_s0 = v_div(v_set1(1.0f), t.s0);
    t.most_scale = v_mul(v_sub(t.high, t.low), v_set1(1.25f / in->most));
    return t;
}

/* Codes at x * inverse + offset. The offset is added apart from the magic number, which would round it. */
MQ_INLINE v16 codes_at(v16 x, v16 inverse, v16 offset, float most)
{
    const v16 t = v_add(v_fma(x, inverse, offset), v_set1(MQ_MAGIC));
    return v_sub(v_clamp(t, MQ_MAGIC, MQ_MAGIC + most), v_set1(MQ_MAGIC));
}

MQ_INLINE void add_codes(const struct lanes *in, size_t i, v16 inverse, v16 offset, bool weighted,
                         struct sums *s)
{
    const v16 l = codes_at(in->x[i], inverse, offset, in->most);
    const v16 wl = weighted ? v_mul(l, in->w[i]) : l;
    s->s1 = v_add(s->s1, wl);
    s->sx = v_fma(l, weighted ? in->wx[i] : in->x[i], s->sx);
    s->s2 = v_fma(l, wl, s->s2);
}

/* Even and odd weights apart, which hides the additions' latency. */
MQ_INLINE struct sums sums_as(const struct lanes *in, v16 inverse, v16 offset, bool weighted)
{
    struct sums even = {v_zero(), v_zero(), v_zero()}, odd = even;
    MQ_UNROLL(4)
    for (size_t i = 0; i < in->kind.group; i += 2) {
        add_codes(in, i, inverse, offset, weighted, &even);
        add_codes(in, i + 1, inverse, offset, weighted, &odd);
    }
    return (struct sums){v_add(even.s1, odd.s1), v_add(even.sx, odd.sx), v_add(even.s2, odd.s2)};
}

MQ_OUTLINE struct sums sums(const struct lanes *in, v16 inverse, v16 offset)
{
    return in->weighted ? sums_as(in, inverse, offset, true) : sums_as(in, inverse, offset, false);
}

/* The best pair for codes with these sums. With
 *
 *     D = S0 S2 - S1^2        n = S0 Sx - X1 S1
 *
 * a = n / D and b = (X1 - a S1) / S0, and the squared error falls by X1^2 / S0 + n^2 / (S0 D). A determinant of rounding
 * errors only is none: the codes are all alike. */
struct fit {
    struct sums sums;
    v16 n, det;
};

MQ_INLINE struct fit fit_of(const struct totals *t, struct sums s)
{
    const v16 s0s2 = v_mul(t->s0, s.s2), exact = v_fnma(s.s1, s.s1, s0s2);
    const m16 solvable = v_gt(exact, v_mul(s0s2, v_set1(1e-6f)));
    return (struct fit){
        s,
        v_select(solvable, v_fms(t->s0, s.sx, v_mul(t->x1, s.s1)), v_zero()),
        v_select(solvable, exact, v_zero()),
    };
}

/* What importance leaves of a determinant may ask for any scale: none is far beyond that of the range. */
MQ_INLINE struct pair pair_of(const struct totals *t, const struct fit *fit)
{
    const v16 free = v_mul(fit->n, v_inverse_or_zero(fit->det));
    const v16 a = v_max(v_min(free, t->most_scale), v_zero());
    return (struct pair){a, v_mul(v_fnma(a, fit->sums.s1, t->x1), t->inverse_s0)};
}

/* Takes over a fit in the lanes where it gains more; a determinant of 0 loses. */
MQ_INLINE void keep_better_fit(struct fit fit, struct fit *best)
{
    const v16 gain = v_mul(v_mul(fit.n, fit.n), v_max(best->det, v_set1(1e-30f)));
    const m16 better = v_gt(gain, v_mul(v_mul(best->n, best->n), fit.det));
    best->n = v_select(better, fit.n, best->n);
    best->det = v_select(better, fit.det, best->det);
    best->sums.s1 = v_select(better, fit.sums.s1, best->sums.s1);
    best->sums.sx = v_select(better, fit.sums.sx, best->sums.sx);
    best->sums.s2 = v_select(better, fit.sums.s2, best->sums.s2);
}

/* Grids that leave out a little of the range at each end, and that of the best one's own pair. */
MQ_OUTLINE struct fit search_cuts(const struct lanes *in, const struct totals *t, int count)
{
    const struct cut *cut = cuts[in->kind.bits - 2];
    const v16 range = v_sub(t->high, t->low);
    const m16 usable = v_gt(range, v_set1(1e-6f)); /* of weights near 1 */
    const v16 unit = v_select(usable, v_div(v_set1(in->most), range), v_zero());
    const v16 origin = v_mul(t->low, unit);
    struct fit best = {{v_zero(), v_zero(), v_zero()}, v_zero(), v_zero()};
    for (int c = 0; c < count; c++) {
        const float k = 1.0f / (1.0f - cut[c].below - cut[c].above);
        const v16 offset = v_mul(v_add(origin, v_set1(in->most * cut[c].below)), v_set1(-k));
        keep_better_fit(fit_of(t, sums(in, v_mul(unit, v_set1(k)), offset)), &best);
    }
    const struct pair p = pair_of(t, &best);
    const v16 inverse = v_inverse_or_zero(p.a);
    keep_better_fit(fit_of(t, sums(in, inverse, v_neg(v_mul(p.b, inverse)))), &best);
    return best;
}

/* sum (x - a l - b)^2 of codes rounded at the pair: as residuals, as a difference of sums would cancel at 6 bits. */
MQ_INLINE v16 error_as(const struct lanes *in, struct pair p, bool weighted)
{
    const v16 inverse = v_inverse_or_zero(p.a), offset = v_neg(v_mul(p.b, inverse));
    v16 even = v_zero(), odd = even;
    MQ_UNROLL(4)
    for (size_t i = 0; i < in->kind.group; i += 2) {
        const v16 l = codes_at(in->x[i], inverse, offset, in->most);
        const v16 m = codes_at(in->x[i + 1], inverse, offset, in->most);
        const v16 e = v_fnma(l, p.a, v_sub(in->x[i], p.b));
        const v16 f = v_fnma(m, p.a, v_sub(in->x[i + 1], p.b));
        even = v_fma(e, weighted ? v_mul(e, in->w[i]) : e, even);
        odd = v_fma(f, weighted ? v_mul(f, in->w[i + 1]) : f, odd);
    }
    return v_add(even, odd);
}

MQ_OUTLINE void try_pair(const struct lanes *in, struct pair p, struct pair *best, v16 *best_error)
{
    const v16 error = in->weighted ? error_as(in, p, true) : error_as(in, p, false);
    const m16 better = v_lt(error, *best_error);
    *best_error = v_select(better, error, *best_error);
    best->a = v_select(better, p.a, best->a);
    best->b = v_select(better, p.b, best->b);
}

/* Of bf16's values beside a scale, with a bias that keeps `mean` (of codes, of weights) where it is, the best. */
MQ_OUTLINE struct pair search_steps(const struct lanes *in, const struct search *search, v16 a,
                                    v16 mean_code, v16 mean)
{
    const v16 nearest = mq_round_bf16(a);
    const m16 some = v_gt(nearest, v_zero());
    struct pair best = {v_zero(), mq_round_bf16(mean)};
    v16 error = v_set1(INFINITY);
    for (int step = search->down; step <= search->up; step++) {
        struct pair p = {v_select(some, mq_step_bf16(nearest, step), v_zero()), v_zero()};
        const v16 follows = mq_round_bf16(v_fnma(p.a, mean_code, mean));
        for (int of_bias = -search->bias_steps; of_bias <= search->bias_steps; of_bias++) {
            const m16 none = v_lt(v_abs(follows), v_set1(MQ_WEIGHT_MIN));
            p.b = v_select(none, follows, mq_step_bf16(follows, of_bias));
            try_pair(in, p, &best, &error);
        }
    }
    return best;
}

/* Codes of up to 5 bits: the pair at which they are rounded, and (`stored`) what is stored with them. At 5 bits the bias
 * is a multiple of half a code, so codes are rounded at what is stored; below, both are stretched (mq_unbias). */
MQ_OUTLINE struct pair search_few(const struct lanes *in, const struct totals *t,
                                  const struct search *search, struct pair *stored)
{
    const struct fit found = search_cuts(in, t, search->cuts);
    const struct pair p = pair_of(t, &found);
    const v16 mean_code = v_mul(found.sums.s1, t->inverse_s0), mean = v_mul(t->x1, t->inverse_s0);
    const struct pair rounded = search_steps(in, search, p.a, mean_code, mean);
    *stored = rounded;
    if (in->kind.bits == 5)
        return rounded;
    const v16 inverse = v_inverse_or_zero(rounded.a);
    const struct fit last = fit_of(t, sums(in, inverse, v_neg(v_mul(rounded.b, inverse))));
    const struct pair q = pair_of(t, &last);
    const v16 xq = v_fma(q.a, last.sums.sx, v_mul(q.b, t->x1));
    const v16 stretch = mq_unbias(t->xx, xq, in->weighted ? MQ_UNBIAS_WEIGHTED : MQ_UNBIAS);
    stored->a = mq_round_bf16(v_mul(q.a, stretch));
    /* rounding the scale moves the codes' mean, which the bias makes good */
    stored->b =
        mq_round_bf16(v_fnma(stored->a, v_mul(last.sums.s1, t->inverse_s0), v_mul(mean, stretch)));
    return rounded;
}

/* Codes of 6 and 8 bits: grids over the whole range. It is luck how near they come to the weights. */
MQ_OUTLINE struct pair search_many(const struct lanes *in, const struct totals *t,
                                   const struct search *search)
{
    const v16 range = v_sub(t->high, t->low), middle = v_mul(v_add(t->high, t->low), v_set1(0.5f));
    return search_steps(in, search, v_mul(range, v_set1(1.0f / in->most)), v_set1(0.5f * in->most),
                        middle);
}

/* 16 groups at once, of which `count` are stored. */
static void encode_lanes(struct kind k, const float *weights, const float *importance,
                         enum mq_effort effort, uint8_t *blocks, size_t count)
{
    struct lanes in;
    uint8_t codes[LANES][MAX_GROUP], scales[2 * LANES], biases[2 * LANES];
    const v16 power = mq_load_groups(weights, k.group, in.x);
    in.kind = k;
    in.most = (float)((1 << k.bits) - 1);
    in.weighted = importance != NULL;
    if (importance)
        mq_load_importance(importance, k.group, in.x, in.w, in.wx);
    const struct search *search = &searches[k.bits > 5][effort];
    const struct totals t = add_up(&in);
    struct pair stored;
    const struct pair at =
        k.bits > 5 ? search_many(&in, &t, search) : search_few(&in, &t, search, &stored);
    if (k.bits > 5)
        stored = at;
    const v16 inverse = v_inverse_or_zero(at.a), offset = v_neg(v_mul(at.b, inverse));
    for (size_t first = 0; first < k.group; first += LANES) {
        uint8_t by_weight[256], by_group[256];
        for (size_t i = 0; i < LANES; i++)
            v_store_low8(
                by_weight + LANES * i,
                v_add(codes_at(in.x[first + i], inverse, offset, in.most), v_set1(MQ_MAGIC)));
        mq_transpose_bytes(by_weight, by_group);
        for (size_t b = 0; b < LANES; b++)
            memcpy(codes[b] + first, by_group + LANES * b, LANES);
    }
    v_store_bf16(scales, v_mul(stored.a, power));
    v_store_bf16(biases, v_mul(stored.b, power));
    for (size_t b = 0; b < count; b++, blocks += block_bytes(k)) {
        memcpy(blocks, scales + 2 * b, 2);
        memcpy(blocks + BIAS_AT, biases + 2 * b, 2);
        mq_pack_codes(codes[b], k.group, k.bits, blocks + CODES_AT);
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

/* ---- the levels ---- */

#define LEVEL(level, bits, group)                                                                  \
    void MQ_ISA_NAME(mq_##level##_decode)(const uint8_t *blocks, size_t n, float *weights)         \
    {                                                                                              \
        decode((struct kind){bits, group}, blocks, n, weights);                                    \
    }                                                                                              \
    void MQ_ISA_NAME(mq_##level##_unpack)(const uint8_t *blocks, size_t n, int8_t *codes,          \
                                          float *scales, float *mins)                              \
    {                                                                                              \
        unpack((struct kind){bits, group}, blocks, n, codes, scales, mins);                        \
    }                                                                                              \
    void MQ_ISA_NAME(mq_##level##_encode)(const float *weights, size_t n, const float *importance, \
                                          enum mq_effort effort, uint8_t *blocks)                  \
    {                                                                                              \
        encode((struct kind){bits, group}, weights, n, importance, effort, blocks);                \
    }

#define GROUPS(bits)                \
    LEVEL(mlx##bits##g32, bits, 32) \
    LEVEL(mlx##bits##g64, bits, 64) \
    LEVEL(mlx##bits##g128, bits, 128)

GROUPS(2)
GROUPS(3)
GROUPS(4)
GROUPS(5)
GROUPS(6)
GROUPS(8)
