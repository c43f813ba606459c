/*
 * test_config_rules.c: what a row of a family's descriptor can say of config.json: each rule, with a
 * family that has a row of each.
 */
#include "arch/arch_int.h"
#include "file.h"
#include "open_options.h"
#include "rule_family.h"
#include "test_support.h"
#include "view_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZES                                                                                  \
    "\"model_type\":\"test\",\"hidden_size\":64,\"intermediate_size\":160,\"vocab_size\":256," \
    "\"num_attention_heads\":4"
#define FOUR "{" SIZES ",\"num_hidden_layers\":4"

static struct mq_view *parse(const char *json, moeq_status *status, moeq_error *err)
{
    struct mq_view *view = mq_view_create("config.json");
    memset(err, 0, sizeof *err);
    ck_assert_ptr_nonnull(view);
    mq_buffer_append(&view->side[MQ_SIDE_CONFIG], json, strlen(json));
    *status = mq_config_parse_as(view, &rule_family, "config.json", err);
    return view;
}

static struct mq_view *parse_ok(const char *json)
{
    moeq_status status;
    moeq_error err;
    struct mq_view *view = parse(json, &status, &err);
    ck_assert_msg(status == MOEQ_OK, "%s: %s", json, err.message);
    return view;
}

/* ---- values ---- */

START_TEST(what_is_absent_has_its_row_s_value)
{
    struct mq_view *view = parse_ok(FOUR "}");
    const struct mq_hparams *h = &view->hparams;
    ck_assert_uint_eq(h->layers, 4);
    ck_assert_uint_eq(h->top_k, 1);
    ck_assert_uint_eq(h->experts, 4);
    ck_assert_uint_eq(h->expert_ffn, 48);
    ck_assert_uint_eq(h->shared_experts, 1);
    ck_assert_uint_eq(h->q_rank, 1536);
    ck_assert_float_eq(h->rms_eps, 1e-5f);
    ck_assert(h->tied_head);
    ck_assert(!h->dense_layers.given);
    ck_assert_uint_eq(h->layer_kinds.count, 0);
    ck_assert_uint_eq(mq_layer_value(&h->layer_kinds, 3, 7), 7);
    mq_view_close(view);
}
END_TEST

START_TEST(what_is_there_is_read)
{
    struct mq_view *view = parse_ok(
        FOUR
        ",\"ffn\":{\"k\":2,\"deep\":{\"size\":32},\"act\":\"silu\",\"experts\":6,\"dtype\":\"x\","
        "\"id2label\":{\"0\":\"a\"},\"is_encoder_decoder\":false},\"norm_eps\":1e-6,"
        "\"tie_embedding\":false,\"shared\":0,\"q_rank\":null,\"softcap\":0,\"shift\":-2.5,"
        "\"method\":\"best\",\"layer_types\":[\"mamba\",\"attention\",\"linear_attention\","
        "\"moe\"],\"cycle\":\"LLG\",\"topk\":[3,2,1,0],\"moe_layers\":[],"
        "\"attention_bias\":true}");
    const struct mq_hparams *h = &view->hparams;
    ck_assert_uint_eq(h->top_k, 2);
    ck_assert_uint_eq(h->expert_ffn, 32);
    ck_assert_uint_eq(h->experts, 6);
    ck_assert_float_eq(h->rms_eps, 1e-6f);
    ck_assert(!h->tied_head);
    ck_assert_uint_eq(h->shared_experts, 0);
    ck_assert_uint_eq(h->q_rank, 0);
    ck_assert_float_eq(h->query_beta, -2.5f);
    ck_assert_uint_eq(h->route_by, 1);
    ck_assert(h->dense_layers.given && h->dense_layers.count == 0);
    ck_assert(h->attention_bias);
    static const uint32_t kinds[] = {0, 1, 0, 2}, cycle[] = {0, 0, 1, 0}, topk[] = {3, 2, 1, 0};
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(mq_layer_value(&h->layer_kinds, i, 7), kinds[i]);
        ck_assert_uint_eq(mq_layer_value(&h->ffn_kinds, i, 7), cycle[i]);
        ck_assert_uint_eq(mq_layer_value(&h->layer_top_k, i, 7), topk[i]);
        ck_assert_uint_eq(view->program->layers[i]->layer.attention.chunk, kinds[i]);
    }
    mq_view_close(view);
}
END_TEST

