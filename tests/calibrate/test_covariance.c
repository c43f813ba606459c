/* test_covariance.c: sums, factor and feedback against their definitions, and the same bits everywhere. */
#include "feedback.h"
#include "test_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAR = 331 }; /* of columns that are alike; a prime */

/* Inputs whose columns are correlated, not those next to each other, and of very different sizes, as hidden
 * states are. */
static float *make_inputs(size_t rows, size_t cols, uint64_t seed)
{
    uint64_t state = seed;
    float *x = calloc(rows * cols, sizeof *x);
    for (size_t r = 0; r < rows; r++) {
        float common = mq_test_gauss(&state), running = 0.0f;
        for (size_t c = 0; c < cols; c++) {
            running = 0.9f * running + 0.5f * mq_test_gauss(&state);
            x[r * cols + (c * FAR + 7) % cols] =
                (running + 0.7f * common) * (1.0f + (c % 37 == 0 ? 4.0f : 0.0f));
        }
    }
    return x;
}

static float *make_weights(size_t rows, size_t cols, uint64_t seed)
{
    uint64_t state = seed;
    float *w = calloc(rows * cols, sizeof *w);
    for (size_t i = 0; i < rows * cols; i++)
        w[i] = 0.02f * mq_test_gauss(&state);
    return w;
}

static void make(const struct mq_context *context, size_t n, size_t inputs,
                 struct mq_covariance *covariance)
{
    moeq_error err = {0};
    float *x = make_inputs(inputs, n, 5);
    ck_assert_ok(mq_covariance_create(context, n, covariance, &err));
    mq_covariance_add(covariance, x, n, inputs);
    mq_covariance_finish(covariance, 0.03);
    free(x);
}

static const size_t widths[] = {16, 32, 70, 256, 300, 513};

START_TEST(sums_are_the_definition)
{
    const size_t n = widths[_i], inputs = 700;
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    struct mq_covariance c;
    make(&context, n, inputs, &c);
    float *x = make_inputs(inputs, n, 5);
    double trace = 0.0;
    for (size_t t = 0; t < inputs * n; t++)
        trace += (double)x[t] * (double)x[t] / (double)inputs;
    for (size_t i = 0; i < n; i += 1 + n / 20)
        for (size_t j = 0; j <= i; j += 1 + n / 30) {
            double sum = i == j ? 0.03 * trace / (double)n : 0.0;
            for (size_t t = 0; t < inputs; t++)
                sum += (double)x[t * n + i] * (double)x[t * n + j] / (double)inputs;
            ck_assert_double_eq_tol((double)c.a[i * n + j], sum, 1e-5 * trace / (double)n);
        }
    free(x);
    mq_covariance_destroy(&c);
}
END_TEST

/* H_ij = sum over k >= max(i, j) of R_ik R_jk, R_ik = F_ik sqrt(D_k). */
START_TEST(factor_multiplies_to_the_whole)
{
    const size_t n = widths[_i];
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    struct mq_covariance c;
    make(&context, n, 700, &c);
    ck_assert(mq_covariance_factor(&c));
    for (size_t i = 0; i < n; i += 1 + n / 40)
        for (size_t j = 0; j <= i; j += 1 + n / 40) {
            double sum = 0.0;
            for (size_t k = i; k < n; k++) {
                const double a = k == i ? 1.0 : (double)c.a[i * n + k];
                const double b = k == j ? 1.0 : (double)c.a[j * n + k];
                sum += a * b * (double)c.D[k];
            }
            const double scale = sqrt((double)c.a[i * n + i] * (double)c.a[j * n + j]);
            ck_assert_double_eq_tol(sum, (double)c.a[i * n + j], 2e-5 * scale);
        }
    mq_covariance_destroy(&c);
}
END_TEST

