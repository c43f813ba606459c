/* test_portable_math.c: exp, log, sine and cosine against the C library's in long double, and their
 * exact points. */
#include "test_support.h"
#include "portable_math.h"

#include <math.h>

/* The difference in units of the last place of the expected value. */
static double ulps(double found, long double expected)
{
    const double rounded = (double)expected;
    return (double)fabsl(((long double)found - expected) /
                         (long double)(nextafter(fabs(rounded), INFINITY) - fabs(rounded)));
}

START_TEST(exact_points)
{
    ck_assert(mq_exp(0.0) == 1.0);
    ck_assert(mq_exp(-0.0) == 1.0);
    ck_assert(mq_log(1.0) == 0.0);
    ck_assert(mq_exp(-1e9) == mq_exp(-708.0)); /* moved to the range's end */
    ck_assert(mq_exp(1e9) == mq_exp(709.0));
}
END_TEST

START_TEST(close_to_libm)
{
    uint64_t seed = 1;
    for (int i = 0; i < 200000; i++) {
        const double x = (double)mq_test_uniform(&seed) * 1400 - 700;
        ck_assert_double_le(ulps(mq_exp(x), expl((long double)x)), 2.0);
        const double small = (double)mq_test_uniform(&seed) - 0.5;
        ck_assert_double_le(ulps(mq_exp(small), expl((long double)small)), 2.0);
        const double y =
            ldexp(1.0 + (double)mq_test_uniform(&seed), (int)(mq_test_random(&seed) % 200) - 100);
        ck_assert_double_le(ulps(mq_log(y), logl((long double)y)), 2.0);
        const double near_one = 1.0 + ((double)mq_test_uniform(&seed) - 0.5) * 1e-3;
        ck_assert_double_le(ulps(mq_log(near_one), logl((long double)near_one)), 2.0);
    }
}
END_TEST

START_TEST(sines_and_cosines)
{
    uint64_t seed = 2;
    for (int i = 0; i < 100000; i++) {
        const double x = 2e6 * (double)mq_test_uniform(&seed) - 1e6;
        double sine, cosine;
        mq_sincos(x, &sine, &cosine);
        ck_assert_double_le(fabs(sine - sin(x)), 4e-16);
        ck_assert_double_le(fabs(cosine - cos(x)), 4e-16);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, exact_points);
    tcase_add_test(tests, close_to_libm);
    tcase_add_test(tests, sines_and_cosines);
}

int main(void)
{
    return mq_test_main("portable_math", add);
}
