/*
 * iq_pick.h: the best entry of a codebook for a group of weights, for encoders of GGML's IQ2 and IQ3 types.
 *
 * Eight weights are a unit: one group of eight (IQ2) or two of four (IQ3). At scale a an entry g with signs decodes to
 * a (+-g_i). Its loss, weights D > 0:
 *
 *     sum_i D_i (x_i - a (+-g_i))^2 = sum D x^2 + a^2 (B - (2/a) P),    B = sum D_i g_i^2,   P = sum D_i |x_i| g_i
 *
 * with the signs of x. B, the norms, depend on the columns alone, not on the row or the scale; P, the products, not on the
 * scale. So what ranks all entries at one scale is a multiplication and a comparison for each, 16 entries at a time.
 *
 * Of types with an even number of minus signs in a unit (struct mq_iq_book.even), one weight gets the other sign where x
 * has an odd number: before the ranking that of the smallest D |x|, whose term of P is then negative, and for the entry
 * that wins, that of the smallest D |x| g.
 *
 * With error feedback (mq_iq_pick) the error of weight i moves those behind it: t_k = x_k - sum_{i<k} e_i F_ik,
 * e_k = t_k - a (+-g_k), loss sum D_k e_k^2. All entries are ranked without F, and only the winner's signs are found
 * exactly: ranking all of them with it gains less than 1 % of the loss.
 *
 * The same bits on every instruction set: lanes are entries, and ties go to the lowest number.
 */
#ifndef MQ_IQ_PICK_H
#define MQ_IQ_PICK_H

#include "iq_grids.h"
#include "lanes_int.h"

#include <stdbool.h>

enum { MQ_IQ_UNIT = 8, MQ_IQ_ENTRIES = 1024, MQ_IQ_STEPS = 16 };

struct mq_iq_book {
    int dim, entries;     /* weights of an entry: 8 or 4 */
    const float *columns; /* [dim][entries]: magnitudes */
    bool even;            /* minus signs in a unit */
    int sub;              /* weights of a sub-block */
    float step;           /* a = d step (2 s + 1), s = 0 .. MQ_IQ_STEPS - 1 */
};

static const struct mq_iq_book mq_iq2_xxs_book = {8, 256, *mq_iq2_xxs_columns, true, 32, 0.125f};
static const struct mq_iq_book mq_iq2_xs_book = {8, 512, *mq_iq2_xs_columns, true, 16, 0.125f};
static const struct mq_iq_book mq_iq2_s_book = {8, 1024, *mq_iq2_s_columns, false, 16, 0.125f};
static const struct mq_iq_book mq_iq3_xxs_book = {4, 256, *mq_iq3_xxs_columns, true, 32, 0.25f};
static const struct mq_iq_book mq_iq3_s_book = {4, 512, *mq_iq3_s_columns, false, 32, 1.0f};

/* What a unit's eight weights are stored as. */
struct mq_iq_choice {
    uint16_t entries[2]; /* the second of groups of four */
    uint8_t signs;       /* bit i: weight i is minus */
};

MQ_INLINE float mq_iq_magnitude(const struct mq_iq_book *book, const struct mq_iq_choice *c, int i)
{
    return book->columns[(i % book->dim) * book->entries + c->entries[i / book->dim]];
}

/* ---- ranking ---- */

MQ_INLINE void mq_iq_norms_of(int dim, const struct mq_iq_book *book, const float *D, float *norms)
{
    for (int k = 0; k < book->entries; k += 16) {
        v16 sum = v_zero();
        for (int i = 0; i < dim; i++) {
            const v16 g = v_load(book->columns + i * book->entries + k);
            sum = v_fma(v_mul(g, g), v_set1(D[i]), sum);
        }
        v_store(norms + k, sum);
    }
}

/* B of all entries for a group whose columns have the weights D. */
static inline void mq_iq_norms(const struct mq_iq_book *book, const float *D, float *norms)
{
    if (book->dim == 8)
        mq_iq_norms_of(8, book, D, norms);
    else
        mq_iq_norms_of(4, book, D, norms);
}

MQ_INLINE void mq_iq_products_of(int dim, const struct mq_iq_book *book, const float *y,
                                 float *products)
{
    for (int k = 0; k < book->entries; k += 16) {
        v16 sum = v_mul(v_set1(y[0]), v_load(book->columns + k));
        for (int i = 1; i < dim; i++)
            sum = v_fma(v_set1(y[i]), v_load(book->columns + i * book->entries + k), sum);
        v_store(products + k, sum);
    }
}

/* P of all entries, y = D |x|. */
static inline void mq_iq_products(const struct mq_iq_book *book, const float *y, float *products)
{
    if (book->dim == 8)
        mq_iq_products_of(8, book, y, products);
    else
        mq_iq_products_of(4, book, y, products);
}

/* The entry of the smallest B - factor P, factor = 2 / a. */
static inline int mq_iq_best(const float *norms, const float *products, int entries, float factor)
{
    float values[16], numbers[16];
    v16 least = v_set1(INFINITY), at = v_zero(), number = v_iota();
    for (int k = 0; k < entries; k += 16) {
        const v16 value = v_fnma(v_load(products + k), v_set1(factor), v_load(norms + k));
        const m16 less = v_lt(value, least);
        least = v_select(less, value, least);
        at = v_select(less, number, at);
        number = v_add(number, v_set1(16.0f));
    }
    v_store(values, least);
    v_store(numbers, at);
    int lane = 0;
    for (int i = 1; i < 16; i++)
        if (values[i] < values[lane] || (values[i] == values[lane] && numbers[i] < numbers[lane]))
            lane = i;
    return (int)numbers[lane];
}

