/*
 * affine_int.h: the search for scales and minima that Q2_K, Q4_K and Q5_K share.
 *
 * Blocks of 256 weights in sub-blocks, each with an integer scale s and minimum m, under two halves
 * a block: weight = d s code - dmin m. A codec's file defines, then includes this:
 *
 *     enum {
 *         SUB_WEIGHTS = 32,      weights of a sub-block: 16 or 32
 *         CODE_MAX = 15,         codes are 0..CODE_MAX
 *         SCALE_MAX = 63,        s and m are 0..SCALE_MAX
 *         MAX_EXPONENT = 26,     CODE_MAX * SCALE_MAX * (largest half) is below 2^MAX_EXPONENT
 *         BLOCK_BYTES = 144,
 *     };
 *
 * and, after it, its tables of struct search and pack_block(); encode() is then its encoder.
 *
 * One sub-block a lane: one block of 16 sub-blocks at a time, or two of 8 (lanes 0..7 and 8..15).
 * A sub-block of weights x with codes l is fitted as x ~ a l - b, b >= 0. With
 *
 *     S0   its number of weights          X1 = sum x
 *     S1 = sum l                          Sx = sum x l
 *     S2 = sum l^2
 *     D  = S0 S2 - S1^2                   the determinant of the normal equations
 *     n  = S0 Sx - X1 S1
 *
 * the best are
 *
 *     a = n / D,   b = (S1 Sx - S2 X1) / D
 *
 * and the squared error falls by X1^2 / S0 + n^2 / (S0 D). The search:
 *
 *   1. try grids that cut off a little of the range at each end; keep the largest n^2 / D;
 *   2. Lloyd: code again with (a, b);
 *   3. d: with b following, the error at scale s d is
 *          const + (S2 - S1^2 / S0) (a - s d)^2,
 *      so 16 values of d are tried at once, one a lane; then dmin likewise for the b that follow;
 *   4. with true errors (codes rounded again) try the neighbours of (s, m);
 *   5. refit (d, dmin) by least squares; effort `best` then repeats steps 4 and 5;
 *   6. unbias both (mq_unbias).
 *
 * The importance of columns is a factor of the terms of all sums (struct lanes), S0 among them.
 */
#ifndef MQ_AFFINE_INT_H
#define MQ_AFFINE_INT_H

#include "search_int.h"

enum {
    BLOCK_WEIGHTS = 256,
    SUB_BLOCKS = BLOCK_WEIGHTS / SUB_WEIGHTS,
    BLOCKS = 16 / SUB_BLOCKS, /* that are coded at once */
};

/* Parts of the range that the grid leaves out below and above. */
struct cut {
    float below, above;
};

struct search {
    const struct cut *cuts;
    int candidates;      /* of cuts */
    int rounds;          /* of neighbours and refit */
    bool all_neighbours; /* with another scale, try also the minima beside the one that follows */
    float d_span; /* d and dmin are searched within 1 +- this of the one that gives SCALE_MAX */
};

/* Blocks as they will be stored: bytes to be laid out. */
struct coded {
    uint8_t codes[SUB_WEIGHTS / 16][256]; /* [half of a sub-block][sub-block, weight of the half] */
    uint8_t s[16], m[16];
    uint8_t d[32], dmin[32]; /* halves, one a sub-block */
};

/* Lays out block b of `coded`. */
static void pack_block(const struct coded *coded, size_t b, uint8_t *block);

MQ_INLINE v16 sum_of_block(v16 a)
{
    return BLOCKS == 1 ? v_set1(v_sum(a)) : v_sum_halves(a);
}

MQ_INLINE v16 max_of_block(v16 a)
{
    return BLOCKS == 1 ? v_set1(v_max_lane(a)) : v_max_halves(a);
}

/* Weights, one sub-block a lane. */
struct lanes {
    v16 x[SUB_WEIGHTS];
    bool weighted;                       /* by importance: */
    v16 w[SUB_WEIGHTS], wx[SUB_WEIGHTS]; /* see mq_weigh; not set otherwise */
};

/* Of each lane, whatever its codes. */
struct totals {
    v16 s0, x1, xx; /* weights' number, sum x, sum x^2 */
    v16 inverse_s0;
};

struct sums {
    v16 s1, sx, s2; /* sum l, sum x l, sum l^2 */
};

/* Adds weights x with the codes at x * inverse + offset. The offset is added apart from the magic
 * number, which would round it. */
