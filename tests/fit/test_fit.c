/*
 * What fit says of published models, from their config.json alone: sizes against the published
 * numbers, verdicts for common cards, and claims that go around about Mixtral.
 */
#include "new_file.h"
#include "stored.h"
#include "test_support.h"
#include "file.h"
#include "fit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct mq_view *open_config(const char *name)
{
    char path[64];
    struct mq_view *view;
    moeq_error err = {0};
    snprintf(path, sizeof path, "tests/fixtures/configs/%s.json", name);
    const moeq_status status = mq_view_from_config(mq_test_source(path), NULL, &view, &err);
    ck_assert_msg(status == MOEQ_OK, "%s", err.message);
    return view;
}

static struct mq_fit_target target_of(const char *name, uint32_t cards)
{
    struct mq_gpu_search s;
    struct mq_fit_target target = {0};
    ck_assert_msg(mq_gpu_search(name, &s), "%s", name);
    ck_assert(mq_fit_target_add(&target, s.gpu, (uint64_t)s.memory_gb << 30, cards));
    return target;
}

static struct mq_fit_target target_bytes(uint64_t bytes, uint32_t cards)
{
    struct mq_fit_target target = {0};
    ck_assert(mq_fit_target_add_bytes(&target, bytes, cards));
    return target;
}

static void begin_target(struct mq_fit *fit, const struct mq_view *view,
                         const struct mq_fit_target *target, uint64_t context)
{
    moeq_error err = {0};
    ck_assert_ok(mq_fit_begin(view, target, context, mq_level_find("f16"), fit, &err));
}

static void begin(struct mq_fit *fit, const struct mq_view *view, const char *card, uint32_t cards,
                  uint64_t context)
{
    const struct mq_fit_target target = target_of(card, cards);
    begin_target(fit, view, &target, context);
}

static bool assumes(const struct mq_fit *fit, const char *words)
{
    char text[MQ_FIT_ASSUMPTIONS][MQ_FIT_SENTENCE];
    mq_fit_assumptions(fit, text);
    for (int i = 0; i < MQ_FIT_ASSUMPTIONS; i++)
        if (strstr(text[i], words))
            return true;
    return false;
}

static const struct mq_fit_row *add(struct mq_fit *fit, const char *level)
{
    moeq_error err = {0};
    const struct mq_policy policy = mq_policy_default(mq_level_find(level));
    ck_assert_ok(mq_fit_add(fit, level, &policy, &err));
    return &fit->rows[fit->rows_count - 1];
}

/* ---- sizes ---- */

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

/* ---- claims about Mixtral ---- */

