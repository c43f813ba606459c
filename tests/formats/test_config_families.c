/*
 * test_config_families.c: what the families' own configuration classes make of keys that are absent, or
 * null (Transformers 5.24: configuration_*.py of each).
 */
#include "config_test.h"

#define SIZES                                                                    \
    "\"hidden_size\": 64, \"intermediate_size\": 48, \"num_hidden_layers\": 8, " \
    "\"vocab_size\": 96, \"num_attention_heads\": 8"
#define DBRX                                                                                  \
    "\"vocab_size\": 96, \"d_model\": 64, \"n_heads\": 4, \"n_layers\": 8, \"attn_config\": " \
    "{\"kv_n_heads\": 2}, "                                                                   \
    "\"ffn_config\": {\"moe_num_experts\": 4, \"moe_top_k\": 2"
#define KV8 "\"num_key_value_heads\": 8"
#define DOTS "\"n_routed_experts\": 4, \"num_experts_per_tok\": 2, " KV8
#define GRANITE                                                                               \
    "\"mamba_d_head\": 16, \"mamba_n_heads\": 8, \"num_local_experts\": 0, \"layer_types\": " \
    "[\"mamba\", \"attention\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", \"mamba\", \"mamba\"]"

static moeq_status open_with(const char *family, const char *more, struct mq_view **view,
                             moeq_error *err)
{
    return mq_test_open_config(family, strcmp(family, "dbrx") == 0 ? "" : SIZES, more, view, err);
}

static const struct mq_layer *layer_of(const struct mq_view *view, uint32_t number)
{
    return &view->program->layers[number]->layer;
}

/* ---- what is looked at ---- */

static double theta(const struct mq_view *v)
{
    return v->hparams.rope.theta;
}
static double local_theta(const struct mq_view *v)
{
    return v->hparams.rope_local.theta;
}
static double rope_type(const struct mq_view *v)
{
    return v->hparams.rope.type;
}
static double rope_factor(const struct mq_view *v)
{
    return v->hparams.rope.factor;
}
static double rope_part(const struct mq_view *v)
{
    return v->hparams.rope.part;
}
static double kv_heads(const struct mq_view *v)
{
    return v->hparams.kv_heads;
}
static double head_dim(const struct mq_view *v)
{
    return v->hparams.head_dim;
}
static double shared_rows(const struct mq_view *v)
{
    return layer_of(v, 7)->ffn.shared_rows;
}
static double kind_of_ffn(const struct mq_view *v)
{
    return layer_of(v, 7)->ffn.kind;
}
static double normalize(const struct mq_view *v)
{
    return layer_of(v, 7)->ffn.router.normalize;
}
static double rotary_dim(const struct mq_view *v)
{
    return layer_of(v, 7)->attention.rotary_dim;
}
static double last_window(const struct mq_view *v)
{
    return layer_of(v, 7)->attention.window;
}
static double last_head_dim(const struct mq_view *v)
{
    return layer_of(v, 7)->attention.head_dim;
}
static double first_chunk(const struct mq_view *v)
{
    return layer_of(v, 0)->attention.chunk;
}
static double first_rope(const struct mq_view *v)
{
    return layer_of(v, 0)->attention.rope;
}
static double fourth_chunk(const struct mq_view *v)
{
    return layer_of(v, 3)->attention.chunk;
}
static double fourth_rope(const struct mq_view *v)
{
    return layer_of(v, 3)->attention.rope;
}

#define ALL(word) "[" word ", " word ", " word ", " word ", " word ", " word ", " word ", " word "]"
#define FULL ALL("\"full_attention\"")
#define CHUNKED ALL("\"chunked_attention\"")
#define SLIDING ALL("\"sliding_attention\"")

