/*
 * bench_vector.c: stored rows times one token, as generating text has it, from memory.
 *
 * A rate is bytes of rows, as they are stored, per second; its limit is reading memory. "packed" is what a
 * product of many tokens does with its rows, for comparison.
 */
#include "bench.h"

#include "panel_product.h"

#include <stdio.h>
#include <stdlib.h>

enum { COLS = 4096, MATRIX = 64 << 20 /* more than caches hold; each thread has its own */ };

struct vector_work {
    enum mq_isa isa;
    const struct mq_kernels *kernels;
    const struct mq_level *level;
    size_t row_bytes, rows;
    const float *x;
    struct vector_thread {
        uint8_t *matrix;
        float *decoded, *packed;
        size_t row; /* goes around */
    } * threads;
};

/* The next panel of rows. */
static const uint8_t *next_panel(const struct vector_work *w, struct vector_thread *t)
{
    const uint8_t *panel = t->matrix + t->row * w->row_bytes;
    t->row = t->row + 2 * MQ_PANEL <= w->rows ? t->row + MQ_PANEL : 0;
    return panel;
}

static void multiply_stored(void *argument, unsigned thread)
{
    const struct vector_work *w = argument;
    struct vector_thread *t = &w->threads[thread];
    float y[MQ_PANEL];
    mq_panel_product(w->kernels, w->level, w->isa, next_panel(w, t), MQ_PANEL, COLS, w->x, COLS, 1,
                     y, MQ_PANEL);
    __asm__ volatile("" ::"r"(y) : "memory");
}

static void multiply_packed(void *argument, unsigned thread)
{
    const struct vector_work *w = argument;
    struct vector_thread *t = &w->threads[thread];
    float y[MQ_PANEL];
    mq_level_decode_rows(w->level, w->isa, next_panel(w, t), MQ_PANEL, COLS, t->decoded);
    w->kernels->pack(t->decoded, COLS, MQ_PANEL, COLS, t->packed);
    w->kernels->multiply(w->x, COLS, 1, t->packed, (size_t)COLS * MQ_PANEL, COLS, MQ_PANEL, y,
                         MQ_PANEL);
    __asm__ volatile("" ::"r"(y) : "memory");
}

static void measure(struct bench *bench, struct vector_work *w, bool packed)
{
    const double bytes = 1e-9 * (double)(MQ_PANEL * w->row_bytes);
    for (int all = 0; all < 2; all++) {
        const unsigned threads = all ? bench->threads : 1;
        const struct bench_rate rate = bench_measure(
            bench, threads, bytes, packed ? multiply_packed : multiply_stored, w, NULL);
        const double peak = bench->memory_read[all];
        struct bench_row row = {.group = "vector",
                                .isa = mq_isa_name(w->isa),
                                .threads = threads,
                                .rate = rate.median,
                                .spread = rate.spread,
                                .unit = "GB/s",
                                .of_peak = peak > 0 ? rate.median / peak : 0,
                                .peak = peak > 0 ? "memory read" : NULL};
        snprintf(row.name, sizeof row.name, "one token, %s%s", w->level->name,
                 packed ? ", packed" : "");
        bench_add(bench, &row);
    }
}

/* Fills every thread's matrix with the same few rows again and again. */
static void fill(struct vector_work *w, unsigned threads)
{
    w->row_bytes = mq_level_row_bytes(w->level, COLS);
    w->rows = MATRIX / w->row_bytes;
    for (unsigned t = 0; t < threads; t++) {
        bench_gaussian(w->threads[t].decoded, (size_t)MQ_PANEL * COLS);
        for (size_t r = 0; r + MQ_PANEL <= w->rows; r += MQ_PANEL)
            mq_level_encode_rows(w->level, w->isa, MQ_EFFORT_DEFAULT, NULL, w->threads[t].decoded,
                                 MQ_PANEL, COLS, w->threads[t].matrix + r * w->row_bytes);
        w->threads[t].row = 0;
    }
}

void bench_vector(struct bench *bench)
{
    static const char *const levels[] = {"f32",  "bf16", "f16",  "q8_0", "q6_k",
                                         "q5_k", "q4_k", "q3_k", "q2_k", "iq4_xs"};
    struct vector_work w = {.isa = mq_isa_detect(), .x = bench_floats(COLS)};
    w.kernels = mq_kernels_get(w.isa);
    w.threads = calloc(bench->threads, sizeof *w.threads);
    if (!w.threads)
        bench_die("out of memory");
    for (unsigned t = 0; t < bench->threads; t++)
        w.threads[t] = (struct vector_thread){.matrix = bench_memory(MATRIX),
                                              .decoded = bench_floats((size_t)MQ_PANEL * COLS),
                                              .packed = bench_floats((size_t)MQ_PANEL * COLS)};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        w.level = mq_level_find(levels[i]);
        fill(&w, bench->threads);
        measure(bench, &w, true);
        measure(bench, &w, false);
    }
    for (unsigned t = 0; t < bench->threads; t++) {
        free(w.threads[t].matrix);
        free(w.threads[t].decoded);
        free(w.threads[t].packed);
    }
    free((void *)w.x);
    free(w.threads);
}