START_TEST(claims)
{
    const double gib = 0x1p30;
    struct mq_view *view = open_config("mixtral-8x7b");
    struct mq_fit fit;

    /* "8x7B in fp16 needs about 95 GB": weights, cache and buffers do. */
    begin(&fit, view, "a100-80", 1, 8192);
    const struct mq_fit_row *r = add(&fit, "bf16");
    ck_assert_double_eq_tol((double)r->needed_bytes, 95e9, 1e9);
    ck_assert_int_eq(r->verdict, MQ_FIT_OFFLOAD);

    /* KV: 256 MiB at 2048 tokens. */
    begin(&fit, view, "4090", 1, 2048);
    r = add(&fit, "q4_k");
    ck_assert_uint_eq(r->kv_bytes, 256 << 20);

    /* "8x7B at 4 bits fits in 24 to 26 GB": the weights alone are 25.2 GiB, more than a 24 GB card
     * has, with attention and embeddings at 4 bits too. */
    ck_assert_double_eq_tol((double)r->weight_bytes / gib, 25.215, 0.001);
    ck_assert_int_eq(r->verdict, MQ_FIT_OFFLOAD);
    struct mq_policy all_q4 = mq_policy_default(mq_level_find("q4_k"));
    all_q4.levels[MQ_CLASS_ATTENTION] = all_q4.levels[MQ_CLASS_EMBEDDINGS] = mq_level_find("q4_k");
    moeq_error err = {0};
    ck_assert_ok(mq_fit_add(&fit, "all q4_k", &all_q4, &err));
    r = &fit.rows[1];
    ck_assert_double_eq_tol((double)r->weight_bytes / gib, 24.5, 0.05);
    ck_assert_int_eq(r->verdict, MQ_FIT_OFFLOAD);
    /* 32000 rows of 16 blocks of 144 B: 70.3 MiB, which llama.cpp too keeps on the host. */
    ck_assert_uint_eq(r->host_embedding_bytes, 32000 * 16 * 144);
    ck_assert_int_eq(add(&fit, "q3_k")->verdict, MQ_FIT_FITS);

    /* "A 32 GB machine runs 8x7B at 3 or 4 bits": with all 32 GiB, yes; 75 % of unified memory
     * holds 3 bits only. */
    struct mq_fit_target target = target_bytes(UINT64_C(32) << 30, 1);
    begin_target(&fit, view, &target, 8192);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_FITS);
    ck_assert_int_eq(add(&fit, "q3_k")->verdict, MQ_FIT_FITS);
    target = target_bytes(UINT64_C(24) << 30, 1);
    target.unified = true;
    begin_target(&fit, view, &target, 8192);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_NO);
    ck_assert_int_eq(add(&fit, "q3_k")->verdict, MQ_FIT_FITS);
    mq_view_close(view);

    /* "8x22B at 4 bits needs about 45 GB": about 80. */
    view = open_config("mixtral-8x22b");
    begin(&fit, view, "a6000", 1, 2048);
    r = add(&fit, "q4_k");
    ck_assert_double_eq_tol((double)r->weight_bytes, 80e9, 3e9);
    ck_assert_int_eq(r->verdict, MQ_FIT_OFFLOAD);
    ck_assert_double_gt((double)r->experts.bytes, 30e9);
    begin(&fit, view, "a100-80", 1, 2048);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_FITS);
    mq_view_close(view);
}
END_TEST

/* ---- verdicts ---- */

/* The largest level that fits with 4096 tokens on cards of 12, 16, 24, 48 and 80 GB: from the
 * closed form of the sizes, computed apart from this code. */
