/*
 * What the KV cache and states of a model hold: windows, layers that differ, latents; and what of a model a
 * token uses.
 */
#include "fit_support.h"
#include "recipes.h"
#include "stored.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* llama.cpp keeps the whole context of the architecture llama: that is what counts, and what it
 * would be with a window is said. */
START_TEST(sliding_window)
{
    struct mq_view *view = open_config("mistral-7b-v0.1");
    struct mq_fit fit;
    begin(&fit, view, "4090", 1, 32768);
    const struct mq_fit_row *r = add(&fit, "q8_0");
    ck_assert_uint_eq(r->kv_bytes, UINT64_C(32768) * (128 << 10));
    ck_assert_uint_eq(r->max_context, 32768);
    ck_assert(assumes(&fit, "sliding window of 4096 tokens would need 0.50 GiB instead of 4.00"));
    cJSON *json = mq_fit_json(&fit), *cache = cJSON_GetObjectItem(json, "kv_cache");
    ck_assert_double_eq(cJSON_GetObjectItem(cache, "cached_tokens")->valuedouble, 32768);
    ck_assert_double_eq(cJSON_GetObjectItem(cache, "window_bytes")->valuedouble, 0x1p29);
    cJSON_Delete(json);
    /* 8 GiB: 4 of cache, and 4 bits do not fit beside them. */
    const struct mq_fit_target target = target_bytes(UINT64_C(8) << 30, 1);
    begin_target(&fit, view, &target, 32768);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_SHORTER);
    begin_target(&fit, view, &target, 4096);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_FITS);
    ck_assert(!assumes(&fit, "window"));
    mq_view_close(view);
}
END_TEST

/* Mistral 7B's 32 layers made of three kinds: of every four two with a window of 1024, one that sees
 * all, and one that is recurrent. */
START_TEST(layers_that_differ)
{
    enum { LAYERS = 32, WINDOW = 1024, CONTEXT = 32768 };
    static struct mq_program kinds[3];
    const struct mq_program *layers[LAYERS];
    struct mq_view *view = open_config("mistral-7b-v0.1");
    const struct mq_model_program *whole = view->program;
    for (int i = 0; i < 3; i++)
        kinds[i] = *whole->layers[0];
    kinds[0].layer.attention.window = WINDOW;
    kinds[1].layer.attention.window = 0;
    kinds[2].layer.attention = (struct mq_layer_attention){.kind = MQ_MIXER_DELTA,
                                                           .heads = 32,
                                                           .kv_heads = 16,
                                                           .head_dim = 128,
                                                           .value_dim = 128,
                                                           .taps = 4};
    for (int i = 0; i < LAYERS; i++)
        layers[i] = &kinds[i % 4 < 2 ? 0 : i % 4 - 1];
    const struct mq_model_program mixed = {.ends = whole->ends,
                                           .begin = whole->begin,
                                           .end = whole->end,
                                           .layers = layers,
                                           .kinds = kinds,
                                           .kinds_count = 3};
    view->program = &mixed;
    struct mq_fit fit;
    begin(&fit, view, "4090", 1, CONTEXT);
    const struct mq_fit_row *r = add(&fit, "q4_k");
    const uint64_t token = UINT64_C(4) << 10; /* 2 x 8 heads of 128 in f16 */
    /* 1024 and a micro-batch of 512, in cells of 256 */
    const uint64_t kv = 8 * token * CONTEXT + 16 * token * 1536;
    /* Qwen3-Next's: 32 heads of 128 x 128, and three tokens of 2 x 16 x 128 + 32 x 128 channels */
    const uint64_t state = 8 * 4 * (32 * 128 * 128 + 3 * 8192);
    ck_assert_uint_eq(fit.kv_token_bytes, 24 * token);
    ck_assert_uint_eq(fit.window_token_bytes, 16 * token);
    ck_assert_uint_eq(r->kv_bytes, kv);
    ck_assert_uint_eq(r->state_bytes, state);
    ck_assert_uint_eq(r->needed_bytes,
                      r->card_weight_bytes + kv + state + r->compute_bytes + r->margin_bytes);
    ck_assert(assumes(&fit, "layers with a window keep its tokens and 512 more"));
    ck_assert(assumes(&fit, "recurrent layers keep a state"));
    ck_assert(!assumes(&fit, "holds the whole context"));
    cJSON *json = mq_fit_json(&fit), *cache = cJSON_GetObjectItem(json, "kv_cache");
    ck_assert_double_eq(cJSON_GetObjectItem(cache, "state_bytes")->valuedouble, (double)state);
    ck_assert_double_eq(cJSON_GetObjectItem(cache, "window_bytes")->valuedouble, (double)kv);
    cJSON_Delete(json);
    /* less than the window: all of it */
    begin(&fit, view, "4090", 1, 512);
    ck_assert_uint_eq(add(&fit, "q4_k")->kv_bytes, 24 * token * 512);
    view->program = whole;
    mq_view_close(view);
}
END_TEST