START_TEST(not_definite_is_said)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    struct mq_covariance c;
    moeq_error err = {0};
    ck_assert_ok(mq_covariance_create(&context, 64, &c, &err));
    float row[64];
    for (int i = 0; i < 64; i++)
        row[i] = 1.0f;
    mq_covariance_add(&c, row, 64, 1);
    mq_covariance_finish(&c, 0.0);
    ck_assert(!mq_covariance_factor(&c));
    mq_covariance_finish(&c, 0.1);
    ck_assert(mq_covariance_factor(&c));
    mq_covariance_destroy(&c);
}
END_TEST

/* What is beside the diagonal is less by b, once, in a covariance and what crosses it. */
START_TEST(loosened)
{
    enum { n = 48, inputs = 100 };
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    struct mq_covariance h, cross;
    moeq_error err = {0};
    float *x = make_inputs(inputs, n, 5);
    double trace = 0;
    ck_assert_ok(mq_covariance_create(&context, n, &h, &err));
    ck_assert_ok(mq_covariance_create(&context, n, &cross, &err));
    mq_covariance_add(&h, x, n, inputs);
    mq_covariance_add_cross(&cross, x, x, n, inputs);
    for (size_t i = 0; i < n; i++)
        trace += (double)h.a[i * n + i] / inputs;
    float *sums = malloc(sizeof(float) * n * n);
    memcpy(sums, h.a, sizeof(float) * n * n);
    mq_covariance_loosen(&h, 0.25);
    mq_covariance_finish(&h, 0.1);
    mq_covariance_finish_cross(&cross, &h);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            const double sum = (double)sums[i * n + j] / inputs;
            const double want = i == j ? sum + 0.1 * trace / n : 0.75 * sum;
            ck_assert_double_eq_tol((double)h.a[i * n + j], want, 1e-5 * trace / n);
            ck_assert_double_eq_tol((double)cross.a[i * n + j], want, 1e-5 * trace / n);
            ck_assert_double_eq_tol((double)cross.a[j * n + i], want, 1e-5 * trace / n);
        }
    free(x);
    free(sums);
    mq_covariance_destroy(&h);
    mq_covariance_destroy(&cross);
}
END_TEST

/* With X = H the target is the weights; with other inputs it is W X H^-1: times H that is W X. */
START_TEST(cross_target_solves)
{
    const size_t n = widths[_i], rows = 70;
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    struct mq_covariance h, cross;
    moeq_error err = {0};
    make(&context, n, 700, &h);
    float *h_full = calloc(n * n, sizeof(float));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            h_full[i * n + j] = h.a[i >= j ? i * n + j : j * n + i];
    ck_assert(mq_covariance_factor(&h));
    ck_assert_ok(mq_covariance_create(&context, n, &cross, &err));
    float *x = make_inputs(300, n, 5), *y = make_inputs(300, n, 6);
    mq_covariance_add_cross(&cross, x, y, n, 300);
    float *w = make_weights(rows, n, 9), *target = make_weights(rows, n, 9);
    ck_assert_ok(mq_feedback_cross_target(&h, &cross, target, rows, &err));
    for (size_t r = 0; r < rows; r += 23)
        for (size_t c = 0; c < n; c += 1 + n / 20) {
            double left = 0.0, right = 0.0, size = 0.0;
            for (size_t k = 0; k < n; k++) {
                left += (double)target[r * n + k] * (double)h_full[k * n + c];
                right += (double)w[r * n + k] * (double)cross.a[k * n + c];
                size += fabs((double)w[r * n + k] * (double)cross.a[k * n + c]);
            }
            ck_assert_double_eq_tol(left, right, 1e-3 * size);
        }
    free(h_full);
    free(x);
    free(y);
    free(w);
    free(target);
    mq_covariance_destroy(&h);
    mq_covariance_destroy(&cross);
}
END_TEST

static const char *const levels[] = {"q2_k",  "q3_k",   "q4_k",   "q5_k",  "q6_k",
                                     "q8_0",  "iq4_nl", "iq4_xs", "iq3_s", "iq3_xxs",
                                     "iq2_s", "iq2_xs", "iq2_xxs"};
enum { LEVELS = sizeof levels / sizeof *levels };

