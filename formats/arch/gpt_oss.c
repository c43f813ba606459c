/*
 * gpt_oss.c: gpt-oss-20b and 120b: every second layer has a window; heads have sinks; biases everywhere;
 * experts whose gate and up rows alternate, published in MXFP4, both sides of whose product are limited; weights
 * of the chosen experts are the softmax of their logits. Source: the published config.json files, and
 * Transformers' GptOssForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_local_experts", "num_experts", 128),
    {.key = "num_experts_per_tok",
     .alias = "experts_per_token",
     .rule = MQ_KEY_U32,
     .field = offsetof(struct mq_hparams, top_k),
     .when_absent = 4},
    MQ_KEY("swiglu_limit", MQ_KEY_F32, activation_limit, 7),
    MQ_KEY_AT("swiglu_alpha", "1.702"),
    MQ_KEY_AT("attention_bias", "true"),
    MQ_KEY_WORDS("layer_types", MQ_KEY_LAYER_NAMES, "\"full_attention\" \"sliding_attention\"",
                 layer_kinds, 0),
    MQ_KEY_ANY("initial_context_length"), /* as in rope_scaling */
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    struct mq_layer_attention *a = &l->attention;
    mq_layer_set_attention(hp, l);
    a->qkv_bias = a->o_bias = a->sinks = true;
    if (!mq_layer_value(&hp->layer_kinds, number, number % 2 == 0))
        a->window = 0;
    mq_layer_set_experts(hp, hp->ffn, l);
    l->ffn.activation = MQ_ACTIVATION_SWIGLU_OAI;
    l->ffn.activation_limit = hp->activation_limit;
    l->ffn.expert_bias = true;
    l->ffn.router.logit_bias = true;
    l->ffn.router.score = MQ_SCORE_LOGIT;
    l->ffn.router.weights = MQ_WEIGHTS_SOFTMAX_CHOSEN;
}

#define EXPERT MQ_LAYER_NAME "mlp.experts.{expert}."
static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_ATTENTION_BIAS,
    {.role = MQ_ROLE_ATTN_SINKS, .name = MQ_LAYER_NAME "self_attn.sinks"},
    {.role = MQ_ROLE_ROUTER, .name = MQ_LAYER_NAME "mlp.router.weight"},
    {.role = MQ_ROLE_ROUTER_BIAS, .name = MQ_LAYER_NAME "mlp.router.bias"},
    MQ_NAMES_EXPERT_MATRICES,
    {.role = MQ_ROLE_EXPERT_GATE_BIAS, .name = EXPERT "gate_proj.bias"},
    {.role = MQ_ROLE_EXPERT_UP_BIAS, .name = EXPERT "up_proj.bias"},
    {.role = MQ_ROLE_EXPERT_DOWN_BIAS, .name = EXPERT "down_proj.bias"},
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

/* The published form: MXFP4 under these names with _blocks and _scales, or [expert, in, out]. */
#define FUSED MQ_LAYER_NAME "mlp.experts."
static const struct mq_tensor_alias aliases[] = {
    {MQ_ROLE_EXPERT_GATE, FUSED "gate_up_proj", 2, 0 | MQ_PARTS_TRANSPOSED | MQ_PARTS_ALTERNATE},
    {MQ_ROLE_EXPERT_UP, FUSED "gate_up_proj", 2, 1 | MQ_PARTS_TRANSPOSED | MQ_PARTS_ALTERNATE},
    {MQ_ROLE_EXPERT_DOWN, FUSED "down_proj", 1, MQ_PARTS_TRANSPOSED},
    {MQ_ROLE_EXPERT_GATE_BIAS, FUSED "gate_up_proj_bias", 2, 0 | MQ_PARTS_ALTERNATE},
    {MQ_ROLE_EXPERT_UP_BIAS, FUSED "gate_up_proj_bias", 2, 1 | MQ_PARTS_ALTERNATE},
    {MQ_ROLE_EXPERT_DOWN_BIAS, FUSED "down_proj_bias", 1, 0},
    {0},
};

const struct mq_family mq_family_gpt_oss = {
    .name = "gpt_oss",
    .models = "gpt-oss-20b, 120b",
    .architecture = "GptOssForCausalLM",
    .keys = keys,
    .default_rope_theta = 150000,
    .default_rms_eps = 1e-5,
    .default_rope = "{\"rope_type\": \"yarn\", \"factor\": 32, \"beta_fast\": 32, "
                    "\"beta_slow\": 1, \"truncate\": false, "
                    "\"original_max_position_embeddings\": 4096}",
    .default_kv_heads = 8,
    .default_head_dim = 64,
    .default_sliding_window = 128,
    .default_max_positions = 131072,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "gpt-oss",
};