/* The weight of `count` with the smallest y. */
MQ_INLINE int mq_iq_smallest(const float *y, int count)
{
    int smallest = 0;
    for (int i = 1; i < count; i++)
        smallest = y[i] < y[smallest] ? i : smallest;
    return smallest;
}

/* ---- with error feedback ---- */

enum { MQ_IQ_FREE = -1 }; /* instead of a parity, 0 or 1: of the number of minus signs */

/*
 * The signs of n magnitudes m that have the smallest loss, and the errors that they leave. Depth first, the nearer sign
 * first, cut at the best loss so far: 2^n leaves at most, and hardly more than n steps mostly.
 */
static inline float mq_iq_signs(int n, const float *x, const float *F, size_t ld, const float *D,
                                const float *m, int parity, unsigned *signs, float *errors)
{
    float best = INFINITY, t[MQ_IQ_UNIT], e[MQ_IQ_UNIT], loss[MQ_IQ_UNIT + 1] = {0};
    int tried[MQ_IQ_UNIT] = {0};
    unsigned bits = 0;
    *signs = 0;
    t[0] = x[0];
    for (int i = 0; i >= 0;) {
        const bool minus = (t[i] < 0.0f) != (tried[i] == 1);
        e[i] = t[i] - (minus ? -m[i] : m[i]);
        const float sum = loss[i] + D[i] * e[i] * e[i];
        if (tried[i]++ == 2 || !(sum < best)) { /* the other sign's is no smaller */
            i--;
            continue;
        }
        bits = (bits & ~(1u << i)) | (unsigned)minus << i;
        if (i + 1 < n) {
            loss[++i] = sum;
            tried[i] = 0;
            t[i] = x[i];
            for (int k = 0; k < i; k++)
                t[i] -= e[k] * F[(size_t)k * ld + (size_t)i];
        } else if (parity == MQ_IQ_FREE || __builtin_parity(bits) == parity) {
            best = sum;
            *signs = bits;
            memcpy(errors, e, (size_t)n * sizeof *e);
        }
    }
    return best;
}

/* One group of a unit. */
static inline float mq_iq_pick_group(const struct mq_iq_book *book, const float *x, const float *F,
                                     size_t ld, const float *D, float a, const float *norms,
                                     int parity, uint16_t *entry, unsigned *signs, float *errors)
{
    float y[MQ_IQ_UNIT] = {0}, m[MQ_IQ_UNIT] = {0};
    _Alignas(64) float products[MQ_IQ_ENTRIES];
    bool odd = false;
    for (int i = 0; i < book->dim; i++) {
        y[i] = D[i] * fabsf(x[i]);
        odd ^= x[i] < 0.0f;
    }
    if (parity != MQ_IQ_FREE && (int)odd != parity) {
        const int turned = mq_iq_smallest(y, book->dim);
        y[turned] = -y[turned];
    }
    mq_iq_products(book, y, products);
    const int k = mq_iq_best(norms, products, book->entries, 2.0f / a);
    for (int i = 0; i < book->dim; i++)
        m[i] = a * book->columns[i * book->entries + k];
    *entry = (uint16_t)k;
    return mq_iq_signs(book->dim, x, F, ld, D, m, parity, signs, errors);
}

/*
 * A unit at scale a > 0: x and D of its 8 columns; F[i * ld + k], i < k: what of the error of column i column k gets;
 * norms [8 / dim][entries]. Leaves the errors e and returns the loss, the sum of D e^2. x is what earlier units have left:
 * a parity is that of the signs that are stored, not of the weights.
 */
static inline float mq_iq_pick(const struct mq_iq_book *book, const float x[MQ_IQ_UNIT],
                               const float *F, size_t ld, const float D[MQ_IQ_UNIT], float a,
                               const float *norms, struct mq_iq_choice *choice,
                               float errors[MQ_IQ_UNIT])
{
    const int dim = book->dim, first_parity = book->even ? 0 : MQ_IQ_FREE;
    float best = INFINITY;
    unsigned signs[2] = {0, 0};
    if (dim == MQ_IQ_UNIT) {
        best = mq_iq_pick_group(book, x, F, ld, D, a, norms, first_parity, choice->entries, signs,
                                errors);
        choice->entries[1] = 0;
        choice->signs = (uint8_t)signs[0];
        return best;
    }
    /* two groups that share the parity: either with the first one's even and odd */
    for (int parity = first_parity; parity < 2; parity += parity == MQ_IQ_FREE ? 3 : 1) {
        float e[MQ_IQ_UNIT], rest[MQ_IQ_UNIT / 2];
        uint16_t entries[2];
        const float loss =
            mq_iq_pick_group(book, x, F, ld, D, a, norms, parity, &entries[0], &signs[0], e);
        if (!(loss < best))
            continue;
        for (int k = 0; k < dim; k++) {
            rest[k] = x[dim + k];
            for (int i = 0; i < dim; i++)
                rest[k] -= e[i] * F[(size_t)i * ld + (size_t)(dim + k)];
        }
        const float sum =
            loss + mq_iq_pick_group(book, rest, F + (size_t)dim * (ld + 1), ld, D + dim, a,
                                    norms + book->entries, parity, &entries[1], &signs[1], e + dim);
        if (!(sum < best))
            continue;
        best = sum;
        memcpy(choice->entries, entries, sizeof entries);
        choice->signs = (uint8_t)(signs[0] | signs[1] << dim);
        memcpy(errors, e, sizeof e);
    }
    return best;
}

#endif
