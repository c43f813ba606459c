/* bench_recurrent.c: the recurrent mixers between their products, at published widths. */
#include "bench.h"

#include "kernels.h"
#include "recurrent.h"

#include <stdio.h>
#include <stdlib.h>

enum { LENGTH = 512, TAPS = 4 };
/* Qwen3-Next: q, k | v, of 16 and 32 heads */
enum { KEYS = 16, VALUES = 32, DIM = 128, MIXED = (2 * KEYS + VALUES) * DIM };
/* Nemotron 3 Nano: x | B, C | of 64 heads in 8 groups */
enum { HEADS = 64, HEAD_DIM = 64, GROUPS = 8, STATE = 128 };
enum { INNER = HEADS * HEAD_DIM };
enum { LD = MIXED + VALUES * DIM + MQ_ROW_PAD }; /* the longest row of both */

struct work {
    struct mq_context context;
    float *x, *out, *steps, *vector, *scratch;
};

static void delta(void *argument, unsigned thread)
{
    (void)thread;
    const struct work *w = argument;
    const struct mq_recurrence_job job = {
        .delta = true,
        .heads = VALUES,
        .heads_per_key = VALUES / KEYS,
        .key_dim = DIM,
        .value_dim = DIM,
        .q = {w->x, LD, KEYS, 0, DIM},
        .k = {w->x + (size_t)KEYS * DIM, LD, KEYS, 0, DIM},
        .v = {w->x + (size_t)2 * KEYS * DIM, LD, VALUES, 0, DIM},
        .out = {w->out, LD, VALUES, 0, DIM},
        .a = {w->steps, VALUES, VALUES, 0, 1},
        .b = {w->steps, VALUES, VALUES, 0, 1},
        .decay = w->vector,
        .step_bias = w->vector,
        .scratch = w->scratch,
        .length = LENGTH,
        .windows = 1,
    };
    mq_recur(&w->context, &job);
}

static void mamba(void *argument, unsigned thread)
{
    (void)thread;
    const struct work *w = argument;
    const struct mq_recurrence_job job = {
        .heads = HEADS,
        .heads_per_key = HEADS / GROUPS,
        .key_dim = STATE,
        .value_dim = HEAD_DIM,
        .q = {w->x + INNER + GROUPS * STATE, LD, GROUPS, 0, STATE},
        .k = {w->x + INNER, LD, GROUPS, 0, STATE},
        .v = {w->x, LD, HEADS, 0, HEAD_DIM},
        .out = {w->out, LD, HEADS, 0, HEAD_DIM},
        .a = {w->steps, HEADS, HEADS, 0, 1},
        .decay = w->vector,
        .step_bias = w->vector,
        .skip = w->vector,
        .scratch = w->scratch,
        .length = LENGTH,
        .windows = 1,
    };
    mq_recur(&w->context, &job);
}

static void convolve(void *argument, unsigned thread)
{
    (void)thread;
    const struct work *w = argument;
    const struct mq_convolution_job job = {.x = w->x,
                                           .ld = LD,
                                           .groups = 1,
                                           .channels = MIXED,
                                           .weights = w->vector,
                                           .bias = w->vector, /* or it dies away */
                                           .taps = TAPS,
                                           .silu = true,
                                           .length = LENGTH,
                                           .windows = 1};
    mq_convolve(&w->context, &job);
}

static void gate(void *argument, unsigned thread)
{
    (void)thread;
    const struct work *w = argument;
    const struct mq_gated_norm_job job = {.x = {w->out, LD, VALUES, 0, DIM},
                                          .gate = {w->x, LD, VALUES, 0, DIM},
                                          .heads = VALUES,
                                          .n = DIM,
                                          .weight = w->vector,
                                          .eps = 1e-6f,
                                          .tokens = LENGTH};
    mq_gated_norm(&w->context, &job);
}

static const struct kind {
    const char *name, *unit;
    bench_work *run;
    double units;
    bool has_peak;
} kinds[] = {
    /* a number of the state: one product for its decay, fused multiply-adds for what is written to
     * it, for the output and, of the delta rule, for what it holds of k */
    {"DeltaNet, 32 heads 128 x 128", "GFLOP/s", delta, 7e-9 * LENGTH *VALUES *DIM *DIM, true},
    {"Mamba2, 64 heads 64 x 128", "GFLOP/s", mamba, 5e-9 * LENGTH *HEADS *HEAD_DIM *STATE, true},
    {"convolution, 8192 channels", "Mtokens/s", convolve, 1e-6 * LENGTH, false},
    {"gated norm, 32 heads of 128", "Mtokens/s", gate, 1e-6 * LENGTH, false},
};

static double measure(struct bench *bench, const struct kind *kind, enum mq_isa isa, struct work *w,
                      double scalar)
{
    /* One thread a job here: with more, its own threads' time would not be seen. */
    w->context = (struct mq_context){.isa = isa, .threads = 1};
    const struct bench_rate rate = bench_measure(bench, 1, kind->units, kind->run, w,
                                                 kind->has_peak ? &bench->fma[isa] : NULL);
    struct bench_row row = {.group = "recurrent",
                            .isa = mq_isa_name(isa),
                            .threads = 1,
                            .rate = rate.median,
                            .spread = rate.spread,
                            .unit = kind->unit,
                            .of_peak = rate.of_peak,
                            .peak = "f32 fused multiply-add",
                            .vs_scalar = scalar > 0 ? rate.median / scalar : 1};
    snprintf(row.name, sizeof row.name, "%s", kind->name);
    bench_add(bench, &row);
    return rate.median;
}

void bench_recurrent(struct bench *bench)
{
    struct work w = {
        .x = bench_floats((size_t)LENGTH * LD),
        .out = bench_floats((size_t)LENGTH * LD),
        .steps = bench_floats((size_t)LENGTH * HEADS),
        .vector = bench_floats((size_t)TAPS * MIXED),
        .scratch = bench_floats(mq_recurrence_scratch(DIM, DIM)),
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        double scalar = 0;
        for (int isa = 0; isa <= (int)mq_isa_detect(); isa++) {
            if (!mq_isa_available((enum mq_isa)isa))
                continue;
            const double rate = measure(bench, &kinds[k], (enum mq_isa)isa, &w, scalar);
            scalar = isa == MQ_ISA_GENERIC ? rate : scalar;
        }
    }
    float *all[] = {w.x, w.out, w.steps, w.vector, w.scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}
