/* Config keys of the families with latent attention, and of Mistral's: what is assumed where they are absent
 * or null, and what is refused. */
#include "config_test.h"

#define SIZES                                                                    \
    "\"hidden_size\": 64, \"intermediate_size\": 64, \"num_hidden_layers\": 4, " \
    "\"num_attention_heads\": 5, \"vocab_size\": 96"

static moeq_status open_with(const char *family, const char *more, struct mq_view **view,
                             moeq_error *err)
{
    return mq_test_open_config(family, SIZES, more, view, err);
}

static struct mq_view *open_sound(const char *family, const char *more)
{
    struct mq_view *view;
    moeq_error err;
    ck_assert_msg(open_with(family, more, &view, &err) == MOEQ_OK, "%s: %s", family, err.message);
    return view;
}

/* What the classes assume: of the first layer and of the last. */
START_TEST(defaults)
{
    static const struct {
        const char *family, *more;
        uint32_t q_rank, head_dim, shared, groups, dense_layers;
        float route_scale;
    } cases[] = {
        {"deepseek_v2", "\"num_experts_per_tok\": 2", 1536, 192, 2 * 1407, 0, 0, 1},
        {"deepseek_v3", "", 1536, 192, 2048, 8, 3, 2.5f},
        {"kimi_k2", "\"q_lora_rank\": null, \"n_group\": null, \"topk_group\": null", 0, 192, 2048,
         0, 3, 2.5f},
        {"deepseek_v3", "\"n_shared_experts\": null, \"routed_scaling_factor\": null", 1536, 192, 0,
         8, 3, 1},
        {"deepseek_v3", "\"head_dim\": 64, \"first_k_dense_replace\": 0", 1536, 192, 2048, 8, 0,
         2.5f},
        {"deepseek_v32", "", 1536, 192, 2048, 8, 3, 2.5f},
        {"glm4_moe_lite", "", 768, 256, 1536, 0, 1, 1.8f},
        {"glm4_moe_lite", "\"mlp_layer_types\": [\"dense\", \"dense\", \"sparse\", \"sparse\"]",
         768, 256, 1536, 0, 2, 1.8f},
        {"glm_moe_dsa", "", 2048, 256, 2048, 0, 3, 2.5f},
        {"mistral4", "", 1024, 128, 2048, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_view *view = open_sound(cases[i].family, cases[i].more);
        const struct mq_layer *l = &view->program->layers[3]->layer;
        uint32_t dense = 0;
        while (view->program->layers[dense]->layer.ffn.kind == MQ_FFN_DENSE)
            dense++;
        ck_assert_int_eq(l->attention.kind, MQ_MIXER_LATENT);
        ck_assert_uint_eq(l->attention.q_rank, cases[i].q_rank);
        ck_assert_uint_eq(l->attention.head_dim, cases[i].head_dim);
        ck_assert_uint_eq(view->hparams.head_dim, cases[i].head_dim);
        ck_assert_uint_eq(view->hparams.kv_heads, 5);
        ck_assert_int_eq(l->attention.pairs, MQ_ROTARY_NEIGHBOURS);
        ck_assert_uint_eq(l->ffn.shared_rows, cases[i].shared);
        ck_assert_uint_eq(l->ffn.router.groups, cases[i].groups);
        ck_assert_float_eq(l->ffn.router.scale, cases[i].route_scale);
        ck_assert_uint_eq(dense, cases[i].dense_layers);
        mq_view_close(view);
    }
}
END_TEST

/* A config that says nothing of positions has its class' yarn; one that does has no more than it says. */
START_TEST(default_positions)
{
    static const struct {
        const char *family;
        double theta, factor, positions;
    } cases[] = {{"mistral4", 1e4, 128, 8192}, {"ministral3", 1e6, 16, 16384}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *dim = i ? "\"head_dim\": 12, \"num_key_value_heads\": 5" : "";
        struct mq_view *view = open_sound(cases[i].family, dim);
        const struct mq_rope *rope = &view->hparams.rope;
        const struct mq_layer_attention *a = &view->program->layers[0]->layer.attention;
        ck_assert_int_eq(rope->type, MQ_ROPE_YARN);
        ck_assert_double_eq(rope->theta, cases[i].theta);
        ck_assert_double_eq(rope->factor, cases[i].factor);
        ck_assert_double_eq(rope->magnitude, 1);
        ck_assert_float_eq(a->query_beta, 0.1f);
        ck_assert_float_eq(a->query_positions, (float)cases[i].positions);
        mq_view_close(view);
    }
    struct mq_view *view = open_sound("ministral3", "\"head_dim\": 12, \"num_key_value_heads\": 5, "
                                                    "\"rope_parameters\": {\"rope_theta\": 1e5}");
    ck_assert_int_eq(view->hparams.rope.type, MQ_ROPE_DEFAULT);
    ck_assert_float_eq(view->program->layers[0]->layer.attention.query_beta, 0);
    mq_view_close(view);
}
END_TEST

/* As in Python, where what is None is not true; absent is what the class says. */
START_TEST(null_is_no_truth)
{
    static const struct {
        const char *more;
        enum mq_router_normalize normalize;
    } cases[] = {{"\"norm_topk_prob\": null", MQ_NORMALIZE_NONE}, {"", MQ_NORMALIZE_SUM}};
    for (size_t i = 0; i < 2; i++) {
        struct mq_view *view = open_sound("deepseek_v3", cases[i].more);
        ck_assert_int_eq(view->program->layers[3]->layer.ffn.router.normalize, cases[i].normalize);
        mq_view_close(view);
    }
}
END_TEST

START_TEST(refused)
{
    static const struct mq_test_refusal cases[] = {
        {"deepseek_v3", "\"scoring_func\": \"softmax\"", "\"scoring_func\""},
        {"deepseek_v3", "\"topk_method\": \"greedy\"", "\"topk_method\""},
        {"deepseek_v3", "\"moe_layer_freq\": 2", "\"moe_layer_freq\""},
        {"deepseek_v3", "\"attention_bias\": true", "\"attention_bias\""},
        {"deepseek_v3", "\"partial_rotary_factor\": 0.5", "\"partial_rotary_factor\""},
        {"deepseek_v3", "\"qk_rope_head_dim\": 7, \"qk_nope_head_dim\": 9", "an odd number"},
        {"deepseek_v3", "\"v_head_dim\": 1025", "heads of more than 1024 numbers"},
        {"mimo_v2_flash", "\"head_dim\": 12, \"num_key_value_heads\": 1", "cannot be shared out"},
        {"deepseek_v3", "\"qk_rope_head_dim\": 1024", "head_dim 1152"},
        {"deepseek_v2", "\"num_experts_per_tok\": 2, \"norm_topk_prob\": true",
         "\"norm_topk_prob\""},
        {"deepseek_v2", "", "\"num_experts_per_tok\" is missing"},
        {"phimoe", "\"num_experts_per_tok\": 3", "\"num_experts_per_tok\": 3 (implemented: 2)"},
        {"glm4_moe_lite", "\"partial_rotary_factor\": 0.5", "\"partial_rotary_factor\""},
        {"glm_moe_dsa", "\"layer_types\": [\"sliding_attention\"]", "\"layer_types\""},
    };
    mq_test_refused(cases, sizeof cases / sizeof *cases, open_with);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, defaults);
    tcase_add_test(tests, default_positions);
    tcase_add_test(tests, null_is_no_truth);
    tcase_add_test(tests, refused);
}

int main(void)
{
    return mq_test_main("test_config_latent", add_tests);
}
