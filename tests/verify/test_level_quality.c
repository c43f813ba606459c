/*
 * test_level_quality.c: what each level's encoder costs on the demo's model: the error of the
 * weights and, what matters, the KL divergence of the output, beside GGML's own quantizers.
 *
 * Only experts are quantized. All 511 predictions of each window of 512 tokens of demo/text.txt are
 * scored, 18,907 in all. GGML's figures were measured in the same way with its reference quantizers
 * (no importance matrix) in place of ours. Two equally good roundings of a model this small differ
 * by about 3 % in KL divergence, hence the slack.
 */
#include "test_support.h"
#include "sweep.h"

#include <math.h>
#include <stdio.h>

static const struct {
    const char *level;
    double ggml_rmse, ggml_kld; /* NaN: not measured */
} levels[] = {
    {"q8_0", 0.00534, NAN},
    {"q6_k", 0.01775, 0.00050},
    {"q5_k", 0.03616, 0.00124},
    {"q4_k", 0.07104, 0.00350},
    {"q3_k", 0.15024, 0.01285},
};
enum { LEVELS = sizeof levels / sizeof *levels };

START_TEST(against_ggml)
{
    const struct mq_level *source = mq_level_find("bf16");
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(mq_test_source("demo/model"), &view, &err) == MOEQ_OK, "%s",
                  err.message);
    struct mq_sweep_arm arms[LEVELS * MQ_EFFORT_COUNT];
    for (size_t i = 0; i < LEVELS * MQ_EFFORT_COUNT; i++) {
        arms[i].name = levels[i / MQ_EFFORT_COUNT].level;
        arms[i].policy = mq_policy_default(mq_level_find(arms[i].name));
        arms[i].policy.levels[MQ_CLASS_ATTENTION] = source;
        arms[i].policy.levels[MQ_CLASS_EMBEDDINGS] = source;
        arms[i].policy.effort = (enum mq_effort)(i % MQ_EFFORT_COUNT);
    }
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_sweep_options options = {
        .protocol = {.protocol = MQ_PROTOCOL_FULL, .context = 512}};
    struct mq_sweep_result result = {0};
    ck_assert_msg(mq_sweep(&context, view, mq_test_source("demo/text.txt"), &options, arms,
                           LEVELS * MQ_EFFORT_COUNT, &result, &err) == MOEQ_OK,
                  "%s", err.message);
    ck_assert_uint_eq(mq_scored_tokens(&result.text), 18907);
    printf("level effort    RMSE    GGML's  KLD mean ± se            GGML's\n");
    for (size_t i = 0; i < LEVELS * MQ_EFFORT_COUNT; i++) {
        const struct mq_sweep_row *row = &result.rows[1 + i];
        const double rmse = levels[i / MQ_EFFORT_COUNT].ggml_rmse,
                     kld = levels[i / MQ_EFFORT_COUNT].ggml_kld;
        const struct mq_estimate found = row->result.kld.mean;
        char known[16] = "-";
        if (!isnan(kld))
            snprintf(known, sizeof known, "%.5f", kld);
        printf("%-5s %-8s %.5f  %.5f  %.5f ± %.5f  %8s\n", row->name,
               mq_effort_name((enum mq_effort)(i % MQ_EFFORT_COUNT)), row->expert_relative_rmse,
               rmse, found.value, found.se, known);
        ck_assert_double_lt(row->expert_relative_rmse, rmse);
        if (!isnan(kld))
            ck_assert_double_lt(found.value, kld * 1.05);
    }
    /* Three bits are where the search matters most: clearly better than GGML's. */
    ck_assert_double_lt(result.rows[LEVELS * MQ_EFFORT_COUNT].result.kld.mean.value,
                        0.01285 * 0.97);
    mq_sweep_result_free(&result);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, against_ggml);
}

int main(void)
{
    return mq_test_main("test_level_quality", add_tests);
}
