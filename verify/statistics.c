/* statistics.c: sums in a fixed order. */
#include "statistics.h"

#include "portable_math.h"

#include <math.h>
#include <stdlib.h>

static struct mq_estimate from_deviations(double mean, double squares, size_t n)
{
    const double variance = n > 1 ? squares / (double)(n - 1) : NAN;
    return (struct mq_estimate){n ? mean : NAN, sqrt(variance / (double)n)};
}

/* The mean of y - x, or of y where x is NULL. */
static struct mq_estimate estimate(const double *x, const double *y, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += x ? y[i] - x[i] : y[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double d = (x ? y[i] - x[i] : y[i]) - mean;
        squares += d * d;
    }
    return from_deviations(mean, squares, n);
}

struct mq_estimate mq_estimate_mean(const double *x, size_t n)
{
    return estimate(NULL, x, n);
}

struct mq_estimate mq_estimate_difference(const double *x, const double *y, size_t n)
{
    return estimate(x, y, n);
}

struct mq_estimate mq_estimate_ratio(const double *x, const double *y, size_t n)
{
    double sum_x = 0, sum_y = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum_x += x[i];
        sum_y += y[i];
    }
    const double ratio = sum_x / sum_y, mean_y = sum_y / (double)n;
    for (size_t i = 0; i < n; i++) { /* their mean is 0 by the choice of the ratio */
        const double d = x[i] - ratio * y[i];
        squares += d * d;
    }
    const struct mq_estimate e = from_deviations(ratio, squares, n);
    return (struct mq_estimate){e.value, e.se / fabs(mean_y)};
}

struct mq_estimate mq_estimate_rms(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= x[i];
    const struct mq_estimate mean = mq_estimate_mean(x, n);
    const double root = sqrt(mean.value);
    return (struct mq_estimate){root, root == 0 ? mean.se : mean.se / (2 * root)};
}

struct mq_estimate mq_estimate_sums(double sum, double sum_squares, size_t n)
{
    const double mean = sum / (double)n, squares = sum_squares - mean * sum;
    return from_deviations(mean, squares > 0 ? squares : 0, n);
}

struct mq_estimate mq_estimate_exp(struct mq_estimate x)
{
    const double value = mq_exp(x.value);
    return (struct mq_estimate){value, value * x.se};
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void mq_sort_doubles(double *x, size_t n)
{
    qsort(x, n, sizeof *x, ascending);
}

double mq_percentile(const double *sorted, size_t n, double fraction)
{
    const double h = fraction * (double)(n - 1);
    size_t below = (size_t)h;
    if (below >= n - 1)
        return sorted[n - 1];
    const double part = h - (double)below;
    return sorted[below] + part * (sorted[below + 1] - sorted[below]);
}

struct mq_distribution mq_distribution_of(double *x, size_t n)
{
    struct mq_distribution d = {.mean = mq_estimate_mean(x, n), .count = n};
    mq_sort_doubles(x, n);
    d.median = mq_percentile(x, n, 0.5);
    d.p90 = mq_percentile(x, n, 0.9);
    d.p99 = mq_percentile(x, n, 0.99);
    d.p99_9 = mq_percentile(x, n, 0.999);
    d.max = x[n - 1];
    return d;
}
