/*
 * q4_k.c: 4-bit codes. A block of 256 weights in 144 bytes, the layout of GGML's Q4_K:
 *
 *     f16 d | f16 dmin | u8 scales[12] | u8 codes[128]
 *
 * Eight sub-blocks of 32 weights with a 6-bit scale s and minimum m each:
 * weight = d s code - dmin m. Sub-blocks 2c and 2c+1 are the low and the high nibbles of
 * codes[32c .. 32c+31]. For j < 4, sub-block j has s in the low six bits of scales[j] and m in
 * those of scales[j + 4]; sub-block j + 4 has the low four bits of s and m in the low and high
 * nibble of scales[j + 8], their high two bits on top of scales[j] and scales[j + 4].
 *
 * The search, one sub-block a lane, two blocks at a time (lanes 0..7 and 8..15). A sub-block is
 * fitted as x ~ a l - b, b >= 0. Let S0 = 32, X1 = sum x and, over the codes l, S1 = sum l,
 * S2 = sum l^2, Sx = sum x l. The normal equations have the determinant D = S0 S2 - S1^2; with
 * n = S0 Sx - X1 S1 their solution is a = n / D, b = (S1 Sx - S2 X1) / D, and the squared error
 * falls by X1^2 / S0 + n^2 / (S0 D):
 *
 *   1. try grids that cut off a little of the range at each end; keep the largest n^2 / D;
 *   2. Lloyd: code again with (a, b);
 *   3. d: with b following, the error at scale s d is const + (S2 - S1^2 / S0) (a - s d)^2, so 16
 *      values of d are tried at once, one a lane; then dmin likewise for the b that follow;
 *   4. with true errors (codes rounded again) try the neighbours of (s, m);
 *   5. refit (d, dmin) by least squares; effort `best` then repeats steps 4 and 5;
 *   6. unbias both (mq_unbias).
 *
 * Weights of columns would enter sums() and struct totals alone.
 */
#include "codecs_int.h"
#include "search_int.h"

enum { BLOCK_WEIGHTS = 256, BLOCK_BYTES = 144, SUB_WEIGHTS = 32, PAIR_WEIGHTS = 512 };
enum { DMIN_AT = 2, SCALES_AT = 4, CODES_AT = 16 };

/* Parts of the range that the grid leaves out below and above; chosen greedily as in q3_k.c. */
static const struct cut {
    float below, above;
} cuts[24] = {{.015f, .015f},  {.03f, -.015f},  {0, .03f},       {.015f, 0},       {.015f, -.06f},
              {-.015f, 0},     {-.015f, .03f},  {.03f, 0},       {-.075f, .015f},  {.015f, .03f},
              {-.06f, -.015f}, {-.15f, 0},      {0, -.015f},     {0, .015f},       {.03f, .015f},
              {0, .045f},      {.045f, 0},      {-.015f, .015f}, {-.015f, -.045f}, {0, 0},
              {0, -.06f},      {.015f, -.015f}, {0, -.135f},     {-.06f, -.09f}};

static const struct search {
    int candidates;      /* of cuts */
    int rounds;          /* of neighbours and refit */
    bool all_neighbours; /* with another scale, try also the minima beside the one that follows */
} searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {8, 1, false},
    [MQ_EFFORT_BEST] = {24, 2, true},
};
#define D_SPAN 0.05f /* d and dmin are searched within 1 +- this of the one that gives 63 */

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
MQ_INLINE void add_codes(v16 x, v16 inverse, v16 offset, struct sums *s)
{
    const v16 t = v_add(v_fma(x, inverse, offset), v_set1(MQ_MAGIC));
    const v16 l = v_sub(v_clamp(t, MQ_MAGIC, MQ_MAGIC + 15), v_set1(MQ_MAGIC));
    s->s1 = v_add(s->s1, l);
    s->sx = v_fma(l, x, s->sx);
    s->s2 = v_fma(l, l, s->s2);
}

/* The sums of each lane; even and odd weights apart, which hides the additions' latency. Called
 * some 15 to 50 times a pair: a function of its own keeps the search's code small. */
