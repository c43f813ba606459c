/*
 * feedback_kernels.c: error feedback and coordinate descent within one block of 16 rows; compiled once
 * per instruction set.
 */
#include "feedback_groups_int.h"
#include "feedback_lanes_int.h"
#include "iq_grids.h"
#include "wide_scales_int.h"

#include <string.h>

enum { MOST_COLUMNS = MQ_PARTS_WEIGHTS };

/* Scales tried to each side of the first guess, and minima. */
enum { SCALE_TRIALS = 3, MIN_TRIALS = 1, MIRROR_TRIALS = 1 };

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

/* ---- feedback ---- */

/* What a sub-block is tried with, and what that costs. */
struct trial {
    v16 s, m, loss;
};

struct choice {
    v16 codes[SUB_MOST], delta[SUB_MOST], left[SUB_MOST];
};

/* How x becomes a code. */
struct step {
    v16 a, b, inverse, offset;
    float low, high;
};

MQ_INLINE struct step step_of(const struct mq_block_form *form, v16 d, v16 dmin, v16 s, v16 m)
{
    struct step t = {.a = v_mul(d, s), .b = v_mul(dmin, m)};
    t.inverse = inverse_or_zero(t.a);
    t.offset = v_mul(t.b, t.inverse);
    t.low = MQ_MAGIC + (float)form->code_min;
    t.high = MQ_MAGIC + (float)form->code_max;
    return t;
}

static const float iq4_values[16] = {MQ_IQ4_VALUES};

/* The nearest of those, the lower one midway. */
MQ_INLINE v16 nearest_uneven(v16 x)
{
    v16 value = v_set1(iq4_values[0]);
    MQ_UNROLL(16)
    for (int i = 1; i < 16; i++) {
        const v16 middle = v_set1(0.5f * (iq4_values[i - 1] + iq4_values[i]));
        value = v_select(v_gt(x, middle), v_set1(iq4_values[i]), value);
    }
    return value;
}

MQ_INLINE v16 code_of(const struct step *t, bool uneven, v16 x)
{
    if (uneven)
        return nearest_uneven(v_mul(x, t->inverse));
    const v16 magic = v_add(v_fma(x, t->inverse, t->offset), v_set1(MQ_MAGIC));
    return v_sub(v_clamp(magic, t->low, t->high), v_set1(MQ_MAGIC));
}

/*
 * A sub-block's columns in order, 16 at a time in registers: column i of x is coded, and what it leaves is fed to the
 * columns after it. Its arrays begin at column 0 of w, x, f and D. Returns the loss, and all that was
 * chosen in `choice` unless that is NULL.
 */
MQ_INLINE v16 code_columns(int columns, bool uneven, const struct step *t, const float *w,
                           const float *x, const float *f, size_t ldf, const float *D,
                           struct choice *choice)
{
    v16 loss = v_zero(), delta[SUB_MOST];
    for (int begin = 0; begin < columns; begin += 16) {
        v16 y[16];
        MQ_UNROLL(16)
        for (int i = 0; i < 16; i++)
            y[i] = v_load(x + 16 * (begin + i));
        for (int l = 0; l < begin; l++)
            MQ_UNROLL(16)
        for (int i = 0; i < 16; i++)
            y[i] = v_fma(delta[l], v_set1(f[(size_t)l * ldf + (size_t)(begin + i)]), y[i]);
        MQ_UNROLL(16)
        for (int i = 0; i < 16; i++) {
            const int c = begin + i;
            const float *row = f + (size_t)c * ldf + begin;
            const v16 code = code_of(t, uneven, y[i]), q = v_fms(t->a, code, t->b),
                      e = v_sub(y[i], q);
            const v16 left = v_mul(e, v_set1(D[c]));
            delta[c] = v_sub(v_load(w + 16 * c), q);
            loss = v_fma(e, left, loss);
            MQ_UNROLL(16)
            for (int k = i + 1; k < 16; k++)
                y[k] = v_fma(delta[c], v_set1(row[k]), y[k]);
            if (choice) {
                choice->codes[c] = code;
                choice->delta[c] = delta[c];
                choice->left[c] = left;
            }
        }
    }
    return loss;
}

