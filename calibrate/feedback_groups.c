/*
 * feedback_groups.c: error feedback and coordinate descent into blocks with codebooks, 16 rows side by side; compiled
 * once per instruction set.
 *
 * Codes are chosen a unit of columns at a time, which is what can change by itself: an entry of the codebook, or the two
 * whose signs are bound together. With errors of a unit's columns fed to its later ones (covariance.h), the loss
 *
 *     sum over the unit of D_k e_k^2,  e_k = x_k + sum over i < k of (w_i - q_i) F_ik - q_k
 *
 * is that of the whole row, all else being chosen later. Entries are ranked without the sums, which changes little; with
 * them the best one's signs are chosen.
 */
#include "feedback_groups_int.h"
#include "feedback_lanes_int.h"

enum { UNIT = 8, SCALE_TRIALS = 4, FLIPS = 4 };

/* The unit's columns as coded. */
struct unit {
    v16 codes[UNIT], delta[UNIT], left[UNIT]; /* w - q, D e */
    v16 loss;
};

/* What a unit is coded from; all begins at its first column. The loss is quadratic in an entry's w - q: the metric has its
 * second derivatives, halved. */
struct target {
    const float *w, *x, *f, *D;
    float (*metric)[UNIT];
    size_t ldf;
    v16 a; /* the scale */
    v16 inverse;
};

/* ---- the entry ---- */

/* table[p] = cost of a pattern: sum over its columns of magnitude (D magnitude - t), t = 2 / a times D |x|. */
MQ_INLINE void cost_patterns(int digits, int columns, const float *magnitudes, const v16 *t,
                             const float *D, float (*table)[16])
{
    int size = 1;
    v_store(table[0], v_zero());
    for (int c = 0; c < columns; c++, size *= digits)
        for (int k = digits - 1; k >= 0; k--) {
            const v16 m = v_set1(magnitudes[k]);
            const v16 term = v_fnma(t[c], m, v_set1(D[c] * magnitudes[k] * magnitudes[k]));
            for (int p = 0; p < size; p++)
                v_store(table[k * size + p], v_add(v_load(table[p]), term));
        }
}

/* The second pattern of the entry that a row has chosen. */
static unsigned second_of(const struct mq_feedback_book *book, float (*costs)[16], unsigned first,
                          size_t row, float least)
{
    unsigned i = book->begin[first];
    const unsigned end = book->begin[first + 1];
    while (i + 1 < end && !(costs[book->second[i]][row] == least))
        i++;
    return book->second[i];
}

/* Magnitudes of the cheapest entry of each row. */
MQ_INLINE void pick_entry(const struct mq_feedback_book *book, int digits, int columns,
                          const v16 *t, const float *D, float magnitudes[UNIT][16])
{
    float firsts[MQ_BOOK_PATTERNS][16], seconds[MQ_BOOK_PATTERNS][16];
    float first[16], least_second[16];
    const int half = columns / 2;
    cost_patterns(digits, half, book->magnitudes, t, D, firsts);
    cost_patterns(digits, half, book->magnitudes, t + half, D + half, seconds);
    v16 best = v_set1(INFINITY), best_first = v_set1(-1.0f), best_second = v_zero();
    for (int p = 0; p < book->patterns; p++) {
        const unsigned begin = book->begin[p], end = book->begin[p + 1];
        if (begin == end)
            continue;
        v16 least = v_load(seconds[book->second[begin]]);
        for (unsigned i = begin + 1; i < end; i++)
            least = v_min(v_load(seconds[book->second[i]]), least);
        const v16 cost = v_add(v_load(firsts[p]), least);
        const m16 better = v_lt(cost, best);
        best = v_select(better, cost, best);
        best_first = v_select(better, v_set1((float)p), best_first);
        best_second = v_select(better, least, best_second);
    }
    v_store(first, best_first);
    v_store(least_second, best_second);
    for (size_t r = 0; r < 16; r++) {
        const unsigned p = first[r] < 0.0f ? (unsigned)book->patterns - 1 : (unsigned)first[r];
        const unsigned second = second_of(book, seconds, p, r, least_second[r]);
        for (int c = 0; c < half; c++) {
            magnitudes[c][r] = book->columns[c][p];
            magnitudes[half + c][r] = book->columns[c][second];
        }
    }
}

