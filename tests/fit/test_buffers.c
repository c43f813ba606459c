/*
 * Buffers beside weights and cache, against what public logs of llama.cpp say.
 */
#include "fit_support.h"
#include "file.h"
#include "new_file.h"
#include "recipes.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/*
 * Buffers of one card as llama.cpp logs them ("CUDA0 compute buffer size"), in MiB, and of runs of which a
 * log says it, what of the weights is on the card and on the host. Micro-batches of 512 tokens.
 *
 *     before FlashAttention   issues and discussions of ggml-org/llama.cpp, 2023 to 2025 (the last, of Command
 *                             R's sizes, in pull request 6122: two cards)
 *     logits of all tokens    logs of 2025 and of early 2026: Qwen3-30B-A3B and 235B, gpt-oss; Qwen 2.5 3B in
 *                             SciSharp/LLamaSharp issue 1099, 7B in JamePeng/llama-cpp-python pull request 1, 32B
 *                             in ggml-org/llama.cpp issue 11861; Qwen3-30B-A3B at 32768 (rows split over two
 *                             cards, no pipeline) in issue 13545; gpt-oss 20B at 4096 (Metal) in pull request 17609
 *     of one                  unslothai/unsloth, studio/backend/tests: llama-server b10909 on an RTX 6000 Ada
 */
enum logits { ALL, ONE };
static const struct {
    const char *model; /* a config; or sizes of a model of the family llama, see open_sizes */
    const char *levels, *kv;
    uint32_t cards;
    uint64_t context;
    bool no_flash;
    enum logits logits;
    double buffers, card, host; /* 0: not said */
} logs[] = {
    {"llama-2-7b", "q4_k_m", "f16", 1, 4096, true, ALL, 0, 5869 - 2048, 70.41},
    {"llama-2-7b", "f16", "f16", 1, 512, true, ALL, 70.5, 12603.02, 250.11},
    {"llama-2-13b", "q5_k_m", "f16", 1, 4096, true, ALL, 358, 8694.21, 107.55},
    {"llama-2-70b", "q4_k_m", "f16", 1, 4096, true, ALL, 560, 40643 - 1280, 140.86},
    {"llama-3-8b", "q4_k_m", "f16", 1, 8192, true, ALL, 560, 4403.49, 281.81},
    {"llama-3-70b", "q4_k_s", "f16", 1, 8192, true, ALL, 1104, 18764.46 + 19142.56, 563.65},
    {"8192 22528 40 64 64 256000", "q4_k", "f16", 2, 4096, true, ALL, 672.01, 0, 0},
    {"2048 11008 36 16 2 151936", "q4_k", "f16", 1, 4096, true, ALL, 300.75, 0, 0},
    {"3584 18944 28 28 4 152064", "q4_k", "f16", 1, 2048, true, ALL, 304.0, 0, 0},
    {"5120 27648 64 40 8 152064", "q4_k_m", "f16", 1, 16384, false, ALL, 0, 18508.35, 417.66},
    {"qwen3-30b-a3b", "q4_k", "f16", 1, 32768, false, ALL, 300.75, 0, 0},
    {"gpt-oss-20b", "q4_k", "f16", 1, 4096, false, ALL, 404.0, 0, 0},
    {"qwen3-30b-a3b", "q4_k", "f16", 1, 65536, false, ALL, 300.75, 0, 0},
    {"qwen3-30b-a3b", "q4_k", "q8_0", 1, 32768, false, ALL, 300.75, 0, 0},
    {"qwen3-235b-a22b", "q4_k", "f16", 1, 512, false, ALL, 304.75, 0, 0},
    {"gpt-oss-20b", "q4_k", "f16", 1, 768, false, ALL, 398.38, 0, 0},
    {"2048 8192 16 32 8 128256", "q4_k", "f16", 1, 32768, false, ONE, 92.01, 0, 0},
    {"2048 8192 16 32 8 128256", "q4_k", "f16", 1, 131072, false, ONE, 188.01, 0, 0},
    {"2048 8192 16 32 8 128256", "q4_k", "q8_0", 1, 131072, false, ONE, 400.04, 0, 0},
    {"4096 12288 36 32 8 151936", "q4_k", "f16", 1, 32768, false, ONE, 128.01, 0, 0},
    {"4096 12288 36 32 8 151936", "q4_k", "q8_0", 1, 131072, false, ONE, 672.09, 0, 0},
    {"4096 12288 36 32 8 151936", "q4_k", "f16", 2, 32768, false, ONE, 256.04, 0, 0},
    {"qwen3.5-35b-a3b", "q4_k", "q8_0", 1, 131072, false, ONE, 436.31, 0, 0},
    {"glm-4.7-flash", "q4_k", "f16", 1, 32768, false, ONE, 110.01, 0, 0},
    {"glm-4.7-flash", "q4_k", "q8_0", 1, 131072, false, ONE, 358.9, 0, 0},
};

/* hidden, MLP, layers, heads, of them with keys, vocabulary */
static struct mq_view *open_sizes(const char *sizes)
{
    unsigned n[6];
    char text[400];
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_int_eq(sscanf(sizes, "%u %u %u %u %u %u", n, n + 1, n + 2, n + 3, n + 4, n + 5), 6);
    snprintf(text, sizeof text,
             "{\"model_type\": \"llama\", \"hidden_size\": %u, \"intermediate_size\": %u, "
             "\"num_hidden_layers\": %u, \"num_attention_heads\": %u, \"num_key_value_heads\": %u, "
             "\"vocab_size\": %u, \"max_position_embeddings\": 131072}",
             n[0], n[1], n[2], n[3], n[4], n[5]);
    const char *path = mq_test_temporary("config.json");
    ck_assert_ok(mq_file_replace(path, text, strlen(text), &err));
    ck_assert_msg(mq_view_from_config(path, NULL, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

/* Never below a log by more than 5 %, nor above it by more than 10 % or 24 MiB: builds before July 2025
 * held an MLP's product in place of its gate. */
START_TEST(public_logs)
{
    const char *model = logs[_i].model;
    struct mq_view *view = strchr(model, ' ') ? open_sizes(model) : open_config(model);
    struct mq_fit_target target = target_bytes(UINT64_C(200) << 30, logs[_i].cards);
    struct mq_fit fit;
    moeq_error err = {0};
    target.no_flash_attention = logs[_i].no_flash;
    const moeq_status status =
        mq_fit_begin(view, &target, logs[_i].context, mq_kv_kind_find(logs[_i].kv), &fit, &err);
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    const struct mq_recipe *recipe = mq_recipe_find(logs[_i].levels);
    const struct mq_policy policy =
        recipe ? mq_policy_of_recipe(recipe) : mq_policy_default(mq_level_find(logs[_i].levels));
    ck_assert_ok(mq_fit_add(&fit, logs[_i].levels, &policy, &err));
    const double mib = 0x1p20, card = (double)fit.rows[0].card_weight_bytes / mib,
                 host = (double)fit.rows[0].host_embedding_bytes / mib,
                 buffers = (double)(logs[_i].logits == ALL ? fit.compute_bytes
                                                           : fit.compute_few_logits_bytes) /
                           mib;
    if (logs[_i].card > 0)
        ck_assert_msg(fabs(card / logs[_i].card - 1) < 0.0005 &&
                          fabs(host / logs[_i].host - 1) < 0.002,
                      "%s: %.2f MiB on the card, %.2f on the host", model, card, host);
    if (logs[_i].buffers > 0)
        ck_assert_msg(buffers > 0.95 * logs[_i].buffers &&
                          buffers < fmax(1.1 * logs[_i].buffers, logs[_i].buffers + 24),
                      "%s at %" PRIu64 ": %.2f MiB of buffers, not %.2f", model, logs[_i].context,
                      buffers, logs[_i].buffers);
    mq_view_close(view);
}
END_TEST

/* With FlashAttention the mask grows with the context, 512 numbers of f16 a token; several cards
 * hold four copies each: half a GiB at 131072. */
START_TEST(buffers_grow_with_the_context)
{
    struct mq_view *view = open_config("llama-3-70b");
    struct mq_fit one, two;
    begin(&one, view, "b200", 1, 1024);
    const uint64_t least = one.compute_few_logits_bytes;
    begin(&one, view, "b200", 1, 131072);
    begin(&two, view, "b200", 2, 131072);
    ck_assert_uint_eq(one.compute_few_logits_bytes - least, 130048 * 1024);
    /* and of the hidden states, 8192 numbers in f32 */
    ck_assert_uint_eq(two.compute_few_logits_bytes - one.compute_few_logits_bytes,
                      UINT64_C(131072) * 3 * 1024 + UINT64_C(4) * 512 * 4 * 8192);
    ck_assert_uint_eq(add(&two, "q4_k")->compute_bytes, 2 * two.compute_bytes);
    ck_assert(assumes(&two, "4 copies of it"));
    /* Scores: 64 heads x 512 x 131072 numbers of f32. */
    struct mq_fit_target target = target_of("b200", 1);
    target.no_flash_attention = true;
    begin_target(&two, view, &target, 131072);
    ck_assert_uint_gt(two.compute_bytes, UINT64_C(64) * 512 * 131072 * 4);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, public_logs, 0, (int)(sizeof logs / sizeof *logs));
    tcase_add_test(tests, buffers_grow_with_the_context);
}

int main(void)
{
    return mq_test_main("buffers", add_tests);
}
