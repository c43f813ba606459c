/*
 * A config.json alone as a model: sizes against the published numbers, the plan of the folder that it came
 * from, and what absurd ones cost.
 */
#include "fit_support.h"
#include "file.h"
#include "new_file.h"
#include "stored.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Parameters and payload in bytes as published with the models (totals of their index files); KV
 * bytes a token in f16 by 2 layers kv_heads head_dim 2. */
START_TEST(published_sizes)
{
    static const struct {
        const char *name;
        uint64_t parameters, active, payload, kv_token;
    } models[] = {
        {"mixtral-8x7b", 46702792704, 12879925248, 93405585408, 128 << 10},
        {"mixtral-8x22b", 140620634112, 39152031744, 281241268224, 224 << 10},
        {"mistral-7b-v0.1", 7241732096, 7241732096, 14483464192, 128 << 10},
        {"mistral-7b-v0.3", 7248023552, 7248023552, 14496047104, 128 << 10},
        {"llama-2-13b", 13015864320, 13015864320, 26031728640, 800 << 10},
        {"llama-2-70b", 68976648192, 68976648192, 137953296384, 320 << 10},
        {"llama-3-8b", 8030261248, 8030261248, 16060522496, 128 << 10},
        {"llama-3-70b", 70553706496, 70553706496, 141107412992, 320 << 10},
        {"olmoe-1b-7b", 6919161856, 1282017280, 13838323712, 128 << 10},
        {"qwen3-30b-a3b", 30532122624, 3353032704, 61064245248, 96 << 10},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct mq_view *view = open_config(models[i].name);
        struct mq_fit fit;
        begin(&fit, view, "b200", 1, 2048);
        ck_assert_uint_eq(fit.parameters, models[i].parameters);
        ck_assert_uint_eq(fit.active_parameters, models[i].active);
        ck_assert_uint_eq(fit.kv_token_bytes, models[i].kv_token);
        ck_assert_uint_eq(add(&fit, "bf16")->weight_bytes, models[i].payload);
        mq_view_close(view);
    }
}
END_TEST

static void same_plans(const struct mq_view *a, const struct mq_view *b,
                       const struct mq_policy *policy)
{
    struct mq_plan *p, *q;
    moeq_error err = {0};
    ck_assert_ok(mq_plan_create(a, policy, &p, &err));
    ck_assert_ok(mq_plan_create(b, policy, &q, &err));
    ck_assert_uint_eq(a->tensors_count, b->tensors_count);
    for (size_t i = 0; i < a->tensors_count; i++) {
        ck_assert_str_eq(a->tensors[i].name, b->tensors[i].name);
        ck_assert_uint_eq(p->entries[i].size_bytes, q->entries[i].size_bytes);
        ck_assert_ptr_eq(p->entries[i].level, q->entries[i].level);
        ck_assert_ptr_eq(p->entries[i].source, q->entries[i].source);
    }
    ck_assert_uint_eq(p->total.bytes, q->total.bytes);
    ck_assert_uint_eq(p->total.source_bytes, q->total.source_bytes);
    mq_plan_free(p);
    mq_plan_free(q);
}

/* The plan of a config.json is the plan of the folder that it came from, which is what convert
 * writes: at every level, and with a mix. */
START_TEST(config_alone_equals_folder)
{
    struct mq_view *folder, *config;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &folder, &err));
    ck_assert_ok(
        mq_view_from_config(mq_test_source("demo/model/config.json"), NULL, &config, &err));
    for (size_t i = 0; i < mq_levels_count; i++) {
        if (!mq_level_can_encode(&mq_levels[i]))
            continue;
        const struct mq_policy policy = mq_policy_default(&mq_levels[i]);
        same_plans(folder, config, &policy);
    }
    struct mq_policy mix = mq_policy_default(mq_level_find("q3_k"));
    const struct mq_policy_override overrides[] = {{"*.layers.0.*w2*", mq_level_find("q8_0")}};
    mix.levels[MQ_CLASS_ATTENTION] = mq_level_find("q4_k");
    mix.overrides = overrides;
    mix.overrides_count = 1;
    same_plans(folder, config, &mix);
    mq_view_close(folder);
    mq_view_close(config);
}
END_TEST

