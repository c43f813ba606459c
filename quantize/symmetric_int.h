/*
 * symmetric_int.h: the search for scales that Q3_K and Q6_K share.
 *
 * Blocks of 256 weights in sixteen sub-blocks of 16, each with an integer scale s, under one half a
 * block: weight = d s code. A codec's file defines, then includes this:
 *
 *     enum {
 *         CODE_MIN = -4,         codes are CODE_MIN..CODE_MAX
 *         CODE_MAX = 3,
 *         SCALE_MIN = -32,       s is SCALE_MIN..SCALE_MAX
 *         SCALE_MAX = 31,
 *         MAX_EXPONENT = 26,     CODE_MIN * SCALE_MIN * (largest half) is at most 2^MAX_EXPONENT
 *         BLOCK_BYTES = 110,
 *     };
 *
 * and, after it, its tables of struct search and pack_block(); encode() is then its encoder.
 *
 * One sub-block a lane. For a sub-block of weights x with codes l,
 *
 *     Sx = sum x l,   S2 = sum l^2,   a = Sx / S2
 *
 * a is the best scale, and lowers the squared error by Sx^2 / S2. The search:
 *
 *   1. try inverse scales c / (weight of largest magnitude), c from a list; keep the best gain;
 *   2. Lloyd: code again with the best scale found;
 *   3. d: with these codes the error of a sub-block at scale s d is
 *          const + S2 (a - s d)^2,
 *      so 16 values of d are tried at once, one a lane, over the 16 sub-blocks;
 *   4. with true errors (codes rounded again) try the integer scales next to the ones found;
 *   5. refit d by least squares to the codes;
 *   6. unbias it (mq_unbias).
 *
 * The importance of columns is a factor of the terms of all sums (struct lanes).
 */
#ifndef MQ_SYMMETRIC_INT_H
#define MQ_SYMMETRIC_INT_H

#include "search_int.h"

enum { BLOCK_WEIGHTS = 256, SUB_BLOCKS = 16, MAX_STARTS = 2 };

struct search {
    const float *inverse_scales;
    int candidates;  /* of inverse_scales */
    int lloyd_steps; /* recodings with the best scale */
    int d_groups;    /* times 16 values of d */
    float d_span;    /* ... within 1 +- d_span of the one that gives the largest scale SCALE_MIN */
    int starts;      /* how many of the best of these are refined, at most MAX_STARTS */
    int neighbours;  /* integer scales tried on either side */
};

/* A block as it will be stored: bytes to be laid out. */
struct coded {
    uint8_t codes[BLOCK_WEIGHTS]; /* from CODE_MIN upwards: 0 is CODE_MIN */
    int8_t scales[SUB_BLOCKS];
    uint16_t d; /* a half */
};

static void pack_block(const struct coded *coded, uint8_t *block);

/* A block's weights, one sub-block a lane. */
struct lanes {
    v16 x[16];
    bool weighted;     /* by importance: */
    v16 w[16], wx[16]; /* see mq_weigh; not set otherwise */
};

struct sums {
    v16 xl, ll; /* sum x l, sum l^2 */
};

/* `weighted` is a constant wherever it decides what a loop does. */
MQ_INLINE void add_codes(const struct lanes *in, int i, v16 inverse, bool weighted, struct sums *s)
{
    const v16 l = mq_codes(in->x[i], inverse, CODE_MIN, CODE_MAX);
    s->xl = v_fma(l, weighted ? in->wx[i] : in->x[i], s->xl);
    s->ll = v_fma(l, weighted ? v_mul(l, in->w[i]) : l, s->ll);
}

/* The sums of each lane; even and odd weights apart, which hides the additions' latency. */
MQ_INLINE struct sums sums(const struct lanes *in, v16 inverse, bool weighted)
{
    struct sums even = {v_zero(), v_zero()}, odd = even;
    MQ_UNROLL(8)
    for (int i = 0; i < 16; i += 2) {
        add_codes(in, i, inverse, weighted, &even);
        add_codes(in, i + 1, inverse, weighted, &odd);
    }
    return (struct sums){v_add(even.xl, odd.xl), v_add(even.ll, odd.ll)};
}

MQ_INLINE struct sums select_sums(m16 m, struct sums yes, struct sums no)
{
    return (struct sums){v_select(m, yes.xl, no.xl), v_select(m, yes.ll, no.ll)};
}

