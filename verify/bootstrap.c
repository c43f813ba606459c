/* bootstrap.c: resampling with a fixed seed. */
#include "bootstrap.h"

#include "statistics.h"

#include <math.h>

/* splitmix64 (Steele, Lea and Flood, OOPSLA 2014). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* From 0 to n - 1. The product's high word favours some values by n / 2^64: nothing here. */
static size_t draw(uint64_t *state, size_t n)
{
    return (size_t)(((unsigned __int128)next_random(state) * n) >> 64);
}

struct mq_bootstrap mq_bootstrap_mean(const double *x, size_t n)
{
    struct mq_bootstrap b = {.mean = mq_estimate_mean(x, n).value, NAN, NAN, NAN};
    double means[MQ_BOOTSTRAP_RESAMPLES];
    uint64_t state = MQ_BOOTSTRAP_SEED;
    if (n < 2)
        return b;
    for (size_t i = 0; i < MQ_BOOTSTRAP_RESAMPLES; i++) {
        double sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += x[draw(&state, n)];
        means[i] = sum / (double)n;
    }
    /* mq_estimate_mean's error is that of a mean of so many values; here it is their deviation */
    b.se = mq_estimate_mean(means, MQ_BOOTSTRAP_RESAMPLES).se * sqrt(MQ_BOOTSTRAP_RESAMPLES);
    mq_sort_doubles(means, MQ_BOOTSTRAP_RESAMPLES);
    b.low = mq_percentile(means, MQ_BOOTSTRAP_RESAMPLES, 0.025);
    b.high = mq_percentile(means, MQ_BOOTSTRAP_RESAMPLES, 0.975);
    return b;
}