/* Forms of the same lists: what layer 0, 1, ... has. */
static const struct {
    const char *json;
    size_t field;
    uint32_t layers[5];
} lists[] = {
#define KIND offsetof(struct mq_hparams, layer_kinds)
#define FFN offsetof(struct mq_hparams, ffn_kinds)
#define TOP offsetof(struct mq_hparams, layer_top_k)
    {FOUR ",\"pattern\":\"M*ME\"}", KIND, {0, 1, 0, 2}},
    {FOUR ",\"layer_types\":\"EEM*\"}", KIND, {2, 2, 0, 1}},
    {FOUR ",\"pattern\":\"M*ME\",\"layer_types\":[\"mamba\",\"*\",\"M\",\"E\"]}",
     KIND,
     {0, 1, 0, 2}},
    {FOUR ",\"layer_types\":[],\"pattern\":\"MMMM\"}", KIND, {0, 0, 0, 0}},
    {FOUR ",\"layer_types\":[]}", KIND, {7, 7, 7, 7}},
    {FOUR ",\"layer_types\":null}", KIND, {7, 7, 7, 7}},
    {FOUR ",\"cycle\":2}", FFN, {0, 1, 0, 1}},
    {FOUR ",\"cycle\":1}", FFN, {1, 1, 1, 1}},
    {FOUR ",\"cycle\":4}", FFN, {0, 0, 0, 1}},
    {FOUR ",\"cycle\":5}", FFN, {0, 0, 0, 0}},
    {FOUR ",\"cycle\":16777216}", FFN, {0, 0, 0, 0}},
    {FOUR ",\"is_moe\":[false,1,true,0]}", FFN, {0, 1, 1, 0}},
    {FOUR ",\"is_moe\":[0,0,1,0],\"cycle\":\"LLG\"}", FFN, {0, 0, 1, 0}},
    {FOUR ",\"topk\":5}", TOP, {5, 5, 5, 5}},
    {FOUR ",\"topk\":[1,2,3,4]}", TOP, {1, 2, 3, 4}},
};

START_TEST(lists_for_the_layers_have_several_forms)
{
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct mq_view *view = parse_ok(lists[i].json);
        const struct mq_layer_values *v =
            (const void *)((const char *)&view->hparams + lists[i].field);
        for (uint32_t l = 0; l < 4; l++)
            ck_assert_msg(mq_layer_value(v, l, 7) == lists[i].layers[l], "%s: layer %u is %u",
                          lists[i].json, l, mq_layer_value(v, l, 7));
        mq_view_close(view);
    }
}
END_TEST

START_TEST(an_object_may_hold_layers)
{
    struct mq_view *view = parse_ok(FOUR ",\"per_layer_config\":{\"2\":{\"head_dim\":32},"
                                         "\"0\":{\"head_dim\":null},\"9\":{\"head_dim\":5}},"
                                         "\"end\":-1}");
    static const uint32_t sizes[] = {0, 0, 32, 0};
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(mq_layer_value(&view->hparams.layer_shared, i, 7), sizes[i]);
    ck_assert_uint_eq(view->hparams.dense_first, 3);
    mq_view_close(view);
    view = parse_ok(FOUR ",\"per_layer_config\":{},\"end\":2}");
    ck_assert_uint_eq(view->hparams.layer_shared.count, 0);
    ck_assert_uint_eq(view->hparams.dense_first, 2);
    mq_view_close(view);
}
END_TEST

/* Of an object that is read by itself a family may read a key more. */
START_TEST(a_family_reads_a_key_of_rope_parameters)
{
    struct mq_view *view = parse_ok(FOUR ",\"rope_parameters\":{\"rope_type\":\"linear\","
                                         "\"factor\":2,\"rope_theta\":5,\"beta\":0.5}}");
    ck_assert_float_eq(view->hparams.query_positions, 0.5f);
    mq_view_close(view);
}
END_TEST

START_TEST(a_list_says_how_many_layers_there_are)
{
    struct mq_view *view = parse_ok("{" SIZES ",\"pattern\":\"MEM*E\"}");
    ck_assert_uint_eq(view->hparams.layers, 5);
    mq_view_close(view);
    view = parse_ok("{" SIZES ",\"layer_types\":[\"moe\",\"mamba\"],\"topk\":[1,2]}");
    ck_assert_uint_eq(view->hparams.layers, 2);
    mq_view_close(view);
}
END_TEST