/* ---- its signs ---- */

MQ_INLINE v16 sign_of(v16 x)
{
    return v_select(v_lt(x, v_zero()), v_set1(-1.0f), v_set1(1.0f));
}

/* Errors of the codes and what they cost. */
MQ_INLINE void judge(int columns, const struct target *t, struct unit *u)
{
    v16 y[UNIT];
    u->loss = v_zero();
    MQ_UNROLL(8)
    for (int c = 0; c < columns; c++)
        y[c] = v_load(t->x + 16 * c);
    MQ_UNROLL(8)
    for (int c = 0; c < columns; c++) {
        const v16 q = v_mul(t->a, u->codes[c]), e = v_sub(y[c], q);
        u->left[c] = v_mul(e, v_set1(t->D[c]));
        u->delta[c] = v_sub(v_load(t->w + 16 * c), q);
        u->loss = v_fma(e, u->left[c], u->loss);
        MQ_UNROLL(8)
        for (int k = c + 1; k < columns; k++)
            y[k] = v_fma(u->delta[c], v_set1(t->f[(size_t)c * t->ldf + (size_t)k]), y[k]);
    }
}

/* Each code's sign as that of what its column is with the errors before it; if `bound`, the last one's such that all
 * multiply to `wanted`. */
MQ_INLINE void follow_signs(int columns, const struct target *t, float magnitudes[UNIT][16],
                            bool bound, v16 wanted, struct unit *u)
{
    v16 y[UNIT], product = wanted;
    for (int c = 0; c < columns; c++)
        y[c] = v_load(t->x + 16 * c);
    MQ_UNROLL(8)
    for (int c = 0; c < columns; c++) {
        const v16 sign = bound && c + 1 == columns ? product : sign_of(y[c]);
        product = v_mul(product, sign);
        u->codes[c] = v_mul(sign, v_load(magnitudes[c]));
        const v16 delta = v_fnma(t->a, u->codes[c], v_load(t->w + 16 * c));
        MQ_UNROLL(8)
        for (int k = c + 1; k < columns; k++)
            y[k] = v_fma(delta, v_set1(t->f[(size_t)c * t->ldf + (size_t)k]), y[k]);
    }
}

/* slope[i]: half of what the loss falls by with q_i, at first. */
MQ_INLINE void find_slopes(int columns, const struct target *t, const v16 *left, v16 *slope)
{
    for (int i = 0; i < columns; i++) {
        slope[i] = left[i];
        for (int k = i + 1; k < columns; k++)
            slope[i] = v_fma(left[k], v_set1(t->f[(size_t)i * t->ldf + (size_t)k]), slope[i]);
    }
}

MQ_INLINE m16 is(v16 number, int i)
{
    return v_lt(v_abs(v_sub(number, v_set1((float)i))), v_set1(0.5f));
}

/* Negates code i of the rows where one of the two numbers is i. */
MQ_INLINE void negate(int columns, const struct target *t, v16 one, v16 other, v16 *codes,
                      v16 *slope)
{
    for (int i = 0; i < columns; i++) {
        const m16 here = m_or(is(one, i), is(other, i));
        const v16 q = v_mul(t->a, codes[i]), less = v_select(here, v_add(q, q), v_zero());
        codes[i] = v_select(here, v_neg(codes[i]), codes[i]);
        for (int k = 0; k < columns; k++)
            slope[k] = v_fma(less, v_set1(t->metric[i][k]), slope[k]);
    }
}

