/*
 * Published models by their config.json: every key of it is read or harmless, and the parameters are as many
 * as the model's card says. Of the models that NVIDIA's aiconfigurator keeps the config.json of
 * (src/aiconfigurator/model_configs), the configs are those, or agree with them in every value that both have;
 * the others were written down from what is known of the published ones: their sizes agree with the cards, of
 * keys that change nothing some may be missing. Models published in FP8 stand without quantization_config, Phi-3.5-MoE without the lists of its rope_scaling.
 */
#include "fit.h"
#include "test_support.h"

#include <math.h>
#include <stdio.h>

/* In billions. Active parameters are counted with the embeddings and the head in some cards and without
 * in others: `step` is one in the last place that the card gives; 0: it gives none. */
static const struct {
    const char *config;
    double total, active, step;
} models[] = {
    {"deepseek-v3", 671, 37, 1},
    {"dbrx", 132, 36, 1},
    {"deepseek-v3.2", 671, 37, 1},
    {"dots.llm1", 142, 14, 1},
    {"ernie-4.5-21b-a3b", 21.8, 3, 1},
    {"gemma-4-26b-a4b", 25.2, 3.8, 0.1},
    {"glm-4.5-air", 106, 12, 1},
    {"glm-5.2", 744, 40, 1},
    {"gpt-oss-120b", 116.8, 5.1, 0.1},
    {"gpt-oss-20b", 20.9, 3.6, 0.1},
    {"granite-3.1-3b-a800m", 3.3, 0.8, 0.1},
    {"grok-1", 314, 0, 0},
    {"hunyuan-a13b", 80, 13, 1},
    {"k-exaone-236b-a23b", 236, 23, 1},
    {"lfm2-8b-a1b", 8.3, 1.5, 0.1},
    {"llama-4-maverick", 400, 17, 1},
    {"llama-4-scout", 108, 17, 1},
    {"mimo-v2-flash", 309, 15, 1},
    {"minimax-m2", 230, 10, 1},
    {"mixtral-8x22b", 141, 39, 1},
    {"mixtral-8x7b", 46.7, 12.9, 0.1},
    {"nemotron-3-nano-30b-a3b", 31.6, 3.2, 0.1},
    {"olmoe-1b-7b", 6.9, 1.3, 0.1},
    {"phi-3.5-moe", 42, 6.6, 0.1},
    {"qwen1.5-moe-a2.7b", 14.3, 2.7, 0.1},
    {"qwen3-235b-a22b", 235, 22, 1},
    {"qwen3-30b-a3b", 30.5, 3.3, 0.1},
    {"qwen3-coder-480b-a35b", 480, 35, 1},
    {"qwen3-next-80b-a3b", 80, 3, 1},
    {"qwen3-vl-235b-a22b", 235, 22, 1},
    {"qwen3.5-122b-a10b", 122, 10, 1},
    {"qwen3.5-35b-a3b", 35, 3, 1},
    {"qwen3.5-397b-a17b", 397, 17, 1},
    {"solar-open-100b", 102, 12, 1},
    {"trinity-large", 398, 13, 1},
    {"trinity-mini", 26, 3, 1},
};

START_TEST(published_sizes)
{
    moeq_error err = {0};
    struct mq_view *view;
    struct mq_fit fit;
    struct mq_fit_target target = {0};
    char path[80];
    snprintf(path, sizeof path, "tests/fixtures/configs/%s.json", models[_i].config);
    ck_assert_msg(mq_view_from_config(mq_test_source(path), NULL, &view, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert(mq_fit_target_add_bytes(&target, UINT64_C(80) << 30, 1));
    ck_assert_ok(mq_fit_begin(view, &target, 2048, mq_kv_kind_find("f16"), &fit, &err));
    const double total = (double)fit.parameters / 1e9, active = (double)fit.active_parameters / 1e9;
    const double table = (double)view->hparams.vocab * view->hparams.hidden / 1e9;
    const double ends = table * (view->hparams.tied_head ? 1 : 2);
    ck_assert_msg(fabs(total - models[_i].total) <= 0.01 * models[_i].total, "%s: %.2f billion",
                  models[_i].config, total);
    if (models[_i].step != 0)
        ck_assert_msg(active - ends <= models[_i].active + models[_i].step / 2 &&
                          active >= models[_i].active - models[_i].step / 2,
                      "%s: %.2f to %.2f billion active", models[_i].config, active - ends, active);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, published_sizes, 0, (int)(sizeof models / sizeof *models));
}

int main(void)
{
    return mq_test_main("sizes", add_tests);
}