/* Steps 1 and 2. Gains xl^2 / ll are compared without dividing; ll starts above 0, for lanes of
 * zeros never win. */
MQ_INLINE struct sums fit_as(const struct lanes *in, const struct search *search, bool weighted)
{
    const v16 *x = in->x;
    v16 largest = x[0];
    for (int i = 1; i < 16; i++)
        largest = v_select(v_gt(v_abs(x[i]), v_abs(largest)), x[i], largest);
    const m16 usable = v_gt(v_abs(largest), v_set1(MQ_WEIGHT_MIN));
    const v16 unit = v_select(usable, v_div(v_set1(1.0f), largest), v_zero());

    struct sums best = {v_zero(), v_set1(1e-30f)};
    for (int c = 0; c < search->candidates + search->lloyd_steps; c++) {
        const v16 inverse = c < search->candidates ? v_mul(unit, v_set1(search->inverse_scales[c]))
                                                   : v_mul(best.ll, v_inverse_or_zero(best.xl));
        const struct sums s = sums(in, inverse, weighted);
        const v16 gain = v_mul(v_mul(s.xl, s.xl), best.ll);
        best = select_sums(v_gt(gain, v_mul(v_mul(best.xl, best.xl), s.ll)), s, best);
    }
    return best;
}

MQ_OUTLINE struct sums fit_sub_blocks(const struct lanes *in, const struct search *search)
{
    return in->weighted ? fit_as(in, search, true) : fit_as(in, search, false);
}

/* Step 3: the `starts` best of 16 * d_groups values of d, best first. A lane keeps the best of
 * d_groups neighbouring ones. The scales' range is not symmetric: the largest scale is to become
 * SCALE_MIN. */
MQ_OUTLINE void search_d(v16 a, v16 ll, const struct search *search, float *d)
{
    float scales[SUB_BLOCKS], curvatures[SUB_BLOCKS], errors[16], candidates[16];
    v_store(scales, a);
    v_store(curvatures, ll);
    const float highest = v_max_lane(a), lowest = -v_max_lane(v_neg(a));
    const float sign = highest > -lowest ? -1.0f : 1.0f;
    const v16 middle = v_set1((highest > -lowest ? highest : -lowest) / -SCALE_MIN);
    const float step = 2.0f * search->d_span / (float)(16 * search->d_groups - 1);

    v16 best_error = v_set1(INFINITY), best_d = v_zero();
    for (int g = 0; g < search->d_groups; g++) {
        const v16 k = v_fma(v_iota(), v_set1((float)search->d_groups), v_set1((float)g));
        const v16 divisor = v_fma(k, v_set1(step), v_set1(1.0f - search->d_span));
        const v16 candidate = v_mul(mq_round_scale(v_div(middle, divisor)), v_set1(sign));
        const v16 inverse = v_inverse_or_zero(candidate);
        v16 error = v_zero();
        for (int j = 0; j < SUB_BLOCKS; j++) {
            const v16 aj = v_set1(scales[j]);
            const v16 e = v_fnma(mq_codes(aj, inverse, SCALE_MIN, SCALE_MAX), candidate, aj);
            error = v_fma(v_mul(e, e), v_set1(curvatures[j]), error);
        }
        const m16 better = v_lt(error, best_error);
        best_error = v_select(better, error, best_error);
        best_d = v_select(better, candidate, best_d);
    }
    v_store(candidates, best_d);
    v_store(errors, best_error);
    for (int t = 0; t < search->starts; t++) {
        const int lane = mq_smallest_lane(v_load(errors));
        d[t] = candidates[lane];
        errors[lane] = INFINITY;
    }
}

struct block_fit {
    v16 scales;   /* SCALE_MIN..SCALE_MAX */
    float d;      /* codes are rounded at scales * d */
    float xq, qq; /* sums of x q and q^2 over the block, q = scale * code: the refit is xq / qq */
};