/* Negates the one code, or if `bound` the two, where the loss falls most. False: it falls nowhere. */
MQ_INLINE bool flip_best(int columns, bool bound, const struct target *t, v16 *codes, v16 *slope)
{
    v16 q[UNIT], cost[UNIT], best = v_zero(), one = v_set1(-1.0f), other = one;
    for (int i = 0; i < columns; i++) {
        const float *metric = t->metric[i];
        q[i] = v_mul(t->a, codes[i]);
        cost[i] = v_mul(q[i], v_fma(q[i], v_set1(metric[i]), slope[i]));
        for (int k = 0; bound && k < i; k++) {
            const v16 both = v_mul(v_add(q[i], q[i]), v_mul(q[k], v_set1(metric[k])));
            const v16 sum = v_add(both, v_add(cost[i], cost[k]));
            const m16 less = v_lt(sum, best);
            best = v_select(less, sum, best);
            one = v_select(less, v_set1((float)i), one);
            other = v_select(less, v_set1((float)k), other);
        }
        const m16 less = v_lt(cost[i], best);
        if (!bound) {
            best = v_select(less, cost[i], best);
            one = v_select(less, v_set1((float)i), one);
        }
    }
    if (!m_bits(v_lt(best, v_zero())))
        return false;
    negate(columns, t, one, other, codes, slope);
    return true;
}

/* Signs are changed while the loss falls. */
MQ_INLINE void improve_signs(int columns, bool bound, const struct target *t, struct unit *u)
{
    v16 slope[UNIT];
    find_slopes(columns, t, u->left, slope);
    int flips = 0;
    while (flips < FLIPS && flip_best(columns, bound, t, u->codes, slope))
        flips++;
    if (flips)
        judge(columns, t, u);
}

MQ_INLINE void keep_columns(m16 better, int columns, const struct unit *from, struct unit *to)
{
    MQ_UNROLL(8)
    for (int c = 0; c < columns; c++) {
        to->codes[c] = v_select(better, from->codes[c], to->codes[c]);
        to->delta[c] = v_select(better, from->delta[c], to->delta[c]);
        to->left[c] = v_select(better, from->left[c], to->left[c]);
    }
    to->loss = v_select(better, from->loss, to->loss);
}

/* What the unit would best be: what leaves no errors. */
MQ_INLINE void find_aims(int columns, const struct target *t, v16 *aim)
{
    for (int c = 0; c < columns; c++)
        aim[c] = v_load(t->x + 16 * c);
    for (int c = 0; c < columns; c++) {
        const v16 delta = v_sub(v_load(t->w + 16 * c), aim[c]);
        for (int k = c + 1; k < columns; k++)
            aim[k] = v_fma(delta, v_set1(t->f[(size_t)c * t->ldf + (size_t)k]), aim[k]);
    }
}

/* flip[c] = -1 where the signs of the aims do not multiply to `wanted`, for the column whose sign costs least. */
MQ_INLINE void find_flip(int columns, const v16 *aim, const v16 *weight, v16 wanted, v16 *flip)
{
    v16 least = weight[0], where = v_zero(), product = wanted;
    for (int c = 0; c < columns; c++) {
        product = v_mul(product, sign_of(aim[c]));
        const m16 less = v_lt(weight[c], least);
        least = v_select(less, weight[c], least);
        where = v_select(less, v_set1((float)c), where);
    }
    for (int c = 0; c < columns; c++)
        flip[c] = v_select(is(where, c), product, v_set1(1.0f));
}

/* An entry and its signs. If `bound`, they multiply to `wanted`. */
MQ_INLINE void pick(const struct mq_feedback_book *book, int digits, int columns,
                    const struct target *t, bool bound, v16 wanted, struct unit *out)
{
    float magnitudes[UNIT][16];
    v16 aim[UNIT], weight[UNIT], flip[UNIT];
    find_aims(columns, t, aim);
    for (int c = 0; c < columns; c++)
        weight[c] = v_mul(v_abs(aim[c]), v_set1(t->D[c]));
    if (bound)
        find_flip(columns, aim, weight, wanted, flip);
    for (int c = 0; c < columns; c++) {
        const v16 twice = v_mul(v_add(t->inverse, t->inverse), weight[c]);
        weight[c] = bound ? v_mul(twice, flip[c]) : twice;
    }
    pick_entry(book, digits, columns, weight, t->D, magnitudes);
    follow_signs(columns, t, magnitudes, bound, wanted, out);
    judge(columns, t, out);
    if (bound) { /* the signs that the entry was picked for may be better */
        struct unit other;
        for (int c = 0; c < columns; c++) {
            const v16 sign = v_mul(sign_of(aim[c]), flip[c]);
            other.codes[c] = v_mul(sign, v_load(magnitudes[c]));
        }
        judge(columns, t, &other);
        keep_columns(v_lt(other.loss, out->loss), columns, &other, out);
    }
    improve_signs(columns, bound, t, out);
}