/* The forms there are, each with its loops unrolled. */
MQ_INLINE v16 code_form(const struct mq_block_form *form, const struct step *t, const float *w,
                        const float *x, const float *f, size_t ldf, const float *D,
                        struct choice *choice)
{
    if (form->uneven)
        return code_columns(32, true, t, w, x, f, ldf, D, choice);
    return form->sub_weights == 16 ? code_columns(16, false, t, w, x, f, ldf, D, choice)
                                   : code_columns(32, false, t, w, x, f, ldf, D, choice);
}

static v16 code_sub(const struct mq_block_form *form, const struct step *t, const float *w,
                    const float *x, const float *f, size_t ldf, const float *D)
{
    return code_form(form, t, w, x, f, ldf, D, NULL);
}

static void choose_codes(const struct mq_block_form *form, const struct step *t, const float *w,
                         const float *x, const float *f, size_t ldf, const float *D,
                         struct choice *choice)
{
    code_form(form, t, w, x, f, ldf, D, choice);
}

MQ_INLINE void keep_better(const struct trial *t, struct trial *best)
{
    const m16 better = v_lt(t->loss, best->loss);
    best->loss = v_select(better, t->loss, best->loss);
    best->s = v_select(better, t->s, best->s);
    best->m = v_select(better, t->m, best->m);
}

/* The best of the scales around those that the block has, and with each the minima around the one that
 * leaves the middle of the codes where it was. */
static struct step choose_scales(const struct mq_block_form *form, size_t sub, const float *w,
                                 const float *x, const float *f, size_t ldf, const float *D,
                                 struct mq_feedback_block *block)
{
    const v16 d = v_load(block->d), dmin = v_load(block->dmin);
    const v16 s0 = v_load(block->s[sub]), m0 = v_load(block->m[sub]);
    const v16 middle = v_set1(0.5f * (float)(form->code_min + form->code_max));
    const v16 m_of_s = v_mul(v_mul(d, middle), inverse_or_zero(dmin));
    const int scales = form->scale_min == form->scale_max ? 0 : SCALE_TRIALS;
    const int mins = form->min_max ? MIN_TRIALS : 0;
    struct trial t, best = {s0, m0, v_set1(INFINITY)};
    for (int k = 0; scales && k < 2 * scales + 1; k++) {
        const int ds = (k + 1) / 2 * (k % 2 ? 1 : -1); /* 0, 1, -1, 2, -2, ...: the nearest wins ties */
        t.s = clamp_between(v_add(s0, v_set1((float)ds)), form->scale_min, form->scale_max);
        const v16 follows = v_fma(v_sub(t.s, s0), m_of_s, m0);
        for (int dm = -mins; dm <= mins; dm++) {
            t.m = mins ? clamp_between(v_round(v_clamp(v_add(follows, v_set1((float)dm)), -1024.0f,
                                                       1024.0f)),
                                       form->min_min, form->min_max)
                       : m0;
            const struct step step = step_of(form, d, dmin, t.s, t.m);
            t.loss = code_sub(form, &step, w, x, f, ldf, D);
            keep_better(&t, &best);
        }
    }
    /* The other sign, with the far end of the codes where the near one was. */
    const v16 mirrored = v_round(v_mul(s0, v_set1((float)form->code_max / (float)form->code_min)));
    for (int ds = -MIRROR_TRIALS; form->uneven && scales && ds <= MIRROR_TRIALS; ds++) {
        t.s = clamp_between(v_add(mirrored, v_set1((float)ds)), form->scale_min, form->scale_max);
        t.m = m0;
        const struct step step = step_of(form, d, dmin, t.s, t.m);
        t.loss = code_sub(form, &step, w, x, f, ldf, D);
        keep_better(&t, &best);
    }
    v_store(block->s[sub], best.s);
    v_store(block->m[sub], best.m);
    return step_of(form, d, dmin, best.s, best.m);
}