static double loss_of(const struct mq_covariance *c, const struct mq_level *level, const float *w,
                      size_t rows, const uint8_t *bytes)
{
    float *q = calloc(rows * c->n, sizeof *q);
    mq_level_decode_rows(level, c->context->isa, bytes, rows, c->n, q);
    const double loss = mq_feedback_loss(c, w, q, rows);
    free(q);
    return loss;
}

static void check_losses(const struct mq_covariance *c, const struct mq_level *level,
                         const float *w, size_t rows)
{
    moeq_error err = {0};
    uint8_t *bytes = malloc(rows * mq_level_row_bytes(level, c->n));
    mq_level_encode_rows(level, c->context->isa, MQ_EFFORT_BEST, NULL, w, rows, c->n, bytes);
    const double plain = loss_of(c, level, w, rows, bytes);
    double before = plain;
    for (int passes = 0; passes <= 2; passes++) {
        const struct mq_feedback_options options = {.passes = passes};
        ck_assert_ok(mq_feedback_encode(c, level, &options, w, rows, bytes, &err));
        const double loss = loss_of(c, level, w, rows, bytes);
        ck_assert_msg(loss < before, "%s, %d passes: %g, before %g", level->name, passes, loss,
                      before);
        if (getenv("MOEQ_TEST_VERBOSE"))
            printf("%s %d passes: %.4g, %.4f of plain\n", level->name, passes, loss, loss / plain);
        before = loss;
    }
    ck_assert_double_lt(before, 0.6 * plain);
    free(bytes);
}

/* Far below what each weight rounded for itself loses; descent lowers it further. */
START_TEST(feedback_lowers_the_loss)
{
    const size_t n = 512 + 64 + 16 + 3, rows = 20; /* with all kinds of tails */
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    struct mq_covariance c;
    make(&context, n, 2000, &c);
    ck_assert(mq_covariance_factor(&c));
    float *w = make_weights(rows, n, 3);
    for (int i = 0; i < LEVELS; i++)
        check_losses(&c, mq_level_find(levels[i]), w, rows);
    free(w);
    mq_covariance_destroy(&c);
}
END_TEST

static void check_odd(const struct mq_covariance *c, const struct mq_level *level, const float *w,
                      size_t rows)
{
    const struct mq_feedback_options options = {.passes = 2};
    const size_t n = c->n;
    moeq_error err = {0};
    float *q = calloc(rows * n, sizeof *q);
    uint8_t *bytes = malloc(rows * mq_level_row_bytes(level, n));
    ck_assert_ok(mq_feedback_encode(c, level, &options, w, rows, bytes, &err));
    mq_level_decode_rows(level, c->context->isa, bytes, rows, n, q);
    for (size_t i = 0; i < rows * n; i++)
        ck_assert_msg(i < n ? q[i] == 0.0f : isfinite(q[i]), "%s: weight %zu of row %zu is %g",
                      level->name, i % n, i / n, (double)q[i]);
    const float *last = w + (rows - 1) * n;
    const double part = mq_feedback_loss(c, last, q + (rows - 1) * n, 1);
    memset(q, 0, n * sizeof *q);
    ck_assert_double_lt(part, 0.1 * mq_feedback_loss(c, last, q, 1));
    free(q);
    free(bytes);
}

/* Blocks of zeros decode to zeros; of weights far beyond what scales can hold, or far below, to finite ones. The last row
 * is half zeros. */
START_TEST(odd_weights_are_stored)
{
    static const float sizes[] = {0.0f, 1e12f, 1e-6f, 1e-12f, 1e-36f, 1.0f};
    const size_t n = 512, rows = sizeof sizes / sizeof *sizes;
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    struct mq_covariance c;
    make(&context, n, 600, &c);
    ck_assert(mq_covariance_factor(&c));
    float *w = make_weights(rows, n, 3);
    for (size_t i = 0; i < rows * n; i++)
        w[i] *= sizes[i / n];
    memset(w + (rows - 1) * n, 0, 200 * sizeof *w);
    for (int i = 0; i < LEVELS; i++)
        check_odd(&c, mq_level_find(levels[i]), w, rows);
    free(w);
    mq_covariance_destroy(&c);
}
END_TEST

