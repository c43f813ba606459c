/* Means, errors and percentiles of small samples worked out by hand. */
#include "test_support.h"
#include "statistics.h"

#include <math.h>

START_TEST(mean_and_error)
{
    /* 1..5: mean 3, squared deviations 10, variance 10/4, error sqrt(2.5 / 5) */
    const double x[] = {1, 2, 3, 4, 5};
    const struct mq_estimate e = mq_estimate_mean(x, 5);
    ck_assert(e.value == 3.0);
    ck_assert_double_eq_tol(e.se, 0.70710678118654752, 1e-15);
    const struct mq_estimate s = mq_estimate_sums(15, 55, 5);
    ck_assert(s.value == 3.0);
    ck_assert_double_eq_tol(s.se, e.se, 1e-15);
    ck_assert(isnan(mq_estimate_mean(x, 1).se));
    ck_assert(mq_estimate_mean(x, 1).value == 1.0);
    ck_assert(isnan(mq_estimate_mean(x, 0).value));
}
END_TEST

START_TEST(paired)
{
    /* differences 0.5, 0.5, 2: mean 1, squared deviations 1.5, error sqrt(0.75 / 3) = 0.5 */
    const double x[] = {1, 5, 100}, y[] = {1.5, 5.5, 102};
    const struct mq_estimate d = mq_estimate_difference(x, y, 3);
    ck_assert(d.value == 1.0);
    ck_assert_double_eq_tol(d.se, 0.5, 1e-15);
    const struct mq_estimate ratio = mq_estimate_exp(d);
    ck_assert_double_eq_tol(ratio.value, 2.718281828459045, 1e-15);
    ck_assert_double_eq_tol(ratio.se, 2.718281828459045 / 2, 1e-15);
    const struct mq_estimate self = mq_estimate_difference(x, x, 3);
    ck_assert(self.value == 0 && self.se == 0);
    ck_assert(mq_estimate_exp(self).value == 1.0);
}
END_TEST

START_TEST(ratio)
{
    /* 6 / 12; x - y / 2 = 0, -1, 1: squares 2, the error of their mean sqrt(2 / 2 / 3), over 4 */
    const double x[] = {1, 1, 4}, y[] = {2, 4, 6};
    const struct mq_estimate r = mq_estimate_ratio(x, y, 3);
    ck_assert(r.value == 0.5);
    ck_assert_double_eq_tol(r.se, 0.57735026918962576 / 4, 1e-15);
    const struct mq_estimate self = mq_estimate_ratio(y, y, 3);
    ck_assert(self.value == 1 && self.se == 0);
}
END_TEST

START_TEST(root_mean_square)
{
    /* squares 1, 9, 16, 10: mean 9, deviations 64 + 0 + 49 + 1 over 3 over 4: 9.5; over 2 * 3 */
    double x[] = {-1, 3, -4, sqrt(10)}, none[] = {0, 0};
    const struct mq_estimate r = mq_estimate_rms(x, 4), zero = mq_estimate_rms(none, 2);
    ck_assert_double_eq_tol(r.value, 3, 1e-15);
    ck_assert_double_eq_tol(r.se, sqrt(9.5) / 6, 1e-15);
    ck_assert(zero.value == 0 && zero.se == 0);
}
END_TEST

START_TEST(percentiles)
{
    double x[] = {5, 1, 4, 2, 3};
    const struct mq_distribution d = mq_distribution_of(x, 5);
    ck_assert(d.median == 3.0 && d.max == 5.0 && d.count == 5);
    ck_assert_double_eq_tol(d.p90, 4.6, 1e-14);  /* h = 0.9 * 4 = 3.6 */
    ck_assert_double_eq_tol(d.p99, 4.96, 1e-14); /* h = 3.96 */
    ck_assert_double_eq_tol(d.p99_9, 4.996, 1e-14);
    const double even[] = {1, 2, 3, 10};
    ck_assert(mq_percentile(even, 4, 0.5) == 2.5);
    ck_assert(mq_percentile(even, 4, 0) == 1.0);
    ck_assert(mq_percentile(even, 4, 1) == 10.0);
    ck_assert(mq_percentile(even, 1, 0.99) == 1.0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, mean_and_error);
    tcase_add_test(tests, paired);
    tcase_add_test(tests, ratio);
    tcase_add_test(tests, root_mean_square);
    tcase_add_test(tests, percentiles);
}

int main(void)
{
    return mq_test_main("statistics", add);
}