/* ---- units ---- */

/* Two entries of four, whose signs multiply to 1 together: each to 1, or each to -1. */
static void pick_pair(const struct mq_feedback_book *book, const struct target *t, struct unit *out)
{
    for (int turn = 0; turn < 2; turn++) {
        const v16 wanted = v_set1(turn ? -1.0f : 1.0f);
        struct unit both, second;
        float x[4 * 16];
        pick(book, 8, 4, t, true, wanted, &both);
        memcpy(x, t->x + 4 * 16, sizeof x);
        add_rows(both.delta, 4, t->f + 4, t->ldf, 0, 4, x);
        struct target after = *t;
        after.w += 4 * 16;
        after.x = x;
        after.f += 4 * t->ldf + 4;
        after.D += 4;
        after.metric += 4;
        pick(book, 8, 4, &after, true, wanted, &second);
        for (int c = 0; c < 4; c++) {
            both.codes[4 + c] = second.codes[c];
            both.delta[4 + c] = second.delta[c];
            both.left[4 + c] = second.left[c];
        }
        both.loss = v_add(both.loss, second.loss);
        if (turn == 0)
            *out = both;
        else
            keep_columns(v_lt(both.loss, out->loss), UNIT, &both, out);
    }
}

static void pick_even_eight(const struct mq_feedback_book *book, const struct target *t,
                            struct unit *out)
{
    pick(book, 3, 8, t, true, v_set1(1.0f), out);
}

static void pick_eight(const struct mq_feedback_book *book, const struct target *t,
                       struct unit *out)
{
    pick(book, 3, 8, t, false, v_zero(), out);
}

static void pick_four(const struct mq_feedback_book *book, const struct target *t, struct unit *out)
{
    pick(book, 8, 4, t, false, v_zero(), out);
}

static void pick_unit(const struct mq_feedback_book *book, const struct target *t, struct unit *out)
{
    if (book->grid->columns == 8)
        (book->grid->even_signs ? pick_even_eight : pick_eight)(book, t, out);
    else
        (book->grid->even_signs ? pick_pair : pick_four)(book, t, out);
}

static size_t unit_columns(const struct mq_feedback_book *book)
{
    return book->grid->even_signs ? UNIT : book->grid->columns;
}

/* metrics[column][UNIT]: (F + I) D (F + I)' of the columns of each entry. */
static void find_metrics(const struct mq_feedback_book *book, size_t columns, const float *f,
                         size_t ldf, const float *D, float (*metrics)[UNIT])
{
    const size_t step = book->grid->columns;
    for (size_t c = 0; c < columns; c += step)
        for (size_t i = 0; i < step; i++)
            for (size_t j = 0; j <= i; j++) {
                const float *fi = f + (c + i) * ldf + c, *fj = f + (c + j) * ldf + c;
                float sum = (i == j ? 1.0f : fj[i]) * D[c + i];
                for (size_t k = i + 1; k < step; k++)
                    sum = fmaf(fi[k] * fj[k], D[c + k], sum);
                metrics[c + i][j] = metrics[c + j][i] = sum;
            }
}

/* ---- feedback ---- */

struct sub {
    v16 codes[SUB_MOST], delta[SUB_MOST], left[SUB_MOST];
    v16 s, loss;
};

/* A sub-block's units in order, with scale d s. */
static void code_sub(const struct mq_feedback_book *book, size_t columns, v16 d, v16 s,
                     const float *w, const float *x, const float *f, size_t ldf, const float *D,
                     float (*metrics)[UNIT], struct sub *out)
{
    float fed[SUB_MOST * 16];
    const size_t step = unit_columns(book);
    const v16 a = v_mul(d, s), inverse = inverse_or_zero(a);
    memcpy(fed, x, columns * 16 * sizeof *fed);
    out->s = s;
    out->loss = v_zero();
    for (size_t c = 0; c < columns; c += step) {
        const struct target t = {w + 16 * c, fed + 16 * c, f + c * ldf + c, D + c, metrics + c, ldf,
                                 a,          inverse};
        struct unit unit;
        pick_unit(book, &t, &unit);
        for (size_t i = 0; i < step; i++) {
            out->codes[c + i] = unit.codes[i];
            out->delta[c + i] = unit.delta[i];
            out->left[c + i] = unit.left[i];
        }
        out->loss = v_add(out->loss, unit.loss);
        add_rows(unit.delta, step, f + c * ldf, ldf, c + step, columns, fed);
    }
}