MQ_INLINE void add_codes(const struct lanes *in, int i, v16 inverse, v16 offset, bool weighted,
                         struct sums *s)
{
    const v16 t = v_add(v_fma(in->x[i], inverse, offset), v_set1(MQ_MAGIC));
    const v16 l = v_sub(v_clamp(t, MQ_MAGIC, MQ_MAGIC + CODE_MAX), v_set1(MQ_MAGIC));
    const v16 wl = weighted ? v_mul(l, in->w[i]) : l;
    s->s1 = v_add(s->s1, wl);
    s->sx = v_fma(l, weighted ? in->wx[i] : in->x[i], s->sx);
    s->s2 = v_fma(l, wl, s->s2);
}

/* The sums of each lane; even and odd weights apart, which hides the additions' latency. */
MQ_INLINE struct sums sums_as(const struct lanes *in, v16 inverse, v16 offset, bool weighted)
{
    struct sums even = {v_zero(), v_zero(), v_zero()}, odd = even;
    MQ_UNROLL(4)
    for (int i = 0; i < SUB_WEIGHTS; i += 2) {
        add_codes(in, i, inverse, offset, weighted, &even);
        add_codes(in, i + 1, inverse, offset, weighted, &odd);
    }
    return (struct sums){v_add(even.s1, odd.s1), v_add(even.sx, odd.sx), v_add(even.s2, odd.s2)};
}

/* Called some 15 to 50 times a pair: a function of its own keeps the search's code small. */
MQ_OUTLINE struct sums sums(const struct lanes *in, v16 inverse, v16 offset)
{
    return in->weighted ? sums_as(in, inverse, offset, true) : sums_as(in, inverse, offset, false);
}

MQ_INLINE struct sums select_sums(m16 m, struct sums yes, struct sums no)
{
    return (struct sums){v_select(m, yes.s1, no.s1), v_select(m, yes.sx, no.sx),
                         v_select(m, yes.s2, no.s2)};
}

/* Codes found for the sub-blocks with their scale and minimum: x ~ a l - b. */
struct sub_fit {
    struct sums sums;
    v16 a, b;
};

/* a and b >= 0 from the sums. Where the codes are all alike (no usable determinant) one of the two
 * carries the mean. */
MQ_OUTLINE struct sub_fit solve(const struct totals *t, struct sums s, v16 n, v16 det)
{
    const m16 solvable = v_gt(det, v_zero());
    const v16 inverse = v_inverse_or_zero(det);
    const v16 b = v_mul(v_fms(s.s1, s.sx, v_mul(s.s2, t->x1)), inverse);
    const v16 mean = v_mul(t->x1, t->inverse_s0);
    const v16 through_zero = v_max(v_mul(s.sx, v_inverse_or_zero(s.s2)), v_zero());
    const m16 free = m_and(solvable, v_gt(b, v_zero())); /* the bound b >= 0 is not active */
    const m16 below = v_lt(mean, v_zero());
    const v16 a_alike = v_select(below, v_zero(), through_zero);
    const v16 b_alike = v_max(v_neg(mean), v_zero());
    struct sub_fit fit = {s, v_select(solvable, through_zero, a_alike),
                          v_select(solvable, v_zero(), b_alike)};
    fit.a = v_select(free, v_max(v_mul(n, inverse), v_zero()), fit.a);
    fit.b = v_select(free, b, fit.b);
    return fit;
}