START_TEST(config_alone_has_no_rows)
{
    struct mq_view *view = open_config("mixtral-8x7b");
    unsigned char row[8192];
    moeq_error err = {0};
    const struct mq_tensor *t = mq_view_find(view, MQ_ROLE_EXPERT_DOWN, 31, 7);
    ck_assert_uint_eq(view->tensors_count, 995);
    ck_assert_str_eq(t->name, "model.layers.31.block_sparse_moe.experts.7.w2.weight");
    ck_assert_uint_eq(t->rows, 4096);
    ck_assert_uint_eq(t->cols, 14336);
    ck_assert_str_eq(t->storage, "bf16");
    ck_assert_int_eq(
        mq_view_read_rows(view, mq_view_find(view, MQ_ROLE_OUTPUT_NORM, -1, -1), 0, 1, row, &err),
        MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "holds no weights"));
    mq_view_close(view);
}
END_TEST

/* A small llama config with further lines. */
static moeq_status open_changed(const char *extra, struct mq_view **view, moeq_error *err)
{
    char text[1024];
    snprintf(text, sizeof text,
             "{\"model_type\": \"llama\", \"hidden_size\": 64, \"intermediate_size\": 96, "
             "\"num_attention_heads\": 2, \"vocab_size\": 128, %s}",
             extra);
    const char *path = mq_test_temporary("config.json");
    ck_assert_ok(mq_file_replace(path, text, strlen(text), err));
    memset(err, 0, sizeof *err);
    return mq_view_from_config(path, NULL, view, err);
}

/* A fixture's config with quantization_config; an override behind replaces nothing that it has. */
static moeq_status open_quantized(const char *name, const char *quantization, struct mq_view **view,
                                  moeq_error *err)
{
    char path[80];
    struct mq_buffer text, whole = {0};
    snprintf(path, sizeof path, "tests/fixtures/configs/%s.json", name);
    ck_assert_ok(mq_file_read_all(mq_test_source(path), 1 << 20, &text, err));
    size_t n = text.size;
    while (n > 0 && ((const char *)text.data)[n - 1] != '}')
        n--;
    mq_buffer_printf(&whole, "%.*s, \"quantization_config\": {%s}}", (int)n - 1,
                     (const char *)text.data, quantization);
    ck_assert(mq_buffer_ok(&whole));
    const char *copy = mq_test_temporary("quantized.json");
    ck_assert_ok(mq_file_replace(copy, whole.data, whole.size, err));
    mq_buffer_free(&text);
    mq_buffer_free(&whole);
    return mq_view_from_config(copy, NULL, view, err);
}

#define FP8 "\"quant_method\": \"fp8\", \"fmt\": \"e4m3\", \"weight_block_size\": [128, 128]"
#define MXFP4 "\"quant_method\": \"mxfp4\""
#define INT4(more)                                                                                 \
    "\"quant_method\": \"compressed-tensors\", \"format\": \"pack-quantized\", "                   \
    "\"config_groups\": {\"group_0\": {\"targets\": [\"Linear\"], \"weights\": {\"num_bits\": 4, " \
    "\"type\": \"int\", \"strategy\": \"group\", \"group_size\": 32, \"symmetric\": true}}}" more

/* What their makers published: bytes of all tensors (total_size of the index); of DeepSeek-V3 (688.6e9) without the
 * layer that predicts further tokens, of Kimi-K2-Thinking without its tensors of shapes. */
