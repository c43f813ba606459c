/*
 * bench_pipelines.c: whole conversions and evaluations on a checkpoint as wide as a real model's
 * (tests/data/make_full_width.py).
 *
 * They take minutes, so a round of them is run thrice. The rates are by processor time, like the
 * others', on all threads; where a line says "clock", by the clock.
 */
#include "bench.h"

#include "convert.h"
#include "evaluator.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW = 512, MAX_ARMS = 4, ROUNDS = 3 };

struct timing {
    double clock, processor;
};

static struct timing now(void)
{
    return (struct timing){bench_seconds(), bench_cpu_seconds()};
}

/* Since `start`; the processor's seconds as if all threads had been busy for so long. */
static struct timing since(const struct bench *bench, struct timing start)
{
    const struct timing end = now();
    return (struct timing){end.clock - start.clock,
                           (end.processor - start.processor) / bench->threads};
}

/* rates: of the rounds, which are sorted; limit: a rate, 0 for none. */
static void add(struct bench *bench, const char *name, double rates[ROUNDS], const char *unit,
                double limit, const char *peak)
{
    const struct bench_rate rate = bench_summary(rates, ROUNDS);
    struct bench_row row = {.isa = mq_isa_name(mq_isa_detect()),
                            .threads = bench->threads,
                            .rate = rate.median,
                            .spread = rate.spread,
                            .unit = unit,
                            .of_peak = limit > 0 ? rate.median / limit : 0,
                            .peak = peak};
    snprintf(row.group, sizeof row.group, "pipelines");
    snprintf(row.name, sizeof row.name, "%s", name);
    bench_add(bench, &row);
}

/* ---- convert ---- */

/* So that the source is read from the disk. Bytes of all files. */
static double drop_cache(const struct mq_view *view)
{
    double bytes = 0;
    for (size_t i = 0; i < view->files_count; i++) {
        const int fd = open(view->files[i].file.path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            close(fd);
        }
        bytes += (double)view->files[i].file.size_bytes;
    }
    return bytes;
}

static void convert(struct bench *bench, const struct mq_context *context,
                    const struct mq_view *view, const struct mq_level *level, const char *path)
{
    const struct mq_policy policy = mq_policy_default(level);
    const struct mq_convert_options how = {.output = path, .replace = true};
    struct mq_convert_result result;
    struct mq_plan *plan;
    moeq_error err = {0};
    if (mq_plan_create(view, &policy, &plan, &err) != MOEQ_OK)
        bench_die("%s", err.message);
    const double weights = 1e-6 * (double)plan->total.weights;
    double processor[ROUNDS], clock[ROUNDS], read = 0;
    for (int i = 0; i < ROUNDS; i++) {
        read = drop_cache(view);
        const struct timing start = now();
        if (mq_convert(context, plan, &how, &result, &err) != MOEQ_OK)
            bench_die("%s", err.message);
        const struct timing t = since(bench, start);
        processor[i] = weights / t.processor;
        clock[i] = weights / t.clock;
    }
    mq_plan_free(plan);
    const double encoder = bench->encode_all[level - mq_levels];
    const double disk = weights / (1e-9 * read / bench->disk_read +
                                   1e-9 * (double)result.bytes_written / bench->disk_write);
    char name[40];
    snprintf(name, sizeof name, "convert to %s", level->name);
    add(bench, name, processor, "Mweights/s", encoder, "its encoder");
    snprintf(name, sizeof name, "convert to %s, clock", level->name);
    add(bench, name, clock, "Mweights/s", disk < encoder ? disk : encoder,
        disk < encoder ? "disk" : "its encoder");
}

/* ---- evaluate ---- */

/* Multiply-adds that one token takes in matrix products. */
static double products_per_token(const struct mq_view *view)
{
    double sum = (double)view->hparams.hidden * view->hparams.vocab;
    for (uint32_t l = 0; l < view->hparams.layers; l++) {
        const struct mq_program *p = view->program->layers[l];
        struct mq_slot_at at = {0};
        const struct mq_slot *slot;
        while ((slot = mq_program_next(p, &at)))
            if (!slot->is_vector)
                sum += (double)slot->rows * (double)slot->cols *
                       (slot->per_expert ? p->layer.ffn.router.top_k : 1);
    }
    return sum;
}

static moeq_status on_logits(void *user, const size_t *token_index, size_t tokens,
                             const float *const *logits, moeq_error *err)
{
    (void)token_index, (void)err;
    *(double *)user += (double)logits[0][tokens - 1];
    return MOEQ_OK;
}

/* As the protocol `half` scores. */
static bool wants_logits(void *user, size_t token)
{
    (void)user;
    return token >= WINDOW / 2;
}

