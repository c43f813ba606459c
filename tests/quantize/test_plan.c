/* test_plan.c: every byte count of the plan, and what overrides may and may not do. */
#include "moeq_profile.h"
#include "gguf_names.h"
#include "plan.h"
#include "stored.h"
#include "test_support.h"
#include "view_int.h"

#include <stdio.h>
#include <string.h>

#define MODEL "tests/fixtures/oracles/mixtral"

static struct mq_view *open_model(void)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(mq_test_source(MODEL), &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

/* What the default policy has beside experts of a level. */
static void check_beside(const struct mq_level *level, const struct mq_plan_entry *e)
{
    const bool is_table = mq_role_class(e->tensor->role) == MQ_CLASS_EMBEDDINGS;
    const char *name = is_table ? level->embeddings : level->attention;
    if (!name)
        name = "q8_0";
    ck_assert_str_eq(e->level->name,
                     strcmp(name, MQ_AS_IN_SOURCE) == 0 ? e->source->name : name);
}

/* The items lie side by side from the header to the end of the file, and each tensor of the view
 * is one of them, with the size of its rows. */
START_TEST(accounts_for_every_byte)
{
    struct mq_view *view = open_model();
    for (size_t l = 0; l < mq_levels_count; l++) {
        if (!mq_level_can_encode(&mq_levels[l]))
            continue;
        struct mq_policy policy = mq_policy_default(&mq_levels[l]);
        struct mq_plan *plan;
        moeq_error err = {0};
        ck_assert_ok(mq_plan_create(view, &policy, &plan, &err));
        const struct mq_layout *layout = plan->files[0].layout;
        ck_assert_uint_eq(layout->header_bytes % MQ_GROUP_ALIGN, 0);
        uint64_t at = layout->header_bytes;
        for (size_t i = 0; i < layout->count; i++) {
            ck_assert_uint_eq(layout->items[i].offset, at);
            at += layout->items[i].size_bytes;
        }
        ck_assert_uint_eq(at, layout->file_bytes);
        ck_assert_str_eq(layout->items[layout->count - 1].name, MQ_CRC_NAME);
        uint64_t bytes = 0, weights = 0;
        for (size_t i = 0; i < view->tensors_count; i++) {
            const struct mq_plan_entry *e = &plan->entries[i];
            ck_assert_str_eq(layout->items[e->item].name, e->tensor->name);
            ck_assert_uint_eq(layout->items[e->item].offset, e->offset);
            ck_assert_uint_eq(layout->items[e->item].size_bytes, e->size_bytes);
            ck_assert_uint_eq(e->row_bytes, mq_level_row_bytes(e->level, e->tensor->cols));
            ck_assert_uint_eq(e->size_bytes, e->tensor->rows * e->row_bytes);
            bytes += e->size_bytes;
            weights += e->tensor->rows * e->tensor->cols;
            if (mq_role_class(e->tensor->role) == MQ_CLASS_KEEP)
                ck_assert_ptr_eq(e->level, e->source);
            else if (mq_role_class(e->tensor->role) == MQ_CLASS_EXPERTS || !mq_levels[l].quantized)
                ck_assert_ptr_eq(e->level, &mq_levels[l]);
            else
                check_beside(&mq_levels[l], e);
        }
        ck_assert_uint_eq(plan->total.bytes, bytes);
        ck_assert_uint_eq(plan->total.weights, weights);
        mq_plan_free(plan);
    }
    mq_view_close(view);
}
END_TEST

/* 160 columns at q4_k have no whole block of 256: five q8_0 blocks of 32, 170 bytes a row. */
START_TEST(counts_tails_as_they_are_stored)
{
    struct mq_view *view = open_model();
    struct mq_policy policy = mq_policy_default(mq_level_find("q4_k"));
    struct mq_plan *plan;
    moeq_error err = {0};
    ck_assert_ok(mq_plan_create(view, &policy, &plan, &err));
    for (size_t i = 0; i < view->tensors_count; i++)
        if (view->tensors[i].role == MQ_ROLE_EXPERT_DOWN)
            ck_assert_uint_eq(plan->entries[i].row_bytes, 5 * 34);
    mq_plan_free(plan);
    mq_view_close(view);
}
END_TEST

/* A model of experts whose first layer has an MLP instead, with rows of 2880 and 80. */
static struct mq_view *open_mixed(void)
{
    static const char config[] =
        "{\"model_type\": \"qwen3_moe\", \"hidden_size\": 2880, \"num_hidden_layers\": 2, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 64, "
        "\"vocab_size\": 100, \"intermediate_size\": 2880, \"moe_intermediate_size\": 80, "
        "\"num_experts\": 4, \"num_experts_per_tok\": 2, \"norm_topk_prob\": true, "
        "\"decoder_sparse_step\": 1, \"mlp_only_layers\": [0], \"rms_norm_eps\": 1e-6, "
        "\"hidden_act\": \"silu\", \"rope_theta\": 10000.0, "
        "\"max_position_embeddings\": 1024, \"tie_word_embeddings\": false}";
    const char *path = mq_test_temporary("config.json");
    struct mq_view *view;
    moeq_error err = {0};
    FILE *f = fopen(path, "w");
    ck_assert(f && fputs(config, f) >= 0 && fclose(f) == 0);
    ck_assert_msg(mq_view_from_config(path, NULL, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

/* What every token uses is one class: an MLP instead of experts, as shared experts. */
START_TEST(mlp_of_a_model_with_experts_is_shared)
{
    struct mq_view *view = open_mixed();
    struct mq_policy policy = mq_policy_default(mq_level_find("q3_k"));
    policy.levels[MQ_CLASS_SHARED] = mq_level_find("q6_k");
    struct mq_plan *plan;
    moeq_error err = {0};
    ck_assert_ok(mq_plan_create(view, &policy, &plan, &err));
    uint64_t mlps = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        const bool mlp = e->tensor->role >= MQ_ROLE_MLP_GATE && e->tensor->role <= MQ_ROLE_MLP_DOWN;
        if (e->tensor->expert >= 0)
            ck_assert_str_eq(e->level->name, "q3_k");
        if (mlp)
            ck_assert_str_eq(e->level->name, "q6_k");
        mlps += mlp ? e->size_bytes : 0;
        /* 11 blocks of 256 and two of 32; two of 32 and 16 weights in f16 */
        if (e->tensor->role == MQ_ROLE_EXPERT_UP)
            ck_assert_uint_eq(e->row_bytes, 11 * 110 + 2 * 34);
        if (e->tensor->role == MQ_ROLE_EXPERT_DOWN)
            ck_assert_uint_eq(e->row_bytes, 2 * 34 + 16 * 2);
        if (e->tensor->role == MQ_ROLE_MLP_GATE) /* begins a group */
            ck_assert_uint_eq(e->offset % MQ_GROUP_ALIGN, 0);
    }
    ck_assert_uint_eq(plan->by_class[MQ_CLASS_SHARED].bytes, mlps);
    ck_assert_uint_eq(plan->by_class[MQ_CLASS_SHARED].tensors, 3);
    mq_plan_free(plan);
    /* a mix for experts alone lowers none of them */
    policy = mq_policy_of_recipe(mq_recipe_find("early3"));
    ck_assert_ok(mq_plan_create(view, &policy, &plan, &err));
    for (size_t i = 0; i < view->tensors_count; i++)
        if (view->tensors[i].role == MQ_ROLE_MLP_UP)
            ck_assert_str_eq(plan->entries[i].level->name, "q8_0");
    mq_plan_free(plan);
    mq_view_close(view);
}
END_TEST

static moeq_status plan_with(const char *pattern, const char *level, const char *second_pattern,
                             const char *second_level, struct mq_view *view, struct mq_plan **plan,
                             moeq_error *err)
{
    const struct mq_policy_override overrides[] = {
        {pattern, mq_level_find(level)},
        {second_pattern, second_level ? mq_level_find(second_level) : NULL}};
    struct mq_policy policy = mq_policy_default(mq_level_find("q4_k"));
    memset(err, 0, sizeof *err);
    policy.overrides = overrides;
    policy.overrides_count = second_pattern ? 2 : 1;
    return mq_plan_create(view, &policy, plan, err);
}

START_TEST(later_overrides_win)
{
    struct mq_view *view = open_model();
    struct mq_plan *plan;
    moeq_error err;
    ck_assert_ok(
        plan_with("*.w2.*", "q8_0", "*.layers.1.*.experts.3.*", "q3_k", view, &plan, &err));
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (mq_role_class(t->role) != MQ_CLASS_EXPERTS)
            continue;
        const char *expected = t->layer == 1 && t->expert == 3  ? "q3_k"
                               : t->role == MQ_ROLE_EXPERT_DOWN ? "q8_0"
                                                                : "q4_k";
        ck_assert_str_eq(plan->entries[i].level->name, expected);
    }
    mq_plan_free(plan);
    mq_view_close(view);
}
END_TEST

START_TEST(routers_and_norms_are_never_narrowed)
{
    struct mq_view *view = open_model();
    struct mq_plan *plan;
    moeq_error err;
    static const char *const narrower[] = {"q8_0", "q4_k", "f16"};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(plan_with("*.gate.weight", narrower[i], NULL, NULL, view, &plan, &err),
                         MOEQ_INVALID_ARGUMENT);
        ck_assert_ptr_null(plan);
        ck_assert_ptr_nonnull(strstr(err.message, "is never stored with less precision"));
        ck_assert_int_eq(plan_with("model.norm.weight", narrower[i], NULL, NULL, view, &plan, &err),
                         MOEQ_INVALID_ARGUMENT);
    }
    ck_assert_ok(plan_with("*.gate.weight", "f32", NULL, NULL, view, &plan, &err));
    mq_plan_free(plan);
    ck_assert_ok(plan_with("*.gate.weight", "bf16", NULL, NULL, view, &plan, &err));
    mq_plan_free(plan);
    ck_assert_int_eq(plan_with("no.such.*", "q8_0", NULL, NULL, view, &plan, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "matches the pattern 'no.such.*'"));
    mq_view_close(view);
}
END_TEST

/* Every level of every recipe is there, can be written, and is one that GGUF has. */
static void check_recipe_level(const struct mq_recipe *recipe, const char *name)
{
    const struct mq_level *level = mq_level_find(name);
    ck_assert_msg(level && mq_level_can_encode(level), "%s: level %s", recipe->name, name);
    ck_assert_msg(mq_gguf_type_by_storage(name) != NULL, "%s: level %s", recipe->name, name);
}

START_TEST(recipes_name_levels)
{
    for (size_t i = 0; i < mq_recipes_count; i++) {
        const struct mq_recipe *r = &mq_recipes[i];
        check_recipe_level(r, r->experts);
        check_recipe_level(r, r->attention);
        check_recipe_level(r, r->embeddings);
        for (const struct mq_recipe_rule *rule = r->rules; rule->level; rule++)
            check_recipe_level(r, rule->level);
        ck_assert_ptr_eq(mq_recipe_find(r->name), r);
        ck_assert_ptr_null(mq_level_find(r->name)); /* one list of names in --levels */
    }
}
END_TEST

/* The layers whose down matrices llama.cpp's Q4_K_M gives Q6_K, in a model of 32 layers: i < 4, i
 * >= 28, and 4 + 2, 4 + 5, ... between. */
START_TEST(recipes_spread_bits_over_layers)
{
    static const uint8_t more[32] = {1, 1, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1,
                                     0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 1, 1, 1, 1};
    const struct mq_recipe *recipe = mq_recipe_find("q4_k_m");
    const struct mq_hparams eight = {.layers = 32, .heads = 32, .kv_heads = 8, .experts = 8};
    for (int32_t layer = 0; layer < 32; layer++) {
        struct mq_tensor t = {.role = MQ_ROLE_EXPERT_DOWN, .layer = layer, .expert = 3};
        const char *level = mq_recipe_level(recipe, &t, &eight);
        ck_assert_str_eq(level ? level : "of its class", more[layer] ? "q6_k" : "of its class");
        t.role = MQ_ROLE_EXPERT_UP;
        ck_assert_ptr_null(mq_recipe_level(recipe, &t, &eight));
        t.role = MQ_ROLE_ATTN_K;
        ck_assert_str_eq(mq_recipe_level(recipe, &t, &eight), "q8_0");
    }
}
END_TEST

/* llama.cpp counts the tensors that it takes for values (attn_v, attn_kv_b, a fused attn_qkv): in a
 * model of which every other layer has some, the first two of them are layers 1 and 3. */
START_TEST(recipes_count_the_layers_that_have_values)
{
    enum { LAYERS = 8 };
    static const enum mq_role roles[] = {MQ_ROLE_ATTN_V, MQ_ROLE_ATTN_KV_B, MQ_ROLE_DELTA_QKV};
    struct mq_tensor tensors[LAYERS / 2];
    int32_t index[(LAYERS + 1) * MQ_ROLE_COUNT];
    struct mq_view view = {.hparams = {.layers = LAYERS, .heads = 8, .kv_heads = 8},
                           .tensors = tensors,
                           .index = index};
    for (size_t r = 0; r < sizeof roles / sizeof *roles; r++) {
        memset(index, -1, sizeof index);
        for (int32_t i = 0; i < LAYERS / 2; i++) {
            tensors[i] = (struct mq_tensor){.role = roles[r], .layer = 2 * i + 1, .expert = -1};
            index[mq_view_index_at(&view, roles[r], 2 * i + 1, -1)] = i;
        }
        for (int32_t i = 0; i < LAYERS / 2; i++)
            ck_assert_str_eq(mq_recipe_level_in(mq_recipe_find("q3_k_m"), &view, &tensors[i]),
                             i < 2 ? "q5_k" : "q4_k");
    }
}
END_TEST

/* One letter a layer, in runs: "2x5 30x4" for q5_k in two layers, then q4_k in thirty; '-' is the
 * level of the class. */
static void runs(const struct mq_recipe *recipe, enum mq_role role, const struct mq_hparams *h,
                 char *text, size_t room)
{
    char last = 0;
    uint32_t n = 0;
    size_t used = 0;
    for (uint32_t layer = 0; layer <= h->layers; layer++) {
        const struct mq_tensor t = {.role = role, .layer = (int32_t)layer, .expert = -1};
        const char *level = layer < h->layers ? mq_recipe_level(recipe, &t, h) : NULL;
        const char letter = layer == h->layers ? 0 : level ? level[1] : '-';
        if (layer && letter != last) {
            used += (size_t)snprintf(text + used, room - used, "%s%ux%c", used ? " " : "", n, last);
            n = 0;
        }
        last = letter;
        n++;
    }
}

/* llama-quant.cpp of llama.cpp, read by hand, for a dense model of 16 layers (use_more_bits: 0, 1,
 * 4, 7, 10, 13, 14, 15), one whose heads share in fours, and 70B's shape. */
START_TEST(recipes_of_dense_models)
{
    static const struct mq_hparams mha = {.layers = 16, .heads = 32, .kv_heads = 32},
                                   gqa = {.layers = 16, .heads = 32, .kv_heads = 8},
                                   llama70 = {.layers = 80, .heads = 64, .kv_heads = 8},
                                   llama65 = {.layers = 80, .heads = 64, .kv_heads = 64},
                                   sixteen = {
                                       .layers = 16, .heads = 32, .kv_heads = 32, .experts = 16};
    static const char spread[] = "2x6 2x- 1x6 2x- 1x6 2x- 1x6 2x- 3x6";
    static const struct {
        const char *recipe;
        const struct mq_hparams *h;
        enum mq_role role;
        const char *expected;
    } cases[] = {
        {"q2_k_mix", &mha, MQ_ROLE_ATTN_V, "16x3"},
        {"q2_k_mix", &gqa, MQ_ROLE_ATTN_V, "16x4"},
        {"q2_k_mix", &llama70, MQ_ROLE_ATTN_V, "80x5"},
        {"q2_k_mix", &mha, MQ_ROLE_MLP_DOWN, "16x3"},
        {"q2_k_mix", &mha, MQ_ROLE_ATTN_O, "16x3"},
        {"q3_k_s", &mha, MQ_ROLE_ATTN_V, "16x-"},
        {"q3_k_s", &llama70, MQ_ROLE_ATTN_V, "80x5"},
        {"q3_k_s", &mha, MQ_ROLE_MLP_DOWN, "16x-"},
        {"q3_k_m", &mha, MQ_ROLE_ATTN_V, "2x5 14x4"},
        {"q3_k_m", &llama70, MQ_ROLE_ATTN_V, "80x5"},
        {"q3_k_m", &mha, MQ_ROLE_MLP_DOWN, "1x5 15x4"},
        {"q3_k_m", &mha, MQ_ROLE_ATTN_O, "16x4"},
        {"q3_k_m", &mha, MQ_ROLE_ATTN_K, "16x-"},
        {"q3_k_l", &mha, MQ_ROLE_ATTN_V, "16x5"},
        {"q3_k_l", &mha, MQ_ROLE_MLP_DOWN, "16x5"},
        {"q3_k_l", &mha, MQ_ROLE_ATTN_O, "16x5"},
        {"q4_k_s", &mha, MQ_ROLE_ATTN_V, "4x5 12x-"},
        {"q4_k_s", &llama70, MQ_ROLE_ATTN_V, "80x5"},
        {"q4_k_s", &mha, MQ_ROLE_MLP_DOWN, "2x5 14x-"},
        {"q4_k_m", &mha, MQ_ROLE_ATTN_V, spread},
        {"q4_k_m", &sixteen, MQ_ROLE_ATTN_V, spread},
        {"q4_k_m", &mha, MQ_ROLE_MLP_DOWN, spread},
        {"q4_k_m", &mha, MQ_ROLE_ATTN_O, "16x-"},
        {"q4_k_m", &mha, MQ_ROLE_ATTN_K, "16x-"},
        {"q4_k_m", &mha, MQ_ROLE_MLP_UP, "16x-"},
        {"q5_k_s", &llama70, MQ_ROLE_ATTN_V, "80x-"},
        {"q5_k_s", &llama65, MQ_ROLE_MLP_DOWN, "80x-"},
        {"q5_k_m", &mha, MQ_ROLE_ATTN_V, spread},
        {"q5_k_m", &mha, MQ_ROLE_MLP_DOWN, spread},
        {"q5_k_m", &sixteen, MQ_ROLE_SHARED_DOWN, spread}, /* ffn_down_shexp */
        {"q3_k_m", &sixteen, MQ_ROLE_ATTN_KV_B, "2x5 14x4"},
        {"q3_k_m", &sixteen, MQ_ROLE_ATTN_Q_B, "16x-"},
        /* moeq's own: MLPs are what experts are elsewhere; beside experts they are shared */
        {"mix4", &mha, MQ_ROLE_MLP_UP, "1x5 15x-"},
        {"mix4", &mha, MQ_ROLE_MLP_DOWN, "1x6 15x5"},
        {"mix4", &sixteen, MQ_ROLE_EXPERT_GATE, "1x5 15x-"},
        {"mix4", &sixteen, MQ_ROLE_EXPERT_DOWN, "1x6 15x5"},
        {"mix4", &sixteen, MQ_ROLE_MLP_DOWN, "16x-"},
        {"mix4", &sixteen, MQ_ROLE_SHARED_DOWN, "16x-"},
        {"mix4", &sixteen, MQ_ROLE_ATTN_V, "16x-"},
        {"mix5", &sixteen, MQ_ROLE_EXPERT_DOWN, "1x8 15x6"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400];
        runs(mq_recipe_find(cases[i].recipe), cases[i].role, cases[i].h, text, sizeof text);
        ck_assert_msg(strcmp(text, cases[i].expected) == 0, "%s, %s: %s, expected %s",
                      cases[i].recipe, mq_role_name(cases[i].role), text, cases[i].expected);
    }
    /* The head of every mix; the table that is one too. */
    struct mq_hparams tied = mha;
    const struct mq_tensor head = {.role = MQ_ROLE_HEAD, .layer = -1, .expert = -1},
                           table = {.role = MQ_ROLE_EMBEDDING, .layer = -1, .expert = -1};
    ck_assert_str_eq(mq_recipe_level(mq_recipe_find("q3_k_m"), &head, &mha), "q6_k");
    ck_assert_ptr_null(mq_recipe_level(mq_recipe_find("q3_k_m"), &table, &mha));
    tied.tied_head = true;
    ck_assert_str_eq(mq_recipe_level(mq_recipe_find("q3_k_m"), &table, &tied), "q6_k");
}
END_TEST

START_TEST(nothing_is_brought_to_a_level_that_is_read_only)
{
    struct mq_view *view = open_model();
    const struct mq_policy policy = mq_policy_default(mq_level_find("q5_1"));
    struct mq_plan *plan;
    moeq_error err = {0};
    ck_assert_int_eq(mq_plan_create(view, &policy, &plan, &err), MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "at level 'q5_1', which is read only"));
    ck_assert_int_eq(plan_with("*.w2.*", "q4_0", NULL, NULL, view, &plan, &err),
                     MOEQ_INVALID_ARGUMENT);
    mq_view_close(view);
}
END_TEST