static const struct {
    const char *family, *more;
    double (*what)(const struct mq_view *);
    double expected;
} absent_or_null[] = {
    /* positions, where nothing is said of them, or nothing of theta */
    {"gpt_oss", "", rope_type, MQ_ROPE_YARN},
    {"gpt_oss", "", rope_factor, 32},
    {"gpt_oss", "", theta, 150000},
    {"gpt_oss", "\"rope_scaling\": null, \"rope_theta\": 5000", theta, 5000},
    {"gpt_oss", "\"rope_scaling\": {\"rope_type\": \"default\"}", rope_type, MQ_ROPE_DEFAULT},
    {"gemma4_text", "", rope_type, MQ_ROPE_PARTLY},
    {"gemma4_text", "", rope_part, 0.25},
    {"gemma4_text", "\"rope_parameters\": null", theta, 1e6},
    {"gemma4_text", "", local_theta, 1e4},
    {"ministral3", "", theta, 1e6},
    {"ministral3", "\"rope_parameters\": {\"rope_type\": \"default\"}", theta, 1e4},
    /* heads */
    {"gpt_oss", "", head_dim, 64},
    {"gpt_oss", "\"head_dim\": null", head_dim, 8},
    {"qwen3_next", "", head_dim, 256},
    {"qwen3_5_moe_text", "", head_dim, 256},
    {"minimax_m2", "", head_dim, 128},
    {"mimo_v2_flash", "", rotary_dim, 64},
    {"glm4_moe", "\"head_dim\": 24, \"partial_rotary_factor\": 0.33334", rotary_dim, 8},
    /* 46 * (26 / 46.) is a little less than 26 */
    {"glm4_moe", "\"head_dim\": 46, \"partial_rotary_factor\": 0.56521739130434778", rotary_dim,
     26},
    {"solar_open", "", head_dim, 128},
    {"mixtral", "", head_dim, 8},
    {"mixtral", "\"num_key_value_heads\": null", kv_heads, 8},
    {"qwen3_moe", "", kv_heads, 4},
    {"qwen3_moe", "\"num_key_value_heads\": null", kv_heads, 8},
    /* shared experts: null is none */
    {"afmoe", "\"num_shared_experts\": null", shared_rows, 0},
    {"afmoe", "", shared_rows, 2 * 1408},
    {"hy_v3", "\"num_shared_experts\": null", shared_rows, 0},
    {"glm4_moe", "\"n_shared_experts\": null", shared_rows, 0},
    {"solar_open", "\"n_shared_experts\": null", shared_rows, 0},
    {"exaone_moe", "\"num_shared_experts\": null, \"num_key_value_heads\": 8", shared_rows, 0},
    {"ernie4_5_moe", "\"moe_num_shared_experts\": null", shared_rows, 0},
    /* layers with experts up to the last one */
    {"ernie4_5_moe", "", kind_of_ffn, MQ_FFN_ROUTED},
    {"ernie4_5_moe", "\"moe_layer_end_index\": -1", kind_of_ffn, MQ_FFN_ROUTED},
    {"ernie4_5_moe", "\"moe_layer_end_index\": 6", kind_of_ffn, MQ_FFN_DENSE},
    {"ernie4_5_moe", "\"moe_layer_end_index\": 0, \"moe_layer_interval\": 2", kind_of_ffn,
     MQ_FFN_DENSE},
    {"granitemoehybrid", GRANITE, kind_of_ffn, MQ_FFN_DENSE},
    {"granitemoehybrid", GRANITE ", \"num_experts_per_tok\": 8", kind_of_ffn, MQ_FFN_DENSE},
    /* weights of experts */
    {"mistral4", "", normalize, MQ_NORMALIZE_SUM},
    {"mistral4", "\"norm_topk_prob\": null", normalize, MQ_NORMALIZE_NONE},
    {"mistral4", "\"norm_topk_prob\": false", normalize, MQ_NORMALIZE_NONE},
    {"dbrx", DBRX "}", normalize, MQ_NORMALIZE_SUM},
    {"dbrx", DBRX ", \"moe_normalize_expert_weights\": 1.0}", normalize, MQ_NORMALIZE_SUM},
    {"dbrx", DBRX ", \"moe_normalize_expert_weights\": null}", normalize, MQ_NORMALIZE_NONE},
    /* Gemma's last layer is one of full attention */
    {"gemma4_text", "", last_window, 0},
    {"gemma4_text", "\"layer_types\": " SLIDING, last_window, 0},
    {"gemma4_text", "\"layer_types\": " SLIDING, last_head_dim, 512},
    {"gemma4_text",
     "\"per_layer_config\": {\"7\": {\"head_dim\": 32}}, \"attention_k_eq_v\": false",
     last_head_dim, 32},
    /* Llama 4's chunks go by layer_types, its positions by no_rope_layers */
    {"llama4_text", "", first_chunk, 8192},
    {"llama4_text", "", fourth_chunk, 0},
    {"llama4_text", "\"attention_chunk_size\": null", first_chunk, 0},
    {"llama4_text", "\"layer_types\": " FULL, first_chunk, 0},
    {"llama4_text", "\"layer_types\": " FULL, first_rope, MQ_ROPE_OF_MAIN},
    {"llama4_text", "\"layer_types\": " CHUNKED, fourth_chunk, 8192},
    {"llama4_text", "\"layer_types\": " CHUNKED, fourth_rope, MQ_ROPE_OF_NONE},
    {"llama4_text", "\"no_rope_layers\": [1, 1, 1, 1, 1, 1, 1, 1]", fourth_chunk, 8192},
};

START_TEST(absent_and_null)
{
    for (size_t i = 0; i < sizeof absent_or_null / sizeof *absent_or_null; i++) {
        struct mq_view *view;
        moeq_error err;
        ck_assert_msg(open_with(absent_or_null[i].family, absent_or_null[i].more, &view, &err) ==
                          MOEQ_OK,
                      "%s, %s: %s", absent_or_null[i].family, absent_or_null[i].more, err.message);
        const double found = absent_or_null[i].what(view);
        ck_assert_msg(found == absent_or_null[i].expected, "case %zu: %s, %s: found %g", i,
                      absent_or_null[i].family, absent_or_null[i].more, found);
        mq_view_close(view);
    }
}
END_TEST

/* Which of q, k, v and o have biases where attention_bias says so: what the attention classes of
 * Transformers pass to nn.Linear (nemotron_h: the published modeling_nemotron_h.py; Transformers has
 * none). In families without such a key "true" is refused. */
