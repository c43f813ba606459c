/* test_budget.c: the choice of levels against every choice there is, and against its own bound. */
#include "budget.h"
#include "test_support.h"

#include <math.h>
#include <stdlib.h>

enum { LEVELS = 4 };

/* Sizes and losses that fall roughly with them; some levels useless, some absent. */
static void make(uint64_t *state, struct mq_budget_option *o, size_t units, uint64_t unit_bytes)
{
    static const uint64_t bits[LEVELS] = {42, 55, 72, 136};
    for (size_t u = 0; u < units; u++) {
        const float weight = expf(2.0f * mq_test_gauss(state));
        for (size_t l = 0; l < LEVELS; l++) {
            const bool absent = l > 0 && mq_test_random(state) % 8 == 0;
            const float noise = 0.5f + mq_test_uniform(state);
            o[u * LEVELS + l] = (struct mq_budget_option){
                absent ? UINT64_MAX : bits[l] * unit_bytes,
                (double)(weight * noise * exp2f(-(float)bits[l] / 8.0f)),
            };
        }
    }
}

/* The least loss over all choices within the budget. */
static double best_of_all(const struct mq_budget_option *o, size_t units, uint64_t budget)
{
    double best = INFINITY;
    size_t choices = 1;
    for (size_t u = 0; u < units; u++)
        choices *= LEVELS;
    for (size_t c = 0; c < choices; c++) {
        uint64_t bytes = 0;
        double loss = 0.0;
        bool possible = true;
        for (size_t u = 0, rest = c; u < units; u++, rest /= LEVELS) {
            const struct mq_budget_option *level = &o[u * LEVELS + rest % LEVELS];
            possible = possible && level->bytes != UINT64_MAX;
            bytes += level->bytes;
            loss += level->loss;
        }
        if (possible && bytes <= budget && loss < best)
            best = loss;
    }
    return best;
}

START_TEST(is_the_best_of_all_choices)
{
    uint64_t state = 7;
    for (int round = 0; round < 60; round++) {
        enum { UNITS = 6 };
        struct mq_budget_option o[UNITS * LEVELS];
        uint8_t chosen[UNITS];
        struct mq_budget_result result;
        moeq_error err = {0};
        make(&state, o, UNITS, 1 + mq_test_random(&state) % 1000);
        uint64_t least = 0;
        for (size_t u = 0; u < UNITS; u++)
            least += o[u * LEVELS].bytes;
        const uint64_t budget = least + (uint64_t)(mq_test_uniform(&state) * (float)least);
        ck_assert_ok(mq_budget_choose(o, UNITS, LEVELS, budget, chosen, &result, &err));
        uint64_t bytes = 0;
        double loss = 0.0;
        for (size_t u = 0; u < UNITS; u++) {
            bytes += o[u * LEVELS + chosen[u]].bytes;
            loss += o[u * LEVELS + chosen[u]].loss;
        }
        ck_assert_uint_eq(bytes, result.bytes);
        ck_assert_uint_le(bytes, budget);
        const double best = best_of_all(o, UNITS, budget);
        ck_assert_double_eq_tol(loss, best, 1e-12 * best);
        ck_assert_double_le(result.bound, best * (1 + 1e-12));
    }
}
END_TEST

/* As many units as DeepSeek-V3 has matrices of experts, and sizes that have no common divisor: near
 * the bound, and the budget is used up. */
START_TEST(many_units_come_near_the_bound)
{
    enum { UNITS = 44544 };
    uint64_t state = 11;
    struct mq_budget_option *o = calloc((size_t)UNITS * LEVELS, sizeof *o);
    uint8_t *chosen = calloc(UNITS, 1);
    make(&state, o, UNITS, 57344);
    for (size_t u = 0; u < UNITS; u += 100)
        for (size_t l = 0; l < LEVELS; l++)
            o[u * LEVELS + l].bytes += o[u * LEVELS + l].bytes == UINT64_MAX ? 0 : u % 97;
    const uint64_t budget = (uint64_t)UNITS * 57344 * 66;
    struct mq_budget_result result;
    moeq_error err = {0};
    ck_assert_ok(mq_budget_choose(o, UNITS, LEVELS, budget, chosen, &result, &err));
    ck_assert_uint_le(result.bytes, budget);
    ck_assert_uint_ge(result.bytes, budget - budget / 1000);
    ck_assert_double_le(result.loss, result.bound * 1.0001);
    free(o);
    free(chosen);
}
END_TEST

START_TEST(says_when_nothing_fits)
{
    const struct mq_budget_option o[2] = {{100, 1.0}, {50, 2.0}};
    uint8_t chosen;
    struct mq_budget_result result;
    moeq_error err = {0};
    ck_assert_int_eq(mq_budget_choose(o, 1, 2, 49, &chosen, &result, &err), MOEQ_LIMIT);
    ck_assert_uint_eq(result.bytes, 50);
    ck_assert_ok(mq_budget_choose(o, 1, 2, 50, &chosen, &result, &err));
    ck_assert_uint_eq(chosen, 1);
    ck_assert_ok(mq_budget_choose(o, 1, 2, UINT64_MAX - 1, &chosen, &result, &err));
    ck_assert_uint_eq(chosen, 0);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, is_the_best_of_all_choices);
    tcase_add_test(tests, many_units_come_near_the_bound);
    tcase_add_test(tests, says_when_nothing_fits);
}

int main(void)
{
    return mq_test_main("budget", add_tests);
}