/* ---- what is refused ---- */

#define UNKNOWN                                                                                 \
    ": a key that moeq does not know: it may change the maths. Where it was written by a tool " \
    "and the model does without, --ignore-config "

static const struct {
    const char *json, *message;
} refused[] = {
    {"{" SIZES "}", "\"num_hidden_layers\" is missing"},
    {"{" SIZES ",\"pattern\":\"\"}", "\"num_hidden_layers\" is missing"},
    {FOUR ",\"shared\":-1}", "\"shared\": expected a whole number from 0 to 16777216, found -1"},
    {FOUR ",\"shared\":1.5}", "\"shared\": expected a whole number from 0 to 16777216, found 1.5"},
    {FOUR ",\"ffn\":{\"k\":0}}", "\"ffn.k\": expected a whole number from 1 to 16777216, found 0"},
    {FOUR ",\"softcap\":-1}", "\"softcap\": -1 is no number from 0 on"},
    {FOUR ",\"shift\":\"1\"}", "\"shift\": \"1\" is no number"},
    {FOUR ",\"shift\":1e31}", "\"shift\": 1e+31 is no number"},
    {FOUR ",\"shift\":NaN}", "\"shift\": \"NaN\" is no number"},
    {FOUR ",\"norm_eps\":0}", "\"norm_eps\": 0 is no positive number"},
    {FOUR ",\"norm_eps\":1e-60}", "\"norm_eps\": 1e-60 is too small a positive number"},
    {FOUR ",\"tie_embedding\":1}", "\"tie_embedding\": 1 is neither true nor false"},
    {FOUR ",\"method\":\"other\"}",
     "\"method\": \"other\" (implemented: \"none\" or \"greedy\" or \"best\" or 3): a key that "
     "moeq "
     "implements at other values only: it may change the maths. Where it was written by a tool and "
     "the model does without, --ignore-config method goes on"},
    {FOUR ",\"ffn\":{\"k\":1,\"jitter\":2}}", "\"ffn.jitter\": 2" UNKNOWN "ffn.jitter goes on"},
    {FOUR ",\"ffn\":{\"deep\":{\"size\":2,\"x\":1}}}",
     "\"ffn.deep.x\": 1" UNKNOWN "ffn.deep.x goes on"},
    {FOUR ",\"ffn\":{\"hidden_size\":64}}",
     "\"ffn.hidden_size\": 64" UNKNOWN "ffn.hidden_size goes on"},
    {FOUR ",\"ffn\":[1]}", "\"ffn\": [1]" UNKNOWN "ffn goes on"},
    {FOUR ",\"ffn\":{\"act\":\"gelu\"}}",
     "\"ffn.act\": \"gelu\" (implemented: \"silu\"): a key that moeq implements at other values "
     "only: it may change the maths. Where it was written by a tool and the model does without, "
     "--ignore-config ffn.act goes on"},
    {FOUR ",\"rms_norm_eps\":1e-6}", "\"rms_norm_eps\": 1e-06" UNKNOWN "rms_norm_eps goes on"},
    {FOUR ",\"tie_word_embeddings\":true}",
     "\"tie_word_embeddings\": true" UNKNOWN "tie_word_embeddings goes on"},
    {FOUR ",\"n_experts\":4,\"ffn\":{\"experts\":5}}",
     "\"n_experts\" and \"ffn.experts\" are two names of one key, and differ"},
    {FOUR ",\"num_experts\":4,\"ffn\":{\"experts\":5}}",
     "\"num_experts\" and \"ffn.experts\" are two names of one key, and differ"},
    {FOUR ",\"layer_types\":[\"moe\",\"moe\",\"moe\"]}",
     "\"layer_types\" is of 3 layers, and \"num_hidden_layers\" says 4"},
    {FOUR ",\"pattern\":\"MMMMM\"}",
     "\"pattern\" is of 5 layers, and \"num_hidden_layers\" says 4"},
    {FOUR ",\"topk\":[1,2,3]}", "\"topk\" is of 3 layers, and \"num_hidden_layers\" says 4"},
    {FOUR ",\"topk\":[1,2,3,-4]}",
     "\"topk\": expected a whole number from 0 to 16777216, found -4"},
    {FOUR ",\"topk\":\"4\"}", "\"topk\": expected a whole number from 0 to 16777216, found \"4\""},
    {FOUR ",\"pattern\":\"MMMX\"}",
     "\"pattern\": \"MMMX\" is not implemented (implemented: \"mamba\" or \"linear_attention\" or "
     "\"M\" or \"attention\" or \"*\" or \"moe\" or \"E\")"},
    {FOUR ",\"layer_types\":[\"moe\",7,\"moe\",\"moe\"]}",
     "\"layer_types\": 7 is not implemented (implemented: \"mamba\" or \"linear_attention\" or "
     "\"M\" or \"attention\" or \"*\" or \"moe\" or \"E\")"},
    {FOUR ",\"layer_types\":7}", "\"layer_types\": 7 is no list of what each layer is"},
    {FOUR ",\"layer_types\":{}}", "\"layer_types\": {} is no list of what each layer is"},
    {FOUR ",\"cycle\":0}", "\"cycle\": expected a whole number from 1 to 16777216, found 0"},
    {FOUR ",\"cycle\":{}}", "\"cycle\": {} is no list of what each layer is"},
    {FOUR ",\"moe_layers\":[1,\"2\"]}", "\"moe_layers\": \"2\" is no layer's number"},
    {FOUR ",\"pattern\":\"M*ME\",\"layer_types\":[\"mamba\",\"*\",\"M\",\"M\"]}",
     "\"layer_types\" and \"pattern\" are two forms of one thing, and differ"},
    {FOUR ",\"is_moe\":[0,0,1,1],\"cycle\":\"LLG\"}",
     "\"cycle\" and \"is_moe\" are two forms of one thing, and differ"},
    {FOUR ",\"end\":-2}", "\"end\": expected a whole number from 0 to 16777216, found -2"},
    {FOUR ",\"per_layer_config\":{\"x\":{\"head_dim\":1}}}",
     "\"per_layer_config.*.head_dim\": {\"x\":{\"head_dim\":1}} has a key that is no layer's "
     "number"},
    {FOUR ",\"per_layer_config\":{\"1\":{\"head_dim\":-1}}}",
     "\"per_layer_config.*.head_dim\": expected a whole number from 0 to 16777216, found -1"},
    {FOUR ",\"per_layer_config\":{\"1\":{\"size\":1}}}",
     "\"per_layer_config.1.size\": 1" UNKNOWN "per_layer_config.1.size goes on"},
    {FOUR ",\"per_layer_config\":{\"1\":5}}",
     "\"per_layer_config.1\": 5" UNKNOWN "per_layer_config.1 goes on"},
    {FOUR ",\"per_layer_config\":7}",
     "\"per_layer_config\": 7 (implemented: {}): a key that moeq implements at other values only: "
     "it "
     "may change the maths. Where it was written by a tool and the model does without, "
     "--ignore-config per_layer_config goes on"},
    {FOUR ",\"ffn\":{\"k\":1,\"k\":2}}", "JSON holds the key \"k\" twice"},
};

