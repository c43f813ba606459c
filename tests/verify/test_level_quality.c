/*
 * test_level_quality.c: what each level's encoder costs on the demo's model: the error of the
 * weights and, what matters, the KL divergence of the output, beside GGML's own quantizers.
 *
 * Only experts are quantized. All 511 predictions of each window of 512 tokens of demo/text.txt are
 * scored, 18,907 in all. GGML's figures were measured in the same way with its reference quantizers
 * (no importance matrix) in place of ours. Two equally good roundings of a model this small differ
 * by about 3 % in KL divergence, hence the slack.
 */
#include "comparison.h"
#include "stored.h"
#include "test_support.h"

#include <stdio.h>
#include <string.h>

/* Effort `best` only where its KL divergence may differ by more than noise. */
static const struct {
    const char *level;
    enum mq_effort effort;
    double ggml_rmse, ggml_kld;
} arms_of[] = {
    {"q8_0", MQ_EFFORT_DEFAULT, 0.00534, 0.00014}, {"q6_k", MQ_EFFORT_DEFAULT, 0.01775, 0.00050},
    {"q5_k", MQ_EFFORT_DEFAULT, 0.03616, 0.00124}, {"q4_k", MQ_EFFORT_DEFAULT, 0.07104, 0.00350},
    {"q4_k", MQ_EFFORT_BEST, 0.07104, 0.00350},    {"q3_k", MQ_EFFORT_DEFAULT, 0.15024, 0.01285},
    {"q3_k", MQ_EFFORT_BEST, 0.15024, 0.01285},    {"q2_k", MQ_EFFORT_DEFAULT, 0.29640, 0.04571},
};
enum { ARMS = sizeof arms_of / sizeof *arms_of };

START_TEST(against_ggml)
{
    if (mq_test_skip_if_sampled())
        return;
    const struct mq_level *source = mq_level_find("bf16");
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(mq_test_source("demo/model"), &view, &err) == MOEQ_OK, "%s",
                  err.message);
    struct mq_candidate arms[ARMS];
    for (size_t i = 0; i < ARMS; i++) {
        arms[i] = (struct mq_candidate){
            .name = arms_of[i].level, .policy = mq_policy_default(mq_level_find(arms_of[i].level))};
        arms[i].policy.levels[MQ_CLASS_ATTENTION] = source;
        arms[i].policy.levels[MQ_CLASS_EMBEDDINGS] = source;
        arms[i].policy.effort = arms_of[i].effort;
    }
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_comparison_options options = {
        .text = mq_test_text(mq_test_source("demo/text.txt")),
        .protocol = {.protocol = MQ_PROTOCOL_FULL, .context = 512}};
    struct mq_comparison result = {0};
    const struct mq_baseline baseline = mq_baseline_of(view);
    ck_assert_msg(mq_compare(&context, &baseline, arms, ARMS, &options, &result, &err) == MOEQ_OK,
                  "%s", err.message);
    ck_assert_uint_eq(mq_scored_tokens(&result.text), 18907);
    printf("level effort    RMSE    GGML's  KLD mean ± se            GGML's\n");
    for (size_t i = 0; i < ARMS; i++) {
        const struct mq_comparison_row *row = &result.rows[1 + i];
        const struct mq_estimate kld = row->result.kld.mean;
        printf("%-5s %-8s %.5f  %.5f  %.5f ± %.5f   %.5f\n", row->name,
               mq_effort_name(arms_of[i].effort), row->expert_relative_rmse, arms_of[i].ggml_rmse,
               kld.value, kld.se, arms_of[i].ggml_kld);
        ck_assert_double_lt(row->expert_relative_rmse, arms_of[i].ggml_rmse);
        ck_assert_double_lt(kld.value, arms_of[i].ggml_kld * 1.05);
        /* Few bits are where the search matters most: clearly better than GGML's. */
        if (strcmp(row->name, "q3_k") == 0)
            ck_assert_double_lt(kld.value, arms_of[i].ggml_kld * 0.97);
        if (strcmp(row->name, "q2_k") == 0)
            ck_assert_double_lt(kld.value, arms_of[i].ggml_kld * 0.8);
    }
    mq_comparison_free(&result);
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
