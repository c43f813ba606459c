/*
 * efforts.c: what each number in a codec's `searches` buys: the error of the weights and the
 * encoder's speed, with one number at a time changed from the row of effort `default`. A program
 * per codec, which includes its file:
 *
 *     cmake --build build --target moeq-efforts && build/quantize/search/efforts-q3_k
 */
// NOLINTNEXTLINE(bugprone-suspicious-include): a codec's statics are what is measured
#include CODEC_FILE

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WEIGHTS = 1 << 20, MAX_BLOCK_BYTES_PER_WEIGHT = 2 };

#if defined(MQ_AFFINE_INT_H)
#define NUMBERS(X)                     \
    X(candidates, 2, 5, 8, 12, 16, 24) \
    X(rounds, 1, 2, 3)                 \
    X(all_neighbours, 0, 1)            \
    X(d_span, .02, .05, .1, .2, .3)
#define CANDIDATES (int)(sizeof cuts / sizeof *cuts)
#elif defined(MQ_SYMMETRIC_INT_H)
#define NUMBERS(X)                     \
    X(candidates, 2, 4, 8, 12, 16, 24) \
    X(lloyd_steps, 0, 1, 2)            \
    X(d_groups, 1, 2, 4)               \
    X(d_span, .04, .08, .15, .3)       \
    X(starts, 1, 2)                    \
    X(neighbours, 0, 1, 2)
#define CANDIDATES (int)(sizeof inverse_scales / sizeof *inverse_scales)
#else /* q8_0.c */
#define NUMBERS(X)             \
    X(candidates, 2, 4, 8, 16) \
    X(span, .02, .05, .08, .12)
#define CANDIDATES 16
static void encode(const float *weights, size_t n, const float *importance,
                   const struct search *search, uint8_t *blocks)
{
    for (size_t i = 0; i < n; i += LANES_WEIGHTS)
        encode_lanes(weights + i, importance ? importance + i : NULL, search,
                     blocks + i / BLOCK_WEIGHTS * BLOCK_BYTES, 16);
}
#endif

/* A third each of normal, Laplace and Student-t (5) weights, of deviation about 0.02. */
static double uniform(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return ((double)(*seed >> 11) + 0.5) * 0x1p-53;
}

static double normal(uint64_t *seed)
{
    const double radius = sqrt(-2 * log(uniform(seed)));
    return radius * cos(6.283185307179586 * uniform(seed));
}

static void draw(float *weights, size_t n)
{
    uint64_t seed = 1;
    for (size_t i = 0; i < n; i++) {
        const size_t kind = 3 * i / n;
        double x = normal(&seed), chi2 = 0;
        if (kind == 1) {
            const double u = uniform(&seed) - 0.5;
            x = copysign(log(1 - 2 * fabs(u) + 0x1p-53), u);
        }
        for (int k = 0; kind == 2 && k < 5; k++) {
            const double g = normal(&seed);
            chi2 += g * g / 5;
        }
        weights[i] = (float)(0.02 * (kind == 2 ? x / sqrt(chi2) : x));
    }
}

/* Seconds of this thread. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct buffers {
    float *weights, *decoded;
    uint8_t *blocks;
};

static void measure(const struct buffers *b, const char *what, double value,
                    const struct search *search)
{
    double best = INFINITY, error = 0, norm = 0;
    for (int k = 0; k < 3; k++) {
        const double start = now();
        encode(b->weights, WEIGHTS, NULL, search, b->blocks);
        const double seconds = now() - start;
        best = seconds < best ? seconds : best;
    }
    CODEC_DECODE(b->blocks, WEIGHTS, b->decoded);
    for (size_t i = 0; i < WEIGHTS; i++) {
        const double e = (double)b->decoded[i] - (double)b->weights[i];
        error += e * e;
        norm += (double)b->weights[i] * (double)b->weights[i];
    }
    printf("  %-15s %5g   %.6f   %6.0f\n", what, value, sqrt(error / norm), WEIGHTS / best / 1e6);
}

#define VARY(number, ...)                                             \
    {                                                                 \
        static const double values[] = {__VA_ARGS__};                 \
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) { \
            struct search search = searches[MQ_EFFORT_DEFAULT];       \
            search.number = (__typeof__(search.number))values[i];     \
            if (search.candidates <= CANDIDATES)                      \
                measure(&b, #number, values[i], &search);             \
        }                                                             \
    }

int main(void)
{
    const struct buffers b = {malloc(WEIGHTS * sizeof(float)), malloc(WEIGHTS * sizeof(float)),
                              malloc((size_t)MAX_BLOCK_BYTES_PER_WEIGHT * WEIGHTS)};
    if (!b.weights || !b.decoded || !b.blocks)
        return 1;
    draw(b.weights, WEIGHTS);
    printf("%s: relative RMSE, Mweights/s\n", CODEC_FILE);
    measure(&b, "default", 0, &searches[MQ_EFFORT_DEFAULT]);
    measure(&b, "best", 0, &searches[MQ_EFFORT_BEST]);
    NUMBERS(VARY)
    free(b.weights);
    free(b.decoded);
    free(b.blocks);
    return 0;
}
