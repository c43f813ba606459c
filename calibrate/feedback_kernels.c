/*
 * feedback_kernels.c: error feedback and coordinate descent within one block of 16 rows; compiled once
 * per instruction set.
 */
#include "feedback_kernels.h"

#include "search_int.h"

#include <string.h>

enum { MOST_COLUMNS = MQ_PARTS_WEIGHTS, SOLVE_COLUMNS = 64, SUB_MOST = 32 };

/* Scales tried to each side of the first guess, and minima. */
enum { SCALE_TRIALS = 3, MIN_TRIALS = 1 };

static void to_lanes(const float *rows, size_t ld, size_t columns, float *lanes)
{
    size_t c = 0;
    for (; c + 16 <= columns; c += 16) {
        v16 out[16];
        v_transpose(rows + c, ld, out);
        for (size_t i = 0; i < 16; i++)
            v_store(lanes + 16 * (c + i), out[i]);
    }
    for (; c < columns; c++)
        for (size_t i = 0; i < 16; i++)
            lanes[16 * c + i] = rows[i * ld + c];
}

static void from_lanes(const float *lanes, size_t columns, float *rows, size_t ld)
{
    size_t c = 0;
    for (; c + 16 <= columns; c += 16) {
        v16 out[16];
        v_transpose(lanes + 16 * c, 16, out);
        for (size_t i = 0; i < 16; i++)
            v_store(rows + i * ld + c, out[i]);
    }
    for (; c < columns; c++)
        for (size_t i = 0; i < 16; i++)
            rows[i * ld + c] = lanes[16 * c + i];
}

/* z_k = (row_k - sum over l > k of z_l R_kl) / R_kk, from the last column on. */
static void solve(float *rows, size_t ld, size_t count, const float *r, size_t ldr, size_t columns)
{
    float lanes[SOLVE_COLUMNS][16] = {{0}};
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < columns; k++)
            lanes[k][i] = rows[i * ld + k];
    for (size_t k = columns; k-- > 0;) {
        v16 sum = v_load(lanes[k]);
        for (size_t l = k + 1; l < columns; l++)
            sum = v_fnma(v_load(lanes[l]), v_set1(r[k * ldr + l]), sum);
        v_store(lanes[k], v_div(sum, v_set1(r[k * ldr + k])));
    }
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < columns; k++)
            rows[i * ld + k] = lanes[k][i];
}

static void solve_back(float *v, const float *f, size_t ldf, size_t columns)
{
    for (size_t k = columns; k-- > 0;) {
        v16 sum = v_load(v + 16 * k);
        for (size_t l = k + 1; l < columns; l++)
            sum = v_fnma(v_load(v + 16 * l), v_set1(f[k * ldf + l]), sum);
        v_store(v + 16 * k, sum);
    }
}

static void solve_on(float *v, const float *f, size_t ldf, size_t columns)
{
    for (size_t k = 0; k < columns; k++) {
        v16 sum = v_load(v + 16 * k);
        for (size_t i = 0; i < k; i++)
            sum = v_fnma(v_load(v + 16 * i), v_set1(f[i * ldf + k]), sum);
        v_store(v + 16 * k, sum);
    }
}

MQ_INLINE v16 inverse_or_zero(v16 a)
{
    const m16 usable = v_gt(v_abs(a), v_set1(MQ_WEIGHT_MIN));
    return v_select(usable, v_div(v_set1(1.0f), v_select(usable, a, v_set1(1.0f))), v_zero());
}

MQ_INLINE v16 clamp_between(v16 x, int lo, int hi)
{
    return v_clamp(x, (float)lo, (float)hi);
}

/* ---- feedback ---- */

/* A sub-block as it is tried: its codes, errors and what it costs. */
struct trial {
    v16 s, m, loss;
    v16 codes[SUB_MOST], delta[SUB_MOST];
};

/* Codes of a sub-block that begins at column 0 of w, x, f and D, with scale s and minimum m. */
MQ_INLINE void try_scales(const struct mq_block_form *form, const float *w, const float *x,
                          const float *f, size_t ldf, const float *D, v16 d, v16 dmin,
                          struct trial *t)
{
    const v16 a = v_mul(d, t->s), b = v_mul(dmin, t->m), inverse = inverse_or_zero(a);
    const v16 offset = v_mul(b, inverse);
    t->loss = v_zero();
    for (size_t i = 0; i < form->sub_weights; i++) {
        v16 sum = v_load(x + 16 * i);
        for (size_t l = 0; l < i; l++)
            sum = v_fma(t->delta[l], v_set1(f[l * ldf + i]), sum);
        const v16 magic = v_add(v_fma(sum, inverse, offset), v_set1(MQ_MAGIC));
        const v16 code = v_sub(v_clamp(magic, MQ_MAGIC + (float)form->code_min,
                                       MQ_MAGIC + (float)form->code_max),
                               v_set1(MQ_MAGIC));
        const v16 q = v_fms(a, code, b);
        const v16 e = v_sub(sum, q);
        t->codes[i] = code;
        t->delta[i] = v_sub(v_load(w + 16 * i), q);
        t->loss = v_fma(v_mul(e, e), v_set1(D[i]), t->loss);
    }
}