/* One that is stored so stays so, in whole blocks. */
START_TEST(a_level_that_is_read_only_is_kept)
{
    struct mq_view *view = open_model();
    const struct mq_level *level = mq_level_find("q4_0");
    const struct mq_policy as_stored = {0};
    struct mq_plan *plan;
    moeq_error err = {0};
    struct mq_tensor *t = &view->tensors[0];
    const struct mq_tensor before = *t;
    t->storage = level->name;
    t->row_bytes = mq_level_row_bytes(level, t->cols);
    ck_assert_ok(mq_plan_create(view, &as_stored, &plan, &err));
    ck_assert_ptr_eq(plan->entries[0].level, level);
    ck_assert_uint_eq(plan->entries[0].row_bytes, t->cols / 32 * 18);
    mq_plan_free(plan);
    t->cols += 8;
    t->row_bytes = mq_level_row_bytes(level, t->cols);
    ck_assert_int_eq(mq_plan_create(view, &as_stored, &plan, &err), MOEQ_MALFORMED);
    ck_assert_ptr_nonnull(strstr(err.message, "a multiple of 32 weights"));
    *t = before;
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, recipes_name_levels);
    tcase_add_test(tests, recipes_spread_bits_over_layers);
    tcase_add_test(tests, recipes_of_dense_models);
    tcase_add_test(tests, accounts_for_every_byte);
    tcase_add_test(tests, counts_tails_as_they_are_stored);
    tcase_add_test(tests, mlp_of_a_model_with_experts_is_shared);
    tcase_add_test(tests, recipes_count_the_layers_that_have_values);
    tcase_add_test(tests, later_overrides_win);
    tcase_add_test(tests, nothing_is_brought_to_a_level_that_is_read_only);
    tcase_add_test(tests, a_level_that_is_read_only_is_kept);
    tcase_add_test(tests, routers_and_norms_are_never_narrowed);
}

int main(void)
{
    return mq_test_main("test_plan", add_tests);
}
