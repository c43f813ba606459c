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
    tcase_add_test(tests, dtypes);
    tcase_add_test(tests, absurd_configs);
    tcase_add_test(tests, amplification);
}

int main(void)
{
    return mq_test_main("config_view", add_tests);
}