static void feed(const struct mq_block_form *form, const struct mq_feedback_book *book,
                 const float *w, float *x, const float *f, size_t ldf, const float *D,
                 struct mq_feedback_block *block, float *delta)
{
    if (book) {
        MQ_ISA_NAME(mq_feedback_feed_groups)(form, book, w, x, f, ldf, D, block, delta);
        return;
    }
    const size_t width = form->weights, each = form->sub_weights;
    for (size_t begin = 0; begin < width; begin += each) {
        struct choice choice;
        const float *w_sub = w + 16 * begin, *f_sub = f + begin * ldf + begin;
        float *x_sub = x + 16 * begin;
        const struct step step =
            choose_scales(form, begin / each, w_sub, x_sub, f_sub, ldf, D + begin, block);
        choose_codes(form, &step, w_sub, x_sub, f_sub, ldf, D + begin, &choice);
        for (size_t i = 0; i < each; i++) {
            v_store_low8((uint8_t *)block->codes[begin + i],
                         v_add(choice.codes[i], v_set1(MQ_MAGIC)));
            v_store(delta + 16 * (begin + i), choice.delta[i]);
            v_store(x_sub + 16 * i, choice.left[i]);
        }
        add_rows(choice.delta, each, f + begin * ldf, ldf, begin + each, width, x);
    }
}

/* ---- descent ---- */

/* Code by code, 16 columns at a time: what they change is first seen by each other, then by the rest. */
static void descend_codes(const struct mq_block_form *form, const float *h, size_t ldh, float *g,
                          float *change, struct mq_feedback_block *block)
{
    const v16 d = v_load(block->d);
    for (size_t begin = 0; begin < form->weights; begin += 16) {
        const v16 a = v_mul(d, v_load(block->s[begin / form->sub_weights]));
        const v16 inverse = inverse_or_zero(a);
        v16 minus[16];
        for (size_t i = 0; i < 16; i++) {
            const size_t j = begin + i;
            const v16 code = v_from_i8(block->codes[j]);
            const v16 step =
                v_mul(v_mul(v_load(g + 16 * j), inverse), v_set1(1.0f / h[j * ldh + j]));
            const v16 best = v_clamp(step, -512.0f, 512.0f);
            const v16 next = form->uneven ? nearest_uneven(v_add(code, best))
                                          : clamp_between(v_add(code, v_round(best)),
                                                          form->code_min, form->code_max);
            minus[i] = v_mul(v_sub(code, next), a);
            v_store_low8((uint8_t *)block->codes[j], v_add(next, v_set1(MQ_MAGIC)));
            v_store(change + 16 * j, v_sub(v_load(change + 16 * j), minus[i]));
            follow(minus + i, 1, j, h, ldh, begin, begin + 16, g);
        }
        follow(minus, 16, begin, h, ldh, 0, begin, g);
        follow(minus, 16, begin, h, ldh, begin + 16, form->weights, g);
    }
}

/* The nearest whole number of `unit`s to the best amount of a direction whose slope and curvature are
 * given; at most so far that the value stays in lo..hi. */
MQ_INLINE v16 whole_step(v16 slope, v16 curvature, v16 unit, v16 value, float lo, float hi)
{
    const v16 best = v_mul(slope, inverse_or_zero(v_mul(curvature, unit)));
    const v16 next = v_clamp(v_add(value, v_round(v_clamp(best, -512.0f, 512.0f))), lo, hi);
    return v_select(v_gt(curvature, v_zero()), v_sub(next, value), v_zero());
}

MQ_INLINE bool any(v16 a)
{
    return m_bits(v_gt(v_abs(a), v_zero())) != 0;
}

static void descend_scale(const struct mq_block_form *form, size_t sub, const float *h, size_t ldh,
                          float *g, float *change, struct mq_feedback_block *block)
{
    const size_t each = form->sub_weights, begin = sub * each;
    const v16 d = v_load(block->d), s = v_load(block->s[sub]);
    float rows[SUB_MOST][16] = {{0}};
    v16 codes[SUB_MOST], slope = v_zero(), curvature = v_zero();
    for (size_t i = 0; i < SUB_MOST; i++)
        codes[i] = i < each ? v_from_i8(block->codes[begin + i]) : v_zero();
    add_rows(codes, each, h + begin * ldh + begin, ldh, 0, each, rows[0]);
    for (size_t i = 0; i < each; i++) {
        curvature = v_fma(codes[i], v_load(rows[i]), curvature);
        slope = v_fma(codes[i], v_load(g + 16 * (begin + i)), slope);
    }
    const v16 step = whole_step(slope, curvature, d, s, (float)form->scale_min + form->half,
                                (float)form->scale_max + form->half);
    const v16 amount = v_mul(step, d);
    if (!any(amount))
        return;
    v_store(block->s[sub], v_add(s, step));
    for (size_t i = 0; i < each; i++) {
        codes[i] = v_neg(v_mul(amount, codes[i]));
        v_store(change + 16 * (begin + i), v_sub(v_load(change + 16 * (begin + i)), codes[i]));
    }
    follow(codes, each, begin, h, ldh, 0, form->weights, g);
}