START_TEST(published_quantized)
{
    static const struct {
        const char *name, *quantization;
        double gigabytes, tolerance;
        const char *storage;
        bool gguf;
    } models[] = {
        {"gpt-oss-20b", MXFP4, 13.761264768, 0, "mxfp4", true},
        {"gpt-oss-120b", MXFP4, 65.248815744, 0, "mxfp4", true},
        {"deepseek-v3", FP8, 673.5, 1, "f8_e4m3", false},
        {"kimi-k2",
         INT4(", \"ignore\": [\"lm_head\", \"re:.*self_attn.*\", \"re:.*shared_experts.*\", "
              "\"re:.*mlp\\\\.(gate|up|gate_up|down)_proj.*\"]"),
         594.2, 0.1, "i4_32", false},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct mq_fit_target target = target_of("h200", 8);
        const struct mq_policy none = {0};
        struct mq_view *view;
        struct mq_fit fit;
        moeq_error err = {0};
        ck_assert_ok(open_quantized(models[i].name, models[i].quantization, &view, &err));
        ck_assert_uint_eq(view->notes_count, 0);
        target.runtime = mq_runtime_find("vllm");
        begin_target(&fit, view, &target, 2048);
        ck_assert_ok(mq_fit_add_usual(&fit, &none, &err));
        ck_assert_str_eq(fit.rows[0].name, "as stored");
        for (size_t k = 1; k < fit.rows_count; k++)
            ck_assert(fit.rows[k].requantized);
        ck_assert_double_eq_tol((double)fit.rows[0].weight_bytes / 1e9, models[i].gigabytes,
                                models[i].tolerance + 1e-10);
        ck_assert_int_eq(mq_fit_choose(&fit).take, 0);
        /* llama.cpp: what GGUF has a type for; nothing larger is offered then. */
        target.runtime = NULL;
        begin_target(&fit, view, &target, 2048);
        ck_assert_ok(mq_fit_add_usual(&fit, &none, &err));
        ck_assert_str_eq(fit.rows[0].name, models[i].gguf ? "as stored" : "bf16");
        ck_assert(assumes(&fit, models[i].gguf ? "as its makers quantized it" : models[i].storage));
        ck_assert(!models[i].gguf == assumes(&fit, "of which GGUF has no type"));
        if (models[i].gguf)
            ck_assert_int_eq(mq_fit_choose(&fit).take, 0);
        mq_view_close(view);
    }
}
END_TEST

/* A config.json alone says of every matrix what its folder does. */
START_TEST(quantized_equals_folder)
{
    static const char *const names[] = {"deepseek_v3_fp8", "gpt_oss_mxfp4", "kimi_k2_int4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[120];
        struct mq_view *folder, *config;
        moeq_error err = {0};
        size_t quantized = 0;
        snprintf(path, sizeof path, "tests/fixtures/families/%s", names[i]);
        ck_assert_ok(mq_model_open(mq_test_source(path), &folder, &err));
        snprintf(path, sizeof path, "tests/fixtures/families/%s/config.json", names[i]);
        ck_assert_ok(mq_view_from_config(mq_test_source(path), NULL, &config, &err));
        ck_assert_uint_eq(folder->tensors_count, config->tensors_count);
        for (size_t k = 0; k < folder->tensors_count; k++) {
            const struct mq_tensor *a = &folder->tensors[k], *b = &config->tensors[k];
            const struct mq_level *level;
            ck_assert_ok(mq_tensor_stored(folder, a, &level, &err));
            if (mq_view_class(folder, a->role) == MQ_CLASS_KEEP) /* in f32 here and there */
                continue;
            quantized += level->quantized;
            ck_assert_str_eq(a->storage, b->storage);
            ck_assert_uint_eq(a->row_bytes, b->row_bytes);
            ck_assert_uint_eq(mq_tensor_stored_bytes(a), mq_tensor_stored_bytes(b));
        }
        ck_assert_uint_gt(quantized, 10);
        mq_view_close(folder);
        mq_view_close(config);
    }
}
END_TEST

/* What the lists leave out, in the ways in which they name modules. */
START_TEST(modules_left_plain)
{
    static const struct {
        const char *quantization;
        bool query, down, notes;
    } cases[] = {
        {FP8, true, true, false},
        {FP8 ", \"modules_to_not_convert\": [\"self_attn\"]", false, true, false},
        {FP8 ", \"modules_to_not_convert\": [\"model.layers.*.self_attn\"]", false, true, false},
        {FP8 ", \"modules_to_not_convert\": [\"self\", \"q_pro\", \"model.layer\"]", true, true,
         false},
        {FP8 ", \"modules_to_not_convert\": [\"q_proj\", \"mlp.down_proj\"]", false, false, false},
        {INT4(", \"ignore\": [\"re:.*(q|k)_proj$\"]"), false, true, false},
        {INT4(", \"ignore\": [\"re:model\\\\.layers\\\\.\\\\d+\\\\.mlp.*\"]"), true, false, false},
        {INT4(", \"ignore\": [\"re:.*[qk]_proj\"]"), true, true, true},
        {INT4(", \"ignore\": [\"re:(\", \"re:(((\", \"re:)(\", 7, \"\"]"), true, true, true},
        {MXFP4, false, false, false}, /* of experts alone */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_view *view;
        moeq_error err = {0};
        ck_assert_ok(open_quantized("llama-3-8b", cases[i].quantization, &view, &err));
        const bool query = mq_view_find(view, MQ_ROLE_ATTN_Q, 1, -1)->assembly,
                   down = mq_view_find(view, MQ_ROLE_MLP_DOWN, 1, -1)->assembly;
        ck_assert_msg(query == cases[i].query && down == cases[i].down, "%s",
                      cases[i].quantization);
        ck_assert_msg((view->notes_count > 0) == cases[i].notes, "%s", cases[i].quantization);
        ck_assert_str_eq(mq_view_find(view, MQ_ROLE_HEAD, -1, -1)->storage, "bf16");
        mq_view_close(view);
    }
}
END_TEST

