/*
 * bench_products.c: matrix products of an expert of Mixtral 8x7B with 512 tokens, f32 and int8.
 *
 * Of the 14,336 or 4,096 rows, 128 a thread are multiplied, again and again: a task of the
 * evaluator (linear.c) has as many, and tasks are independent, so the rate is that of the whole
 * matrix. "from blocks" includes what a task does before: q4_k's blocks are decoded (f32) or
 * unpacked (int8), and packed.
 */
#include "bench.h"

#include "int8.h"
#include "kernels.h"
#include "levels.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 512, ROWS = 128, MAX_K = 14336, LDY = ROWS + MQ_ROW_PAD };

struct thread {
    uint8_t *blocks; /* [ROWS] rows of q4_k */
    float *rows, *packed, *y;
    int8_t *codes, *codes_packed;
    float *scales, *scales_packed, *mins, *mins_packed;
};

struct work {
    enum mq_isa isa;
    const struct mq_kernels *kernels;
    const struct mq_int8_kernels *int8;
    size_t k, tokens;
    bool from_blocks;
    const float *x;
    int8_t *x_codes;
    struct mq_int8_block *x_blocks;
    struct mq_int8_halves *x_halves;
    struct thread *threads;
};

static const struct mq_level *level(void)
{
    return mq_level_find("q4_k");
}

static void multiply_f32(void *argument, unsigned thread)
{
    const struct work *w = argument;
    const struct thread *t = &w->threads[thread];
    const size_t row_bytes = mq_level_row_bytes(level(), w->k);
    for (size_t r = 0; w->from_blocks && r < ROWS; r += MQ_PANEL) {
        mq_level_decode_rows(level(), w->isa, t->blocks + r * row_bytes, MQ_PANEL, w->k, t->rows);
        w->kernels->pack(t->rows, w->k, MQ_PANEL, w->k, t->packed + r * w->k);
    }
    w->kernels->multiply(w->x, w->k + MQ_ROW_PAD, w->tokens, t->packed, w->k * MQ_PANEL, w->k, ROWS,
                         t->y, LDY);
}

static void pack_int8(const struct work *w, const struct thread *t, size_t r)
{
    const size_t k = w->k, groups = k / level()->group, row_bytes = mq_level_row_bytes(level(), k);
    mq_level_unpack_rows(level(), w->isa, t->blocks + r * row_bytes, MQ_PANEL, k, t->codes,
                         t->scales, t->mins, NULL);
    int8_t *codes = t->codes_packed + r * k;
    w->kernels->pack((const float *)(const void *)t->codes, k / 4, MQ_PANEL, k / 4,
                     (float *)(void *)codes);
    w->int8->finish_pack(codes, k * MQ_PANEL, level()->code_min, level()->code_max);
    w->kernels->pack(t->scales, groups, MQ_PANEL, groups, t->scales_packed + r * groups);
    w->kernels->pack(t->mins, groups, MQ_PANEL, groups, t->mins_packed + r * groups);
}

static void multiply_int8(void *argument, unsigned thread)
{
    const struct work *w = argument;
    const struct thread *t = &w->threads[thread];
    for (size_t r = 0; w->from_blocks && r < ROWS; r += MQ_PANEL)
        pack_int8(w, t, r);
    const struct mq_int8_tokens x = {w->x_codes, w->x_blocks, w->x_halves, w->k + 64, w->k / 32};
    const struct mq_int8_panels panels = {
        t->codes_packed, t->scales_packed,  level()->has_mins ? t->mins_packed : NULL,
        level()->group,  level()->code_min, level()->code_max};
    w->int8->multiply(&x, w->tokens, &panels, w->k, ROWS, t->y, LDY, false);
}

static void quantize(void *argument, unsigned thread)
{
    const struct work *w = argument;
    for (size_t i = 0; thread == 0 && i < TOKENS; i++)
        w->int8->quantize(w->x + i * (w->k + MQ_ROW_PAD), w->k, w->x_codes + i * (w->k + 64),
                          w->x_blocks + i * (w->k / 32), w->x_halves + i * (w->k / 32));
}

static double add(struct bench *bench, const char *group, const char *name, const char *isa,
                  unsigned threads, struct bench_rate rate, const char *unit, const char *peak,
                  double scalar)
{
    struct bench_row row = {.isa = isa,
                            .threads = threads,
                            .rate = rate.median,
                            .spread = rate.spread,
                            .unit = unit,
                            .of_peak = rate.of_peak,
                            .peak = peak,
                            .vs_scalar = scalar > 0 ? rate.median / threads / scalar : 0};
    snprintf(row.group, sizeof row.group, "%s", group);
    snprintf(row.name, sizeof row.name, "%s", name);
    bench_add(bench, &row);
    return rate.median;
}