START_TEST(verdicts)
{
    static const char *const cards[] = {"3060", "4080 super", "4090", "a6000", "a100-80"};
    static const char *const levels[] = {"bf16", "q8_0", "q4_k", "q3_k"};
    static const struct {
        const char *model;
        uint64_t bytes[4]; /* of weights, by level */
        const char *best[5];
    } rows[] = {
        {"mixtral-8x7b",
         {93405585408, 49622949888, 27074371584, 21084905472},
         {NULL, NULL, "q3_k", "q4_k", "q8_0"}},
        {"mixtral-8x22b",
         {281241268224, 149412655104, 81766920192, 63798521856},
         {NULL, NULL, NULL, NULL, "q4_k"}},
        {"mistral-7b-v0.1",
         {14483464192, 7694589952, 4876017664, 4127334400},
         {"q8_0", "bf16", "bf16", "bf16", "bf16"}},
        {"mistral-7b-v0.3",
         {14496047104, 7701274624, 4882702336, 4134019072},
         {"q8_0", "bf16", "bf16", "bf16", "bf16"}},
        {"llama-2-13b",
         {26031728640, 13829744640, 9583011840, 8454973440},
         {NULL, "q4_k", "q8_0", "bf16", "bf16"}},
        {"llama-2-70b",
         {137953296384, 73288925184, 45103202304, 37616369664},
         {NULL, NULL, NULL, "q4_k", "q8_0"}},
        {"llama-3-8b",
         {16060522496, 8532402176, 5713829888, 4965146624},
         {"q8_0", "q8_0", "bf16", "bf16", "bf16"}},
        {"llama-3-70b",
         {141107412992, 74964549632, 46778826752, 39291994112},
         {NULL, NULL, NULL, "q4_k", "q8_0"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mq_view *view = open_config(rows[i].model);
        for (size_t c = 0; c < 5; c++) {
            struct mq_fit fit;
            begin(&fit, view, cards[c], 1, 4096);
            for (size_t l = 0; l < 4; l++)
                ck_assert_uint_eq(add(&fit, levels[l])->weight_bytes, rows[i].bytes[l]);
            const int best = mq_fit_best(&fit);
            ck_assert_msg((best < 0) == !rows[i].best[c], "%s on %s", rows[i].model, cards[c]);
            if (best >= 0)
                ck_assert_str_eq(fit.rows[best].name, rows[i].best[c]);
        }
        mq_view_close(view);
    }
}
END_TEST

/* What the verdict promises holds, and one step further does not. */
START_TEST(promises_are_tight)
{
    struct mq_view *view = open_config("llama-2-13b");
    struct mq_fit fit;
    begin(&fit, view, "3060", 1, 4096);
    const struct mq_fit_row shorter = *add(&fit, "q4_k");
    ck_assert_int_eq(shorter.verdict, MQ_FIT_SHORTER);
    begin(&fit, view, "3060", 1, shorter.max_context);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_FITS);
    ck_assert_int_ge(fit.rows[0].spare_bytes, 0);
    /* A token more: its keys and values, and its column of the mask, 512 numbers of f16. */
    ck_assert_int_lt(fit.rows[0].spare_bytes, (int64_t)fit.kv_token_bytes + 1024);
    begin(&fit, view, "3060", 1, shorter.max_context + 1);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_SHORTER);
    ck_assert_int_lt(fit.rows[0].spare_bytes, 0);
    mq_view_close(view);

    view = open_config("mixtral-8x7b");
    begin(&fit, view, "4090", 1, 8192);
    const struct mq_fit_row *r = add(&fit, "q4_k");
    /* One layer's experts at q4_k: 8 x 3 x 4096 x 14336 weights of 4.5 bits. */
    const uint64_t experts = UINT64_C(8) * 3 * 4096 * 14336 / 256 * 144;
    ck_assert_int_eq(r->verdict, MQ_FIT_OFFLOAD);
    ck_assert_uint_eq(r->experts.bytes, r->experts.layers * experts);
    ck_assert_uint_eq(r->experts.active_bytes, r->experts.bytes / 4);
    ck_assert_int_ge(r->spare_bytes + (int64_t)r->experts.bytes, 0);
    ck_assert_int_lt(r->spare_bytes + (int64_t)(r->experts.bytes - experts), 0);
    ck_assert(r->layers.possible && r->layers.bytes > 0);
    mq_view_close(view);
}
END_TEST

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
    ck_assert_uint_eq(r->needed_bytes, r->card_weight_bytes + kv + state + r->compute_bytes +
                                           r->margin_bytes);
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
    fprintf(f,
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

/* What llama.cpp's public logs say of runs without FlashAttention: weights on the card and on the
 * host, and compute buffers (0: not said), in MiB. */
START_TEST(public_logs)
{
    static const struct {
        const char *model, *levels;
        uint64_t context;
        double card, host, compute;
    } logs[] = {
        {"llama-2-7b", "q4_k_m", 4096, 5869 - 2048, 70.41, 0},
        {"llama-2-7b", "f16", 512, 12603.02, 250.11, 70.5},
        {"llama-2-13b", "q5_k_m", 4096, 8694.21, 107.55, 358},
        {"llama-2-70b", "q4_k_m", 4096, 40643 - 1280, 140.86, 560},
        {"llama-3-8b", "q4_k_m", 8192, 4403.49, 281.81, 560},
        {"llama-3-70b", "q4_k_s", 8192, 18764.46 + 19142.56, 563.65, 1104},
    };
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        struct mq_view *view = open_config(logs[i].model);
        struct mq_fit_target target = target_bytes(UINT64_C(200) << 30, 1);
        struct mq_fit fit;
        moeq_error err = {0};
        target.no_flash_attention = true;
        begin_target(&fit, view, &target, logs[i].context);
        const struct mq_recipe *recipe = mq_recipe_find(logs[i].levels);
        const struct mq_policy policy =
            recipe ? mq_policy_of_recipe(recipe) : mq_policy_default(mq_level_find(logs[i].levels));
        ck_assert_ok(mq_fit_add(&fit, logs[i].levels, &policy, &err));
        const struct mq_fit_row *r = &fit.rows[0];
        const double mib = 0x1p20, card = (double)r->card_weight_bytes / mib,
                     host = (double)r->host_embedding_bytes / mib,
                     compute = (double)r->compute_bytes / mib;
        ck_assert_msg(fabs(card / logs[i].card - 1) < 0.0005, "%s %s: %.2f MiB on the card",
                      logs[i].model, logs[i].levels, card);
        ck_assert_msg(fabs(host / logs[i].host - 1) < 0.002, "%s: %.2f MiB on the host",
                      logs[i].model, host);
        if (logs[i].compute > 0)
            ck_assert_msg(compute > 0.99 * logs[i].compute && compute < 1.05 * logs[i].compute,
                          "%s: %.2f MiB of buffers", logs[i].model, compute);
        mq_view_close(view);
    }
}
END_TEST