/* sums[k]: of column k of H over the sub-block's rows. */
static void descend_min(const struct mq_block_form *form, size_t sub, const float *sums, float *g,
                        float *change, struct mq_feedback_block *block)
{
    const size_t each = form->sub_weights, begin = sub * each;
    const v16 dmin = v_load(block->dmin), m = v_load(block->m[sub]);
    v16 slope = v_zero();
    float curvature = 0.0f;
    for (size_t i = 0; i < each; i++) {
        slope = v_sub(slope, v_load(g + 16 * (begin + i)));
        curvature += sums[begin + i];
    }
    const v16 step = whole_step(slope, v_set1(curvature), dmin, m, (float)form->min_min,
                                (float)form->min_max);
    const v16 amount = v_mul(step, dmin);
    if (!any(amount))
        return;
    v_store(block->m[sub], v_add(m, step));
    for (size_t i = 0; i < each; i++)
        v_store(change + 16 * (begin + i), v_sub(v_load(change + 16 * (begin + i)), amount));
    follow(&amount, 1, 0, sums, 0, 0, form->weights, g);
}

/* What d and dmin multiply, those times H, and what both say of the block. */
struct directions {
    v16 of_d[MOST_COLUMNS];
    float d_rows[MOST_COLUMNS][16], m_rows[MOST_COLUMNS][16];
    v16 d_slope, dmin_slope, dd, dm, mm;
};

/* sums[sub][k]: H's columns summed up over the rows of each sub-block, all of which have the same minimum. */
static void measure_directions(const struct mq_block_form *form, const float *h, size_t ldh,
                               const float (*sums)[MOST_COLUMNS], const float *g,
                               const struct mq_feedback_block *block, struct directions *v)
{
    const size_t width = form->weights, each = form->sub_weights;
    v16 minus_m[MQ_PARTS_SUBS];
    for (size_t i = 0; i < width; i++)
        v->of_d[i] = v_mul(v_load(block->s[i / each]), v_from_i8(block->codes[i]));
    for (size_t sub = 0; sub < width / each; sub++)
        minus_m[sub] = v_neg(v_load(block->m[sub]));
    memset(v->d_rows, 0, sizeof v->d_rows);
    memset(v->m_rows, 0, sizeof v->m_rows);
    add_rows(v->of_d, width, h, ldh, 0, width, v->d_rows[0]);
    if (form->min_max)
        add_rows(minus_m, width / each, sums[0], MOST_COLUMNS, 0, width, v->m_rows[0]);
    v->d_slope = v->dmin_slope = v->dd = v->dm = v->mm = v_zero();
    for (size_t i = 0; i < width; i++) {
        const v16 d_row = v_load(v->d_rows[i]), slope = v_load(g + 16 * i);
        const v16 of_dmin = minus_m[i / each];
        v->dd = v_fma(v->of_d[i], d_row, v->dd);
        v->dm = v_fma(of_dmin, d_row, v->dm);
        v->mm = v_fma(of_dmin, v_load(v->m_rows[i]), v->mm);
        v->d_slope = v_fma(v->of_d[i], slope, v->d_slope);
        v->dmin_slope = v_fma(of_dmin, slope, v->dmin_slope);
    }
}

/* A scale that keeps its sign, as stored. */
MQ_INLINE v16 stored_scale(bool wide, float unit, v16 before, v16 after)
{
    const v16 whole = v_mul(v_abs(after), v_set1(1.0f / unit));
    const v16 size = v_mul(wide ? mq_round_bf16(whole) : mq_round_scale(whole), v_set1(unit));
    const v16 stored = v_select(v_lt(after, v_zero()), v_neg(size), size);
    return v_select(v_gt(v_mul(before, after), v_zero()), stored, before);
}