/* Steps 1 and 2. */
MQ_OUTLINE struct sub_fit fit_sub_blocks(const struct lanes *in, const struct totals *t,
                                         const struct search *search)
{
    const v16 *x = in->x;
    v16 min = v_zero(), max = v_zero();
    for (int i = 0; i < SUB_WEIGHTS; i++) {
        min = v_min(min, x[i]);
        max = v_max(max, x[i]);
    }
    const v16 range = v_sub(max, min);
    const m16 usable = v_gt(range, v_set1(MQ_WEIGHT_MIN));
    const v16 unit = v_select(usable, v_div(v_set1(CODE_MAX), range), v_zero());
    const v16 origin = v_mul(min, unit); /* -CODE_MAX..0 */

    struct sums best = {v_zero(), v_zero(), v_zero()};
    v16 best_n = v_zero(), best_det = v_set1(-1.0f); /* anything is better */
    for (int c = 0; c <= search->candidates; c++) {
        v16 inverse, offset;
        if (c < search->candidates) {
            const struct cut cut = search->cuts[c];
            const float k = 1.0f / (1.0f - cut.below - cut.above);
            inverse = v_mul(unit, v_set1(k));
            offset = v_mul(v_add(origin, v_set1(CODE_MAX * cut.below)), v_set1(-k));
        } else { /* Lloyd: inverse = 1 / a = D / n, offset = b / a */
            const v16 inverse_n = v_inverse_or_zero(best_n);
            inverse = v_mul(best_det, inverse_n);
            offset = v_mul(v_fms(best.s1, best.sx, v_mul(best.s2, t->x1)), inverse_n);
        }
        const struct sums s = sums(in, inverse, offset);
        /* A determinant of rounding errors only is none: codes all alike. */
        const v16 s0s2 = v_mul(t->s0, s.s2);
        const v16 exact = v_fnma(s.s1, s.s1, s0s2);
        const m16 solvable = v_gt(exact, v_mul(s0s2, v_set1(1e-6f)));
        const v16 det = v_select(solvable, exact, v_zero());
        const v16 n = v_select(solvable, v_fms(t->s0, s.sx, v_mul(t->x1, s.s1)), v_zero());
        /* n^2 / det > best_n^2 / best_det, where a best_det of 0 (with best_n = 0) loses */
        const v16 gain = v_mul(v_mul(n, n), v_max(best_det, v_set1(1e-30f)));
        const v16 best_gain = v_mul(v_mul(best_n, best_n), det);
        const m16 better = m_or(v_gt(gain, best_gain), v_lt(best_det, v_zero()));
        best = select_sums(better, s, best);
        best_n = v_select(better, n, best_n);
        best_det = v_select(better, det, best_det);
    }
    return solve(t, best, best_n, best_det);
}

/* Step 3 for one block: of 16 scales around (largest of targets) / SCALE_MAX the one that leaves
 * the least sum of curvature (target - code scale)^2. `first` is the block's first lane. */
MQ_OUTLINE float search_scale(const float targets[16], const float curvatures[16], float largest,
                              int first, float span)
{
    const v16 stretch = v_fma(v_iota(), v_set1(2.0f * span / 15.0f), v_set1(1.0f - span));
    const v16 scale = mq_round_scale(v_mul(v_set1(largest / SCALE_MAX), stretch));
    const v16 inverse = v_inverse_or_zero(scale);
    v16 error = v_zero();
    for (int j = first; j < first + SUB_BLOCKS; j++) {
        const v16 target = v_set1(targets[j]);
        const v16 e = v_fnma(mq_codes(target, inverse, 0, SCALE_MAX), scale, target);
        error = v_fma(v_mul(e, e), v_set1(curvatures[j]), error);
    }
    float scales[16];
    v_store(scales, scale);
    return scales[mq_smallest_lane(error)];
}

/* The same for every block: every lane has its block's scale. */
MQ_INLINE v16 search_scales(v16 targets, v16 curvatures, float span)
{
    float target[16], curvature[16], largest[16];
    v_store(target, targets);
    v_store(curvature, curvatures);
    v_store(largest, max_of_block(targets));
    const v16 scale = v_set1(search_scale(target, curvature, largest[0], 0, span));
    if (BLOCKS == 1)
        return scale;
    return v_join(scale, v_set1(search_scale(target, curvature, largest[8], 8, span)));
}

/* The blocks of a vector as they will be coded. */
struct fit {
    v16 d, dmin;      /* the same in all lanes of a block */
    v16 s, m;         /* 6-bit */
    struct sums sums; /* of the codes rounded at (d s, dmin m) */
    v16 error;        /* theirs, without sum x^2 */
};

/* Takes over (s, m) in the lanes where it lowers the error. */
MQ_OUTLINE void try_neighbour(const struct lanes *in, const struct totals *t, v16 s, v16 m,
                              struct fit *fit)
{
    s = v_clamp(s, 0, SCALE_MAX);
    m = v_clamp(m, 0, SCALE_MAX);
    const v16 a = v_mul(s, fit->d), b = v_mul(m, fit->dmin), inverse = v_inverse_or_zero(a);
    const struct sums l = sums(in, inverse, v_mul(b, inverse));
    /* sum (x - a l + b)^2 - sum x^2 = a (a S2 - 2 Sx) + b (b S0 + 2 (X1 - a S1)) */
    const v16 of_a = v_mul(a, v_fms(a, l.s2, v_add(l.sx, l.sx)));
    const v16 rest = v_fnma(a, l.s1, t->x1);
    const v16 of_b = v_mul(b, v_fma(b, t->s0, v_add(rest, rest)));
    const v16 error = v_add(of_a, of_b);
    const m16 better = v_lt(error, fit->error);
    fit->error = v_select(better, error, fit->error);
    fit->s = v_select(better, s, fit->s);
    fit->m = v_select(better, m, fit->m);
    fit->sums = select_sums(better, l, fit->sums);
}

