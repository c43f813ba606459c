/* Routes compared, against values worked out by hand; chance levels against counting. */
#include "test_support.h"
#include "routing.h"

#include <math.h>

static struct mq_routing_figures compare(uint32_t n, uint32_t k, const float *logits_a,
                                         const int32_t *experts_a, const float *weights_a,
                                         const float *logits_b, const int32_t *experts_b,
                                         const float *weights_b)
{
    const struct mq_routes a = {logits_a, experts_a, weights_a},
                           b = {logits_b, experts_b, weights_b};
    double scratch[64];
    struct mq_routing_figures f;
    ck_assert(mq_routing_scratch(n) <= 64);
    mq_routing_compare(MQ_ISA_GENERIC, &a, &b, 0, n, k, scratch, &f);
    return f;
}

START_TEST(self)
{
    const float logits[] = {0.3f, -1, 2, 0.7f};
    const int32_t experts[] = {2, 3};
    const float weights[] = {0.61f, 0.37f}; /* of a family that does not renormalise */
    const struct mq_routing_figures f =
        compare(4, 2, logits, experts, weights, logits, experts, weights);
    ck_assert(f.metric[MQ_ROUTING_EXACT_SET] == 1 && f.metric[MQ_ROUTING_OVERLAP] == 1);
    ck_assert(f.metric[MQ_ROUTING_TOP1] == 1 && f.metric[MQ_ROUTING_WEIGHTED] == 1);
    ck_assert(f.metric[MQ_ROUTING_CR1] == 0 && f.metric[MQ_ROUTING_CR2] == 0);
    ck_assert(f.metric[MQ_ROUTING_CR3] == 0 && f.metric[MQ_ROUTING_ROUTER_KL] == 0);
}
END_TEST

START_TEST(one_of_two_changed)
{
    const float a[] = {0, 0, 0, 0}, b[] = {(float)log(2), 0, 0, 0};
    const int32_t s[] = {0, 2}, t[] = {2, 3};
    const float w[] = {0.75f, 0.25f}, v[] = {0.5f, 0.5f};
    const struct mq_routing_figures f = compare(4, 2, a, s, w, b, t, v);
    ck_assert(f.metric[MQ_ROUTING_EXACT_SET] == 0 && f.metric[MQ_ROUTING_OVERLAP] == 0.5);
    ck_assert(f.metric[MQ_ROUTING_TOP1] == 0);        /* 0 against 2: of equal weights the lowest */
    ck_assert(f.metric[MQ_ROUTING_WEIGHTED] == 0.25); /* expert 2: min(0.25, 0.5) */
    ck_assert(f.metric[MQ_ROUTING_CR1] == 0 && f.metric[MQ_ROUTING_CR2] == 1);
    ck_assert(f.metric[MQ_ROUTING_CR3] == 1);
    /* p = 1/4 each, q = 2/5, 1/5, 1/5, 1/5 */
    const double kl = 0.25 * log(0.25 / 0.4) + 0.75 * log(0.25 / 0.2);
    ck_assert_double_eq_tol(f.metric[MQ_ROUTING_ROUTER_KL], kl, 1e-7); /* log 2 as a float */
    const struct mq_routes routes = {b, s, w};
    ck_assert(mq_routing_margin(&routes, 0, 4, 2) == 0.0);
}
END_TEST

START_TEST(all_changed)
{
    const float logits[] = {0, 0, 0, 0, 0, 0};
    const int32_t s[] = {0, 1, 2}, t[] = {3, 4, 5};
    const float w[] = {0.1f, 0.2f, 0.7f};
    const struct mq_routing_figures f = compare(6, 3, logits, s, w, logits, t, w);
    ck_assert(f.metric[MQ_ROUTING_CR1] == 1 && f.metric[MQ_ROUTING_CR3] == 1);
    ck_assert(f.metric[MQ_ROUTING_WEIGHTED] == 0 && f.metric[MQ_ROUTING_OVERLAP] == 0);
    /* one of three is less than half */
    const int32_t u[] = {0, 1, 5};
    const struct mq_routing_figures g = compare(6, 3, logits, s, w, logits, u, w);
    ck_assert(g.metric[MQ_ROUTING_CR2] == 1 && g.metric[MQ_ROUTING_CR3] == 0);
}
END_TEST