/* With FlashAttention the mask grows with the context, 512 numbers of f16 a token; several cards
 * hold four copies each: half a GiB at 131072. */
START_TEST(buffers_grow_with_the_context)
{
    struct mq_view *view = open_config("llama-3-70b");
    struct mq_fit one, two;
    begin(&one, view, "b200", 1, 1024);
    const uint64_t least = one.compute_bytes;
    begin(&one, view, "b200", 1, 131072);
    begin(&two, view, "b200", 2, 131072);
    ck_assert_uint_eq(one.compute_bytes - least, 130048 * 1024);
    ck_assert_uint_eq(two.compute_bytes - one.compute_bytes, UINT64_C(131072) * 3 * 1024);
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

START_TEST(kv_q8_0)
{
    struct mq_view *view = open_config("mixtral-8x7b");
    struct mq_fit fit;
    moeq_error err = {0};
    const struct mq_fit_target target = target_of("4090", 1);
    ck_assert_ok(mq_fit_begin(view, &target, 0, mq_level_find("q8_0"), &fit, &err));
    ck_assert_uint_eq(fit.context, 8192);
    ck_assert_uint_eq(fit.kv_token_bytes, 2 * 32 * 8 * 128 * 34 / 32);
    mq_view_close(view);
}
END_TEST

/* 70B at 4 bits: not on one 24 GB card, on two; margins count on each; speed is one card's. */
START_TEST(several_cards)
{
    struct mq_view *view = open_config("llama-2-70b");
    struct mq_fit one, two;
    begin(&one, view, "3090", 1, 4096);
    begin(&two, view, "3090", 2, 4096);
    const struct mq_fit_row *a = add(&one, "q4_k"), *b = add(&two, "q4_k");
    ck_assert_int_eq(a->verdict, MQ_FIT_OFFLOAD);
    ck_assert_int_eq(b->verdict, MQ_FIT_FITS);
    ck_assert_uint_eq(b->margin_bytes, UINT64_C(2) << 30);
    ck_assert_uint_eq(b->compute_bytes, 2 * two.compute_bytes);
    const double read = (double)(b->active_bytes + b->kv_bytes);
    ck_assert_double_eq_tol(b->tokens_per_second, 936e9 / read, 1e-9);
    /* Whole layers: the sum would fit, the pieces do not. 80 layers on 64 cards, one each, while a
     * card has room for one and a half. */
    const uint64_t layer = (b->card_weight_bytes + b->kv_bytes) / 80;
    const struct mq_fit_target target =
        target_bytes(layer + layer / 2 + two.compute_bytes + (UINT64_C(1) << 30), 64);
    begin_target(&one, view, &target, 4096);
    a = add(&one, "q4_k");
    ck_assert_int_gt(a->spare_bytes, 0);
    ck_assert_int_eq(a->verdict, MQ_FIT_OFFLOAD);
    ck_assert_uint_ge(a->layers.layers, 10);
    struct mq_fit_target many = target;
    ck_assert(!mq_fit_target_add_bytes(&many, 1, 1));
    mq_view_close(view);
}
END_TEST

/* 25.2 GiB and a GiB of cache on 24 and 12 GB: neither alone, both in either order; the speed lies
 * between those of the two. */
START_TEST(unequal_cards)
{
    struct mq_view *view = open_config("mixtral-8x7b");
    struct mq_fit fit;
    for (int order = 0; order < 2; order++) {
        struct mq_fit_target target = target_of(order ? "3060" : "3090", 1);
        const struct mq_fit_target other = target_of(order ? "3090" : "3060", 1);
        begin_target(&fit, view, &target, 8192);
        ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_OFFLOAD);
        ck_assert(mq_fit_target_add(&target, other.card[0].gpu, other.card[0].label_bytes, 1));
        ck_assert(!mq_fit_target_is_even(&target));
        begin_target(&fit, view, &target, 8192);
        const struct mq_fit_row *r = add(&fit, "q4_k");
        const double read = (double)(r->active_bytes + r->kv_bytes);
        ck_assert_int_eq(r->verdict, MQ_FIT_FITS);
        ck_assert_double_lt(r->tokens_per_second, 936e9 / read);
        ck_assert_double_gt(r->tokens_per_second, 360e9 / read);
        cJSON *json = mq_fit_json(&fit), *t = cJSON_GetObjectItem(json, "target");
        ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(t, "each")), 2);
        ck_assert(cJSON_IsNull(cJSON_GetObjectItem(t, "usable_bytes_per_card")));
        cJSON_Delete(json);
    }
    mq_view_close(view);
}
END_TEST