START_TEST(dtypes)
{
    static const struct {
        const char *line, *storage;
    } cases[] = {
        {"\"num_hidden_layers\": 1", "bf16"},
        {"\"num_hidden_layers\": 1, \"torch_dtype\": \"float32\"", "f32"},
        {"\"num_hidden_layers\": 1, \"dtype\": \"float16\"", "f16"},
        {"\"num_hidden_layers\": 1, \"torch_dtype\": null", "bf16"},
        {"\"num_hidden_layers\": 1, \"torch_dtype\": \"float8_e4m3fn\"", NULL},
        {"\"num_hidden_layers\": 1, \"torch_dtype\": 16", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_view *view;
        moeq_error err = {0};
        const moeq_status status = open_changed(cases[i].line, &view, &err);
        ck_assert_int_eq(status, cases[i].storage ? MOEQ_OK : MOEQ_UNSUPPORTED);
        if (cases[i].storage)
            ck_assert_str_eq(view->tensors[0].storage, cases[i].storage);
        mq_view_close(view);
    }
}
END_TEST

/* A few bytes that ask for a table of terabytes. */
START_TEST(absurd_configs)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_int_eq(open_changed("\"num_hidden_layers\": 16777216", &view, &err), MOEQ_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.message, "more than 262144 tensors"));
    ck_assert_ptr_null(view);
    memset(&err, 0, sizeof err);
    const char *huge = "{\"model_type\": \"llama\", \"hidden_size\": 16777216, "
                       "\"intermediate_size\": 16777216, \"num_attention_heads\": 16777216, "
                       "\"head_dim\": 1024, \"vocab_size\": 16777216, \"num_hidden_layers\": 1}";
    const char *path = mq_test_temporary("huge.json");
    ck_assert_ok(mq_file_replace(path, huge, strlen(huge), &err));
    ck_assert_int_eq(mq_view_from_config(path, NULL, &view, &err), MOEQ_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.message, "no model has one so large"));
}
END_TEST

/* A few bytes that ask for as many tensors as a view may have: as little is done as can be. */
START_TEST(amplification)
{
    struct mq_view *view;
    moeq_error err = {0};
    const char *many = "{\"model_type\": \"mixtral\", \"hidden_size\": 256, "
                       "\"intermediate_size\": 256, \"num_attention_heads\": 4, "
                       "\"num_key_value_heads\": 2, \"num_hidden_layers\": 1, "
                       "\"num_local_experts\": 65535, \"num_experts_per_tok\": 2, "
                       "\"vocab_size\": 2048}";
    const char *path = mq_test_temporary("many.json");
    ck_assert_ok(mq_file_replace(path, many, strlen(many), &err));
    ck_assert_ok(mq_view_from_config(path, NULL, &view, &err));
    const struct mq_policy policy = mq_policy_default(mq_level_find("q4_k"));
    struct mq_plan *plan;
    ck_assert_ok(mq_plan_create_sizes(view, &policy, &plan, &err));
    /* No header of the 196,000 tensors, only their sizes: those of the whole plan. */
    ck_assert_uint_eq(plan->files_count, 0);
    ck_assert_uint_eq(plan->by_class[MQ_CLASS_EXPERTS].bytes, UINT64_C(65535) * 3 * 256 * 144);
    mq_plan_free(plan);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, published_sizes);
    tcase_add_test(tests, config_alone_equals_folder);
    tcase_add_test(tests, config_alone_has_no_rows);
    tcase_add_test(tests, published_quantized);
    tcase_add_test(tests, quantized_equals_folder);
    tcase_add_test(tests, modules_left_plain);
    tcase_add_test(tests, dtypes);
    tcase_add_test(tests, absurd_configs);
    tcase_add_test(tests, amplification);
}

int main(void)
{
    return mq_test_main("config_view", add_tests);
}