/* r = 1/15, 2/15, 4/15, 8/15 for experts 0 to 3. */
START_TEST(mass_kept)
{
    const float a[] = {0, (float)log(2), (float)log(4), (float)log(8)}, b[] = {0, 0, 0, 0};
    const float w[] = {0.5f, 0.5f};
    static const int32_t sets[][2] = {{2, 3}, {1, 3}, {0, 1}, {0, 3}};
    static const double kept[] = {1, 10.0 / 12, 3.0 / 12, 9.0 / 12};
    for (int i = 0; i < 4; i++) {
        const struct mq_routing_figures f = compare(4, 2, a, sets[0], w, b, sets[i], w);
        ck_assert_double_eq_tol(f.metric[MQ_ROUTING_MASS_KEPT], kept[i], 1e-7); /* logs as floats */
    }
    /* a router that chose by something else: no more than all */
    ck_assert(compare(4, 2, a, sets[2], w, b, sets[0], w).metric[MQ_ROUTING_MASS_KEPT] == 1);
}
END_TEST

/* All k-subsets of n as bit masks, against the first. */
static struct mq_routing_figures count_chance(uint32_t n, uint32_t k)
{
    struct mq_routing_figures f = {0};
    double subsets = 0;
    const uint32_t base = (1u << k) - 1;
    for (uint32_t mask = 0; mask < 1u << n; mask++) {
        if ((uint32_t)__builtin_popcount(mask) != k)
            continue;
        const uint32_t common = (uint32_t)__builtin_popcount(mask & base);
        subsets++;
        f.metric[MQ_ROUTING_EXACT_SET] += common == k;
        f.metric[MQ_ROUTING_OVERLAP] += (double)common / k;
        f.metric[MQ_ROUTING_CR1] += common == 0;
        f.metric[MQ_ROUTING_CR2] += common < k;
        f.metric[MQ_ROUTING_CR3] += 2 * (k - common) >= k;
    }
    for (int i = 0; i < MQ_ROUTING_COUNT; i++)
        f.metric[i] /= subsets;
    return f;
}

START_TEST(chance)
{
    static const int counted[] = {MQ_ROUTING_EXACT_SET, MQ_ROUTING_OVERLAP, MQ_ROUTING_CR1,
                                  MQ_ROUTING_CR2, MQ_ROUTING_CR3};
    for (uint32_t n = 1; n <= 10; n++)
        for (uint32_t k = 1; k <= n; k++) {
            const struct mq_routing_figures c = mq_routing_chance(n, k),
                                            expected = count_chance(n, k);
            for (int i = 0; i < 5; i++)
                ck_assert_double_eq_tol(c.metric[counted[i]], expected.metric[counted[i]], 1e-12);
        }
    /* as published for top-2 of 8: 3.57 % and 25 % */
    const struct mq_routing_figures c = mq_routing_chance(8, 2);
    ck_assert_double_eq_tol(c.metric[MQ_ROUTING_EXACT_SET], 1.0 / 28, 1e-15);
    ck_assert_double_eq_tol(c.metric[MQ_ROUTING_OVERLAP], 0.25, 1e-15);
    ck_assert_double_eq_tol(c.metric[MQ_ROUTING_TOP1], 0.125, 1e-15);
    ck_assert(isnan(c.metric[MQ_ROUTING_WEIGHTED]) && isnan(c.metric[MQ_ROUTING_ROUTER_KL]));
    ck_assert(isfinite(mq_routing_chance(512, 10).metric[MQ_ROUTING_CR3]));
}
END_TEST

START_TEST(margins)
{
    const float logits[] = {1, 5, 2, 3};
    const int32_t chosen[] = {1, 3}, all[] = {0, 1, 2, 3};
    const float weights[] = {0.9f, 0.1f, 0, 0};
    const struct mq_routes routes = {logits, chosen, weights}, every = {logits, all, weights};
    ck_assert(mq_routing_margin(&routes, 0, 4, 2) == 1.0);
    ck_assert(isinf(mq_routing_margin(&every, 0, 4, 4)));
    ck_assert_uint_eq(mq_margin_bin(-1), 0);
    ck_assert_uint_eq(mq_margin_bin(0), 0);
    ck_assert_uint_eq(mq_margin_bin(0.01), 1);
    ck_assert_uint_eq(mq_margin_bin(1), 7);
    ck_assert_uint_eq(mq_margin_bin(INFINITY), MQ_MARGIN_BINS - 1);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, self);
    tcase_add_test(tests, one_of_two_changed);
    tcase_add_test(tests, all_changed);
    tcase_add_test(tests, mass_kept);
    tcase_add_test(tests, chance);
    tcase_add_test(tests, margins);
}

int main(void)
{
    return mq_test_main("routing", add);
}
