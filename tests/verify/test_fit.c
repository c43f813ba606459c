/*
 * What fit says of published models, from their config.json alone: sizes against the published
 * numbers, verdicts for common cards, and claims that go around about Mixtral.
 */
#include "new_file.h"
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

static const struct mq_gpu *gpu(const char *name)
{
    struct mq_gpu_search s;
    ck_assert_msg(mq_gpu_search(name, &s), "%s", name);
    return s.gpu;
}

static void begin(struct mq_fit *fit, const struct mq_view *view, const char *card, uint32_t cards,
                  uint64_t context)
{
    moeq_error err = {0};
    const struct mq_fit_target target = mq_fit_target_of(gpu(card), cards);
    ck_assert_ok(mq_fit_begin(view, &target, context, mq_level_find("f16"), fit, &err));
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
    struct mq_fit_target target = {.cards = 1, .usable_bytes = UINT64_C(32) << 30};
    ck_assert_ok(mq_fit_begin(view, &target, 8192, mq_level_find("f16"), &fit, &err));
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_FITS);
    ck_assert_int_eq(add(&fit, "q3_k")->verdict, MQ_FIT_FITS);
    target.usable_bytes = UINT64_C(24) << 30;
    target.unified = true;
    ck_assert_ok(mq_fit_begin(view, &target, 8192, mq_level_find("f16"), &fit, &err));
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
    ck_assert_int_lt(fit.rows[0].spare_bytes, (int64_t)fit.kv_token_bytes);
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

START_TEST(sliding_window)
{
    struct mq_view *view = open_config("mistral-7b-v0.1");
    struct mq_fit fit;
    begin(&fit, view, "4090", 1, 32768);
    const struct mq_fit_row *r = add(&fit, "q8_0");
    ck_assert_uint_eq(r->kv_bytes, UINT64_C(4096) * (128 << 10));
    ck_assert_uint_eq(r->max_context, 32768);
    mq_view_close(view);
}
END_TEST

START_TEST(kv_q8_0)
{
    struct mq_view *view = open_config("mixtral-8x7b");
    struct mq_fit fit;
    moeq_error err = {0};
    const struct mq_fit_target target = mq_fit_target_of(gpu("4090"), 1);
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
    ck_assert_uint_eq(b->compute_bytes, 2 * a->compute_bytes);
    const double read = (double)(b->active_bytes + b->kv_bytes);
    ck_assert_double_eq_tol(b->tokens_per_second, 936e9 / read, 1e-9);
    /* Whole layers: the sum would fit, the pieces do not. 80 layers on 70 cards, one each, while a
     * card has room for one and a half. */
    struct mq_fit_target target = {.cards = 70, .bandwidth_gbs = 100};
    const uint64_t layer = (b->card_weight_bytes + b->kv_bytes) / 80;
    target.usable_bytes = layer + layer / 2 + two.compute_bytes + (UINT64_C(1) << 30);
    moeq_error err = {0};
    ck_assert_ok(mq_fit_begin(view, &target, 4096, mq_level_find("f16"), &one, &err));
    a = add(&one, "q4_k");
    ck_assert_int_gt(a->spare_bytes, 0);
    ck_assert_int_eq(a->verdict, MQ_FIT_OFFLOAD);
    ck_assert_uint_ge(a->layers.layers, 10);
    mq_view_close(view);
}
END_TEST

/* ---- cards by name ---- */

START_TEST(names_of_cards)
{
    static const struct {
        const char *text, *name; /* NULL: none or several */
        uint32_t cards;
        size_t candidates;
    } cases[] = {
        {"4090", "GeForce RTX 4090", 1, 1},
        {"rtx 4090", "GeForce RTX 4090", 1, 1},
        {"RTX4090", "GeForce RTX 4090", 1, 1},
        {"NVIDIA GeForce RTX 4090", "GeForce RTX 4090", 1, 1},
        {"4090 24GB", "GeForce RTX 4090", 1, 1},
        {"2x3090", "GeForce RTX 3090", 2, 1},
        {" 4 x RTX 3090", "GeForce RTX 3090", 4, 1},
        {"8*h100-sxm", "H100 SXM", 8, 1},
        {"a100-40", "A100 40GB", 1, 1},
        {"NVIDIA A100-SXM4-80GB", "A100 80GB", 1, 1},
        {"NVIDIA H100 80GB HBM3", "H100 SXM", 1, 1},
        {"NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", 1, 1},
        {"4070 Ti Super", "GeForce RTX 4070 Ti SUPER", 1, 1},
        {"4080s", "GeForce RTX 4080 SUPER", 1, 1},
        {"7900xtx", "Radeon RX 7900 XTX", 1, 1},
        {"Tesla T4", "T4", 1, 1},
        {"m4pro", "Apple M4 Pro", 1, 1},
        {"a100", NULL, 1, 2},
        {"h100", NULL, 1, 2},
        {"m4", NULL, 1, 2},
        {"2x6000", NULL, 2, 3},
        {"4070", NULL, 1, 1},   /* another card than the Ti SUPER, which is offered */
        {"4060ti", NULL, 1, 1}, /* sold with 8 GB too */
        {"3090 ti", NULL, 1, 1},
        {"rtx", NULL, 1, 0},
        {"0x3090", NULL, 1, 1},
        {"voodoo", NULL, 1, 0},
        {"", NULL, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_gpu_search s;
        const bool found = mq_gpu_search(cases[i].text, &s);
        ck_assert_msg(found == (cases[i].name != NULL), "%s", cases[i].text);
        if (found)
            ck_assert_str_eq(s.gpu->name, cases[i].name);
        ck_assert_uint_eq(s.cards, cases[i].cards);
        ck_assert_msg(s.candidates_count == cases[i].candidates, "%s: %zu", cases[i].text,
                      s.candidates_count);
    }
}
END_TEST

/* Every card is found by its own name; usable memory is below the label and, for 24 GB cards, in
 * the range that they report. */
START_TEST(table_of_cards)
{
    ck_assert_uint_eq(mq_gpus_count, 35);
    for (size_t i = 0; i < mq_gpus_count; i++) {
        const struct mq_gpu *g = &mq_gpus[i];
        ck_assert_ptr_eq(gpu(g->name), g);
        ck_assert_uint_lt(mq_gpu_usable_bytes(g), (uint64_t)g->memory_gb << 30);
        ck_assert(g->bandwidth_gbs > 0 && g->source[0]);
    }
    ck_assert_double_eq_tol((double)mq_gpu_usable_bytes(gpu("4090")) / 0x1p30, 23.52, 1e-6);
    ck_assert_double_eq_tol((double)mq_gpu_usable_bytes(gpu("l4")) / 0x1p30, 22.5, 1e-6);
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
    tcase_add_test(tests, claims);
    tcase_add_test(tests, verdicts);
    tcase_add_test(tests, promises_are_tight);
    tcase_add_test(tests, sliding_window);
    tcase_add_test(tests, kv_q8_0);
    tcase_add_test(tests, several_cards);
    tcase_add_test(tests, names_of_cards);
    tcase_add_test(tests, table_of_cards);
    tcase_add_test(tests, quality);
}

int main(void)
{
    return mq_test_main("fit", add_tests);
}