/* ---- cards by name ---- */

static const struct {
    const char *text, *name; /* NULL: none or several */
    uint32_t memory_gb, cards;
    size_t candidates;
} card_names[] = {
    {"4090", "GeForce RTX 4090", 24, 1, 1},
    {"rtx 4090", "GeForce RTX 4090", 24, 1, 1},
    {"RTX4090", "GeForce RTX 4090", 24, 1, 1},
    {"NVIDIA GeForce RTX 4090", "GeForce RTX 4090", 24, 1, 1},
    {"4090 24GB", "GeForce RTX 4090", 24, 1, 1},
    {"2x3090", "GeForce RTX 3090", 24, 2, 1},
    {" 4 x RTX 3090", "GeForce RTX 3090", 24, 4, 1},
    {"8*h100-sxm", "H100 SXM", 80, 8, 1},
    {"a100-40", "A100 40GB", 40, 1, 1},
    {"NVIDIA A100-SXM4-80GB", "A100 80GB", 80, 1, 1},
    {"NVIDIA H100 80GB HBM3", "H100 SXM", 80, 1, 1},
    {"NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", 48, 1, 1},
    {"NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000", 96, 1, 1},
    {"4070", "GeForce RTX 4070", 12, 1, 1},
    {"4070 super", "GeForce RTX 4070 SUPER", 12, 1, 1},
    {"4070 Ti", "GeForce RTX 4070 Ti", 12, 1, 1},
    {"4070 Ti Super", "GeForce RTX 4070 Ti SUPER", 16, 1, 1},
    {"4080s", "GeForce RTX 4080 SUPER", 16, 1, 1},
    {"4060", "GeForce RTX 4060", 8, 1, 1},
    {"4060ti 16gb", "GeForce RTX 4060 Ti", 16, 1, 1},
    {"3060", "GeForce RTX 3060", 12, 1, 1},
    {"3060 8GB", "GeForce RTX 3060 8GB", 8, 1, 1},
    {"3080-12GB", "GeForce RTX 3080 12GB", 12, 1, 1},
    {"3090 ti", "GeForce RTX 3090 Ti", 24, 1, 1},
    {"NVIDIA GeForce RTX 4090 Laptop GPU", "GeForce RTX 4090 Laptop", 16, 1, 1},
    {"3060 mobile", "GeForce RTX 3060 Laptop", 6, 1, 1},
    {"Tesla P40", "Tesla P40", 24, 1, 1},
    {"v100 32", "Tesla V100", 32, 1, 1},
    {"7900xtx", "Radeon RX 7900 XTX", 24, 1, 1},
    {"AMD Radeon RX 6800 XT", "Radeon RX 6800 XT", 16, 1, 1},
    {"mi50 32GB", "Instinct MI50", 32, 1, 1},
    {"Intel Arc A770 16GB", "Arc A770", 16, 1, 1},
    {"Tesla T4", "T4", 16, 1, 1},
    {"M2 Max 32GB", "Apple M2 Max", 32, 1, 1},
    {"m3 max 64", "Apple M3 Max, 40-core GPU", 64, 1, 1},
    {"m3 max 36", "Apple M3 Max, 30-core GPU", 36, 1, 1},
    {"Ryzen AI Max+ 395 128GB", "Strix Halo", 128, 1, 1},
    {"dgx spark", "GB10 (DGX Spark)", 128, 1, 1},
    {"a100", NULL, 0, 1, 2},
    {"h100", NULL, 0, 1, 3},
    {"macbook pro m1 max 64gb", "Apple M1 Max", 64, 1, 1},
    {"MacBook Pro M1 Pro 16GB", "Apple M1 Pro", 16, 1, 1},
    {"MacBook Air M2 24GB", "Apple M2", 24, 1, 1},
    {"mac studio m2 ultra 192gb", "Apple M2 Ultra", 192, 1, 1},
    {"m4 max 36GB", "Apple M4 Max, 32-core GPU", 36, 1, 1},
    {"m4 max 32-core", "Apple M4 Max, 32-core GPU", 36, 1, 1},
    {"h800 sxm", "H800 SXM", 80, 1, 1},
    {"a800-80", "A800 80GB", 80, 1, 1},
    {"m4 max", NULL, 0, 1, 2}, /* one of whose rows has one size */
    {"m5 max", NULL, 0, 1, 2},
    {"3080 16gb", NULL, 0, 1, 2},
    {"m4pro", NULL, 0, 1, 1},     /* sold with several sizes */
    {"m4 pro 32", NULL, 0, 1, 2}, /* but not with this one */
    {"m4", NULL, 0, 1, 4},
    {"m6 max", NULL, 0, 1, 0},
    {"2x6000", NULL, 0, 2, 4},
    {"4060ti", NULL, 0, 1, 1},
    {"3080", NULL, 0, 1, 5},
    {"4090 48GB", NULL, 0, 1, 3}, /* other cards are offered, none is taken */
    {"3090 super", NULL, 0, 1, 2},
    {"5070 super", NULL, 0, 1, 4},
    {"rtx", NULL, 0, 1, 0},
    {"0x3090", NULL, 0, 1, 2},
    {"65x3090", NULL, 0, 1, 2},
    {"voodoo", NULL, 0, 1, 0},
    {"", NULL, 0, 1, 0},
};

