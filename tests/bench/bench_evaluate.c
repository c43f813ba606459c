/*
 * bench_evaluate.c: the evaluator's speed and memory on a model.
 *
 *     bench_evaluate MODEL [WINDOWS [LENGTH [LEVEL...]]]
 *
 * The first arm uses the weights as stored; each LEVEL adds an arm whose expert matrices are
 * quantized on the fly. Ids are random.
 */
#include "bench_support.h"
#include "evaluator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MAX_ARMS = 8 };

static moeq_status ignore_logits(void *user, const size_t *token_index, size_t tokens,
                                 const float *const *logits, moeq_error *err)
{
    (void)token_index, (void)err;
    *(double *)user += (double)logits[0][tokens - 1];
    return MOEQ_OK;
}

struct phase {
    char text[96];
    double start;
};

/* Prints how long each phase took, as the next one begins. */
static void on_progress(void *user, const struct mq_progress *progress)
{
    struct phase *phase = user;
    if (strcmp(phase->text, progress->phase) == 0)
        return;
    const double now = mq_bench_seconds();
    if (phase->text[0])
        printf("  %-24s %6.2f s\n", phase->text, now - phase->start);
    snprintf(phase->text, sizeof phase->text, "%s", progress->phase);
    phase->start = now;
}

/* Multiply-adds that one token takes in matrix products. */
static double products_per_token(const struct mq_hparams *hp)
{
    const double h = hp->hidden, q = (double)hp->heads * hp->head_dim;
    const double kv = (double)hp->kv_heads * hp->head_dim;
    const double ffn = 3 * h * hp->ffn * (hp->experts ? hp->top_k : 1) + h * hp->experts;
    return hp->layers * (2 * h * q + 2 * h * kv + ffn) + h * hp->vocab;
}

static const struct mq_level *const *expert_levels(const struct mq_view *view, const char *name)
{
    const struct mq_level **levels = calloc(view->tensors_count, sizeof *levels);
    const struct mq_level *level = mq_level_find(name);
    if (!levels || !level) {
        fprintf(stderr, "no level '%s'\n", name);
        exit(1);
    }
    for (size_t i = 0; i < view->tensors_count; i++)
        if (mq_role_class(view->tensors[i].role) == MQ_CLASS_EXPERTS)
            levels[i] = level;
    return levels;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_evaluate MODEL [WINDOWS [LENGTH [LEVEL...]]]\n");
        return 2;
    }
    moeq_error err = {0};
    struct mq_view *view;
    if (mq_view_open(argv[1], &view, &err) != MOEQ_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    struct mq_windows windows = {.count = argc > 2 ? strtoul(argv[2], NULL, 10) : 1,
                                 .length = argc > 3 ? strtoul(argv[3], NULL, 10) : 512};
    const size_t tokens = windows.count * windows.length;
    int32_t *ids = calloc(tokens + 1, sizeof *ids);
    for (size_t i = 0; ids && i < tokens; i++)
        ids[i] = (int32_t)(i * 2654435761u % view->hparams.vocab);
    windows.ids = ids;

    struct mq_arm arms[MAX_ARMS] = {{.name = "stored", .view = view, .routes_from = -1}};
    size_t count = 1;
    for (int i = 4; i < argc && count < MAX_ARMS; i++, count++)
        arms[count] = (struct mq_arm){.name = argv[i],
                                      .view = view,
                                      .levels = expert_levels(view, argv[i]),
                                      .routes_from = -1};
    struct phase phase = {.text = ""};
    const struct mq_context context = {.isa = mq_isa_detect(),
                                       .threads = mq_cpu_count(),
                                       .progress = on_progress,
                                       .progress_user = &phase};
    const struct mq_evaluation_memory memory =
        mq_evaluation_memory(&context, arms, count, &windows);
    const double peak = mq_bench_peak_gflops(context.isa, context.threads);
    double sink = 0;
    const struct mq_observer observer = {.user = &sink, .on_logits = ignore_logits};
    const double start = mq_bench_seconds(), cpu_start = mq_bench_cpu_seconds();
    if (mq_evaluate(&context, arms, count, &windows, &observer, &err) != MOEQ_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const double seconds = mq_bench_seconds() - start;
    const double cpu = mq_bench_cpu_seconds() - cpu_start;
    on_progress(&phase, &(struct mq_progress){.phase = ""});
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    const double operations = 2e-9 * products_per_token(&view->hparams) * (double)(tokens * count);
    printf("%zu windows of %zu, %zu arms, %s, %u threads: %.2f s, %.0f tokens/s, %.1f GFLOP/s in "
           "products; by processor time (%.2f s) %.1f %% of the peak %.1f\n",
           windows.count, windows.length, count, mq_isa_name(context.isa), context.threads, seconds,
           (double)tokens / seconds, operations / seconds, cpu,
           100 * operations / cpu * context.threads / peak, peak);
    printf("peak RSS %.0f MiB; planned %.0f MiB (%zu windows a pass)\n",
           (double)usage.ru_maxrss / 1024,
           (double)(memory.fixed_bytes + memory.windows_per_pass * memory.window_bytes) / 1048576,
           memory.windows_per_pass);
    return 0;
}
