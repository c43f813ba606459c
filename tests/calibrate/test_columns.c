/* test_columns.c: runs of columns are matrices of their own; one run is the whole. */
#include "columns.h"
#include "test_support.h"

#include <stdlib.h>
#include <string.h>

enum { N = 600, INPUTS = 300, ROWS = 24 };

static void fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = 0.1f * mq_test_gauss(&seed);
}

START_TEST(each_run_is_a_matrix)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_feedback_options options = {.passes = -1};
    const struct mq_level *level = mq_level_find("q4_k");
    static float x[INPUTS * N], w[ROWS * N], part[ROWS * 256];
    static uint8_t bytes[ROWS * N * 2], expected[ROWS * 256 * 2];
    struct mq_columns c;
    moeq_error err = {0};
    double trace = 0.0;
    fill(x, INPUTS * N, 1);
    fill(w, ROWS * N, 2);
    for (size_t i = 0; i < INPUTS * N; i++)
        trace += (double)x[i] * (double)x[i];
    ck_assert_ok(mq_columns_create(&context, 1000, 256, ROWS, &c, &err)); /* more than is used */
    mq_columns_begin(&c, N);
    mq_columns_add(&c, x, N, INPUTS);
    ck_assert_double_eq_tol(mq_columns_trace(&c), trace, 1e-4 * trace);
    ck_assert_ok(mq_columns_factor(&c, 0.1, "matrix", &err));
    ck_assert_ok(mq_columns_encode(&c, level, &options, w, ROWS, bytes, &err));
    for (size_t at = 0, byte = 0; at < N;) {
        const size_t n = N - at < 256 ? N - at : 256, run = mq_level_row_bytes(level, n);
        struct mq_covariance alone;
        ck_assert_ok(mq_covariance_create(&context, n, &alone, &err));
        mq_covariance_add(&alone, x + at, N, INPUTS);
        mq_covariance_loosen(&alone, MQ_COVARIANCE_LOOSE);
        mq_covariance_finish(&alone, 0.1);
        ck_assert(mq_covariance_factor(&alone));
        for (size_t r = 0; r < ROWS; r++)
            memcpy(part + r * n, w + r * N + at, n * sizeof(float));
        ck_assert_ok(mq_feedback_encode(&alone, level, &options, part, ROWS, expected, &err));
        for (size_t r = 0; r < ROWS; r++)
            ck_assert_mem_eq(bytes + r * mq_level_row_bytes(level, N) + byte, expected + r * run,
                             run);
        mq_covariance_destroy(&alone);
        at += n;
        byte += run;
    }
    mq_columns_destroy(&c);
}
END_TEST

START_TEST(no_inputs_have_a_factor_too)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    struct mq_columns c;
    moeq_error err = {0};
    static const float zeros[N];
    ck_assert_ok(mq_columns_create(&context, N, 0, ROWS, &c, &err));
    ck_assert_uint_eq(mq_columns_bytes(&context, N, 0, ROWS), mq_covariance_bytes(&context, N));
    ck_assert_uint_lt(mq_columns_bytes(&context, 8192, 256, ROWS),
                      mq_covariance_bytes(&context, 8192) / 6);
    mq_columns_begin(&c, N);
    mq_columns_add(&c, zeros, N, 1);
    ck_assert_ok(mq_columns_factor(&c, 0.1, "matrix", &err));
    mq_columns_destroy(&c);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, each_run_is_a_matrix);
    tcase_add_test(tests, no_inputs_have_a_factor_too);
}

int main(void)
{
    return mq_test_main("columns", add_tests);
}