MQ_INLINE void keep_better(const struct mq_block_form *form, const struct trial *t,
                           struct trial *best)
{
    const m16 better = v_lt(t->loss, best->loss);
    if (!m_bits(better))
        return;
    best->loss = v_select(better, t->loss, best->loss);
    best->s = v_select(better, t->s, best->s);
    best->m = v_select(better, t->m, best->m);
    for (size_t i = 0; i < form->sub_weights; i++) {
        best->codes[i] = v_select(better, t->codes[i], best->codes[i]);
        best->delta[i] = v_select(better, t->delta[i], best->delta[i]);
    }
}

/* The best of the scales around those that the block has, and with each the minima around the one that
 * leaves the middle of the codes where it was. */
static void feed_sub(const struct mq_block_form *form, size_t sub, const float *w, const float *x,
                     const float *f, size_t ldf, const float *D, struct mq_feedback_block *block,
                     struct trial *best)
{
    const v16 d = v_load(block->d), dmin = v_load(block->dmin);
    const v16 s0 = v_load(block->s[sub]), m0 = v_load(block->m[sub]);
    const v16 middle = v_set1(0.5f * (float)(form->code_min + form->code_max));
    const v16 m_of_s = v_mul(v_mul(d, middle), inverse_or_zero(dmin));
    const int scales = form->scale_min == form->scale_max ? 0 : SCALE_TRIALS;
    const int mins = form->min_max ? MIN_TRIALS : 0;
    struct trial t;
    best->loss = v_set1(INFINITY);
    best->s = s0;
    best->m = m0;
    for (int k = 0; k < 2 * scales + 1; k++) {
        const int ds = (k + 1) / 2 * (k % 2 ? 1 : -1); /* 0, 1, -1, 2, -2, ...: the nearest wins ties */
        t.s = clamp_between(v_add(s0, v_set1((float)ds)), form->scale_min, form->scale_max);
        const v16 follows = v_fma(v_sub(t.s, s0), m_of_s, m0);
        for (int dm = -mins; dm <= mins; dm++) {
            t.m = mins ? clamp_between(v_round(v_clamp(v_add(follows, v_set1((float)dm)), -1024.0f,
                                                       1024.0f)),
                                       0, form->min_max)
                       : m0;
            try_scales(form, w, x, f, ldf, D, d, dmin, &t);
            keep_better(form, &t, best);
        }
    }
    v_store(block->s[sub], best->s);
    v_store(block->m[sub], best->m);
}

static void feed(const struct mq_block_form *form, const float *w, float *x, const float *f,
                 size_t ldf, const float *D, struct mq_feedback_block *block, float *delta)
{
    const size_t width = form->weights, each = form->sub_weights;
    for (size_t begin = 0; begin < width; begin += each) {
        struct trial best;
        const size_t end = begin + each;
        feed_sub(form, begin / each, w + 16 * begin, x + 16 * begin, f + begin * ldf + begin, ldf,
                 D + begin, block, &best);
        for (size_t i = 0; i < each; i++) {
            v_store_low8((uint8_t *)block->codes[begin + i], v_add(best.codes[i], v_set1(MQ_MAGIC)));
            v_store(delta + 16 * (begin + i), best.delta[i]);
        }
        for (size_t k = end; k < width; k++) {
            v16 sum = v_load(x + 16 * k);
            for (size_t i = 0; i < each; i++)
                sum = v_fma(best.delta[i], v_set1(f[(begin + i) * ldf + k]), sum);
            v_store(x + 16 * k, sum);
        }
    }
}

/* ---- descent ---- */

/* g -= delta times a row of H */
MQ_INLINE void take_row(float *g, v16 delta, const float *h_row, size_t width)
{
    for (size_t k = 0; k < width; k++)
        v_store(g + 16 * k, v_fnma(delta, v_set1(h_row[k]), v_load(g + 16 * k)));
}

