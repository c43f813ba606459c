/* The kernels of the recurrent mixers: against their formulas in float64 (recurrent.txt, made by
 * tests/data/make_recurrent_goldens.py), and the same bits from every instruction set and number of
 * threads. */
#include "test_support.h"
#include "recurrent.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZES = 10 };

/* A line of sizes, and what is to come out. */
struct example {
    uint64_t seed;
    double sizes[SIZES];
    float *result;
    size_t count;
};

static size_t size_of(const struct example *e, size_t i)
{
    return (size_t)e->sizes[i];
}

/* What a run has allocated; `check` frees it. */
static float *rooms[16];
static size_t rooms_count;

static float *room(size_t n)
{
    ck_assert_uint_lt(rooms_count, sizeof rooms / sizeof *rooms);
    float *x = rooms[rooms_count++] = aligned_alloc(64, (n + 16) / 16 * 64);
    ck_assert_ptr_nonnull(x);
    return x;
}

/* The next n numbers in [-2, 2), each plus `offset`. */
static float *draw(uint64_t *seed, size_t n, float offset)
{
    float *x = room(n);
    for (size_t i = 0; i < n; i++)
        x[i] = 4 * mq_test_uniform(seed) - 2 + offset;
    return x;
}

static struct mq_head_rows heads(float *rows, size_t ld, size_t count, size_t dim)
{
    return (struct mq_head_rows){rows, ld, count, 0, dim};
}

static float *convolution(const struct mq_context *context, const struct example *e)
{
    const size_t length = size_of(e, 0), windows = size_of(e, 1), groups = size_of(e, 2);
    const size_t channels = size_of(e, 3), stride = channels + size_of(e, 4), taps = size_of(e, 5);
    const size_t n = windows * length * groups * stride;
    uint64_t seed = e->seed;
    float *x = draw(&seed, n, 0), *before = draw(&seed, n, 0), *after = draw(&seed, n, 0);
    float *stored = draw(&seed, groups * channels * taps, 0);
    float *bias = draw(&seed, groups * channels, 0),
          *weights = draw(&seed, taps * groups * channels, 0);
    for (size_t g = 0; g < groups; g++)
        mq_convolution_weights(stored + g * channels * taps, channels, taps, weights, g * channels,
                               groups * channels);
    const struct mq_convolution_job job = {.x = x,
                                           .ld = groups * stride,
                                           .groups = groups,
                                           .group_stride = stride,
                                           .channels = channels,
                                           .before = e->sizes[8] != 0 ? before : NULL,
                                           .after = e->sizes[8] != 0 ? after : NULL,
                                           .weights = weights,
                                           .bias = e->sizes[7] != 0 ? bias : NULL,
                                           .taps = taps,
                                           .silu = e->sizes[6] != 0,
                                           .length = length,
                                           .windows = windows};
    mq_convolve(context, &job);
    ck_assert_uint_eq(n, e->count);
    return x;
}

static float *recur(const struct mq_context *context, struct mq_recurrence_job *job,
                    const struct example *e)
{
    const size_t floats = mq_recurrence_scratch(job->key_dim, job->value_dim);
    const size_t out = job->windows * job->length * job->heads * job->value_dim;
    ck_assert_uint_eq(out, e->count);
    job->out = heads(room(out), job->heads * job->value_dim, job->heads, job->value_dim);
    job->scratch = room(context->threads * floats);
    mq_recur(context, job);
    return job->out.rows;
}

static float *delta(const struct mq_context *context, const struct example *e)
{
    const size_t length = size_of(e, 0), windows = size_of(e, 1), keys = size_of(e, 2);
    const size_t per_key = size_of(e, 3), key_dim = size_of(e, 4), value_dim = size_of(e, 5);
    const bool by_key_head = e->sizes[6] != 0;
    const size_t all = keys * per_key, q = keys * key_dim, v = all * value_dim;
    const size_t ld = 2 * q + (by_key_head ? 2 : 1) * v + 2 * all;
    uint64_t seed = e->seed;
    float *x = draw(&seed, windows * length * ld, 0);
    struct mq_recurrence_job job = {
        .delta = true,
        .heads = all,
        .heads_per_key = per_key,
        .key_dim = key_dim,
        .value_dim = value_dim,
        .q = heads(x, ld, keys, key_dim),
        .k = heads(x + q, ld, keys, key_dim),
        .v = heads(x + 2 * q, ld, all, value_dim),
        .b = heads(x + 2 * q + v, ld, all, 1),
        .a = heads(x + 2 * q + v + all, ld, all, 1),
        .decay = draw(&seed, all, -2),
        .step_bias = draw(&seed, all, 0),
        .length = length,
        .windows = windows,
    };
    if (by_key_head) {
        const size_t group = 2 * (key_dim + per_key * value_dim);
        job.q = (struct mq_head_rows){x, ld, 1, group, 0};
        job.k = (struct mq_head_rows){x + key_dim, ld, 1, group, 0};
        job.v = (struct mq_head_rows){x + 2 * key_dim, ld, per_key, group, value_dim};
        job.b = (struct mq_head_rows){x + 2 * (q + v), ld, per_key, 2 * per_key, 1};
        job.a = (struct mq_head_rows){x + 2 * (q + v) + per_key, ld, per_key, 2 * per_key, 1};
    }
    return recur(context, &job, e);
}