static void keep_better(const struct sub *t, size_t columns, struct sub *best)
{
    const m16 better = v_lt(t->loss, best->loss);
    for (size_t c = 0; c < columns; c++) {
        best->codes[c] = v_select(better, t->codes[c], best->codes[c]);
        best->delta[c] = v_select(better, t->delta[c], best->delta[c]);
        best->left[c] = v_select(better, t->left[c], best->left[c]);
    }
    best->s = v_select(better, t->s, best->s);
    best->loss = v_select(better, t->loss, best->loss);
}

/* The best of the scales around the one that the block has. */
static void choose_sub(const struct mq_block_form *form, const struct mq_feedback_book *book, v16 d,
                       v16 s, const float *w, const float *x, const float *f, size_t ldf,
                       const float *D, struct sub *best)
{
    float metrics[SUB_MOST][UNIT];
    find_metrics(book, form->sub_weights, f, ldf, D, metrics);
    for (int k = 0; k < 2 * SCALE_TRIALS + 1; k++) {
        const int ds = (k + 1) / 2 * (k % 2 ? 1 : -1); /* 0, 1, -1, ...: the nearest wins ties */
        struct sub t;
        const v16 tried = v_clamp(v_add(s, v_set1((float)ds)), (float)form->scale_min + form->half,
                                  (float)form->scale_max + form->half);
        code_sub(book, form->sub_weights, d, tried, w, x, f, ldf, D, metrics, k ? &t : best);
        if (k)
            keep_better(&t, form->sub_weights, best);
    }
}

/* Scales so that the codebook is as large as the weights are, by D; but that they come out a fifth larger, as
 * what is far from all entries costs most, and d another tenth, to leave room for larger ones: measured best. */
void MQ_ISA_NAME(mq_feedback_first_scales)(const struct mq_block_form *form,
                                           const struct mq_feedback_book *book, const float *aim,
                                           const float *D, struct mq_feedback_block *block)
{
    const size_t each = form->sub_weights, subs = form->weights / each;
    const float largest_s = (float)form->scale_max + form->half;
    v16 scales[MQ_PARTS_SUBS], largest = v_zero();
    for (size_t sub = 0; sub < subs; sub++) {
        v16 squares = v_zero();
        float weight = 0.0f;
        for (size_t c = sub * each; c < (sub + 1) * each; c++) {
            const v16 v = v_load(aim + 16 * c);
            squares = v_fma(v_mul(v, v), v_set1(D[c]), squares);
            weight += D[c];
        }
        scales[sub] =
            v_mul(v_sqrt(v_mul(squares, v_set1(1.0f / weight))), v_set1(1.2f / book->rms));
        largest = v_max(scales[sub], largest);
    }
    const v16 half = mq_round_scale(v_mul(largest, v_set1(1.1f / (largest_s * form->unit))));
    const v16 d = v_mul(half, v_set1(form->unit)), inverse = inverse_or_zero(d);
    v_store(block->d, d);
    v_store(block->dmin, v_zero());
    for (size_t sub = 0; sub < subs; sub++) {
        const v16 s = v_round(
            v_sub(v_clamp(v_mul(scales[sub], inverse), 0.0f, largest_s), v_set1(form->half)));
        v_store(block->s[sub],
                v_add(clamp_between(s, form->scale_min, form->scale_max), v_set1(form->half)));
        v_store(block->m[sub], v_zero());
    }
}

