/* One token's figures against long double, and the same bits from every instruction set. */
#include "test_support.h"
#include "kld.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct reference {
    long double nll, kl;
};

static long double log_sum_exp(const float *x, size_t n)
{
    long double max = x[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        max = x[i] > max ? (long double)x[i] : max;
    for (size_t i = 0; i < n; i++)
        sum += expl((long double)x[i] - max);
    return max + logl(sum);
}

static struct reference refer(const float *a, const float *b, size_t n, size_t target)
{
    const long double la = log_sum_exp(a, n), lb = log_sum_exp(b, n);
    struct reference r = {lb - (long double)b[target], 0};
    for (size_t i = 0; i < n; i++) {
        const long double log_p = (long double)a[i] - la, log_q = (long double)b[i] - lb;
        r.kl += expl(log_p) * (log_p - log_q);
    }
    return r;
}

struct figures {
    struct mq_softmax base, arm;
    double nll, kl;
};

static struct figures judge(enum mq_isa isa, const float *a, const float *b, size_t n,
                            int32_t target)
{
    struct figures f;
    memset(&f, 0, sizeof f); /* padding too: compared as bytes */
    double *exps = mq_test_guarded(mq_softmax_room(n) * sizeof *exps);
    mq_softmax_of(isa, a, n, exps, &f.base);
    mq_softmax_of(isa, b, n, NULL, &f.arm);
    f.nll = mq_softmax_nll(&f.arm, b, target);
    f.kl = mq_softmax_kl(isa, a, &f.base, exps, b, &f.arm, n);
    return f;
}

static void check(size_t n, float spread, float noise, uint64_t seed)
{
    float *a = mq_test_guarded(n * sizeof *a), *b = mq_test_guarded(n * sizeof *b);
    for (size_t i = 0; i < n; i++) {
        a[i] = spread * mq_test_gauss(&seed) - 20;
        b[i] = a[i] + noise * mq_test_gauss(&seed);
    }
    const int32_t target = (int32_t)(mq_test_random(&seed) % n);
    const struct reference r = refer(a, b, n, (size_t)target);
    struct figures first;
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        const struct figures f = judge((enum mq_isa)isa, a, b, n, target);
        if (isa == 0) {
            first = f;
            ck_assert_double_eq_tol(f.nll, (double)r.nll, 1e-14 * (1 + fabs((double)r.nll)));
            ck_assert_double_eq_tol(f.kl, (double)r.kl, 1e-14 * (1 + (double)r.kl));
            for (size_t i = 0; i < n; i++)
                ck_assert(a[i] <= a[f.base.top]);
        } else {
            ck_assert(f.nll == first.nll && f.kl == first.kl);
            ck_assert(f.base.sum == first.base.sum && f.base.top == first.base.top);
            ck_assert(f.arm.log_sum == first.arm.log_sum && f.arm.top == first.arm.top);
        }
        const struct figures self = judge((enum mq_isa)isa, a, a, n, target);
        ck_assert(self.kl == 0.0);
        ck_assert(self.base.top == self.arm.top);
    }
}

START_TEST(against_long_double)
{
    static const size_t sizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 33, 256, 2048, 32003};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check(sizes[i], 3.0f, 0.1f, i);
        check(sizes[i], 3.0f, 1e-4f, 100 + i); /* KL near 1e-8 keeps its digits */
        check(sizes[i], 30.0f, 5.0f, 200 + i);
    }
}
END_TEST

START_TEST(ties_and_extremes)
{
    const float ties[] = {1, 3, 2, 3, 3};
    struct mq_softmax s;
    mq_softmax_of(MQ_ISA_GENERIC, ties, 5, NULL, &s);
    ck_assert_int_eq(s.top, 1); /* the lowest of equals */
    const float wide[] = {3e38f, -3e38f, 0};
    mq_softmax_of(MQ_ISA_GENERIC, wide, 3, NULL, &s);
    ck_assert(s.finite && s.top == 0 && s.sum >= 1 && s.sum < 1.0000001);
}
END_TEST

START_TEST(not_finite)
{
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        for (size_t at = 0; at < 37; at++) {
            for (int kind = 0; kind < 3; kind++) {
                float x[37] = {0};
                struct mq_softmax s;
                mq_softmax_of((enum mq_isa)isa, x, 37, NULL, &s);
                ck_assert(s.finite);
                x[at] = kind == 0 ? NAN : kind == 1 ? INFINITY : -INFINITY;
                mq_softmax_of((enum mq_isa)isa, x, 37, NULL, &s);
                ck_assert(!s.finite);
            }
        }
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, against_long_double);
    tcase_add_test(tests, ties_and_extremes);
    tcase_add_test(tests, not_finite);
}

int main(void)
{
    return mq_test_main("kld", add);
}
