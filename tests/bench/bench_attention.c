/* bench_attention.c: what lies between the matrix products: attention, norms, the router. */
#include "bench.h"

#include "attention.h"
#include "kernels.h"
#include "router.h"

#include <stdio.h>
#include <math.h>
#include <stdlib.h>

enum { LENGTH = 512, HEADS = 32, KV_HEADS = 8, HEAD_DIM = 128, EXPERTS = 8, TOP_K = 2 };
enum { HIDDEN = HEADS * HEAD_DIM, KV = KV_HEADS * HEAD_DIM };

struct work {
    struct mq_attention *attention;
    struct mq_attention_job job;
    enum mq_isa isa;
    const float *logits, *norm;
    float *scratch, *weights, *y;
    int32_t *chosen;
};

static void attend(void *argument, unsigned thread)
{
    (void)thread;
    const struct work *w = argument;
    mq_attention_apply(w->attention, &w->job);
}

static void route(void *argument, unsigned thread)
{
    (void)thread;
    const struct work *w = argument;
    const struct mq_layer_router router = {
        .experts = EXPERTS, .top_k = TOP_K, .normalize = MQ_NORMALIZE_SUM, .scale = 1};
    const struct mq_router_vectors none = {0};
    mq_router_choose(w->isa, &router, &none, w->logits, LENGTH, w->scratch, w->chosen, w->weights);
}

static void normalize(void *argument, unsigned thread)
{
    (void)thread;
    const struct work *w = argument;
    for (size_t t = 0; t < LENGTH; t++)
        mq_kernels_get(w->isa)->rms_norm(w->job.q.at + t * w->job.q.ld, w->norm, HIDDEN, 1e-5f,
                                         w->y);
}

static const struct kind {
    const char *name, *unit;
    bench_work *run;
    double units;
    bool has_peak;
} kinds[] = {
    /* scores and weighted sums, causal: two products of LENGTH (LENGTH + 1) / 2 pairs a head */
    {"attention, 512 tokens", "GFLOP/s", attend, 2e-9 * LENGTH *(LENGTH + 1) * HEADS *HEAD_DIM,
     true},
    {"router, 8 experts, top-2", "Mtokens/s", route, 1e-6 * LENGTH, false},
    {"norm, 4096 wide", "Mtokens/s", normalize, 1e-6 * LENGTH, false},
};

static double measure(struct bench *bench, const struct kind *kind, enum mq_isa isa, struct work *w,
                      double scalar)
{
    const struct mq_hparams hparams = {.rope = {.type = MQ_ROPE_DEFAULT, .theta = 1e6}};
    const struct mq_program program = {
        .layer.attention = {.heads = HEADS,
                            .kv_heads = KV_HEADS,
                            .kind = MQ_MIXER_GROUPED,
                            .rope = MQ_ROPE_OF_MAIN,
                            .head_dim = HEAD_DIM,
                            .rotary_dim = HEAD_DIM,
                            .value_dim = HEAD_DIM,
                            .scale = (float)(1 / sqrt((double)HEAD_DIM))}};
    const struct mq_model_program model = {.kinds = &program, .kinds_count = 1};
    /* One thread a job here: with more, its own threads' time would not be seen. */
    const struct mq_context context = {.isa = isa, .threads = 1};
    moeq_error err = {0};
    w->isa = isa;
    w->job.layer = &program.layer.attention;
    if (mq_attention_create(&context, &model, &hparams, LENGTH, &w->attention, &err) != MOEQ_OK)
        bench_die("%s", err.message);
    const struct bench_rate rate = bench_measure(bench, 1, kind->units, kind->run, w,
                                                 kind->has_peak ? &bench->fma[isa] : NULL);
    mq_attention_destroy(w->attention);
    struct bench_row row = {.isa = mq_isa_name(isa),
                            .threads = 1,
                            .rate = rate.median,
                            .spread = rate.spread,
                            .unit = kind->unit,
                            .of_peak = rate.of_peak,
                            .peak = "f32 fused multiply-add",
                            .vs_scalar = scalar > 0 ? rate.median / scalar : 1};
    snprintf(row.group, sizeof row.group, "layer");
    snprintf(row.name, sizeof row.name, "%s", kind->name);
    bench_add(bench, &row);
    return rate.median;
}

static struct mq_heads bench_heads(size_t width)
{
    return (struct mq_heads){bench_floats(LENGTH * (width + MQ_ROW_PAD)), width + MQ_ROW_PAD,
                             HEAD_DIM};
}

void bench_attention(struct bench *bench)
{
    struct work w = {
        .job = {.q = bench_heads(HIDDEN), .k = bench_heads(KV), .v = bench_heads(KV), .windows = 1},
        .logits = bench_floats(LENGTH * EXPERTS),
        .norm = bench_floats(HIDDEN),
        .scratch = bench_floats(48),
        .weights = bench_floats(LENGTH * TOP_K),
        .y = bench_floats(HIDDEN),
        .chosen = bench_memory(LENGTH * TOP_K * sizeof(int32_t)),
    };
    w.job.out = w.job.q;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        double scalar = 0;
        for (int isa = 0; isa <= (int)mq_isa_detect(); isa++) {
            if (!mq_isa_available((enum mq_isa)isa))
                continue;
            const double rate = measure(bench, &kinds[k], (enum mq_isa)isa, &w, scalar);
            scalar = isa == MQ_ISA_GENERIC ? rate : scalar;
        }
    }
    void *all[] = {w.job.q.at, w.job.k.at, w.job.v.at, (void *)w.logits, (void *)w.norm,
                   w.scratch,  w.weights,  w.y,        w.chosen};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}
