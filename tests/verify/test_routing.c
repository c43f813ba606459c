/* Routes compared, against values worked out by hand; chance levels against counting. */
#include "test_support.h"
#include "routing.h"

#include <math.h>

enum { SCRATCH = 64 };

static struct mq_routing_figures compare(uint32_t n, uint32_t k, const float *logits_a,
                                         const int32_t *experts_a, const float *weights_a,
                                         const float *logits_b, const int32_t *experts_b,
                                         const float *weights_b)
{
    const struct mq_layer_router router = {.experts = n, .top_k = k};
    const struct mq_routes a = {logits_a, experts_a, weights_a, &router, {NULL, NULL}},
                           b = {logits_b, experts_b, weights_b, &router, {NULL, NULL}};
    double scratch[SCRATCH];
    struct mq_routing_figures f;
    ck_assert(mq_routing_scratch(n) <= SCRATCH);
    mq_routing_compare(MQ_ISA_GENERIC, &a, &b, 0, scratch, &f);
    return f;
}

/* Of one token of a router that the caller made. */
static double margin(const struct mq_layer_router *router, const float *bias, const float *logits,
                     const int32_t *chosen)
{
    double scratch[SCRATCH];
    const struct mq_routes routes = {logits, chosen, NULL, router, {bias, NULL}};
    return mq_routing_margin(MQ_ISA_GENERIC, &routes, 0, scratch);
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
    ck_assert(margin(&(struct mq_layer_router){.experts = 4, .top_k = 2}, NULL, b, s) == 0.0);
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

static struct mq_routing_figures chance_of(uint32_t n, uint32_t k)
{
    return mq_routing_chance(&(struct mq_layer_router){.experts = n, .top_k = k});
}

START_TEST(chance)
{
    static const int counted[] = {MQ_ROUTING_EXACT_SET, MQ_ROUTING_OVERLAP, MQ_ROUTING_CR1,
                                  MQ_ROUTING_CR2, MQ_ROUTING_CR3};
    for (uint32_t n = 1; n <= 10; n++)
        for (uint32_t k = 1; k <= n; k++) {
            const struct mq_routing_figures c = chance_of(n, k), expected = count_chance(n, k);
            for (int i = 0; i < 5; i++)
                ck_assert_double_eq_tol(c.metric[counted[i]], expected.metric[counted[i]], 1e-12);
        }
    /* as published for top-2 of 8: 3.57 % and 25 % */
    const struct mq_routing_figures c = chance_of(8, 2);
    ck_assert_double_eq_tol(c.metric[MQ_ROUTING_EXACT_SET], 1.0 / 28, 1e-15);
    ck_assert_double_eq_tol(c.metric[MQ_ROUTING_OVERLAP], 0.25, 1e-15);
    ck_assert_double_eq_tol(c.metric[MQ_ROUTING_TOP1], 0.125, 1e-15);
    ck_assert(isnan(c.metric[MQ_ROUTING_WEIGHTED]) && isnan(c.metric[MQ_ROUTING_ROUTER_KL]));
    ck_assert(isfinite(chance_of(512, 10).metric[MQ_ROUTING_CR3]));
}
END_TEST

START_TEST(margins)
{
    const float logits[] = {1, 5, 2, 3};
    const int32_t chosen[] = {1, 3}, all[] = {0, 1, 2, 3};
    ck_assert(margin(&(struct mq_layer_router){.experts = 4, .top_k = 2}, NULL, logits, chosen) == 1);
    ck_assert(isinf(margin(&(struct mq_layer_router){.experts = 4, .top_k = 4}, NULL, logits, all)));
    ck_assert_uint_eq(mq_margin_bin(-1), 0);
    ck_assert_uint_eq(mq_margin_bin(0), 0);
    ck_assert_uint_eq(mq_margin_bin(0.01), 1);
    ck_assert_uint_eq(mq_margin_bin(1), 7);
    ck_assert_uint_eq(mq_margin_bin(INFINITY), MQ_MARGIN_BINS - 1);
}
END_TEST

static float sigmoid_of(double x)
{
    return (float)(1 / (1 + exp(-x)));
}

/* What is compared decides: sigmoid scores plus a bias, in the groups that are in. */
START_TEST(margins_by_the_routers_rule)
{
    const float logits[] = {1, 5, 2, 3, 4, -1}, bias[] = {0.5f, 0, 0.25f, 0, -1, 0};
    struct mq_layer_router r = {
        .experts = 6, .top_k = 2, .score = MQ_SCORE_SIGMOID, .choice_bias = 1};
    /* compared: .731 + .5, .993, .881 + .25, .953, .982 - 1, .269 */
    const int32_t chosen[] = {0, 2}, first[] = {0};
    ck_assert_double_eq_tol(margin(&r, bias, logits, chosen),
                            (double)(sigmoid_of(2) + 0.25f - sigmoid_of(5)), 1e-6);
    r.top_k = 1;
    ck_assert_double_eq_tol(margin(&r, bias, logits, first),
                            (double)(sigmoid_of(1) + 0.5f - (sigmoid_of(2) + 0.25f)), 1e-6);
    /* without a bias scores stand in the order of the logits, which say more */
    r = (struct mq_layer_router){.experts = 6, .top_k = 2, .score = MQ_SCORE_SIGMOID};
    const int32_t largest[] = {1, 4};
    ck_assert(margin(&r, NULL, logits, largest) == 1);
    /* groups 1, 5 | 2, 4 | 3, -1 */
    r = (struct mq_layer_router){
        .experts = 6, .top_k = 2, .score = MQ_SCORE_SOFTMAX, .groups = 3, .top_groups = 1};
    const float grouped[] = {1, 5, 2, 4, 3, -1};
    const int32_t best_group[] = {0, 1};
    ck_assert(isinf(margin(&r, NULL, grouped, best_group))); /* the group has no others */
    r.top_groups = 2;
    const int32_t two[] = {1, 3};
    ck_assert(margin(&r, NULL, grouped, two) == 2); /* 4 - 2: expert 4, of 3, is out */
}
END_TEST

/* Sigmoid scores of 1/4 and 3/4, whose sum is 1; softmax would make 1/10 and 9/10 of their logits. */
START_TEST(scores_as_a_distribution)
{
    const float a[] = {(float)-log(3), (float)log(3)}, b[] = {0, 0};
    const int32_t s[] = {1}, t[] = {0};
    const float w[] = {1};
    double scratch[SCRATCH];
    struct mq_layer_router r = {.experts = 2, .top_k = 1, .score = MQ_SCORE_SIGMOID};
    const struct mq_routes x = {a, s, w, &r, {NULL, NULL}}, y = {b, t, w, &r, {NULL, NULL}};
    struct mq_routing_figures f;
    mq_routing_compare(MQ_ISA_GENERIC, &x, &y, 0, scratch, &f);
    const double kl = 0.25 * log(0.25 / 0.5) + 0.75 * log(0.75 / 0.5);
    ck_assert_double_eq_tol(f.metric[MQ_ROUTING_ROUTER_KL], kl, 1e-6);
    ck_assert_double_eq_tol(f.metric[MQ_ROUTING_MASS_KEPT], 1.0 / 3, 1e-6);
    /* logits of which only the chosen get weights: softmax of all of them, 1/10 and 9/10 */
    r.score = MQ_SCORE_LOGIT;
    mq_routing_compare(MQ_ISA_GENERIC, &x, &y, 0, scratch, &f);
    ck_assert_double_eq_tol(f.metric[MQ_ROUTING_MASS_KEPT], 1.0 / 9, 1e-6);
    /* with a cap: of tanh(log 3) = 4/5 */
    r.softcap = 1;
    mq_routing_compare(MQ_ISA_GENERIC, &x, &y, 0, scratch, &f);
    ck_assert_double_eq_tol(f.metric[MQ_ROUTING_MASS_KEPT], exp(-1.6), 1e-6);
}
END_TEST

/* Four groups of two, of which two are drawn, and three of their four experts: every pair. */
START_TEST(chance_with_groups)
{
    enum { N = 8, GROUPS = 4, TOP = 2, K = 3 };
    double common[K + 1] = {0}, pairs = 0;
    uint32_t draws[64], count = 0;
    for (uint32_t g = 0; g < 1u << GROUPS; g++)
        for (uint32_t m = 0; m < 1u << N; m++) {
            uint32_t pool = 0;
            for (uint32_t i = 0; i < GROUPS; i++)
                pool |= g >> i & 1 ? 3u << 2 * i : 0;
            if (__builtin_popcount(g) == TOP && __builtin_popcount(m) == K && (m & ~pool) == 0)
                draws[count++] = m;
        }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < count; j++, pairs++)
            common[__builtin_popcount(draws[i] & draws[j])]++;
    const struct mq_routing_figures c = mq_routing_chance(
        &(struct mq_layer_router){.experts = N, .top_k = K, .groups = GROUPS, .top_groups = TOP});
    ck_assert_double_eq_tol(c.metric[MQ_ROUTING_EXACT_SET], common[K] / pairs, 1e-12);
    ck_assert_double_eq_tol(c.metric[MQ_ROUTING_CR1], common[0] / pairs, 1e-12);
    ck_assert_double_eq_tol(c.metric[MQ_ROUTING_CR3], (common[0] + common[1]) / pairs, 1e-12);
    ck_assert_double_eq_tol(c.metric[MQ_ROUTING_OVERLAP],
                            (common[1] + 2 * common[2] + 3 * common[3]) / K / pairs, 1e-12);
    /* DeepSeek-V3's: 4 of 8 groups of 32, 8 experts */
    const struct mq_routing_figures v3 = mq_routing_chance(
        &(struct mq_layer_router){.experts = 256, .top_k = 8, .groups = 8, .top_groups = 4});
    ck_assert(v3.metric[MQ_ROUTING_EXACT_SET] > chance_of(256, 8).metric[MQ_ROUTING_EXACT_SET]);
    ck_assert_double_eq_tol(v3.metric[MQ_ROUTING_OVERLAP], 8.0 / 256, 1e-15);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, margins_by_the_routers_rule);
    tcase_add_test(tests, scores_as_a_distribution);
    tcase_add_test(tests, chance_with_groups);
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