static void descend_codes(const struct mq_block_form *form, const float *h, size_t ldh, float *g,
                          float *change, struct mq_feedback_block *block)
{
    const size_t width = form->weights;
    const v16 d = v_load(block->d);
    for (size_t j = 0; j < width; j++) {
        const v16 a = v_mul(d, v_load(block->s[j / form->sub_weights]));
        const v16 code = v_from_i8(block->codes[j]);
        const v16 step = v_mul(v_load(g + 16 * j), inverse_or_zero(v_mul(a, v_set1(h[j * ldh + j]))));
        const v16 next = clamp_between(v_add(code, v_round(v_clamp(step, -512.0f, 512.0f))),
                                       form->code_min, form->code_max);
        const v16 delta = v_mul(v_sub(next, code), a);
        if (!m_bits(v_gt(v_abs(delta), v_zero())))
            continue;
        v_store_low8((uint8_t *)block->codes[j], v_add(next, v_set1(MQ_MAGIC)));
        v_store(change + 16 * j, v_add(v_load(change + 16 * j), delta));
        take_row(g, delta, h + j * ldh, width);
    }
}

/* q changes by amount[row] * direction[column], of `count` columns from `begin` on. */
static void move(float *g, float *change, const float *h, size_t ldh, size_t width, size_t begin,
                 size_t count, v16 amount, const v16 *direction)
{
    if (!m_bits(v_gt(v_abs(amount), v_zero())))
        return;
    for (size_t i = 0; i < count; i++) {
        const size_t j = begin + i;
        const v16 delta = v_mul(amount, direction[i]);
        v_store(change + 16 * j, v_add(v_load(change + 16 * j), delta));
        take_row(g, delta, h + j * ldh, width);
    }
}

/* The nearest whole number of `unit`s to the best amount of a direction whose slope and curvature are
 * given; at most so far that the value stays in lo..hi. */
MQ_INLINE v16 whole_step(v16 slope, v16 curvature, v16 unit, v16 value, int lo, int hi)
{
    const v16 best = v_mul(slope, inverse_or_zero(v_mul(curvature, unit)));
    const v16 next = clamp_between(v_add(value, v_round(v_clamp(best, -512.0f, 512.0f))), lo, hi);
    return v_select(v_gt(curvature, v_zero()), v_sub(next, value), v_zero());
}

static void descend_scale(const struct mq_block_form *form, size_t sub, const float *h, size_t ldh,
                          float *g, float *change, struct mq_feedback_block *block)
{
    const size_t each = form->sub_weights, begin = sub * each;
    const v16 d = v_load(block->d), s = v_load(block->s[sub]);
    v16 codes[SUB_MOST], slope = v_zero(), curvature = v_zero();
    for (size_t i = 0; i < each; i++)
        codes[i] = v_from_i8(block->codes[begin + i]);
    for (size_t i = 0; i < each; i++) {
        v16 row = v_zero();
        for (size_t k = 0; k < each; k++)
            row = v_fma(codes[k], v_set1(h[(begin + i) * ldh + begin + k]), row);
        curvature = v_fma(codes[i], row, curvature);
        slope = v_fma(codes[i], v_load(g + 16 * (begin + i)), slope);
    }
    const v16 step = whole_step(slope, curvature, d, s, form->scale_min, form->scale_max);
    v_store(block->s[sub], v_add(s, step));
    move(g, change, h, ldh, form->weights, begin, each, v_mul(step, d), codes);
}

static void descend_min(const struct mq_block_form *form, size_t sub, const float *h, size_t ldh,
                        float *g, float *change, struct mq_feedback_block *block)
{
    const size_t each = form->sub_weights, begin = sub * each;
    const v16 dmin = v_load(block->dmin), m = v_load(block->m[sub]);
    v16 minus_one[SUB_MOST], slope = v_zero();
    float curvature = 0.0f;
    for (size_t i = 0; i < each; i++) {
        minus_one[i] = v_set1(-1.0f);
        slope = v_sub(slope, v_load(g + 16 * (begin + i)));
        for (size_t k = 0; k < each; k++)
            curvature += h[(begin + i) * ldh + begin + k];
    }
    const v16 step = whole_step(slope, v_set1(curvature), dmin, m, 0, form->min_max);
    v_store(block->m[sub], v_add(m, step));
    move(g, change, h, ldh, form->weights, begin, each, v_mul(step, dmin), minus_one);
}

/* What d and dmin multiply, and that times H; sums over the block. */
struct directions {
    v16 of_d[MOST_COLUMNS], of_dmin[MOST_COLUMNS];
    v16 d_slope, dmin_slope, dd, dm, mm;
};