/* Steps 4 and 5 for one d. */
MQ_INLINE struct block_fit refine_as(const struct lanes *in, v16 a, float d, int neighbours,
                                     bool weighted)
{
    const v16 dv = v_set1(d), first = mq_codes(a, v_inverse_or_zero(dv), SCALE_MIN, SCALE_MAX);
    v16 scales = first, best_error = v_set1(INFINITY);
    struct sums best = {v_zero(), v_zero()};
    for (int k = 0; k <= 2 * neighbours; k++) { /* 0, -1, +1, -2, +2 */
        const float offset = (float)(k & 1 ? -(k + 1) / 2 : k / 2);
        const v16 candidate = v_clamp(v_add(first, v_set1(offset)), SCALE_MIN, SCALE_MAX);
        const v16 scale = v_mul(candidate, dv);
        const struct sums s = sums(in, v_inverse_or_zero(scale), weighted);
        /* sum (x - scale l)^2 - sum x^2 */
        const v16 error = v_mul(scale, v_fms(scale, s.ll, v_add(s.xl, s.xl)));
        const m16 better = v_lt(error, best_error);
        best_error = v_select(better, error, best_error);
        scales = v_select(better, candidate, scales);
        best = select_sums(better, s, best);
    }
    const v16 sxl = v_mul(scales, best.xl), sll = v_mul(v_mul(scales, scales), best.ll);
    return (struct block_fit){scales, d, v_sum(sxl), v_sum(sll)};
}

MQ_OUTLINE struct block_fit refine(const struct lanes *in, v16 a, float d, int neighbours)
{
    return in->weighted ? refine_as(in, a, d, neighbours, true)
                        : refine_as(in, a, d, neighbours, false);
}

/* The codes rounded at `fit`; d as stored. */
MQ_OUTLINE void code(const v16 x[16], const struct block_fit *fit, float stored_d,
                     struct coded *coded)
{
    uint8_t by_weight[256];
    const v16 inverse = v_inverse_or_zero(v_mul(fit->scales, v_set1(fit->d)));
    for (int i = 0; i < 16; i++)
        v_store_low8(by_weight + 16 * i, v_add(mq_codes(x[i], inverse, CODE_MIN, CODE_MAX),
                                               v_set1(MQ_MAGIC - CODE_MIN)));
    mq_transpose_bytes(by_weight, coded->codes);
    v_store_low8((uint8_t *)coded->scales, v_add(fit->scales, v_set1(MQ_MAGIC)));
    coded->d = mq_scale_to_f16(stored_d);
}

static void load(const float *weights, const float *importance, struct lanes *in)
{
    mq_load_lanes(weights, 16, MAX_EXPONENT, in->x);
    in->weighted = importance != NULL;
    if (!importance)
        return;
    v_transpose(importance, 16, in->w);
    mq_weigh(in->x, 16, v_set1(v_max_lane(mq_largest(in->w, 16))), in->w, in->wx);
}

static void encode_block(const float *weights, const float *importance, const struct search *search,
                         uint8_t *block)
{
    struct lanes in;
    load(weights, importance, &in);
    const struct sums fitted = fit_sub_blocks(&in, search);
    const v16 a = v_div(fitted.xl, fitted.ll);
    float starts[MAX_STARTS];
    search_d(a, fitted.ll, search, starts);

    /* Starts are compared by what the refit leaves: sum x^2 - xq^2 / qq. */
    struct block_fit best = {v_zero(), 0.0f, 0.0f, 0.0f};
    float best_gain = 0.0f;
    for (int t = 0; t < search->starts; t++) {
        const struct block_fit fit = refine(&in, a, starts[t], search->neighbours);
        const float gain = fit.qq > 0.0f ? fit.xq * fit.xq / fit.qq : 0.0f;
        if (gain > best_gain) {
            best = fit;
            best_gain = gain;
        }
    }
    float d = 0.0f;
    if (best_gain > 0.0f) {
        v16 xx = v_zero();
        for (int i = 0; i < 16; i++)
            xx = v_fma(in.x[i], importance ? in.wx[i] : in.x[i], xx);
        d = best.xq / best.qq;
        float stretch[16];
        v_store(stretch, mq_unbias(v_set1(v_sum(xx)), v_set1(d * best.xq),
                                   importance ? MQ_UNBIAS_WEIGHTED : MQ_UNBIAS));
        d *= stretch[0];
    }
    struct coded coded;
    code(in.x, &best, d, &coded);
    pack_block(&coded, block);
}

static void encode(const float *weights, size_t n, const float *importance,
                   const struct search *search, uint8_t *blocks)
{
    for (; n; n -= BLOCK_WEIGHTS, weights += BLOCK_WEIGHTS, blocks += BLOCK_BYTES) {
        encode_block(weights, importance, search, blocks);
        importance = importance ? importance + BLOCK_WEIGHTS : NULL;
    }
}

#endif