/* d and dmin by least squares against H; taken over where that lowers the loss as stored. */
static void descend_block(const struct mq_block_form *form, const float *h, size_t ldh,
                          const float (*sums)[MOST_COLUMNS], float *g, float *change,
                          struct mq_feedback_block *block)
{
    struct directions v;
    measure_directions(form, h, ldh, sums, g, block, &v);
    const v16 d = v_load(block->d), dmin = v_load(block->dmin);
    const v16 det = v_fms(v.dd, v.mm, v_mul(v.dm, v.dm));
    const m16 both = v_gt(det, v_mul(v_set1(1e-6f), v_mul(v.dd, v.mm)));
    const v16 joint = v_mul(v_fms(v.d_slope, v.mm, v_mul(v.dm, v.dmin_slope)), inverse_or_zero(det));
    const v16 alone = v_mul(v.d_slope, inverse_or_zero(v.dd));
    const v16 d_next = stored_scale(form->wide, form->unit, d, v_add(d, v_select(both, joint, alone)));
    v16 d_step = v_sub(d_next, d);
    const v16 rest = v_fnma(d_step, v.dm, v.dmin_slope);
    const v16 dmin_next = stored_scale(form->wide, 1.0f, dmin, v_fma(rest, inverse_or_zero(v.mm), dmin));
    v16 dmin_step = form->min_max ? v_sub(dmin_next, dmin) : v_zero();
    const v16 gain_d = v_mul(d_step, v_fnma(d_step, v.dd, v_add(v.d_slope, v.d_slope)));
    const v16 gain_m = v_mul(dmin_step, v_fnma(dmin_step, v.mm, v_add(rest, rest)));
    const m16 better = v_gt(v_add(gain_d, gain_m), v_zero());
    d_step = v_select(better, d_step, v_zero());
    dmin_step = v_select(better, dmin_step, v_zero());
    v_store(block->d, v_select(better, d_next, d));
    if (form->min_max)
        v_store(block->dmin, v_select(better, dmin_next, dmin));
    for (size_t i = 0; i < form->weights; i++) {
        const v16 m = v_load(block->m[i / form->sub_weights]);
        const v16 moved = v_fnma(dmin_step, m, v_mul(d_step, v.of_d[i]));
        v_store(change + 16 * i, v_add(v_load(change + 16 * i), moved));
        const v16 less = v_fnma(d_step, v_load(v.d_rows[i]), v_load(g + 16 * i));
        v_store(g + 16 * i, v_fnma(dmin_step, v_load(v.m_rows[i]), less));
    }
}

/* sums[sub][k]: of column k of H over a sub-block's rows. */
static void sum_rows(const struct mq_block_form *form, const float *h, size_t ldh,
                     float sums[MQ_PARTS_SUBS][MOST_COLUMNS])
{
    for (size_t sub = 0; sub < (size_t)(form->weights / form->sub_weights); sub++) {
        memset(sums[sub], 0, form->weights * sizeof **sums);
        for (size_t i = sub * form->sub_weights; i < (sub + 1) * form->sub_weights; i++)
            for (size_t k = 0; k < form->weights; k++)
                sums[sub][k] += h[i * ldh + k];
    }
}

static void descend(const struct mq_block_form *form, const struct mq_feedback_book *book,
                    const float *h, size_t ldh, float *g, float *change,
                    struct mq_feedback_block *block)
{
    const size_t subs = form->weights / form->sub_weights;
    float sums[MQ_PARTS_SUBS][MOST_COLUMNS] = {{0}};
    if (form->min_max)
        sum_rows(form, h, ldh, sums);
    if (book)
        MQ_ISA_NAME(mq_feedback_descend_groups)(form, book, h, ldh, g, change, block);
    else
        descend_codes(form, h, ldh, g, change, block);
    for (size_t sub = 0; sub < subs; sub++) {
        if (form->scale_min < form->scale_max)
            descend_scale(form, sub, h, ldh, g, change, block);
        if (form->min_max > form->min_min)
            descend_min(form, sub, sums[sub], g, change, block);
    }
    descend_block(form, h, ldh, (const float(*)[MOST_COLUMNS])sums, g, change, block);
}

const struct mq_feedback_kernels MQ_ISA_NAME(mq_feedback_kernels) = {
    .factor = MQ_ISA_NAME(mq_feedback_factor),
    .solve_back = MQ_ISA_NAME(mq_feedback_solve_back),
    .solve_on = MQ_ISA_NAME(mq_feedback_solve_on),
    .feed = feed,
    .descend = descend,
    .first_scales = MQ_ISA_NAME(mq_feedback_first_scales),
    .to_lanes = to_lanes,
    .from_lanes = from_lanes,
};