START_TEST(refuses_what_a_row_does_not_allow)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        moeq_status status;
        moeq_error err;
        mq_view_close(parse(refused[i].json, &status, &err));
        ck_assert_msg(status != MOEQ_OK, "%s", refused[i].json);
        ck_assert_str_eq(err.message + strlen("config.json: "), refused[i].message);
    }
}
END_TEST

/* `count` of a text, in brackets. */
static char *repeated(const char *begin, const char *item, size_t count, const char *end)
{
    struct mq_buffer text = {0};
    mq_buffer_append(&text, begin, strlen(begin));
    for (size_t i = 0; i < count; i++)
        mq_buffer_printf(&text, "%s", item);
    mq_buffer_append(&text, end, strlen(end) + 1);
    ck_assert(mq_buffer_ok(&text));
    return text.data;
}

START_TEST(long_lists_and_deep_objects_end_well)
{
    moeq_status status;
    moeq_error err;
    char *json = repeated(FOUR ",\"topk\":[", "1,", 90000, "1]}");
    mq_view_close(parse(json, &status, &err));
    ck_assert_str_eq(err.message, "config.json: \"topk\" is of 90001 layers, and "
                                  "\"num_hidden_layers\" says 4");
    free(json);
    json = repeated(FOUR ",\"topk\":[", "1,", 200000, "1]}");
    mq_view_close(parse(json, &status, &err));
    ck_assert_int_ne(status, MOEQ_OK);
    free(json);
    json = repeated(FOUR ",\"pattern\":\"", "M", 1 << 20, "\"}");
    mq_view_close(parse(json, &status, &err));
    ck_assert_str_eq(err.message, "config.json: \"pattern\" is of 1048576 layers, and "
                                  "\"num_hidden_layers\" says 4");
    free(json);
    json = repeated(FOUR ",\"ffn\":", "{\"deep\":", 28, "1}}}}}}}}}}}}}}}}}}}}}}}}}}}}}");
    mq_view_close(parse(json, &status, &err));
    ck_assert_int_ne(status, MOEQ_OK);
    ck_assert_ptr_nonnull(strstr(err.message, "\"ffn.deep.deep\": {"));
    free(json);
}
END_TEST

