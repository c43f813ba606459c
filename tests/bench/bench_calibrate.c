/*
 * bench_calibrate.c: what calibration costs for a matrix of Mixtral 8x7B's width: sums of its inputs, the
 * factor, and error feedback into blocks.
 *
 * Of the 14,336 rows a panel is encoded again and again: rows are independent, so the rate is that of the
 * whole matrix. Shares of the peak count products with F and H alone, not the search within blocks.
 */
#include "bench.h"

#include "feedback.h"

#include <stdio.h>
#include <stdlib.h>

enum { COLS = 4096, INPUTS = 512, ROWS = 256, PASSES = 2 };

struct work {
    struct mq_context context;
    struct mq_covariance covariance;
    const struct mq_level *level;
    float *inputs, *weights;
    uint8_t *bytes;
};

static void sum_up(void *argument, unsigned thread)
{
    (void)thread;
    struct work *w = argument;
    mq_covariance_clear(&w->covariance);
    mq_covariance_add(&w->covariance, w->inputs, COLS, INPUTS);
}

static void factor(void *argument, unsigned thread)
{
    (void)thread;
    struct work *w = argument;
    if (!mq_covariance_factor(&w->covariance))
        bench_die("the covariance is not positive definite");
}

static void encode(void *argument, unsigned thread)
{
    (void)thread;
    struct work *w = argument;
    const struct mq_feedback_options options = {.passes = PASSES};
    moeq_error err = {0};
    if (mq_feedback_encode(&w->covariance, w->level, &options, w->weights, ROWS, w->bytes, &err))
        bench_die("%s", err.message);
}

/* A call is so many GFLOP, and so many of what the rate counts. */
static void measure(struct bench *bench, struct work *w, const char *name, bench_work *run,
                    double gflop, const char *unit, double units)
{
    for (int isa = MQ_ISA_GENERIC + 1; isa <= (int)mq_isa_detect(); isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        /* One thread a job here: with more, its own threads' time would not be seen. */
        w->context.isa = (enum mq_isa)isa;
        const struct bench_rate rate = bench_measure(bench, 1, gflop, run, w, &bench->fma[isa]);
        struct bench_row row = {.group = "calibrate",
                                .isa = mq_isa_name((enum mq_isa)isa),
                                .threads = 1,
                                .rate = rate.median / gflop * units,
                                .spread = rate.spread,
                                .unit = unit,
                                .of_peak = rate.of_peak,
                                .peak = "f32 fused multiply-add"};
        snprintf(row.name, sizeof row.name, "%s", name);
        bench_add(bench, &row);
    }
}

/* Inputs of which neighbouring columns are alike, as hidden states' are. */
static void correlate(float *x)
{
    for (size_t t = 0; t < INPUTS; t++)
        for (size_t c = 1; c < COLS; c++)
            x[t * COLS + c] += 0.875f * x[t * COLS + c - 1];
}

void bench_calibrate(struct bench *bench)
{
    struct work w = {.context = {.isa = mq_isa_detect(), .threads = 1},
                     .inputs = bench_floats((size_t)INPUTS * COLS),
                     .weights = bench_floats((size_t)ROWS * COLS),
                     .bytes = bench_memory((size_t)2 * ROWS * COLS)};
    moeq_error err = {0};
    if (mq_covariance_create(&w.context, COLS, &w.covariance, &err))
        bench_die("%s", err.message);
    bench_gaussian(w.inputs, (size_t)INPUTS * COLS);
    bench_gaussian(w.weights, (size_t)ROWS * COLS);
    correlate(w.inputs);
    const double n = COLS;
    measure(bench, &w, "X'X, 4096 columns", sum_up, 1e-9 * INPUTS * n * n, "GFLOP/s",
            1e-9 * INPUTS * n * n);
    mq_covariance_finish(&w.covariance, mq_covariance_lambda(COLS, INPUTS));
    measure(bench, &w, "factor, 4096 columns", factor, 1e-9 * n * n * n / 3, "GFLOP/s",
            1e-9 * n * n * n / 3);
    /* a weight: C / 2 for feedback, C / 2 for the slopes, and C a pass */
    const double gflop = 2e-9 * ROWS * n * n * (1.0 + PASSES);
    for (size_t i = 0; i < mq_levels_count; i++) {
        char name[40];
        w.level = &mq_levels[i];
        if (!mq_feedback_can(w.level))
            continue;
        snprintf(name, sizeof name, "%s feedback", w.level->name);
        measure(bench, &w, name, encode, gflop, "Mweights/s", 1e-6 * ROWS * n);
    }
    mq_covariance_destroy(&w.covariance);
    free(w.inputs);
    free(w.weights);
    free(w.bytes);
}
