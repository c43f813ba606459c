/*
 * test_latent.c: latent attention: how many heads are taken at a time leaves no trace in the bits, the room
 * for them is in proportion to what else a pass holds, and windows that an indexer would act in are refused.
 */
#include "family.h"
#include "golden.h"
#include "pass_int.h"
#include "st_edit.h"
#include "test_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 24, WINDOWS = 60, HEADS = 6 };

/* Models of few numbers and many heads; "%s": more keys. */
static const char config_format[] =
    "{\"model_type\": \"%s\", \"hidden_size\": 64, \"intermediate_size\": 64, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 6, \"vocab_size\": 96, "
    "\"q_lora_rank\": %s, \"kv_lora_rank\": 64, \"qk_nope_head_dim\": 10, "
    "\"qk_rope_head_dim\": 6, \"v_head_dim\": 14, \"n_routed_experts\": 4, "
    "\"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32, \"n_shared_experts\": null, "
    "\"first_k_dense_replace\": 1, \"n_group\": null, \"topk_group\": null%s}";

/* Numbers between -1 and 1 as bf16; norms around 1. */
static void fill(struct st_item *item)
{
    static uint32_t state = 1;
    const bool norm = strstr(item->name, "norm") != NULL;
    for (size_t i = 0; i < item->size; i += 2) {
        state = state * 1664525u + 1013904223u;
        const float value = (norm ? 1.0f : 0.0f) + (float)(int32_t)state / 2147483648.0f / 4;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        item->bytes[i] = (unsigned char)(bits >> 16);
        item->bytes[i + 1] = (unsigned char)(bits >> 24);
    }
}

/* A folder with a model of that family. */
static struct mq_view *make_model(const char *family, const char *q_rank, const char *more)
{
    char config[1024], name[64], folder[512], command[600];
    moeq_error err = {0};
    struct mq_view *view;
    struct st_edit *edit = calloc(1, sizeof *edit);
    ck_assert_ptr_nonnull(edit);
    snprintf(name, sizeof name, "%s-%s", family, q_rank);
    snprintf(folder, sizeof folder, "%s", mq_test_temporary(name));
    snprintf(command, sizeof command, "mkdir -p '%s'", folder);
    ck_assert_int_eq(system(command), 0);
    const int n = snprintf(config, sizeof config, config_format, family, q_rank, more);
    test_write(test_path(folder, "config.json"), config, (size_t)n);
    ck_assert_msg(mq_view_from_config(test_path(folder, "config.json"), NULL, &view, &err) ==
                      MOEQ_OK,
                  "%s", err.message);
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        fill(st_edit_add(edit, t->name, MQ_BF16, t->dims, t->dims == 1 ? t->cols : t->rows,
                         t->cols));
    }
    mq_view_close(view);
    st_edit_save(edit, test_path(folder, "model.safetensors"));
    st_edit_free(edit);
    free(edit);
    return test_open(folder);
}

static void make_ids(int32_t ids[WINDOWS * LENGTH])
{
    for (int32_t i = 0; i < WINDOWS * LENGTH; i++)
        ids[i] = (i * 37 + i / 5) % 96;
}

/* As stored; and its matrices, the router's aside, rounded to q8_0 on the fly, in integers or with activations
 * in bf16. */
static void set_arms(const struct mq_view *view, const struct mq_level **levels,
                     struct mq_arm arms[3])
{
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        levels[i] = t->dims == 2 && t->role != MQ_ROLE_ROUTER ? mq_level_find("q8_0") : NULL;
    }
    arms[0] = (struct mq_arm){.name = "stored", .view = view, .routes_from = -1};
    arms[1] = arms[2] = (struct mq_arm){.name = "integers",
                                        .view = view,
                                        .routes_from = -1,
                                        .levels = levels,
                                        .compute = MQ_COMPUTE_INT8};
    arms[2].compute = MQ_COMPUTE_F32;
    arms[2].bf16_activations = true;
}