START_TEST(names_of_cards)
{
    for (size_t i = 0; i < sizeof card_names / sizeof *card_names; i++) {
        struct mq_gpu_search s;
        const bool found = mq_gpu_search(card_names[i].text, &s);
        ck_assert_msg(found == (card_names[i].name != NULL), "%s", card_names[i].text);
        if (found) {
            ck_assert_str_eq(s.gpu->name, card_names[i].name);
            ck_assert_uint_eq(s.memory_gb, card_names[i].memory_gb);
        }
        ck_assert_uint_eq(s.cards, card_names[i].cards);
        ck_assert_msg(s.candidates_count == card_names[i].candidates, "%s: %zu", card_names[i].text,
                      s.candidates_count);
    }
}
END_TEST

/* Counts behind, and plus signs. */
START_TEST(lists_of_cards)
{
    static const char *const cases[][2] = {
        {"3090x2", "2x3090"},
        {"3090 x2", "2x3090"},
        {"RTX 3090 x 2", "2xRTX 3090"},
        {"3090+3060", "3090,3060"},
        {"2x3090 + 3060x2", "2x3090 ,2x3060"},
        {"24GiB x2,12GiB", "2x24GiB,12GiB"},
        {"h100 sxm*8", "h100 sxm*8"},
        {"7900 xtx", "7900 xtx"},
        {"rtx2060", "rtx2060"},
        {"rtx 2060", "rtx 2060"},
        {"rx 7900 xt x4", "4xrx 7900 xt"},
        {"Ryzen AI Max+ 395 128GB", "Ryzen AI Max+ 395 128GB"},
        {"3090x65", "3090x65"},
        {"x2", "x2"},
        {"", ""},
        {",", ","},
    };
    char list[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert(mq_gpu_list(cases[i][0], list, sizeof list));
        ck_assert_str_eq(list, cases[i][1]);
    }
    ck_assert(!mq_gpu_list("3090,3090,3090", list, 12));
    char item[200];
    memset(item, 'a', sizeof item - 1);
    item[sizeof item - 1] = '\0';
    ck_assert(!mq_gpu_list(item, list, sizeof list));
}
END_TEST