static struct timing evaluate(const struct bench *bench, const struct mq_context *context,
                              const struct mq_arm *arms, size_t count)
{
    const struct mq_hparams *hp = &arms[0].view->hparams;
    const size_t tokens = bench->tokens / WINDOW * WINDOW;
    int32_t *ids = calloc(tokens + 1, sizeof *ids);
    if (!ids)
        bench_die("out of memory");
    for (size_t i = 0; i < tokens; i++)
        ids[i] = (int32_t)(i * 2654435761u % hp->vocab);
    double sink = 0;
    const struct mq_windows windows = {ids, tokens / WINDOW, WINDOW};
    const struct mq_observer observer = {
        .user = &sink, .on_logits = on_logits, .wants_logits = wants_logits};
    moeq_error err = {0};
    const struct timing start = now();
    if (mq_evaluate(context, arms, count, &windows, &observer, &err) != MOEQ_OK)
        bench_die("%s", err.message);
    const struct timing t = since(bench, start);
    free(ids);
    return t;
}

/* One arm. */
static struct timing eval(const struct bench *bench, const struct mq_context *context,
                          const struct mq_view *view, enum mq_compute compute)
{
    const struct mq_arm arm = {
        .name = "model", .view = view, .routes_from = -1, .compute = compute};
    return evaluate(bench, context, &arm, 1);
}

static void add_eval(struct bench *bench, const struct mq_view *view, enum mq_compute compute,
                     const char *weights, const struct timing t[ROUNDS])
{
    const double tokens = (double)(bench->tokens / WINDOW * WINDOW);
    /* logits of half the tokens */
    const double operations =
        2e-9 * (products_per_token(view) - 0.5 * view->hparams.hidden * view->hparams.vocab);
    const bool int8 = compute == MQ_COMPUTE_INT8;
    const double peak = (int8 ? bench->dot : bench->fma)[mq_isa_detect()].all;
    double processor[ROUNDS], clock[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        processor[i] = tokens / t[i].processor;
        clock[i] = tokens / t[i].clock;
    }
    char name[40];
    snprintf(name, sizeof name, "eval %s, %s", mq_compute_name(compute), weights);
    add(bench, name, processor, "tokens/s", peak / operations,
        int8 ? "int8 dot" : "f32 fused multiply-add");
    snprintf(name, sizeof name, "eval %s, %s, clock", mq_compute_name(compute), weights);
    add(bench, name, clock, "tokens/s", 0, NULL);
}

/* The source and three levels on the fly. */
static struct timing sweep(const struct bench *bench, const struct mq_context *context,
                           const struct mq_view *view)
{
    static const char *const names[MAX_ARMS] = {"source", "q8_0", "q4_k", "q3_k"};
    const struct mq_level **levels = calloc(MAX_ARMS * view->tensors_count, sizeof *levels);
    struct mq_arm arms[MAX_ARMS];
    moeq_error err = {0};
    if (!levels)
        bench_die("out of memory");
    for (size_t a = 0; a < MAX_ARMS; a++) {
        const struct mq_level **mine = levels + a * view->tensors_count;
        arms[a] = (struct mq_arm){.name = names[a], .view = view, .routes_from = -1};
        if (a == 0)
            continue;
        const struct mq_policy policy = mq_policy_default(mq_level_find(names[a]));
        if (mq_policy_apply(&policy, view, mine, &err) != MOEQ_OK)
            bench_die("%s", err.message);
        arms[a].levels = mine;
    }
    const struct timing t = evaluate(bench, context, arms, MAX_ARMS);
    free(levels);
    return t;
}

void bench_pipelines(struct bench *bench)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = bench->threads};
    struct mq_view *source, *file;
    moeq_error err = {0};
    char path[4096];
    snprintf(path, sizeof path, "%s/moeq-bench-%ld.moeq", bench->folder, (long)getpid());
    if (mq_view_open(bench->full_width, &source, &err) != MOEQ_OK)
        bench_die("%s", err.message);
    convert(bench, &context, source, mq_level_find("q4_k"), path);
    if (mq_view_open(path, &file, &err) != MOEQ_OK)
        bench_die("%s", err.message);
    struct timing of_source[ROUNDS], of_file[ROUNDS], int8[ROUNDS];
    double times[ROUNDS], evals[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        of_source[i] = eval(bench, &context, source, MQ_COMPUTE_F32);
        of_file[i] = eval(bench, &context, file, MQ_COMPUTE_F32);
        int8[i] = eval(bench, &context, file, MQ_COMPUTE_INT8);
        times[i] = of_file[i].processor / int8[i].processor;
        evals[i] = sweep(bench, &context, source).processor / of_source[i].processor;
    }
    add_eval(bench, source, MQ_COMPUTE_F32, "bf16 source", of_source);
    add_eval(bench, source, MQ_COMPUTE_F32, "q4_k file", of_file);
    add_eval(bench, source, MQ_COMPUTE_INT8, "q4_k file", int8);
    add(bench, "int8 against f32, q4_k file", times, "times", 0, NULL);
    add(bench, "sweep of 3 levels", evals, "evals", 0, NULL);
    mq_view_close(file);
    mq_view_close(source);
    unlink(path);
}