MQ_OUTLINE struct sums sums(const v16 x[SUB_WEIGHTS], v16 inverse, v16 offset)
{
    struct sums even = {v_zero(), v_zero(), v_zero()}, odd = even;
    MQ_UNROLL(4)
    for (int i = 0; i < SUB_WEIGHTS; i += 2) {
        add_codes(x[i], inverse, offset, &even);
        add_codes(x[i + 1], inverse, offset, &odd);
    }
    return (struct sums){v_add(even.s1, odd.s1), v_add(even.sx, odd.sx), v_add(even.s2, odd.s2)};
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
MQ_OUTLINE struct sub_fit fit_sub_blocks(const v16 x[SUB_WEIGHTS], const struct totals *t,
                                         int candidates)
{
    v16 min = v_zero(), max = v_zero();
    for (int i = 0; i < SUB_WEIGHTS; i++) {
        min = v_min(min, x[i]);
        max = v_max(max, x[i]);
    }
    const v16 range = v_sub(max, min);
    const v16 unit =
        v_select(v_gt(range, v_set1(MQ_WEIGHT_MIN)), v_div(v_set1(15.0f), range), v_zero());
    const v16 origin = v_mul(min, unit); /* -15..0 */

    struct sums best = {v_zero(), v_zero(), v_zero()};
    v16 best_n = v_zero(), best_det = v_set1(-1.0f); /* anything is better */
    for (int c = 0; c <= candidates; c++) {
        v16 inverse, offset;
        if (c < candidates) {
            const float k = 1.0f / (1.0f - cuts[c].below - cuts[c].above);
            inverse = v_mul(unit, v_set1(k));
            offset = v_mul(v_add(origin, v_set1(15.0f * cuts[c].below)), v_set1(-k));
        } else { /* Lloyd: inverse = 1 / a = D / n, offset = b / a */
            const v16 inverse_n = v_inverse_or_zero(best_n);
            inverse = v_mul(best_det, inverse_n);
            offset = v_mul(v_fms(best.s1, best.sx, v_mul(best.s2, t->x1)), inverse_n);
        }
        const struct sums s = sums(x, inverse, offset);
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

/* Step 3 for one block: of 16 scales around (largest of targets) / 63 the one that leaves the least
 * sum of curvature (target - code scale)^2. `first` is the block's first lane. */
MQ_OUTLINE float search_scale(const float targets[16], const float curvatures[16], float largest,
                              int first)
{
    const v16 stretch = v_fma(v_iota(), v_set1(2.0f * D_SPAN / 15.0f), v_set1(1.0f - D_SPAN));
    const v16 scale = mq_round_scale(v_mul(v_set1(largest / 63.0f), stretch));
    const v16 inverse = v_inverse_or_zero(scale);
    v16 error = v_zero();
    for (int j = first; j < first + 8; j++) {
        const v16 target = v_set1(targets[j]);
        const v16 e = v_fnma(mq_codes(target, inverse, 0, 63), scale, target);
        error = v_fma(v_mul(e, e), v_set1(curvatures[j]), error);
    }
    float scales[16];
    v_store(scales, scale);
    return scales[mq_smallest_lane(error)];
}

/* The same for both blocks: every lane has its block's scale. */
MQ_INLINE v16 search_scales(v16 targets, v16 curvatures)
{
    float target[16], curvature[16], largest[16];
    v_store(target, targets);
    v_store(curvature, curvatures);
    v_store(largest, v_max_halves(targets));
    return v_join(v_set1(search_scale(target, curvature, largest[0], 0)),
                  v_set1(search_scale(target, curvature, largest[8], 8)));
}

/* A pair of blocks as it will be coded. */
struct pair_fit {
    v16 d, dmin;      /* the same in all lanes of a block */
    v16 s, m;         /* 6-bit */
    struct sums sums; /* of the codes rounded at (d s, dmin m) */
    v16 error;        /* theirs, without sum x^2 */
};

/* Takes over (s, m) in the lanes where it lowers the error. */
MQ_OUTLINE void try_neighbour(const v16 x[SUB_WEIGHTS], const struct totals *t, v16 s, v16 m,
                              struct pair_fit *fit)
{
    s = v_clamp(s, 0, 63);
    m = v_clamp(m, 0, 63);
    const v16 a = v_mul(s, fit->d), b = v_mul(m, fit->dmin), inverse = v_inverse_or_zero(a);
    const struct sums l = sums(x, inverse, v_mul(b, inverse));
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
MQ_OUTLINE void try_neighbours(const v16 x[SUB_WEIGHTS], const struct totals *t, v16 slope,
                               bool all_neighbours, struct pair_fit *fit)
{
    const v16 one = v_set1(1.0f), inverse_dmin = v_inverse_or_zero(fit->dmin);
    const v16 s = fit->s, m = fit->m;
    fit->error = v_set1(INFINITY);
    try_neighbour(x, t, s, m, fit);
    for (int k = -1; k <= 1; k += 2) {
        const v16 next = v_add(s, v_set1((float)k));
        const v16 b = v_fma(v_mul(slope, fit->d), v_set1((float)k), v_mul(m, fit->dmin));
        const v16 follows = mq_codes(b, inverse_dmin, 0, 63);
        try_neighbour(x, t, next, follows, fit);
        if (all_neighbours) {
            try_neighbour(x, t, next, v_add(follows, one), fit);
            try_neighbour(x, t, next, v_sub(follows, one), fit);
        }
    }
    const v16 best_s = fit->s, best_m = fit->m;
    try_neighbour(x, t, best_s, v_add(best_m, one), fit);
    try_neighbour(x, t, best_s, v_sub(best_m, one), fit);
}

/* Step 5: *d and *dmin are refitted to the codes, *xq is then sum x q. With q = d s l - dmin m:
 *     d A11 - dmin A12 = r1,   d A12 - dmin A22 = r2
 * where A11 = sum s^2 S2, A12 = sum s m S1, A22 = sum m^2 S0, r1 = sum s Sx, r2 = sum m X1. */
MQ_OUTLINE void refit(const struct totals *t, const struct pair_fit *fit, v16 *d, v16 *dmin,
                      v16 *xq)
{
    const v16 s = fit->s, m = fit->m;
    const v16 a11 = v_sum_halves(v_mul(v_mul(s, s), fit->sums.s2));
    const v16 a12 = v_sum_halves(v_mul(v_mul(s, m), fit->sums.s1));
    const v16 a22 = v_sum_halves(v_mul(v_mul(m, m), t->s0));
    const v16 r1 = v_sum_halves(v_mul(s, fit->sums.sx));
    const v16 r2 = v_sum_halves(v_mul(m, t->x1));
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

/* Codes, 6-bit scales and minima of `count` (1 or 2) blocks to bytes; d and dmin as stored. */
MQ_OUTLINE void pack(const v16 x[SUB_WEIGHTS], const struct pair_fit *fit, v16 d, v16 dmin,
                     uint8_t *blocks, size_t count)
{
    const v16 magic = v_set1(MQ_MAGIC);
    const v16 inverse = v_inverse_or_zero(v_mul(fit->s, fit->d));
    const v16 offset = v_mul(v_mul(fit->m, fit->dmin), inverse);
    uint8_t by_weight[2][256], by_sub[2][256]; /* weights 0..15 and 16..31 of each sub-block */
    for (int i = 0; i < SUB_WEIGHTS; i++) {
        const v16 t = v_add(v_fma(x[i], inverse, offset), magic);
        v_store_low8(by_weight[i / 16] + i % 16 * 16, v_clamp(t, MQ_MAGIC, MQ_MAGIC + 15));
    }
    mq_transpose_bytes(by_weight[0], by_sub[0]);
    mq_transpose_bytes(by_weight[1], by_sub[1]);

    uint8_t s[16], m[16], d16[32], dmin16[32];
    v_store_low8(s, v_add(fit->s, magic));
    v_store_low8(m, v_add(fit->m, magic));
    v_store_f16(d16, d);
    v_store_f16(dmin16, dmin);
    for (size_t b = 0; b < count; b++, blocks += BLOCK_BYTES) {
        const uint8_t *bs = s + 8 * b, *bm = m + 8 * b;
        memcpy(blocks, d16 + 16 * b, 2);
        memcpy(blocks + DMIN_AT, dmin16 + 16 * b, 2);
        for (int j = 0; j < 4; j++) {
            blocks[SCALES_AT + j] = (uint8_t)(bs[j] | bs[j + 4] >> 4 << 6);
            blocks[SCALES_AT + 4 + j] = (uint8_t)(bm[j] | bm[j + 4] >> 4 << 6);
            blocks[SCALES_AT + 8 + j] = (uint8_t)((bs[j + 4] & 15) | (bm[j + 4] & 15) << 4);
        }
        for (int c = 0; c < 8; c++) { /* 16 bytes at a time: half of a pair of sub-blocks */
            const uint8_t *low = by_sub[c % 2] + 16 * (8 * b + (size_t)(c / 2 * 2));
            for (int i = 0; i < 16; i++)
                blocks[CODES_AT + 16 * c + i] = (uint8_t)(low[i] | low[i + 16] << 4);
        }
    }
}

static void encode_pair(const float *weights, const struct search *search, uint8_t *blocks,
                        size_t count)
{
    v16 x[SUB_WEIGHTS];
    mq_load_lanes(weights, SUB_WEIGHTS, x);
    mq_load_lanes(weights + 16, SUB_WEIGHTS, x + 16);
    struct totals t = {v_set1(SUB_WEIGHTS), v_zero(), v_zero(), v_set1(1.0f / SUB_WEIGHTS)};
    for (int i = 0; i < SUB_WEIGHTS; i++) {
        t.x1 = v_add(t.x1, x[i]);
        t.xx = v_fma(x[i], x[i], t.xx);
    }
    const struct sub_fit subs = fit_sub_blocks(x, &t, search->candidates);
    const v16 slope = v_mul(subs.sums.s1, t.inverse_s0);

    struct pair_fit fit;
    fit.d = search_scales(subs.a, v_fnma(slope, subs.sums.s1, subs.sums.s2));
    fit.s = mq_codes(subs.a, v_inverse_or_zero(fit.d), 0, 63);
    const v16 missing = v_fnma(fit.s, fit.d, subs.a); /* of the scale, which b makes good */
    const v16 b = v_max(v_fnma(slope, missing, subs.b), v_zero());
    fit.dmin = search_scales(b, t.s0);
    fit.m = mq_codes(b, v_inverse_or_zero(fit.dmin), 0, 63);
    fit.sums = subs.sums;

    v16 d = fit.d, dmin = fit.dmin, xq = v_zero();
    for (int round = 0; round < search->rounds; round++) {
        fit.d = d;
        fit.dmin = dmin;
        try_neighbours(x, &t, slope, search->all_neighbours, &fit);
        refit(&t, &fit, &d, &dmin, &xq);
    }
    const v16 stretch = mq_unbias(v_sum_halves(t.xx), xq);
    pack(x, &fit, mq_round_scale(v_mul(d, stretch)), mq_round_scale(v_mul(dmin, stretch)), blocks,
         count);
}

void MQ_ISA_NAME(mq_q4_k_encode)(const float *weights, size_t n, enum mq_effort effort,
                                 uint8_t *blocks)
{
    const struct search *search = &searches[effort];
    for (; n >= PAIR_WEIGHTS; n -= PAIR_WEIGHTS) {
        encode_pair(weights, search, blocks, 2);
        weights += PAIR_WEIGHTS;
        blocks += 2 * BLOCK_BYTES;
    }
    if (n) { /* a last block alone; lanes 8..15 do not touch its bytes */
        float padded[PAIR_WEIGHTS] = {0};
        memcpy(padded, weights, BLOCK_WEIGHTS * sizeof *weights);
        encode_pair(padded, search, blocks, 1);
    }
}

void MQ_ISA_NAME(mq_q4_k_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, weights += BLOCK_WEIGHTS) {
        const uint8_t *packed = blocks + SCALES_AT, *codes = blocks + CODES_AT;
        uint8_t six_bit[16]; /* scales, then minima */
        for (int j = 0; j < 4; j++) {
            six_bit[j] = packed[j] & 63;
            six_bit[8 + j] = packed[j + 4] & 63;
            six_bit[4 + j] = (uint8_t)((packed[j + 8] & 15) | packed[j] >> 6 << 4);
            six_bit[12 + j] = (uint8_t)(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
        }
        float scales[16]; /* d s, then dmin m */
        const v16 d = v_join(v_set1_f16(blocks), v_set1_f16(blocks + DMIN_AT));
        v_store(scales, v_mul(d, v_from_u8(six_bit)));
        uint8_t code[BLOCK_WEIGHTS];
        for (int c = 0; c < 4; c++)
            for (int l = 0; l < 32; l++) {
                code[64 * c + l] = codes[32 * c + l] & 15;
                code[64 * c + 32 + l] = codes[32 * c + l] >> 4;
            }
        for (int i = 0; i < 16; i++) {
            const v16 scale = v_set1(scales[i / 2]), min = v_set1(scales[8 + i / 2]);
            v_store(weights + 16 * i, v_sub(v_mul(scale, v_from_u8(code + 16 * i)), min));
        }
    }
}