static double usable_gib(const char *name)
{
    return (double)target_of(name, 1).card[0].usable_bytes / 0x1p30;
}

/* Every card is found by its own name, with its size where there are several; usable memory is
 * below the label and, for 24 GB cards, in the range that they report. */
START_TEST(table_of_cards)
{
    for (size_t i = 0; i < mq_gpus_count; i++) {
        const struct mq_gpu *g = &mq_gpus[i];
        ck_assert(g->bandwidth_gbs > 0 && g->source[0] && mq_gpu_size_gb(g, 0));
        for (size_t k = 0; mq_gpu_size_gb(g, k); k++) {
            const uint32_t gb = mq_gpu_size_gb(g, k);
            char name[64];
            snprintf(name, sizeof name, mq_gpu_size_gb(g, 1) ? "%s %uGB" : "%s", g->name, gb);
            const struct mq_fit_target t = target_of(name, 1);
            ck_assert_ptr_eq(t.card[0].gpu, g);
            ck_assert_uint_eq(t.card[0].label_bytes, (uint64_t)gb << 30);
            ck_assert_uint_lt(t.card[0].usable_bytes, t.card[0].label_bytes);
        }
    }
    ck_assert_double_eq_tol(usable_gib("4090"), 23.52, 1e-6);
    ck_assert_double_eq_tol(usable_gib("l4"), 22.5, 1e-6);
}
END_TEST

/* recommendedMaxWorkingSetSize, in MiB, of llama.cpp's logs on Macs. */
START_TEST(what_macs_let_graphics_use)
{
    static const struct {
        const char *name;
        double mib;
    } logs[] = {
        {"M1 16GB", 10922.67},  {"M1 Max 32GB", 21845.34}, {"M2 Max 32GB", 21845.34},
        {"M3 Max 36GB", 27648}, {"M2 Max 64GB", 49152},
    };
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++)
        ck_assert_double_eq_tol(usable_gib(logs[i].name) * 1024, logs[i].mib, 3);
    struct mq_view *view = open_config("mixtral-8x7b");
    const struct mq_policy q4_k_m = mq_policy_of_recipe(mq_recipe_find("q4_k_m"));
    struct mq_fit fit;
    moeq_error err = {0};
    begin(&fit, view, "M1 Max 32GB", 1, 2048); /* where it ran out of memory */
    ck_assert_ok(mq_fit_add(&fit, "q4_k_m", &q4_k_m, &err));
    ck_assert_int_eq(fit.rows[0].verdict, MQ_FIT_NO);
    mq_view_close(view);
}
END_TEST

/* ---- quality ---- */

static moeq_status join(struct mq_fit *fit, const char *text, moeq_error *err)
{
    const char *path = mq_test_temporary("sweep.json");
    memset(err, 0, sizeof *err);
    ck_assert_ok(mq_file_replace(path, text, strlen(text), err));
    return mq_fit_join_quality(fit, path, err);
}

#define SWEEP_HEAD                                                                       \
    "{\"moeq_result\": \"sweep\", \"model\": {\"family\": \"mixtral\", \"layers\": 32, " \
    "\"experts\": 8, \"vocabulary\": 32000}, \"rows\": ["
