/* bench_attention.c: what lies between the matrix products: attention, norms, the router. */
#include "bench.h"

#include "attention.h"
#include "kernels.h"
#include "router.h"

#include <stdio.h>
#include <math.h>
#include <stdlib.h>

enum { LENGTH = 512, HEADS = 32, KV_HEADS = 8, HEAD_DIM = 128, EXPERTS = 8, TOP_K = 2 };
enum { HIDDEN = HEADS * HEAD_DIM };

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

/* Heads whose attention is measured. */
static const struct shape {
    const char *name;
    size_t length;
    uint32_t out_heads; /* of a row of outputs, where there are more than of queries; else 0 */
    bool scalar;        /* the scalar reference, too: seconds a call */
    struct mq_layer_attention layer;
} shapes[] = {
    {"attention, 512 tokens",
     LENGTH,
     0,
     true,
     {.kind = MQ_MIXER_GROUPED,
      .heads = HEADS,
      .kv_heads = KV_HEADS,
      .head_dim = HEAD_DIM,
      .rotary_dim = HEAD_DIM,
      .value_dim = HEAD_DIM}},
    {"attention, gpt-oss, 2048",
     2048,
     0,
     false,
     {.kind = MQ_MIXER_GROUPED,
      .heads = 64,
      .kv_heads = 8,
      .head_dim = 64,
      .rotary_dim = 64,
      .value_dim = 64,
      .window = 128,
      .sinks = true}},
    /* of its 128 heads as many as runtime/latent_attention.c takes at a time of so many tokens */
    {"attention, DeepSeek-V3, 2048",
     2048,
     128,
     false,
     {.kind = MQ_MIXER_LATENT,
      .heads = 22,
      .kv_heads = 22,
      .head_dim = 192,
      .rotary_dim = 64,
      .value_dim = 128,
      .pairs = MQ_ROTARY_NEIGHBOURS}},
};

/* Two products of each query with the keys that it sees. */
static double gigaflops(const struct shape *shape)
{
    const struct mq_layer_attention *l = &shape->layer;
    const size_t window = l->window ? l->window : shape->length;
    size_t pairs = 0;
    for (size_t i = 0; i < shape->length; i++)
        pairs += i < window ? i + 1 : window;
    return 2e-9 * (double)pairs * l->heads * (l->head_dim + l->value_dim);
}

static const struct kind {
    const char *name, *unit;
    bench_work *run;
    double units;
} kinds[] = {
    {"router, 8 experts, top-2", "Mtokens/s", route, 1e-6 * LENGTH},
    {"norm, 4096 wide", "Mtokens/s", normalize, 1e-6 * LENGTH},
};

/* peak: NULL where a rate has none. */
static double measure(struct bench *bench, const struct kind *kind, enum mq_isa isa, struct work *w,
                      const struct bench_peak *peak, double scalar)
{
    w->isa = isa;
    const struct bench_rate rate = bench_measure(bench, 1, kind->units, kind->run, w, peak);
    struct bench_row row = {.isa = mq_isa_name(isa),
                            .threads = 1,
                            .rate = rate.median,
                            .spread = rate.spread,
                            .unit = kind->unit,
                            .of_peak = rate.of_peak,
                            .peak = "f32 fused multiply-add",
                            .vs_scalar = isa == MQ_ISA_GENERIC ? 1
                                         : scalar > 0          ? rate.median / scalar
                                                               : 0};
    snprintf(row.group, sizeof row.group, "layer");
    snprintf(row.name, sizeof row.name, "%s", kind->name);
    bench_add(bench, &row);
    return rate.median;
}

static double measure_attention(struct bench *bench, const struct shape *shape, enum mq_isa isa,
                                struct work *w, double scalar)
{
    const struct mq_hparams hparams = {.rope = {.type = MQ_ROPE_DEFAULT, .theta = 1e6}};
    const struct kind kind = {shape->name, "GFLOP/s", attend, gigaflops(shape)};
    struct mq_program program = {.layer.attention = shape->layer};
    const struct mq_model_program model = {.kinds = &program, .kinds_count = 1};
    /* One thread a job here: with more, its own threads' time would not be seen. */
    const struct mq_context context = {.isa = isa, .threads = 1};
    moeq_error err = {0};
    program.layer.attention.rope = MQ_ROPE_OF_MAIN;
    program.layer.attention.scale = (float)(1 / sqrt((double)shape->layer.head_dim));
    w->job.layer = &program.layer.attention;
    if (mq_attention_create(&context, &model, &hparams, shape->length, &w->attention, &err) !=
        MOEQ_OK)
        bench_die("%s", err.message);
    const double rate = measure(bench, &kind, isa, w, &bench->fma[isa], scalar);
    mq_attention_destroy(w->attention);
    return rate;
}

static struct mq_heads bench_heads(size_t length, size_t heads, size_t dim)
{
    const size_t ld = heads * dim + MQ_ROW_PAD;
    return (struct mq_heads){bench_floats(length * ld), ld, dim};
}

static void bench_shape(struct bench *bench, const struct shape *shape)
{
    const struct mq_layer_attention *l = &shape->layer;
    struct work w = {.job = {.q = bench_heads(shape->length, l->heads, l->head_dim),
                             .k = bench_heads(shape->length, l->kv_heads, l->head_dim),
                             .v = bench_heads(shape->length, l->kv_heads, l->value_dim),
                             .windows = 1}};
    double scalar = 0;
    float *sinks = l->sinks ? bench_floats(l->heads) : NULL;
    w.job.sinks = sinks;
    w.job.out =
        shape->out_heads ? bench_heads(shape->length, shape->out_heads, l->value_dim) : w.job.q;
    for (int isa = shape->scalar ? 0 : 1; isa <= (int)mq_isa_detect(); isa++)
        if (mq_isa_available((enum mq_isa)isa)) {
            const double rate = measure_attention(bench, shape, (enum mq_isa)isa, &w, scalar);
            scalar = isa == MQ_ISA_GENERIC ? rate : scalar;
        }
    if (shape->out_heads)
        free(w.job.out.at);
    free(w.job.q.at);
    free(w.job.k.at);
    free(w.job.v.at);
    free(sinks);
}

void bench_attention(struct bench *bench)
{
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        bench_shape(bench, &shapes[s]);
    struct work w = {
        .job.q = bench_heads(LENGTH, HEADS, HEAD_DIM),
        .logits = bench_floats(LENGTH * EXPERTS),
        .norm = bench_floats(HIDDEN),
        .scratch = bench_floats(48),
        .weights = bench_floats(LENGTH * TOP_K),
        .y = bench_floats(HIDDEN),
        .chosen = bench_memory(LENGTH * TOP_K * sizeof(int32_t)),
    };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        double scalar = 0;
        for (int isa = 0; isa <= (int)mq_isa_detect(); isa++) {
            if (!mq_isa_available((enum mq_isa)isa))
                continue;
            const double rate = measure(bench, &kinds[k], (enum mq_isa)isa, &w, NULL, scalar);
            scalar = isa == MQ_ISA_GENERIC ? rate : scalar;
        }
    }
    void *all[] = {w.job.q.at, (void *)w.logits, (void *)w.norm, w.scratch, w.weights,
                   w.y,        w.chosen};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}
