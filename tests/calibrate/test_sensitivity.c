/* test_sensitivity.c: what a matrix loses, against the whole model run with only that matrix
 * quantized: the residual stream after its layer then differs by nothing else. */
#include "sensitivity.h"
#include "test_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { LENGTH = 16, WINDOWS = 2, LEVELS = 2 };

static const char *const models[] = {
    "tests/fixtures/families/qwen3_next", "tests/fixtures/families/deepseek_v3",
    "tests/fixtures/families/gpt_oss",    "tests/fixtures/families/granitemoe",
    "tests/fixtures/families/nemotron_h", "tests/fixtures/families/llama4",
    "demo/model",
};

static void make_ids(const struct mq_view *view, int32_t ids[WINDOWS * LENGTH])
{
    uint64_t state = 3;
    for (int i = 0; i < WINDOWS * LENGTH; i++)
        ids[i] = (int32_t)(mq_test_random(&state) % view->hparams.vocab);
}

struct stream {
    int32_t layer;
    size_t hidden;
    double difference, squares;
};

static moeq_status on_hidden(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const float *const *hidden, moeq_error *err)
{
    struct stream *s = user;
    (void)first_token;
    (void)err;
    if ((int32_t)layer != s->layer + 1)
        return MOEQ_OK;
    for (size_t i = 0; i < tokens * s->hidden; i++) {
        const double a = (double)hidden[0][i], b = (double)hidden[1][i];
        s->difference += (a - b) * (a - b);
        s->squares += a * a;
    }
    return MOEQ_OK;
}

/* The same by two arms. */
static double by_two_arms(const struct mq_context *context, const struct mq_view *view,
                          const struct mq_windows *windows, size_t tensor,
                          const struct mq_level *level)
{
    const struct mq_level **levels = calloc(view->tensors_count, sizeof *levels);
    levels[tensor] = level;
    const struct mq_arm arms[2] = {
        {.name = "stored", .view = view, .routes_from = -1},
        {.name = "one", .view = view, .levels = levels, .routes_from = -1}};
    struct stream s = {.layer = view->tensors[tensor].layer, .hidden = view->hparams.hidden};
    const struct mq_observer observer = {.user = &s, .on_hidden = on_hidden};
    moeq_error err = {0};
    ck_assert_msg(mq_evaluate(context, arms, 2, windows, &observer, &err) == MOEQ_OK, "%s",
                  err.message);
    free(levels);
    return s.difference / s.squares;
}

START_TEST(is_what_the_stream_loses)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_level *const levels[LEVELS] = {mq_level_find("q8_0"), mq_level_find("q4_k")};
    const struct mq_sensitivity_options options = {.levels = levels, .levels_count = LEVELS};
    struct mq_view *view = test_open(mq_test_source(models[_i]));
    int32_t ids[WINDOWS * LENGTH];
    make_ids(view, ids);
    const struct mq_windows windows = {ids, WINDOWS, LENGTH};
    struct mq_sensitivity result;
    moeq_error err = {0};
    ck_assert_msg(mq_sensitivity_measure(&context, view, &windows, &options, &result, &err) ==
                      MOEQ_OK,
                  "%s", err.message);
    size_t measured = 0, compared = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const bool has = !isnan(result.loss[i * LEVELS]);
        ck_assert_int_eq(has, result.tokens[i] > 0);
        measured += has;
        if (!has || measured % 5 != 1)
            continue;
        for (size_t l = 0; l < LEVELS; l++) {
            const double expected = by_two_arms(&context, view, &windows, i, levels[l]);
            ck_assert_msg(fabs(result.loss[i * LEVELS + l] - expected) <= 2e-2 * expected + 1e-12,
                          "%s at %s: %g, expected %g", view->tensors[i].name, levels[l]->name,
                          result.loss[i * LEVELS + l], expected);
        }
        compared++;
    }
    ck_assert_uint_gt(compared, 2);
    mq_sensitivity_free(&result);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, is_what_the_stream_loses, 0, sizeof models / sizeof *models);
}

int main(void)
{
    return mq_test_main("sensitivity", add_tests);
}
