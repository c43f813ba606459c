/*
 * iq_pick.h: the best entry of a codebook for a group of weights, for encoders of GGML's IQ2 and IQ3 types
 * without error feedback (calibrate/feedback_groups.c has its own).
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

#endif
