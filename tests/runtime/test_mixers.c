/* Models with recurrent mixers: arms of every arithmetic side by side give the same bits however they are
 * run, windows begin anew, and bf16 activations stay near f32. (That f32 is right: test_oracles.c.) */
#include "golden.h"
#include "test_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARMS = 3, LENGTH = 11, WINDOWS = 3 };

static const char *const models[] = {"qwen3_next", "qwen3_5_moe", "nemotron_h", "lfm2_moe"};

/* The mixers alone. */
static const struct mq_level **levels_of(const struct mq_view *view)
{
    const struct mq_level **levels = calloc(view->tensors_count, sizeof *levels);
    ck_assert_ptr_nonnull(levels);
    for (size_t i = 0; i < view->tensors_count; i++)
        if (mq_role_class(view->tensors[i].role) == MQ_CLASS_ATTENTION)
            levels[i] = mq_level_find("q8_0");
    return levels;
}

static double distance(const struct collected *a, const struct collected *b)
{
    double sum = 0, size = 0;
    for (size_t i = 0; i < a->tokens * a->vocab; i++) {
        sum += fabs((double)a->logits[i] - (double)b->logits[i]);
        size += fabs((double)b->logits[i]);
    }
    return sum / size;
}

static void run(enum mq_isa isa, unsigned threads, size_t windows_a_pass, const struct mq_arm *arms,
                size_t count, const struct mq_windows *windows, struct collected *results)
{
    moeq_error err = {0};
    struct mq_context context = {.isa = isa, .threads = threads};
    context.memory_bytes =
        mq_evaluation_bytes(&context, arms, count, windows->length, windows_a_pass);
    ck_assert_msg(collect(&context, arms, count, windows, results, &err) == MOEQ_OK, "%s",
                  err.message);
}

START_TEST(same_bits)
{
    char folder[64];
    int32_t ids[WINDOWS * LENGTH];
    struct collected plain[ARMS], other[ARMS], alone;
    snprintf(folder, sizeof folder, "tests/fixtures/families/%s", models[_i]);
    struct mq_view *view = test_open(mq_test_source(folder));
    const struct mq_level **levels = levels_of(view);
    const struct mq_arm arms[ARMS] = {
        {.name = "stored", .view = view, .routes_from = -1},
        {.name = "bf16", .view = view, .routes_from = -1, .bf16_activations = true},
        {.name = "int8",
         .view = view,
         .routes_from = -1,
         .levels = levels,
         .compute = MQ_COMPUTE_INT8},
    };
    for (int i = 0; i < WINDOWS * LENGTH; i++) /* the last window is as the first */
        ids[i] = (11 * (i % (2 * LENGTH)) + 5) % 64;
    const struct mq_windows windows = {ids, WINDOWS, LENGTH}, last = {ids, 1, LENGTH};
    run(MQ_ISA_GENERIC, 1, 1, arms, ARMS, &windows, plain);
    run(mq_isa_detect(), 3, WINDOWS, arms, ARMS, &windows, other);
    run(mq_isa_detect(), 2, 1, arms, 1, &last, &alone);
    for (int a = 0; a < ARMS; a++)
        ck_assert_msg(collected_equal(&plain[a], &other[a]), "%s: %s", models[_i], arms[a].name);
    const size_t n = LENGTH * alone.vocab;
    ck_assert_mem_eq(plain[0].logits, alone.logits, n * sizeof(float));
    ck_assert_mem_eq(plain[0].logits + 2 * n, alone.logits, n * sizeof(float));
    for (int a = 1; a < ARMS; a++) {
        const double apart = distance(&plain[a], &plain[0]);
        ck_assert_msg(apart > 1e-4 && apart < 0.15, "%s: %s: %g", models[_i], arms[a].name, apart);
    }
    for (int a = 0; a < ARMS; a++) {
        collected_free(&plain[a]);
        collected_free(&other[a]);
    }
    collected_free(&alone);
    free(levels);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, same_bits, 0, sizeof models / sizeof *models);
}

int main(void)
{
    return mq_test_main("test_mixers", add_tests);
}