/* Step 4. `slope` = S1 / S0: when the scale grows by da, the best b grows by slope da. */
MQ_OUTLINE void try_neighbours(const struct lanes *in, const struct totals *t, v16 slope,
                               bool all_neighbours, struct fit *fit)
{
    const v16 one = v_set1(1.0f), inverse_dmin = v_inverse_or_zero(fit->dmin);
    const v16 s = fit->s, m = fit->m;
    fit->error = v_set1(INFINITY);
    try_neighbour(in, t, s, m, fit);
    for (int k = -1; k <= 1; k += 2) {
        const v16 next = v_add(s, v_set1((float)k));
        const v16 b = v_fma(v_mul(slope, fit->d), v_set1((float)k), v_mul(m, fit->dmin));
        const v16 follows = mq_codes(b, inverse_dmin, 0, SCALE_MAX);
        try_neighbour(in, t, next, follows, fit);
        if (all_neighbours) {
            try_neighbour(in, t, next, v_add(follows, one), fit);
            try_neighbour(in, t, next, v_sub(follows, one), fit);
        }
    }
    const v16 best_s = fit->s, best_m = fit->m;
    try_neighbour(in, t, best_s, v_add(best_m, one), fit);
    try_neighbour(in, t, best_s, v_sub(best_m, one), fit);
}

/*
 * Step 5: *d and *dmin are refitted to the codes, *xq is then sum x q. With q = d s l - dmin m:
 *
 *     d A11 - dmin A12 = r1        A11 = sum s^2 S2        r1 = sum s Sx
 *     d A12 - dmin A22 = r2        A12 = sum s m S1        r2 = sum m X1
 *                                  A22 = sum m^2 S0
 */
MQ_OUTLINE void refit(const struct totals *t, const struct fit *fit, v16 *d, v16 *dmin, v16 *xq)
{
    const v16 s = fit->s, m = fit->m;
    const v16 a11 = sum_of_block(v_mul(v_mul(s, s), fit->sums.s2));
    const v16 a12 = sum_of_block(v_mul(v_mul(s, m), fit->sums.s1));
    const v16 a22 = sum_of_block(v_mul(v_mul(m, m), t->s0));
    const v16 r1 = sum_of_block(v_mul(s, fit->sums.sx));
    const v16 r2 = sum_of_block(v_mul(m, t->x1));
    const v16 det = v_fms(a11, a22, v_mul(a12, a12));
    /* Without a usable determinant (no minima, or no scales) each is refitted given the other. */
    const m16 solvable = v_gt(det, v_mul(v_set1(1e-6f), v_mul(a11, a22)));
    const v16 joint = v_mul(v_fms(r1, a22, v_mul(a12, r2)), v_inverse_or_zero(det));
    const v16 alone = v_mul(v_fma(a12, fit->dmin, r1), v_inverse_or_zero(a11));
    const v16 new_d = v_select(solvable, joint, alone);
    const v16 rounded_d = mq_round_scale(new_d);
    const v16 new_dmin = v_mul(v_fms(a12, rounded_d, r2), v_inverse_or_zero(a22));
    const m16 negative = m_or(v_lt(new_d, v_zero()), v_lt(new_dmin, v_zero()));
    *d = v_select(negative, fit->d, rounded_d);
    *dmin = v_select(negative, fit->dmin, mq_round_scale(new_dmin));
    *xq = v_fms(*d, r1, v_mul(*dmin, r2));
}

/* The codes rounded at `fit`; d and dmin as stored. */
MQ_OUTLINE void code(const v16 x[SUB_WEIGHTS], const struct fit *fit, v16 d, v16 dmin,
                     struct coded *coded)
{
    const v16 magic = v_set1(MQ_MAGIC);
    const v16 inverse = v_inverse_or_zero(v_mul(fit->s, fit->d));
    const v16 offset = v_mul(v_mul(fit->m, fit->dmin), inverse);
    for (int half = 0; half < SUB_WEIGHTS / 16; half++) {
        uint8_t by_weight[256];
        for (int i = 0; i < 16; i++) {
            const v16 t = v_add(v_fma(x[16 * half + i], inverse, offset), magic);
            v_store_low8(by_weight + 16 * i, v_clamp(t, MQ_MAGIC, MQ_MAGIC + CODE_MAX));
        }
        mq_transpose_bytes(by_weight, coded->codes[half]);
    }
    v_store_low8(coded->s, v_add(fit->s, magic));
    v_store_low8(coded->m, v_add(fit->m, magic));
    v_store_f16(coded->d, d);
    v_store_f16(coded->dmin, dmin);
}

