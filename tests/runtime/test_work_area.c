/*
 * test_work_area.c: what a pass holds beside the states of its tokens. Slabs of an expert's or MLP's tokens, and
 * heads of k and v that are taken some at a time, leave no trace in the bits; and states are most of the memory.
 */
#include "family.h"
#include "golden.h"
#include "pass_int.h"
#include "st_edit.h"
#include "test_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An expert of half the tokens, and MLPs of all, take several slabs (of 4096 tokens: ffn.c). */
enum { LENGTH = 16, WINDOWS = 640, VOCAB = 96, NARROW = 2, WIDE = 8 };

static uint32_t mix(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

/* Numbers that depend on the name and their place, as bf16; norms around 1. Each head of `dim` rows (of k and v)
 * stands there `times` times. */
static void fill(struct st_item *item, size_t rows, size_t cols, size_t dim, size_t times)
{
    uint32_t seed = 0;
    const float middle = strstr(item->name, "norm") ? 1.0f : 0.0f;
    for (const char *c = item->name; *c; c++)
        seed = mix(seed + (unsigned char)*c);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) {
            const size_t row = r / (dim * times) * dim + r % dim;
            const int32_t state = (int32_t)mix(seed + (uint32_t)(row * cols + c));
            const float value = middle + (float)state / 2147483648.0f / 4;
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            item->bytes[2 * (r * cols + c)] = (unsigned char)(bits >> 16);
            item->bytes[2 * (r * cols + c) + 1] = (unsigned char)(bits >> 24);
        }
}

static size_t times_of(const struct mq_tensor *t, uint32_t kv_heads, size_t *dim)
{
    const bool k = t->role == MQ_ROLE_ATTN_K || t->role == MQ_ROLE_ATTN_K_BIAS;
    const bool v = t->role == MQ_ROLE_ATTN_V || t->role == MQ_ROLE_ATTN_V_BIAS;
    *dim = k || v ? (t->dims == 1 ? t->cols : t->rows) / kv_heads : 1;
    return k || v ? kv_heads / NARROW : 1;
}

/* A folder with a model of that config, of so many heads of k and v, of which NARROW differ. */
static struct mq_view *make_model(const char *name, const char *config, uint32_t kv_heads)
{
    char folder[512], command[600];
    moeq_error err = {0};
    struct mq_view *view;
    struct st_edit *edit = calloc(1, sizeof *edit);
    ck_assert_ptr_nonnull(edit);
    snprintf(folder, sizeof folder, "%s", mq_test_temporary(name));
    snprintf(command, sizeof command, "mkdir -p '%s'", folder);
    ck_assert_int_eq(system(command), 0);
    test_write(test_path(folder, "config.json"), config, strlen(config));
    ck_assert_msg(mq_view_from_config(test_path(folder, "config.json"), NULL, &view, &err) ==
                      MOEQ_OK,
                  "%s", err.message);
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        const uint64_t rows = t->dims == 1 ? t->cols : t->rows, cols = t->dims == 1 ? 1 : t->cols;
        size_t dim;
        const size_t times = times_of(t, kv_heads, &dim);
        fill(st_edit_add(edit, t->name, MQ_BF16, t->dims, rows, cols), rows, cols, dim, times);
    }
    mq_view_close(view);
    st_edit_save(edit, test_path(folder, "model.safetensors"));
    st_edit_free(edit);
    free(edit);
    return test_open(folder);
}

static const struct mq_level **levels_of(const struct mq_view *view)
{
    const struct mq_level **levels = calloc(view->tensors_count, sizeof *levels);
    ck_assert_ptr_nonnull(levels);
    for (size_t i = 0; i < view->tensors_count; i++)
        if (mq_view_class(view, view->tensors[i].role) != MQ_CLASS_KEEP)
            levels[i] =
                mq_level_find(view->tensors[i].role == MQ_ROLE_EXPERT_DOWN ? "q4_k" : "q8_0");
    return levels;
}

