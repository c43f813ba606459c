/*
 * statistics.h: means, standard errors and percentiles of per-token figures.
 *
 * All sums run over the tokens in order, in double, in two passes (mean first, then squared
 * deviations): the same digits on every machine and thread count.
 */
#ifndef MQ_STATISTICS_H
#define MQ_STATISTICS_H

#include <stddef.h>

/* A mean and its standard error: sqrt(sum (x - mean)^2 / (n - 1) / n); NaN for n < 2 (and the mean
 * too for n = 0), which prints as null in JSON. Tokens count as independent, as is usual for
 * perplexities. */
struct mq_estimate {
    double value, se;
};

struct mq_estimate mq_estimate_mean(const double *x, size_t n);

/* Of paired differences y - x. */
struct mq_estimate mq_estimate_difference(const double *x, const double *y, size_t n);

/* mean(x) / mean(y) of paired figures. Its standard error by the delta rule: that of the mean of
 * x - ratio * y, over |mean(y)|. */
struct mq_estimate mq_estimate_ratio(const double *x, const double *y, size_t n);

/* From n figures' sum and sum of squares, where the figures themselves were not kept. */
struct mq_estimate mq_estimate_sums(double sum, double sum_squares, size_t n);

/* The square root of the mean of x², its standard error by the delta rule: that of the mean over
 * twice the root; 0 if all are 0. Squares x. */
struct mq_estimate mq_estimate_rms(double *x, size_t n);

/* exp(x), its standard error by the delta rule: exp(x) se. */
struct mq_estimate mq_estimate_exp(struct mq_estimate x);

/* ascending, by value */
void mq_sort_doubles(double *x, size_t n);

/*
 * The value below which a fraction (0 to 1) of n >= 1 sorted values lies: between the order
 * statistics floor(h) and floor(h) + 1, h = fraction (n - 1), linearly. (Type 7 of Hyndman and Fan,
 * the default of R and NumPy, and what llama-perplexity prints.)
 */
double mq_percentile(const double *sorted, size_t n, double fraction);

/* What is told of n figures of which the tail matters. */
struct mq_distribution {
    struct mq_estimate mean;
    double median, p90, p99, p99_9, max;
    size_t count;
};

/* n >= 1. Sorts x. */
struct mq_distribution mq_distribution_of(double *x, size_t n);

#endif