static float *mamba(const struct mq_context *context, const struct example *e)
{
    const size_t length = size_of(e, 0), windows = size_of(e, 1), groups = size_of(e, 2);
    const size_t all = groups * size_of(e, 3), head_dim = size_of(e, 4), state = size_of(e, 5);
    const size_t inner = all * head_dim, b = groups * state, ld = inner + 2 * b + all;
    uint64_t seed = e->seed;
    float *x = draw(&seed, windows * length * ld, 0);
    struct mq_recurrence_job job = {
        .heads = all,
        .heads_per_key = all / groups,
        .key_dim = state,
        .value_dim = head_dim,
        .v = heads(x, ld, all, head_dim),
        .k = heads(x + inner, ld, groups, state),
        .q = heads(x + inner + b, ld, groups, state),
        .a = heads(x + inner + 2 * b, ld, all, 1),
        .decay = draw(&seed, all, -2),
        .step_bias = draw(&seed, all, 0),
        .skip = draw(&seed, all, 0),
        .least_step = (float)e->sizes[6],
        .length = length,
        .windows = windows,
    };
    return recur(context, &job, e);
}

static float *norm(const struct mq_context *context, const struct example *e)
{
    const size_t tokens = size_of(e, 0), all = size_of(e, 1), n = size_of(e, 2);
    const bool own = e->sizes[3] != 0;
    uint64_t seed = e->seed;
    float *x = draw(&seed, tokens * all * n, 0), *gate = draw(&seed, tokens * all * n, 0);
    const struct mq_gated_norm_job job = {.x = heads(x, all * n, all, n),
                                          .gate = heads(gate, all * n, all, n),
                                          .heads = all,
                                          .n = n,
                                          .weight = draw(&seed, (own ? all : 1) * n, 0),
                                          .weight_stride = own ? n : 0,
                                          .eps = 1e-5f,
                                          .gate_first = e->sizes[4] != 0,
                                          .tokens = tokens};
    mq_gated_norm(context, &job);
    ck_assert_uint_eq(tokens * all * n, e->count);
    return x;
}

static const struct kind {
    const char *name;
    float *(*run)(const struct mq_context *context, const struct example *example);
} kinds[] = {{"convolution", convolution}, {"delta", delta}, {"mamba", mamba}, {"norm", norm}};

static void check(const struct kind *kind, const struct example *e)
{
    float *first = malloc(e->count * sizeof *first);
    ck_assert_ptr_nonnull(first);
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        for (unsigned threads = 1; threads <= 3 && mq_isa_available((enum mq_isa)isa); threads++) {
            const struct mq_context context = {.isa = (enum mq_isa)isa, .threads = threads};
            const float *result = kind->run(&context, e);
            if (isa == MQ_ISA_GENERIC && threads == 1)
                memcpy(first, result, e->count * sizeof *first);
            ck_assert_msg(memcmp(result, first, e->count * sizeof *first) == 0,
                          "%s: case %llu, %s, %u threads: other bits", kind->name,
                          (unsigned long long)e->seed, mq_isa_name(context.isa), threads);
            while (rooms_count > 0)
                free(rooms[--rooms_count]);
        }
    }
    float largest = 1;
    for (size_t i = 0; i < e->count; i++)
        largest = fmaxf(largest, fabsf(e->result[i]));
    for (size_t i = 0; i < e->count; i++)
        ck_assert_msg(fabsf(first[i] - e->result[i]) <= 2e-6f * largest,
                      "%s: case %llu, number %zu: expected %.8g, found %.8g", kind->name,
                      (unsigned long long)e->seed, i, (double)e->result[i], (double)first[i]);
    free(first);
}

/* The numbers of a line, of which there are at most `most`. */
static size_t parse(const char *text, double *numbers, size_t most)
{
    size_t n = 0;
    char *end;
    for (double value; value = strtod(text, &end), end != text; text = end) {
        ck_assert_uint_lt(n, most);
        numbers[n++] = value;
    }
    return n;
}

START_TEST(goldens)
{
    enum { LINE = 1 << 17, MOST = 1 << 13 };
    static char line[LINE];
    static double numbers[MOST];
    static float result[MOST];
    FILE *file = fopen(mq_test_source("tests/runtime/data/recurrent.txt"), "r");
    ck_assert_ptr_nonnull(file);
    struct example e = {.result = result};
    while (fgets(line, LINE, file)) {
        char name[16];
        const struct kind *kind = NULL;
        int used;
        e.seed++;
        ck_assert_int_eq(sscanf(line, "%15s%n", name, &used), 1);
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (strcmp(kinds[k].name, name) == 0)
                kind = &kinds[k];
        ck_assert_ptr_nonnull(kind);
        parse(line + used, e.sizes, SIZES);
        ck_assert_ptr_nonnull(fgets(line, LINE, file));
        e.count = parse(line, numbers, MOST);
        for (size_t i = 0; i < e.count; i++)
            e.result[i] = (float)numbers[i];
        check(kind, &e);
    }
    fclose(file);
    ck_assert_uint_ge(e.seed, 10);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, goldens);
}

int main(void)
{
    return mq_test_main("test_recurrent", add_tests);
}