static void collect_or_fail(const struct mq_context *context, const struct mq_arm *arms,
                            size_t count, const struct mq_windows *windows,
                            struct collected *results)
{
    moeq_error err = {0};
    ck_assert_msg(collect(context, arms, count, windows, results, &err) == MOEQ_OK, "%s",
                  err.message);
}

static int32_t *make_ids(size_t count)
{
    int32_t *ids = calloc(count, sizeof *ids);
    ck_assert_ptr_nonnull(ids);
    for (size_t i = 0; i < count; i++)
        ids[i] = (int32_t)(mix((uint32_t)i) % VOCAB);
    return ids;
}

/* ---- slabs ---- */

static const char slabs_config[] =
    "{\"model_type\": \"qwen2_moe\", \"hidden_size\": 32, \"intermediate_size\": 2048, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"num_key_value_heads\": 2, "
    "\"vocab_size\": 96, \"num_experts\": 2, \"num_experts_per_tok\": 1, \"mlp_only_layers\": [0], "
    "\"moe_intermediate_size\": 2048, \"shared_expert_intermediate_size\": 2048, "
    "\"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-06, \"tie_word_embeddings\": false}";

/* All tokens in one pass against passes of so few that each expert takes them at once, and against two passes that take
 * them in slabs, where what is encoded for the next slab is kept for the next pass, too. */
START_TEST(slabs)
{
    enum { ARMS = 3 };
    struct mq_view *view = make_model("slabs", slabs_config, NARROW);
    const struct mq_level **levels = levels_of(view);
    int32_t *ids = make_ids((size_t)WINDOWS * LENGTH);
    const struct mq_windows windows = {ids, WINDOWS, LENGTH};
    struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    struct mq_arm arms[ARMS];
    struct collected whole[ARMS], parts[ARMS];
    for (int a = 0; a < ARMS; a++)
        arms[a] = (struct mq_arm){
            .name = "arm", .view = view, .levels = a ? levels : NULL, .routes_from = -1};
    arms[2].compute = MQ_COMPUTE_INT8;
    arms[2].routes_from = 0; /* the second's weights, other tokens for each expert */
    context.memory_bytes = UINT64_MAX;
    collect_or_fail(&context, arms, ARMS, &windows, whole);
    for (size_t passes = 4; passes > 1; passes /= 2) {
        context.memory_bytes = mq_evaluation_bytes(&context, arms, ARMS, LENGTH, WINDOWS / passes);
        collect_or_fail(&context, arms, ARMS, &windows, parts);
        for (int a = 0; a < ARMS; a++) {
            ck_assert_msg(collected_equal(&whole[a], &parts[a]), "arm %d, %zu passes", a, passes);
            collected_free(&parts[a]);
        }
    }
    for (int a = 0; a < ARMS; a++)
        collected_free(&whole[a]);
    const struct mq_hparams *hp = &view->hparams;
    ck_assert(mq_pass_sizes(view->program, hp, (size_t)WINDOWS * LENGTH, 0).encodes);
    ck_assert(mq_pass_sizes(view->program, hp, (size_t)WINDOWS / 2 * LENGTH, 0).encodes);
    ck_assert(!mq_pass_sizes(view->program, hp, (size_t)WINDOWS / 4 * LENGTH, 0).encodes);
    free(ids);
    free(levels);
    mq_view_close(view);
}
END_TEST

/* ---- heads of k and v ---- */