START_TEST(attention_bias)
{
    static const struct {
        const char *family, *more;
        bool qkv, o;
    } cases[] = {
        {"afmoe", "", true, true},
        {"dots1", DOTS, true, true},
        {"gemma4_text", "", true, true},
        {"glm4_moe", "", true, false},
        {"gpt_oss", "", true, true},
        {"granitemoe", "", true, true},
        {"granitemoehybrid", GRANITE, true, true},
        {"hunyuan_v1_moe", "", true, true},
        {"hy_v3", "", true, true},
        {"llama4_text", "", true, true},
        {"mimo_v2_flash", "", true, false},
        {"nemotron_h", "\"hybrid_override_pattern\": \"M*EM*EM*\"", true, true},
        {"olmoe", "", true, true},
        {"phimoe", "", true, true},
        {"qwen3_5_moe_text", "", true, true},
        {"qwen3_moe", "", true, true},
        {"qwen3_next", "", true, true},
        {"qwen3_vl_moe_text", KV8, true, true},
        {"solar_open", "", true, false},
        {"deepseek_v3", KV8, false, false},
        {"ernie4_5_moe", "", false, false},
        {"exaone_moe", KV8, false, false},
        {"lfm2_moe", "", false, false},
        {"llama", "", false, false},
        {"minimax_m2", "", false, false},
        {"mistral", "", false, false},
        {"mixtral", "", false, false},
        {"qwen2_moe", "", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mq_view *view;
        moeq_error err;
        char more[1024];
        snprintf(more, sizeof more, "%s%s\"attention_bias\": true", cases[i].more,
                 *cases[i].more ? ", " : "");
        const moeq_status status = open_with(cases[i].family, more, &view, &err);
        if (!cases[i].qkv) {
            ck_assert_msg(status != MOEQ_OK && strstr(err.message, "\"attention_bias\": true"),
                          "%s: %s", cases[i].family, status ? err.message : "not refused");
            continue;
        }
        ck_assert_msg(status == MOEQ_OK, "%s: %s", cases[i].family, err.message);
        uint32_t attention = 0;
        for (uint32_t l = 0; l < view->hparams.layers; l++) {
            const struct mq_layer_attention *a = &layer_of(view, l)->attention;
            if (a->kind != MQ_MIXER_GROUPED)
                continue;
            ck_assert_msg(a->qkv_bias == cases[i].qkv && a->o_bias == cases[i].o, "%s, layer %u",
                          cases[i].family, l);
            attention++;
        }
        ck_assert_uint_gt(attention, 0);
        mq_view_close(view);
    }
}
END_TEST

START_TEST(refused)
{
    static const struct mq_test_refusal cases[] = {
        {"dbrx", DBRX ", \"moe_normalize_expert_weights\": 2.0}",
         "\"ffn_config.moe_normalize_expert_weights\": 2 (implemented: 1)"},
        {"ernie4_5_moe", "\"moe_gate_act\": \"sigmoid\"", "\"moe_gate_act\": \"sigmoid\""},
        {"ernie4_5_moe", "\"moe_norm_gate_logits\": false", "\"moe_norm_gate_logits\": false"},
        {"phimoe",
         "\"original_max_position_embeddings\": 16, \"rope_scaling\": {\"type\": \"longrope\", "
         "\"original_max_position_embeddings\": 128, \"short_factor\": [1, 1, 1, 1], "
         "\"long_factor\": [1, 1, 1, 1]}",
         "\"original_max_position_embeddings\" is 16, and 128 in \"rope_scaling\": expected the "
         "same"},
        {"mixtral", "\"norm_topk_prob\": false", "\"norm_topk_prob\": false (implemented: null)"},
        {"qwen3_moe", "\"is_causal\": false", "\"is_causal\": false (implemented: true)"},
        {"nemotron_h", "\"hybrid_override_pattern\": \"M*EM*EM*\", \"time_step_limit\": [0.0, 0.3]",
         "\"time_step_limit\": [0,0.3]"},
        {"nemotron_h", "\"hybrid_override_pattern\": \"M*EM*EM*\", \"moe_latent_size\": 24",
         "\"moe_latent_size\": 24"},
        {"glm4_moe", "\"head_dim\": 24, \"partial_rotary_factor\": 0.3", "an odd number"},
        {"qwen3_next", "\"head_dim\": 24, \"partial_rotary_factor\": 0.3", "an odd number"},
        {"mimo_v2_flash", "\"head_dim\": 24, \"partial_rotary_factor\": 0.3", "an odd number"},
        {"gemma4_text", "\"enable_moe_block\": true",
         "a gemma4 model's layers need the number of experts, and its key is missing or 0"},
        {"gemma4_text", "\"enable_moe_block\": true, \"num_experts\": 4, \"top_k_experts\": 2",
         "need the number of rows of an expert"},
    };
    mq_test_refused(cases, sizeof cases / sizeof *cases, open_with);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, absent_and_null);
    tcase_add_test(tests, attention_bias);
    tcase_add_test(tests, refused);
}

int main(void)
{
    return mq_test_main("test_config_families", add_tests);
}
