/*
 * bootstrap.h: a confidence interval that does not assume independent tokens.
 *
 * Tokens of one window share their context, so errors computed as if they were independent are too
 * small. Windows are independent (they are evaluated apart): whole windows are drawn with
 * replacement, as many as there are, and the mean formed again; the spread of such means is the
 * interval. (Block bootstrap with the window as the block: Kunsch, Annals of Statistics 17, 1989;
 * percentile interval: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13.)
 */
#ifndef MQ_BOOTSTRAP_H
#define MQ_BOOTSTRAP_H

#include <stddef.h>
#include <stdint.h>

#define MQ_BOOTSTRAP_SEED UINT64_C(20260101)
enum { MQ_BOOTSTRAP_RESAMPLES = 1000 };

struct mq_bootstrap {
    double mean;      /* of the figures as they are */
    double se;        /* standard deviation of the resampled means; NaN for n < 2, as are: */
    double low, high; /* 95 %: the 2.5th and 97.5th percentile of the resampled means */
};

/* Of the n windows' means x. Draws come from splitmix64 seeded with MQ_BOOTSTRAP_SEED, the same for
 * every figure: resample number i takes the same windows each time. */
struct mq_bootstrap mq_bootstrap_mean(const double *x, size_t n);

#endif