void MQ_ISA_NAME(mq_feedback_feed_groups)(const struct mq_block_form *form,
                                          const struct mq_feedback_book *book, const float *w,
                                          float *x, const float *f, size_t ldf, const float *D,
                                          struct mq_feedback_block *block, float *delta)
{
    const size_t width = form->weights, each = form->sub_weights;
    for (size_t begin = 0; begin < width; begin += each) {
        struct sub best;
        choose_sub(form, book, v_load(block->d), v_load(block->s[begin / each]), w + 16 * begin,
                   x + 16 * begin, f + begin * ldf + begin, ldf, D + begin, &best);
        v_store(block->s[begin / each], best.s);
        for (size_t i = 0; i < each; i++) {
            v_store_low8((uint8_t *)block->codes[begin + i],
                         v_add(best.codes[i], v_set1(MQ_MAGIC)));
            v_store(delta + 16 * (begin + i), best.delta[i]);
            v_store(x + 16 * (begin + i), best.left[i]);
        }
        add_rows(best.delta, each, f + begin * ldf, ldf, begin + each, width, x);
    }
}

/* ---- descent ---- */

/*
 * A unit's best codes all else being as it is: those nearest to y = q + g H_JJ^-1 in the metric of H_JJ, the unit's
 * block of H, which is factored as H is. minus = what q becomes less, 0 where that would gain nothing.
 */
static void descend_unit(const struct mq_feedback_book *book, const float *h, size_t ldh, v16 a,
                         const float *g, int8_t (*codes)[16], v16 *minus)
{
    const size_t n = unit_columns(book);
    float f[UNIT * UNIT], D[UNIT], metrics[UNIT][UNIT], z[UNIT * 16], y[UNIT * 16];
    v16 before = v_zero();
    struct unit next;
    for (size_t i = 0; i < n; i++)
        memcpy(f + i * UNIT, h + i * ldh, n * sizeof *f);
    const bool definite = MQ_ISA_NAME(mq_feedback_factor)(f, UNIT, n, D);
    memcpy(z, g, n * 16 * sizeof *z);
    MQ_ISA_NAME(mq_feedback_solve_back)(z, f, UNIT, n);
    for (size_t c = 0; c < n; c++)
        v_store(z + 16 * c, v_mul(v_load(z + 16 * c), v_set1(definite ? 1.0f / D[c] : 0.0f)));
    MQ_ISA_NAME(mq_feedback_solve_on)(z, f, UNIT, n);
    for (size_t c = 0; c < n; c++) {
        before = v_fma(v_load(z + 16 * c), v_load(g + 16 * c), before);
        v_store(y + 16 * c, v_fma(a, v_from_i8(codes[c]), v_load(z + 16 * c)));
    }
    find_metrics(book, n, f, UNIT, D, metrics);
    const struct target t = {y, y, f, D, metrics, UNIT, a, inverse_or_zero(a)};
    pick_unit(book, &t, &next);
    /* The search tries not all there is, so it may end above where it began. */
    const m16 better = v_lt(next.loss, v_mul(before, v_set1(1.0f - 1e-5f)));
    for (size_t c = 0; c < n; c++) {
        const v16 old = v_from_i8(codes[c]), code = v_select(better, next.codes[c], old);
        minus[c] = v_mul(a, v_sub(old, code));
        v_store_low8((uint8_t *)codes[c], v_add(code, v_set1(MQ_MAGIC)));
    }
}

void MQ_ISA_NAME(mq_feedback_descend_groups)(const struct mq_block_form *form,
                                             const struct mq_feedback_book *book, const float *h,
                                             size_t ldh, float *g, float *change,
                                             struct mq_feedback_block *block)
{
    const size_t step = unit_columns(book);
    const v16 d = v_load(block->d);
    for (size_t begin = 0; begin < form->weights; begin += 16) {
        const v16 a = v_mul(d, v_load(block->s[begin / form->sub_weights]));
        v16 minus[16];
        for (size_t i = 0; i < 16; i += step) {
            const size_t j = begin + i;
            descend_unit(book, h + j * ldh + j, ldh, a, g + 16 * j, block->codes + j, minus + i);
            follow(minus + i, step, j, h, ldh, begin, begin + 16, g);
        }
        for (size_t i = 0; i < 16; i++) {
            float *moved = change + 16 * (begin + i);
            v_store(moved, v_sub(v_load(moved), minus[i]));
        }
        follow(minus, 16, begin, h, ldh, 0, begin, g);
        follow(minus, 16, begin, h, ldh, begin + 16, form->weights, g);
    }
}