START_TEST(keys_in_objects_can_be_ignored)
{
    const char *const ignored[] = {"ffn.jitter", "ffn.none"};
    const struct mq_open_options options = {.ignored_keys = ignored, .ignored_keys_count = 2};
    static const char json[] = FOUR ",\"ffn\":{\"k\":2,\"jitter\":1}}";
    struct mq_view *view = mq_view_create("config.json");
    moeq_error err = {0};
    ck_assert_ok(mq_view_set_options(view, &options, &err));
    mq_buffer_append(&view->side[MQ_SIDE_CONFIG], json, strlen(json));
    ck_assert_ok(mq_config_parse_as(view, &rule_family, "config.json", &err));
    ck_assert_uint_eq(view->notes_count, 2);
    ck_assert_str_eq(view->notes[0], "config.json's \"ffn.jitter\", which moeq does not know, is "
                                     "ignored, as was asked for");
    ck_assert_str_eq(view->notes[1], "--ignore-config: config.json has no key \"ffn.none\"");
    mq_view_close(view);
}
END_TEST

/* A row that changes no layer is a mistake of the descriptor, whatever its rule. */
START_TEST(a_row_that_changes_nothing_is_a_mistake)
{
    for (size_t i = 0; rule_family.keys[i].key; i++) {
        const struct mq_config_key *keys = rule_family.keys;
        struct mq_config_key one[] = {keys[i], {0}};
        struct mq_family broken = rule_family;
        moeq_error err = {0};
        if (keys[i].rule == MQ_KEY_ONLY || keys[i].field == offsetof(struct mq_hparams, rms_eps) ||
            keys[i].field == offsetof(struct mq_hparams, tied_head))
            continue; /* not read, or of the whole model */
        broken.keys = one;
        broken.layer = mq_layer_dense;
        broken.ends = NULL;
        static const struct mq_tensor_name dense[] = {
            MQ_NAMES_BEFORE_FFN, MQ_NAMES_MLP, MQ_NAMES_AFTER_LAYERS, {0}};
        broken.names = dense;
        struct mq_view *view = mq_view_create("config.json");
        mq_buffer_append(&view->side[MQ_SIDE_CONFIG], FOUR "}", strlen(FOUR "}"));
        const moeq_status status = mq_config_parse_as(view, &broken, "config.json", &err);
        ck_assert_msg(status != MOEQ_OK, "%s", keys[i].key);
        ck_assert_msg(strstr(err.message, "is read, and changes no layer") ||
                          strstr(err.message, "more than the 0 experts"),
                      "%s", err.message);
        mq_view_close(view);
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, what_is_absent_has_its_row_s_value);
    tcase_add_test(tests, what_is_there_is_read);
    tcase_add_test(tests, lists_for_the_layers_have_several_forms);
    tcase_add_test(tests, an_object_may_hold_layers);
    tcase_add_test(tests, a_family_reads_a_key_of_rope_parameters);
    tcase_add_test(tests, a_list_says_how_many_layers_there_are);
    tcase_add_test(tests, refuses_what_a_row_does_not_allow);
    tcase_add_test(tests, long_lists_and_deep_objects_end_well);
    tcase_add_test(tests, keys_in_objects_can_be_ignored);
    tcase_add_test(tests, a_row_that_changes_nothing_is_a_mistake);
}

int main(void)
{
    return mq_test_main("test_config_rules", add_tests);
}