/* "%u": heads of k and v, of 64 numbers. */
static const char *const heads_configs[] = {
    "{\"model_type\": \"qwen2_moe\", \"hidden_size\": 512, \"intermediate_size\": 64, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 8, \"num_key_value_heads\": %u, "
    "\"vocab_size\": 96, \"num_experts\": 2, \"num_experts_per_tok\": 1, "
    "\"moe_intermediate_size\": 32, \"shared_expert_intermediate_size\": 32, "
    "\"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-06, \"tie_word_embeddings\": false}",
    "{\"model_type\": \"mimo_v2_flash\", \"hidden_size\": 64, \"intermediate_size\": 64, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 8, \"num_key_value_heads\": %u, "
    "\"swa_num_attention_heads\": 8, \"swa_num_key_value_heads\": %u, \"head_dim\": 64, "
    "\"swa_head_dim\": 64, \"v_head_dim\": 48, \"swa_v_head_dim\": 48, \"sliding_window\": 12, "
    "\"hybrid_layer_pattern\": [0, 1], \"moe_layer_freq\": [0, 1], \"partial_rotary_factor\": 0.5, "
    "\"rope_theta\": 5000000, \"swa_rope_theta\": 10000, \"n_routed_experts\": 2, "
    "\"num_experts_per_tok\": 1, \"moe_intermediate_size\": 32, \"n_group\": 1, \"topk_group\": 1, "
    "\"norm_topk_prob\": true, \"scoring_func\": \"sigmoid\", \"topk_method\": \"noaux_tc\", "
    "\"add_swa_attention_sink_bias\": true, \"attention_value_scale\": 0.707, \"vocab_size\": 96, "
    "\"max_position_embeddings\": 64, \"layernorm_epsilon\": 1e-05, "
    "\"tie_word_embeddings\": false}",
};

/* Eight heads of k and v, which are taken four at a time, of which each four are alike, against two. */
START_TEST(heads_in_parts)
{
    char config[2048], name[32];
    struct collected results[2];
    int32_t *ids = make_ids(3 * LENGTH);
    const struct mq_windows windows = {ids, 3, LENGTH};
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    for (int i = 0; i < 2; i++) {
        const unsigned heads = i ? WIDE : NARROW;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(config, sizeof config, heads_configs[_i], heads, heads);
#pragma GCC diagnostic pop
        snprintf(name, sizeof name, "heads-%d-%u", _i, heads);
        struct mq_view *view = make_model(name, config, heads);
        const struct mq_arm arm = {.name = "stored", .view = view, .routes_from = -1};
        collect_or_fail(&context, &arm, 1, &windows, &results[i]);
        mq_view_close(view);
    }
    ck_assert_mem_ne(results[0].logits, results[0].logits + VOCAB, VOCAB * sizeof(float));
    ck_assert(collected_equal(&results[0], &results[1]));
    collected_free(&results[0]);
    collected_free(&results[1]);
    free(ids);
}
END_TEST

/* ---- room ---- */

/* What docs/performance.md says of passes of 65,536 tokens in windows of 512. */
START_TEST(room_of_models)
{
    static const struct {
        const char *config;
        double kib_a_token;
    } models[] = {{"mixtral-8x7b", 57}, {"deepseek-v3", 156}};
    struct mq_view *view;
    moeq_error err = {0};
    char path[128];
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    snprintf(path, sizeof path, "tests/fixtures/configs/%s.json", models[_i].config);
    ck_assert_msg(mq_view_from_config(mq_test_source(path), NULL, &view, &err) == MOEQ_OK, "%s",
                  err.message);
    const struct mq_arm arm = {.name = "stored", .view = view, .routes_from = -1};
    const uint64_t all = mq_evaluation_bytes(&context, &arm, 1, 512, 128);
    fprintf(stderr, "%s: %.1f KiB a token\n", models[_i].config, (double)all / 65536 / 1024);
    ck_assert_double_lt((double)all / 65536 / 1024, models[_i].kib_a_token);
    for (size_t n = 1; n < 128; n += n / 2 + 1)
        ck_assert_uint_le(mq_evaluation_bytes(&context, &arm, 1, 512, n), all);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, slabs);
    tcase_add_loop_test(tests, heads_in_parts, 0, sizeof heads_configs / sizeof *heads_configs);
    tcase_add_loop_test(tests, room_of_models, 0, 2);
}

int main(void)
{
    return mq_test_main("test_work_area", add_tests);
}