#define SWEEP_ROW                                                                               \
    "{\"name\": \"%s\", \"is_baseline\": false, \"weight_bytes\": %" PRIu64 ", \"kld_nats\": "  \
    "{\"mean\": {\"value\": %g, \"se\": 0.1}}, \"ppl_ratio\": {\"value\": 1.25}, \"routing\": " \
    "{\"overall\": {\"exact_set_rate\": {\"value\": 0.75}}}}"

START_TEST(quality)
{
    struct mq_view *view = open_config("mixtral-8x7b");
    struct mq_fit fit;
    moeq_error err = {0};
    char text[2000];
    begin(&fit, view, "a6000", 1, 8192);
    const uint64_t q8 = add(&fit, "q8_0")->weight_bytes, q4 = add(&fit, "q4_k")->weight_bytes,
                   q3 = add(&fit, "q3_k")->weight_bytes;
    ck_assert_int_eq(mq_fit_best(&fit), 1);
    /* A sweep in which 3 bits came out closer than 4, and 8 bits, which do not fit, closest. */
    snprintf(text, sizeof text, SWEEP_HEAD SWEEP_ROW "," SWEEP_ROW "," SWEEP_ROW "]}", "q8_0", q8,
             0.001, "q4_k", q4, 0.25, "q3_k", q3, 0.125);
    ck_assert_ok(join(&fit, text, &err));
    ck_assert_int_eq(fit.rows[0].verdict, MQ_FIT_OFFLOAD);
    ck_assert_int_eq(mq_fit_best(&fit), 2);
    ck_assert_double_eq(fit.rows[2].kld_mean, 0.125);
    ck_assert_double_eq(fit.rows[2].ppl_ratio, 1.25);
    ck_assert_double_eq(fit.rows[2].exact_set_rate, 0.75);
    cJSON *json = mq_fit_json(&fit);
    ck_assert_str_eq(cJSON_GetObjectItem(json, "best")->valuestring, "q3_k");
    cJSON_Delete(json);
    /* Other bytes: another mix. Another model. Another document. No row in common. */
    snprintf(text, sizeof text, SWEEP_HEAD SWEEP_ROW "]}", "q4_k", q4 + 32, 0.25);
    ck_assert_int_eq(join(&fit, text, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "--attention"));
    snprintf(text, sizeof text, SWEEP_HEAD SWEEP_ROW "]}", "q4_k", q4, 0.25);
    strstr(text, "32000")[4] = '1';
    ck_assert_int_eq(join(&fit, text, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "another model"));
    ck_assert_int_eq(join(&fit, "{\"moeq_result\": \"eval\"}", &err), MOEQ_MALFORMED);
    ck_assert_int_eq(join(&fit, "[]", &err), MOEQ_MALFORMED);
    begin(&fit, view, "a6000", 1, 8192);
    add(&fit, "q8_0");
    ck_assert_int_eq(join(&fit, SWEEP_HEAD "]}", &err), MOEQ_INVALID_ARGUMENT);
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
    tcase_add_test(tests, claims);
    tcase_add_test(tests, verdicts);
    tcase_add_test(tests, promises_are_tight);
    tcase_add_test(tests, sliding_window);
    tcase_add_test(tests, layers_that_differ);
    tcase_add_test(tests, latent_models);
    tcase_add_test(tests, latents_are_cached);
    tcase_add_test(tests, active_parameters_beside_shared_experts);
    tcase_add_test(tests, public_logs);
    tcase_add_test(tests, buffers_grow_with_the_context);
    tcase_add_test(tests, kv_q8_0);
    tcase_add_test(tests, several_cards);
    tcase_add_test(tests, unequal_cards);
    tcase_add_test(tests, names_of_cards);
    tcase_add_test(tests, table_of_cards);
    tcase_add_test(tests, lists_of_cards);
    tcase_add_test(tests, what_macs_let_graphics_use);
    tcase_add_test(tests, quality);
}

int main(void)
{
    return mq_test_main("fit", add_tests);
}