/* One arithmetic at one width, for every instruction set. */
static void measure(struct bench *bench, struct work *w, const char *shape, bool int8,
                    bool from_blocks)
{
    const enum mq_isa best = mq_isa_detect();
    double scalar = 0;
    char name[40];
    snprintf(name, sizeof name, "%s %s%s", int8 ? "int8" : "f32", shape,
             from_blocks ? " from q4_k" : "");
    w->from_blocks = from_blocks;
    for (int isa = 0; isa <= (int)best; isa++) {
        if (!mq_isa_available((enum mq_isa)isa) || (from_blocks && isa != (int)best))
            continue;
        w->isa = (enum mq_isa)isa;
        w->kernels = mq_kernels_get(w->isa);
        w->int8 = mq_int8_kernels_get(w->isa);
        w->tokens = isa == MQ_ISA_GENERIC ? 8 : TOKENS; /* the reference is slow */
        if (int8) {
            const struct bench_rate rate =
                bench_measure(bench, 1, 1e-6 * TOKENS * (double)w->k, quantize, w, NULL);
            if (isa == (int)best && w->k < MAX_K && !from_blocks)
                add(bench, "gemm", "int8: quantize activations", w->int8->name, 1, rate,
                    "Mvalues/s", NULL, 0);
        }
        for (unsigned t = 0; t < bench->threads; t++)
            for (size_t r = 0; int8 && r < ROWS; r += MQ_PANEL)
                pack_int8(w, &w->threads[t], r); /* variants pack differently */
        for (int all = 0; all < (isa == (int)best ? 2 : 1); all++) {
            const unsigned threads = all ? bench->threads : 1;
            const double operations = 2e-9 * (double)w->tokens * ROWS * (double)w->k;
            const struct bench_rate rate =
                bench_measure(bench, threads, operations, int8 ? multiply_int8 : multiply_f32, w,
                              &(int8 ? bench->dot : bench->fma)[isa]);
            scalar = isa == MQ_ISA_GENERIC ? rate.median : scalar;
            add(bench, "gemm", name, int8 ? w->int8->name : mq_isa_name(w->isa), threads, rate,
                int8 ? "GOP/s" : "GFLOP/s", int8 ? "int8 dot" : "f32 fused multiply-add", scalar);
        }
    }
}

void bench_products(struct bench *bench)
{
    struct work w = {.x = bench_floats((size_t)TOKENS * (MAX_K + MQ_ROW_PAD)),
                     .x_codes = bench_memory((size_t)TOKENS * (MAX_K + 64)),
                     .x_blocks = bench_memory((size_t)TOKENS * MAX_K / 32 * sizeof *w.x_blocks),
                     .x_halves = bench_memory((size_t)TOKENS * MAX_K / 32 * sizeof *w.x_halves)};
    const size_t n = (size_t)ROWS * MAX_K;
    w.threads = calloc(bench->threads, sizeof *w.threads);
    if (!w.threads)
        bench_die("out of memory");
    for (unsigned t = 0; t < bench->threads; t++) {
        struct thread *thread = &w.threads[t];
        *thread = (struct thread){
            .blocks = bench_memory(mq_level_row_bytes(level(), MAX_K) * ROWS),
            .rows = bench_floats((size_t)MQ_PANEL * MAX_K),
            .packed = bench_floats(n),
            .y = bench_floats((size_t)TOKENS * LDY),
            .codes = bench_memory((size_t)MQ_PANEL * MAX_K),
            .codes_packed = bench_memory(n),
            .scales = bench_floats((size_t)MQ_PANEL * MAX_K / 16),
            .scales_packed = bench_floats(n / 16),
            .mins = bench_floats((size_t)MQ_PANEL * MAX_K / 16),
            .mins_packed = bench_floats(n / 16),
        };
        bench_gaussian(thread->rows, (size_t)MQ_PANEL * MAX_K);
        for (size_t r = 0; r < ROWS; r += MQ_PANEL)
            mq_level_encode_rows(level(), mq_isa_detect(), MQ_EFFORT_DEFAULT, NULL, thread->rows,
                                 MQ_PANEL, MAX_K,
                                 thread->blocks + r * mq_level_row_bytes(level(), MAX_K));
    }
    static const struct {
        size_t k;
        const char *shape;
    } shapes[] = {{4096, "14336x4096"}, {14336, "4096x14336"}};
    for (size_t s = 0; s < 2; s++) {
        w.k = shapes[s].k;
        for (int int8 = 0; int8 < 2; int8++)
            for (int from_blocks = 0; from_blocks < 2; from_blocks++)
                measure(bench, &w, shapes[s].shape, int8, from_blocks);
    }
    for (unsigned t = 0; t < bench->threads; t++) {
        struct thread *p = &w.threads[t];
        void *all[] = {p->blocks,       p->rows,   p->packed,        p->y,    p->codes,
                       p->codes_packed, p->scales, p->scales_packed, p->mins, p->mins_packed};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            free(all[i]);
    }
    free((void *)w.x);
    free(w.x_codes);
    free(w.x_blocks);
    free(w.x_halves);
    free(w.threads);
}