static void load(const float *weights, const float *importance, struct lanes *in)
{
    in->weighted = importance != NULL;
    for (int half = 0; half < SUB_WEIGHTS / 16; half++) {
        mq_load_lanes(weights + 16 * half, SUB_WEIGHTS, MAX_EXPONENT, in->x + 16 * half);
        if (importance)
            v_transpose(importance + 16 * half, SUB_WEIGHTS, in->w + 16 * half);
    }
    if (importance)
        mq_weigh(in->x, SUB_WEIGHTS, max_of_block(mq_largest(in->w, SUB_WEIGHTS)), in->w, in->wx);
}

MQ_INLINE struct totals add_up(const struct lanes *in)
{
    struct totals t = {v_set1(SUB_WEIGHTS), v_zero(), v_zero(), v_set1(1.0f / SUB_WEIGHTS)};
    const v16 *wx = in->weighted ? in->wx : in->x;
    for (int i = 0; i < SUB_WEIGHTS; i++) {
        t.x1 = v_add(t.x1, wx[i]);
        t.xx = v_fma(in->x[i], wx[i], t.xx);
    }
    if (in->weighted) {
        t.s0 = v_zero();
        for (int i = 0; i < SUB_WEIGHTS; i++)
            t.s0 = v_add(t.s0, in->w[i]);
        t.inverse_s0 = v_div(v_set1(1.0f), t.s0);
    }
    return t;
}

static void encode_blocks(const float *weights, const float *importance,
                          const struct search *search, uint8_t *blocks, size_t count)
{
    struct lanes in;
    load(weights, importance, &in);
    const struct totals t = add_up(&in);
    const struct sub_fit subs = fit_sub_blocks(&in, &t, search);
    const v16 slope = v_mul(subs.sums.s1, t.inverse_s0);

    struct fit fit;
    fit.d = search_scales(subs.a, v_fnma(slope, subs.sums.s1, subs.sums.s2), search->d_span);
    fit.s = mq_codes(subs.a, v_inverse_or_zero(fit.d), 0, SCALE_MAX);
    const v16 missing = v_fnma(fit.s, fit.d, subs.a); /* of the scale, which b makes good */
    const v16 b = v_max(v_fnma(slope, missing, subs.b), v_zero());
    fit.dmin = search_scales(b, t.s0, search->d_span);
    fit.m = mq_codes(b, v_inverse_or_zero(fit.dmin), 0, SCALE_MAX);
    fit.sums = subs.sums;

    v16 d = fit.d, dmin = fit.dmin, xq = v_zero();
    for (int round = 0; round < search->rounds; round++) {
        fit.d = d;
        fit.dmin = dmin;
        try_neighbours(&in, &t, slope, search->all_neighbours, &fit);
        refit(&t, &fit, &d, &dmin, &xq);
    }
    const v16 stretch =
        mq_unbias(sum_of_block(t.xx), xq, importance ? MQ_UNBIAS_WEIGHTED : MQ_UNBIAS);
    struct coded coded;
    code(in.x, &fit, mq_round_scale(v_mul(d, stretch)), mq_round_scale(v_mul(dmin, stretch)),
         &coded);
    for (size_t i = 0; i < count; i++)
        pack_block(&coded, i, blocks + i * BLOCK_BYTES);
}

static void encode(const float *weights, size_t n, const float *importance,
                   const struct search *search, uint8_t *blocks)
{
    enum { STEP = BLOCKS * BLOCK_WEIGHTS };
    for (; n >= STEP; n -= STEP, weights += STEP, blocks += BLOCKS * BLOCK_BYTES) {
        encode_blocks(weights, importance, search, blocks, BLOCKS);
        importance = importance ? importance + STEP : NULL;
    }
    if (n) { /* the first of two blocks alone; lanes 8..15 do not touch its bytes */
        float padded[STEP] = {0}, padded_importance[STEP] = {0};
        memcpy(padded, weights, BLOCK_WEIGHTS * sizeof *weights);
        if (importance)
            memcpy(padded_importance, importance, BLOCK_WEIGHTS * sizeof *importance);
        encode_blocks(padded, importance ? padded_importance : NULL, search, blocks, 1);
    }
}

#endif
