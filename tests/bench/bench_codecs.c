/* bench_codecs.c: encoders, decoders and unpackers of every level, in weights a second. */
#include "bench.h"

#include "levels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows as wide as a model's. What a thread works on, 32 rows with 640 KiB, stays in its second
 * cache, as the evaluator's panels do; of the slow reference one row. */
enum { COLS = 4096, ROWS = 32 };

/* Weighted: by the importance of columns. */
enum kind { ENCODE, ENCODE_BEST, ENCODE_WEIGHTED, ENCODE_BEST_WEIGHTED, DECODE, UNPACK, KINDS };
static const char *const kind_names[KINDS] = {
    "encode", "encode, best", "encode, weighted", "encode, best, weighted", "decode", "unpack"};

struct work {
    const struct mq_level *level;
    enum mq_isa isa;
    enum kind kind;
    size_t rows;
    const float *importance; /* [COLS] */
    struct buffers {
        float *weights, *scales, *mins;
        uint8_t *bytes;
        int8_t *codes;
    } * threads;
};

static void run(void *argument, unsigned thread)
{
    const struct work *w = argument;
    const struct buffers *b = &w->threads[thread];
    switch (w->kind) {
    case ENCODE:
    case ENCODE_BEST:
    case ENCODE_WEIGHTED:
    case ENCODE_BEST_WEIGHTED:
        mq_level_encode_rows(
            w->level, w->isa,
            w->kind == ENCODE || w->kind == ENCODE_WEIGHTED ? MQ_EFFORT_DEFAULT : MQ_EFFORT_BEST,
            w->kind >= ENCODE_WEIGHTED ? w->importance : NULL, b->weights, w->rows, COLS, b->bytes);
        break;
    case DECODE:
        mq_level_decode_rows(w->level, w->isa, b->bytes, w->rows, COLS, b->weights);
        break;
    default:
        mq_level_unpack_rows(w->level, w->isa, b->bytes, w->rows, COLS, b->codes, b->scales,
                             b->mins, NULL);
    }
}

/* One kind of work of one level: the best instruction set on one thread and on all, the others on
 * one. */
static void measure(struct bench *bench, struct work *w)
{
    const enum mq_isa best = mq_isa_detect();
    double scalar = 0;
    for (int isa = 0; isa <= (int)best; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        w->isa = (enum mq_isa)isa;
        w->rows = isa == MQ_ISA_GENERIC ? 1 : ROWS;
        for (unsigned threads = 1;; threads = bench->threads) {
            const struct bench_rate rate =
                bench_measure(bench, threads, 1e-6 * (double)w->rows * COLS, run, w, NULL);
            scalar = isa == MQ_ISA_GENERIC ? rate.median : scalar;
            struct bench_row row = {.isa = mq_isa_name(w->isa),
                                    .threads = threads,
                                    .rate = rate.median,
                                    .spread = rate.spread,
                                    .unit = "Mweights/s",
                                    .vs_scalar = rate.median / threads / scalar};
            snprintf(row.group, sizeof row.group, "codecs");
            snprintf(row.name, sizeof row.name, "%s %s", w->level->name, kind_names[w->kind]);
            bench_add(bench, &row);
            if (w->kind == ENCODE && isa == (int)best)
                bench->encode_all[w->level - mq_levels] = rate.median;
            if (isa != (int)best || threads == bench->threads)
                break;
        }
    }
}

void bench_codecs(struct bench *bench)
{
    struct buffers *threads = calloc(bench->threads, sizeof *threads);
    if (!threads)
        bench_die("out of memory");
    for (unsigned t = 0; t < bench->threads; t++)
        threads[t] = (struct buffers){
            .weights = bench_floats((size_t)ROWS * COLS),
            .scales = bench_floats((size_t)ROWS * COLS / 16),
            .mins = bench_floats((size_t)ROWS * COLS / 16),
            .bytes = bench_memory((size_t)ROWS * COLS * sizeof(float)),
            .codes = bench_memory((size_t)ROWS * COLS),
        };
    float *importance = bench_floats(COLS);
    bench_gaussian(importance, COLS);
    for (int c = 0; c < COLS; c++)
        importance[c] = 1.0f + importance[c] * importance[c];
    for (size_t l = 0; l < mq_levels_count; l++) {
        for (int kind = 0; kind < KINDS; kind++) {
            struct work w = {.level = &mq_levels[l],
                             .kind = (enum kind)kind,
                             .importance = importance,
                             .threads = threads};
            if ((kind > ENCODE && kind < DECODE && !mq_levels[l].quantized) ||
                (kind < DECODE && !mq_level_can_encode(&mq_levels[l])) ||
                (kind == UNPACK && !mq_levels[l].unpack[0]))
                continue;
            for (unsigned t = 0; t < bench->threads && !mq_level_can_encode(&mq_levels[l]); t++)
                memset(threads[t].bytes, 0x3c, (size_t)ROWS * COLS * sizeof(float));
            for (unsigned t = 0; t < bench->threads && kind == ENCODE; t++)
                bench_gaussian(threads[t].weights, (size_t)ROWS * COLS);
            measure(bench, &w);
        }
    }
    for (unsigned t = 0; t < bench->threads; t++) {
        free(threads[t].weights);
        free(threads[t].scales);
        free(threads[t].mins);
        free(threads[t].bytes);
        free(threads[t].codes);
    }
    free(importance);
    free(threads);
}
