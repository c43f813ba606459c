/*
 * glm4_moe.c: GLM-4.5, 4.6, 4.7 and Air: only the first half of each head is turned; biases of q, k and v;
 * norms over their heads in the larger models; DeepSeek-V3's router and shared experts. Source: the
 * published config.json files, and Transformers' Glm4MoeForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("n_routed_experts", "num_local_experts num_experts", 128),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 8),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 1408),
    MQ_KEY_OR_NULL("n_shared_experts", MQ_KEY_COUNT, shared_experts, 1, 0),
    MQ_KEY("first_k_dense_replace", MQ_KEY_COUNT, dense_first, 1),
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, true),
    MQ_KEYS_V3_ROUTER,
    MQ_KEY_AT("scoring_func", "\"sigmoid\""),
    MQ_KEY_AT("topk_method", "\"noaux_tc\""),
    MQ_KEY_ANY("partial_rotary_factor"), /* config_rope.c reads it */
    MQ_KEY("attention_bias", MQ_KEY_BOOL, attention_bias, false),
    MQ_KEY("use_qk_norm", MQ_KEY_BOOL, qk_norm, false),
    MQ_KEY_ANY("num_nextn_predict_layers"),
    MQ_KEY_ANY("num_mtp_layers"),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_layer_set_attention(hp, l);
    l->attention.qkv_bias = hp->attention_bias;
    l->attention.qk_norm = hp->qk_norm ? MQ_QK_NORM_HEAD : MQ_QK_NORM_NONE;
    if (number < hp->dense_first) {
        mq_layer_set_mlp(hp->ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    mq_layer_set_sigmoid_router(hp, l);
    l->ffn.shared_rows = hp->shared_experts * hp->expert_ffn;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,  MQ_NAMES_QKV_BIAS,
    MQ_NAMES_QK_NORM,     MQ_NAMES_EXPERTS,
    MQ_NAMES_CHOICE_BIAS, MQ_NAMES_SHARED("mlp.shared_experts."),
    MQ_NAMES_MLP,         MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_glm4_moe = {
    .name = "glm4_moe",
    .architecture = "Glm4MoeForCausalLM",
    .models = "GLM-4.5, 4.6, 4.7, 4.5-Air",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 8,
    .default_max_positions = 131072,
    .default_rotary_part = 0.5,
    .without_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "glm4moe",
};