/* A matrix all the way: sums, factor, cross target, blocks. Rows are independent, so of few there
 * is what there is of many. */
struct outcome {
    struct mq_covariance h, cross;
    float *target;
    uint8_t *bytes[LEVELS];
};

enum { N = 256 + 32 + 3, INPUTS = 530, FEW = 16, MANY = 140 };

static void go(const struct mq_context *context, size_t rows, struct outcome *o)
{
    const struct mq_feedback_options options = {.passes = -1};
    moeq_error err = {0};
    float *x = make_inputs(INPUTS, N, 8);
    make(context, N, INPUTS, &o->h);
    ck_assert(mq_covariance_factor(&o->h));
    ck_assert_ok(mq_covariance_create(context, N, &o->cross, &err));
    mq_covariance_add_cross(&o->cross, x, x, N, INPUTS);
    mq_covariance_finish_cross(&o->cross, &o->h);
    o->target = make_weights(rows, N, 4);
    ck_assert_ok(mq_feedback_cross_target(&o->h, &o->cross, o->target, rows, &err));
    for (int i = 0; i < LEVELS; i++) {
        const struct mq_level *level = mq_level_find(levels[i]);
        o->bytes[i] = malloc(rows * mq_level_row_bytes(level, N));
        ck_assert_ok(
            mq_feedback_encode(&o->h, level, &options, o->target, rows, o->bytes[i], &err));
    }
    free(x);
}

static void forget(struct outcome *o)
{
    mq_covariance_destroy(&o->h);
    mq_covariance_destroy(&o->cross);
    free(o->target);
    for (int i = 0; i < LEVELS; i++)
        free(o->bytes[i]);
}

static void check_same(const struct outcome *a, const struct outcome *b, size_t rows)
{
    const size_t square = (size_t)N * N * sizeof(float);
    ck_assert_mem_eq(a->h.a, b->h.a, square);
    ck_assert_mem_eq(a->h.D, b->h.D, N * sizeof(float));
    ck_assert_mem_eq(a->cross.a, b->cross.a, square);
    ck_assert_mem_eq(a->target, b->target, rows * N * sizeof(float));
    for (int i = 0; i < LEVELS; i++)
        ck_assert_mem_eq(a->bytes[i], b->bytes[i],
                         rows * mq_level_row_bytes(mq_level_find(levels[i]), N));
}

START_TEST(same_bytes_everywhere)
{
    const struct mq_context best = {.isa = mq_isa_detect(), .threads = 1};
    struct outcome expected;
    go(&best, MANY, &expected);
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++)
        for (unsigned threads = 1; threads < 4 && mq_isa_available((enum mq_isa)isa); threads++) {
            /* The reference is slow: it is asked once, for a few rows. */
            if ((mq_test_sampled() || isa == MQ_ISA_GENERIC) && threads != 2)
                continue;
            const struct mq_context context = {.isa = (enum mq_isa)isa, .threads = threads};
            const size_t rows = isa == MQ_ISA_GENERIC ? FEW : MANY;
            struct outcome other;
            go(&context, rows, &other);
            check_same(&expected, &other, rows);
            forget(&other);
        }
    forget(&expected);
}
END_TEST

static void add_tests(TCase *tests)
{
    const int count = sizeof widths / sizeof *widths;
    tcase_add_loop_test(tests, sums_are_the_definition, 0, count);
    tcase_add_loop_test(tests, factor_multiplies_to_the_whole, 0, count);
    tcase_add_test(tests, not_definite_is_said);
    tcase_add_test(tests, loosened);
    tcase_add_loop_test(tests, cross_target_solves, 0, count);
    tcase_add_test(tests, feedback_lowers_the_loss);
    tcase_add_test(tests, odd_weights_are_stored);
    tcase_add_test(tests, same_bytes_everywhere);
}

int main(void)
{
    return mq_test_main("covariance", add_tests);
}