/* Windows in one pass, which takes a head at a time, against each window alone, all heads at once. */
static void compare_heads_at_once(const struct mq_view *view)
{
    int32_t ids[WINDOWS * LENGTH];
    struct mq_arm arms[3];
    struct collected all[3], one[3];
    moeq_error err = {0};
    const struct mq_level **levels = calloc(view->tensors_count, sizeof *levels);
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    ck_assert_ptr_nonnull(levels);
    make_ids(ids);
    set_arms(view, levels, arms);
    const struct mq_windows windows = {ids, WINDOWS, LENGTH};
    ck_assert_uint_eq(mq_evaluation_windows(&context, arms, 3, LENGTH, WINDOWS, 1u << 30), WINDOWS);
    ck_assert_msg(collect(&context, arms, 3, &windows, all, &err) == MOEQ_OK, "%s", err.message);
    for (size_t w = 0; w < WINDOWS; w += WINDOWS - 1) {
        const struct mq_windows alone = {ids + w * LENGTH, 1, LENGTH};
        ck_assert_msg(collect(&context, arms, 3, &alone, one, &err) == MOEQ_OK, "%s", err.message);
        for (int a = 0; a < 3; a++) {
            const size_t n = LENGTH * all[a].vocab;
            ck_assert(isfinite(one[a].logits[0]) && one[a].logits[0] != one[a].logits[1]);
            ck_assert_mem_eq(all[a].logits + w * n, one[a].logits, n * sizeof(float));
            collected_free(&one[a]);
        }
    }
    ck_assert_mem_ne(all[0].logits, all[1].logits, sizeof(float) * 96);
    for (int a = 0; a < 3; a++)
        collected_free(&all[a]);
    free(levels);
}

static size_t work_of(const struct mq_layer *layer, size_t tokens)
{
    return mq_pass_latent_work(
        &(struct mq_pass_sizes){.hidden = 64, .tokens = tokens, .keys = tokens}, layer);
}

START_TEST(heads_at_a_time)
{
    static const char *const ranks[] = {"64", "null"};
    struct mq_view *view = make_model("deepseek_v3", ranks[_i], "");
    const struct mq_layer *layer = &view->program->layers[0]->layer;
    ck_assert_uint_eq(layer->attention.heads, HEADS);
    ck_assert_uint_eq(layer->attention.q_rank, _i == 0 ? 64 : 0);
    ck_assert_uint_eq(layer->ffn.shared_rows, 0);
    /* (so many tokens are not done with all heads at once) */
    ck_assert_uint_lt(work_of(layer, WINDOWS * LENGTH), WINDOWS * work_of(layer, LENGTH) * 7 / 8);
    compare_heads_at_once(view);
    mq_view_close(view);
}
END_TEST

/* Of DeepSeek-V3 all heads' q, k and v are 98,304 numbers a token; other steps hold up to 18,432 (its MLPs).
 * And a pass of many windows needs no more than they do alone (mq_evaluation_bytes). */
START_TEST(room_in_proportion)
{
    struct mq_layer layer = {.attention = {.kind = MQ_MIXER_LATENT,
                                           .heads = 128,
                                           .kv_heads = 128,
                                           .head_dim = 192,
                                           .value_dim = 128,
                                           .rotary_dim = 64,
                                           .q_rank = 1536,
                                           .kv_rank = 512}};
    ck_assert_uint_lt(work_of(&layer, 4096), 4096 * 2 * 18432);
    for (size_t tokens = 1; tokens < 8192; tokens += tokens / 3 + 1)
        for (size_t windows = 2; windows < 40; windows += 5)
            ck_assert_uint_le(work_of(&layer, windows * tokens), windows * work_of(&layer, tokens));
}
END_TEST

/* Up to index_topk keys sparse attention is the whole one; beyond, its indexer is not implemented. */
START_TEST(indexer_refused)
{
    static const char *const families[] = {"deepseek_v32", "glm_moe_dsa"};
    int32_t ids[WINDOWS * LENGTH];
    struct collected c;
    moeq_error err = {0};
    struct mq_view *view = make_model(families[_i], "48", ", \"index_topk\": 16");
    const struct mq_arm arm = {.name = "stored", .view = view, .routes_from = -1};
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    make_ids(ids);
    const struct mq_windows longer = {ids, 1, 17}, fits = {ids, 1, 16};
    ck_assert_int_eq(collect(&context, &arm, 1, &longer, &c, &err), MOEQ_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "windows of 17 tokens are longer than the 16 keys "
                                              "(index_topk)"));
    collected_free(&c);
    ck_assert_msg(collect(&context, &arm, 1, &fits, &c, &err) == MOEQ_OK, "%s", err.message);
    collected_free(&c);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, heads_at_a_time, 0, 2);
    tcase_add_test(tests, room_in_proportion);
    tcase_add_loop_test(tests, indexer_refused, 0, 2);
}

int main(void)
{
    return mq_test_main("test_latent", add_tests);
}
