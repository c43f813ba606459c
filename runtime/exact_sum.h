/*
 * exact_sum.h: sums of numbers >= 0 that do not depend on the order or the parts they are formed in.
 *
 * Each number is rounded to a multiple of 2^-44, beyond 2^39 it counts as that; those are added as
 * integers. So sums of different threads, passes and machines join to the same bits.
 */
#ifndef MQ_EXACT_SUM_H
#define MQ_EXACT_SUM_H

#include <stddef.h>
#include <stdint.h>

struct mq_exact_sum {
    int64_t units; /* of 2^-8, */
    int64_t fine;  /* and of 2^-44: from 0 to below 2^36 */
};

enum { MQ_EXACT_UNIT_BITS = 8, MQ_EXACT_FINE_BITS = 44 };

static inline void mq_exact_sum_join(struct mq_exact_sum *sum, int64_t units, int64_t fine)
{
    enum { CARRY = MQ_EXACT_FINE_BITS - MQ_EXACT_UNIT_BITS };
    const int64_t all = sum->fine + fine, low = all & ((INT64_C(1) << CARRY) - 1);
    sum->units += units + (all - low) / (INT64_C(1) << CARRY);
    sum->fine = low;
}

static inline double mq_exact_sum_value(const struct mq_exact_sum *sum)
{
    return (double)sum->units / (1 << MQ_EXACT_UNIT_BITS) +
           (double)sum->fine / (double)(INT64_C(1) << MQ_EXACT_FINE_BITS);
}

/* A number as its two parts, as doubles: both multiples of what they are counted in. Adding and taking
 * away 1.5 * 2^52 of these rounds to nearest, ties to even. */
static inline void mq_exact_split(double value, double *unit, double *fine)
{
    const double units = 1.5 * 17592186044416.0; /* 2^44 = 2^52 2^-8 */
    const double fines = 1.5 * 256.0;            /* 2^8 = 2^52 2^-44 */
    const double most = 549755813888.0;          /* 2^39 */
    value = value < most ? value : most;
    *unit = (value + units) - units;
    *fine = ((value - *unit) + fines) - fines;
}

static inline void mq_exact_sum_add(struct mq_exact_sum *sum, double value)
{
    double unit, fine;
    mq_exact_split(value, &unit, &fine);
    mq_exact_sum_join(sum, (int64_t)(unit * (1 << MQ_EXACT_UNIT_BITS)),
                      (int64_t)(fine * (double)(INT64_C(1) << MQ_EXACT_FINE_BITS)));
}

/*
 * The same for numbers of which the small ones matter, and their squares: each is cut to a multiple of 2^-72, beyond 2^40 it
 * counts as that. Sums join part by part.
 */
struct mq_fine_sum {
    uint64_t whole, high, low; /* of 1, 2^-36 and 2^-72 */
};

enum { MQ_FINE_PART_BITS = 36 };

static inline void mq_fine_sum_add(struct mq_fine_sum *sum, double value)
{
    const double most = 1099511627776.0; /* 2^40 */
    const double parts = (double)(UINT64_C(1) << MQ_FINE_PART_BITS);
    value = value < most ? value : most;
    const uint64_t whole = (uint64_t)value;
    value = (value - (double)whole) * parts;
    const uint64_t high = (uint64_t)value;
    sum->whole += whole;
    sum->high += high;
    sum->low += (uint64_t)((value - (double)high) * parts);
}

/* Room again for what is added: 2^27 numbers and joins are fine without. */
static inline void mq_fine_sum_carry(struct mq_fine_sum *sum)
{
    const uint64_t mask = (UINT64_C(1) << MQ_FINE_PART_BITS) - 1;
    sum->high += sum->low >> MQ_FINE_PART_BITS;
    sum->low &= mask;
    sum->whole += sum->high >> MQ_FINE_PART_BITS;
    sum->high &= mask;
}

static inline double mq_fine_sum_value(struct mq_fine_sum sum)
{
    const double parts = (double)(UINT64_C(1) << MQ_FINE_PART_BITS);
    mq_fine_sum_carry(&sum);
    return (double)sum.whole + ((double)sum.high + (double)sum.low / parts) / parts;
}

/* What an observer may ask for of a product while it is formed: sums of squares of the outputs, without
 * biases, of each of some runs of its tokens, and of the weights. Added to what is there. */
struct mq_output_squares {
    size_t end; /* the first token behind it */
    struct mq_exact_sum *sum;
};
struct mq_product_sums {
    struct mq_output_squares *runs; /* together all tokens, in order */
    size_t runs_count;
    struct mq_exact_sum *weights; /* NULL: not wanted */
};

#endif