static struct mq_view *open_glm(const char *sizes)
{
    const char *path = mq_test_temporary("glm.json");
    struct mq_view *view;
    moeq_error err = {0};
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fprintf(
        f,
        "{\"model_type\": \"glm4_moe\", \"num_attention_heads\": 96, \"num_key_value_heads\": 8, "
        "\"head_dim\": 128, \"partial_rotary_factor\": 0.5, \"n_shared_experts\": 1, "
        "\"num_experts_per_tok\": 8, \"n_group\": 1, \"topk_group\": 1, \"norm_topk_prob\": true, "
        "\"attention_bias\": true, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-5, "
        "\"rope_theta\": 1000000, \"max_position_embeddings\": 131072, "
        "\"tie_word_embeddings\": false, \"vocab_size\": 151552, "
        "\"num_nextn_predict_layers\": 1, %s}",
        sizes);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_msg(mq_view_from_config(path, NULL, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

/* GLM-4.5 and 4.5-Air: 32 and 12 billion active, as the report counts them (arXiv 2508.06471, table 1:
 * without embeddings and head), with shared experts and dense layers and without the MTP layer. */
START_TEST(active_parameters_beside_shared_experts)
{
    static const struct {
        const char *sizes;
        double total, active;
        uint64_t hidden;
    } models[] = {
        {"\"hidden_size\": 5120, \"num_hidden_layers\": 92, \"first_k_dense_replace\": 3, "
         "\"intermediate_size\": 12288, \"moe_intermediate_size\": 1536, "
         "\"n_routed_experts\": 160, \"routed_scaling_factor\": 2.5, \"use_qk_norm\": true",
         353, 32, 5120},
        {"\"hidden_size\": 4096, \"num_hidden_layers\": 46, \"first_k_dense_replace\": 1, "
         "\"intermediate_size\": 10944, \"moe_intermediate_size\": 1408, "
         "\"n_routed_experts\": 128, \"routed_scaling_factor\": 1.0, \"use_qk_norm\": false",
         107, 12, 4096},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct mq_view *view = open_glm(models[i].sizes);
        struct mq_fit fit;
        begin(&fit, view, "b200", 1, 2048);
        const uint64_t ends = 2 * models[i].hidden * 151552;
        ck_assert_double_eq(round((double)fit.parameters / 1e9), models[i].total);
        ck_assert_double_eq(round((double)(fit.active_parameters - ends) / 1e9), models[i].active);
        mq_view_close(view);
    }
}
END_TEST

/* Models of latent attention: parameters as published, in billions, without the layers that guess further
 * tokens, and vision towers (of Mistral Large 3's 675 the text has 673); active
 * ones without the embedding table, which is looked up in; and of every layer kv_lora_rank +
 * qk_rope_head_dim numbers a token in the cache. */
START_TEST(latent_models)
{
    static const struct {
        const char *name;
        double parameters, active;
        uint64_t table, kv_token;
    } models[] = {
        {"deepseek-v2-lite", 15.7, 2.4, UINT64_C(2048) * 102400, 27 * 576 * 2},
        {"deepseek-v2", 235.7, 20.9, UINT64_C(5120) * 102400, 60 * 576 * 2},
        {"deepseek-v3", 671.0, 36.6, UINT64_C(7168) * 129280, 61 * 576 * 2},
        {"kimi-k2", 1026.4, 31.7, UINT64_C(7168) * 163840, 61 * 576 * 2},
        {"glm-4.7-flash", 29.9, 3.6, UINT64_C(2048) * 154880, 47 * 576 * 2},
        {"glm-5", 743.9, 40.8, UINT64_C(6144) * 154880, 78 * 576 * 2},
        {"mistral-large-3", 673.4, 39.0, UINT64_C(7168) * 131072, 61 * 576 * 2},
        {"mistral-small-4", 119.0, 6.1, UINT64_C(4096) * 131072, 36 * 320 * 2},
        {"ministral-3-8b", 8.5, 8.0, UINT64_C(4096) * 131072, 34 * 2 * 8 * 128 * 2},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct mq_view *view = open_config(models[i].name);
        struct mq_fit fit;
        begin(&fit, view, "b200", 8, 8192);
        const double all = (double)fit.parameters / 1e9;
        const double active = (double)(fit.active_parameters - models[i].table) / 1e9;
        ck_assert_double_le(fabs(all - models[i].parameters), 0.05);
        ck_assert_double_le(fabs(active - models[i].active), 0.06);
        ck_assert_uint_eq(fit.kv_token_bytes, models[i].kv_token);
        ck_assert_uint_eq(add(&fit, "bf16")->kv_bytes, models[i].kv_token * 8192);
        mq_view_close(view);
    }
}
END_TEST

/* Latent attention: of DeepSeek-V3's 61 layers 512 + 64 numbers a token, whatever the heads. */
START_TEST(latents_are_cached)
{
    static struct mq_program kind;
    const struct mq_program *layers[32];
    struct mq_view *view = open_config("mistral-7b-v0.1");
    const struct mq_model_program *whole = view->program;
    kind = *whole->layers[0];
    kind.layer.attention = (struct mq_layer_attention){.kind = MQ_MIXER_LATENT,
                                                       .heads = 128,
                                                       .kv_heads = 128,
                                                       .head_dim = 192,
                                                       .value_dim = 128,
                                                       .rotary_dim = 64,
                                                       .q_rank = 1536,
                                                       .kv_rank = 512};
    for (int i = 0; i < 32; i++)
        layers[i] = &kind;
    const struct mq_model_program latent = {.layers = layers, .kinds = &kind, .kinds_count = 1};
    view->program = &latent;
    struct mq_fit fit;
    begin(&fit, view, "4090", 1, 4096);
    ck_assert_uint_eq(fit.kv_token_bytes, 32 * 576 * 2);
    ck_assert_uint_eq(fit.state_bytes, 0);
    view->program = whole;
    mq_view_close(view);
}
END_TEST

/* Mixtral: 2 x 32 x 8 x 128 numbers a token. */
START_TEST(kinds_of_cache)
{
    static const struct {
        const char *name;
        uint64_t bytes; /* of 32 numbers: ggml-common.h */
    } kinds[] = {{"f32", 128}, {"f16", 64},  {"bf16", 64}, {"q8_0", 34},  {"q5_1", 24},
                 {"q5_0", 22}, {"q4_1", 20}, {"Q4_0", 18}, {"iq4_nl", 18}};
    struct mq_view *view = open_config("mixtral-8x7b");
    struct mq_fit fit;
    moeq_error err = {0};
    struct mq_fit_target target = target_of("4090", 1);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        ck_assert_ok(mq_fit_begin(view, &target, 0, mq_kv_kind_find(kinds[i].name), &fit, &err));
        ck_assert_uint_eq(fit.context, 8192);
        ck_assert_uint_eq(fit.kv_token_bytes, 2 * 32 * 8 * 128 / 32 * kinds[i].bytes);
    }
    ck_assert_ptr_null(mq_kv_kind_find("q3_k"));
    ck_assert_int_eq(mq_fit_begin(view, &target, 0, mq_kv_kind_find("fp8"), &fit, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "q4_0, iq4_nl or f32"));
    memset(&err, 0, sizeof err);
    target.no_flash_attention = true;
    ck_assert_int_eq(mq_fit_begin(view, &target, 0, mq_kv_kind_find("q4_0"), &fit, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "needs FlashAttention"));
    mq_view_close(view);
}
END_TEST

/* "KV buffer size" of llama.cpp's logs of layers that differ, in MiB: those that see all, and those with a
 * window, in cells of 256. */
START_TEST(logs_of_windows)
{
    static const struct {
        const char *model, *kv;
        uint64_t context;
        double all, windowed;
    } logs[] = {
        {"gpt-oss-20b", "f16", 131072, 3072, 18},             /* 12 and 12 layers, 768 cells */
        {"gemma-4-26b-a4b", "q8_0", 262144, 2720, 159.375}, /* 5 and 25 layers, 1536 cells */
        {"qwen3-30b-a3b", "q8_0", 32768, 1632, 0},
        {"qwen3-30b-a3b", "f16", 65536, 6144, 0},
    };
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        struct mq_view *view = open_config(logs[i].model);
        const struct mq_fit_target target = target_of("b200", 1);
        struct mq_fit fit;
        moeq_error err = {0};
        ck_assert_ok(mq_fit_begin(view, &target, logs[i].context, mq_kv_kind_find(logs[i].kv), &fit,
                                  &err));
        ck_assert_double_eq((double)mq_fit_kv_bytes(&fit, logs[i].context) / 0x1p20,
                            logs[i].all + logs[i].windowed);
        mq_view_close(view);
    }
}
END_TEST

/* Caches are made of cells of 256 tokens; vLLM's keep a window where llama.cpp keeps all. */
START_TEST(cells)
{
    struct mq_view *view = open_config("mistral-7b-v0.1");
    struct mq_fit_target target = target_of("4090", 1);
    struct mq_fit fit;
    moeq_error err = {0};
    begin_target(&fit, view, &target, 1000);
    ck_assert_uint_eq(mq_fit_kv_bytes(&fit, 1000), UINT64_C(1024) << 17);
    target.runtime = mq_runtime_find("vllm");
    ck_assert_ok(mq_fit_begin(view, &target, 32768, mq_kv_kind_find("f16"), &fit, &err));
    ck_assert_uint_eq(mq_fit_kv_bytes(&fit, 1000), UINT64_C(1008) << 17);
    ck_assert_uint_eq(mq_fit_kv_bytes(&fit, 32768), UINT64_C(6144) << 17);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, sliding_window);
    tcase_add_test(tests, layers_that_differ);
    tcase_add_test(tests, active_parameters_beside_shared_experts);
    tcase_add_test(tests, latent_models);
    tcase_add_test(tests, latents_are_cached);
    tcase_add_test(tests, kinds_of_cache);
    tcase_add_test(tests, logs_of_windows);
    tcase_add_test(tests, cells);
}

int main(void)
{
    return mq_test_main("cache", add_tests);
}
