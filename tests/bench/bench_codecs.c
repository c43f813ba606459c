/*
 * bench_codecs.c: speed of the codecs, in millions of weights a second on one core.
 *
 *     bench_codecs [LEVEL [ISA]]
 *
 * Gaussian weights as wide as a model's rows; each figure is the best of some repetitions, in this
 * thread's own processor time, so that other work on the machine disturbs it little.
 */
#include "levels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COLS = 4096, MAX_ROWS = 64 };

static void fill_gaussian(float *weights, size_t n)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) { /* a sum of 12 uniforms is close enough to time with */
        float sum = -6.0f;
        for (int k = 0; k < 12; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(state >> 40) * 0x1p-24f;
        }
        weights[i] = 0.02f * sum;
    }
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds per call of whichever of the two is asked for. */
static double time_rows(const struct mq_level *level, enum mq_isa isa, enum mq_effort effort,
                        bool encode, float *weights, size_t rows, uint8_t *bytes)
{
    double best = INFINITY;
    for (int repetition = 0; repetition < 20; repetition++) {
        const double start = processor_seconds();
        double elapsed;
        int calls = 0;
        do {
            if (encode)
                mq_level_encode_rows(level, isa, effort, weights, rows, COLS, bytes);
            else
                mq_level_decode_rows(level, isa, bytes, rows, COLS, weights);
            calls++;
            elapsed = processor_seconds() - start;
        } while (elapsed < 0.02);
        if (elapsed / calls < best)
            best = elapsed / calls;
    }
    return best;
}

static void bench_level(const struct mq_level *level, enum mq_isa isa, const float *weights,
                        float *decoded, uint8_t *bytes)
{
    const size_t rows = isa == MQ_ISA_GENERIC ? 1 : MAX_ROWS;
    const double millions = (double)(rows * COLS) / 1e6;
    printf("%-5s %-8s", level->name, mq_isa_name(isa));
    memcpy(decoded, weights, rows * COLS * sizeof *weights);
    for (int effort = 0; effort < MQ_EFFORT_COUNT; effort++)
        printf(" %10.0f", millions / time_rows(level, isa, (enum mq_effort)effort, true, decoded,
                                               rows, bytes));
    printf(" %10.0f\n",
           millions / time_rows(level, isa, MQ_EFFORT_DEFAULT, false, decoded, rows, bytes));
}

int main(int argc, char **argv)
{
    const size_t n = (size_t)MAX_ROWS * COLS;
    float *weights = malloc(n * sizeof *weights), *decoded = malloc(n * sizeof *decoded);
    uint8_t *bytes = malloc(n * sizeof *weights);
    if (!weights || !decoded || !bytes) {
        fprintf(stderr, "bench_codecs: out of memory\n");
        return 1;
    }
    fill_gaussian(weights, n);
    printf("Mweights/s     encode/%-7s /%-8s decode\n", mq_effort_name(MQ_EFFORT_DEFAULT),
           mq_effort_name(MQ_EFFORT_BEST));
    for (size_t i = 0; i < mq_levels_count; i++)
        for (int isa = MQ_ISA_COUNT - 1; isa >= 0; isa--) {
            if (!mq_isa_available((enum mq_isa)isa) ||
                (argc > 1 && mq_level_find(argv[1]) != &mq_levels[i]) ||
                (argc > 2 && strcmp(argv[2], mq_isa_name((enum mq_isa)isa)) != 0))
                continue;
            bench_level(&mq_levels[i], (enum mq_isa)isa, weights, decoded, bytes);
        }
    free(weights);
    free(decoded);
    free(bytes);
    return 0;
}