static void measure_directions(const struct mq_block_form *form, const float *h, size_t ldh,
                               const float *g, const struct mq_feedback_block *block,
                               struct directions *v)
{
    const size_t width = form->weights;
    v->d_slope = v->dmin_slope = v->dd = v->dm = v->mm = v_zero();
    for (size_t i = 0; i < width; i++) {
        const size_t sub = i / form->sub_weights;
        v->of_d[i] = v_mul(v_load(block->s[sub]), v_from_i8(block->codes[i]));
        v->of_dmin[i] = v_neg(v_load(block->m[sub]));
    }
    for (size_t i = 0; i < width; i++) {
        v16 d_row = v_zero(), m_row = v_zero();
        const v16 slope = v_load(g + 16 * i);
        for (size_t k = 0; k < width; k++)
            d_row = v_fma(v->of_d[k], v_set1(h[i * ldh + k]), d_row);
        for (size_t k = 0; form->min_max && k < width; k++)
            m_row = v_fma(v->of_dmin[k], v_set1(h[i * ldh + k]), m_row);
        v->dd = v_fma(v->of_d[i], d_row, v->dd);
        v->dm = v_fma(v->of_dmin[i], d_row, v->dm);
        v->mm = v_fma(v->of_dmin[i], m_row, v->mm);
        v->d_slope = v_fma(v->of_d[i], slope, v->d_slope);
        v->dmin_slope = v_fma(v->of_dmin[i], slope, v->dmin_slope);
    }
}

/* A scale that keeps its sign, as stored. */
MQ_INLINE v16 stored_scale(v16 before, v16 after)
{
    const v16 size = mq_round_scale(v_abs(after));
    const v16 stored = v_select(v_lt(after, v_zero()), v_neg(size), size);
    return v_select(v_gt(v_mul(before, after), v_zero()), stored, before);
}

/* d and dmin by least squares against H; taken over where that lowers the loss as stored. */
static void descend_block(const struct mq_block_form *form, const float *h, size_t ldh, float *g,
                          float *change, struct mq_feedback_block *block)
{
    struct directions v;
    measure_directions(form, h, ldh, g, block, &v);
    const v16 d = v_load(block->d), dmin = v_load(block->dmin);
    const v16 det = v_fms(v.dd, v.mm, v_mul(v.dm, v.dm));
    const m16 both = v_gt(det, v_mul(v_set1(1e-6f), v_mul(v.dd, v.mm)));
    const v16 joint = v_mul(v_fms(v.d_slope, v.mm, v_mul(v.dm, v.dmin_slope)), inverse_or_zero(det));
    const v16 alone = v_mul(v.d_slope, inverse_or_zero(v.dd));
    const v16 d_next = stored_scale(d, v_add(d, v_select(both, joint, alone)));
    const v16 d_step = v_sub(d_next, d);
    const v16 rest = v_fnma(d_step, v.dm, v.dmin_slope);
    const v16 dmin_next = stored_scale(dmin, v_fma(rest, inverse_or_zero(v.mm), dmin));
    const v16 dmin_step = form->min_max ? v_sub(dmin_next, dmin) : v_zero();
    const v16 gain_d = v_mul(d_step, v_fnma(d_step, v.dd, v_add(v.d_slope, v.d_slope)));
    const v16 gain_m = v_mul(dmin_step, v_fnma(dmin_step, v.mm, v_add(rest, rest)));
    const m16 better = v_gt(v_add(gain_d, gain_m), v_zero());
    v_store(block->d, v_select(better, d_next, d));
    if (form->min_max)
        v_store(block->dmin, v_select(better, dmin_next, dmin));
    move(g, change, h, ldh, form->weights, 0, form->weights, v_select(better, d_step, v_zero()),
         v.of_d);
    move(g, change, h, ldh, form->weights, 0, form->weights, v_select(better, dmin_step, v_zero()),
         v.of_dmin);
}

static void descend(const struct mq_block_form *form, const float *h, size_t ldh, float *g,
                    float *change, struct mq_feedback_block *block)
{
    const size_t subs = form->weights / form->sub_weights;
    descend_codes(form, h, ldh, g, change, block);
    for (size_t sub = 0; sub < subs; sub++) {
        if (form->scale_min < form->scale_max)
            descend_scale(form, sub, h, ldh, g, change, block);
        if (form->min_max)
            descend_min(form, sub, h, ldh, g, change, block);
    }
    descend_block(form, h, ldh, g, change, block);
}

const struct mq_feedback_kernels MQ_ISA_NAME(mq_feedback_kernels) = {
    .solve = solve,
    .solve_back = solve_back,
    .solve_on = solve_on,
    .feed = feed,
    .descend = descend,
    .to_lanes = to_lanes,
    .from_lanes = from_lanes,
};
