/*
 * mistral4.c: Mistral Small 4 (in Transformers' form; its own is mistral_large3.c's): latent attention with
 * queries scaled by position, a router of softmax, shared experts. Source: the published config.json, and
 * Transformers' Mistral4ForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEYS_LATENT(1024, 256, 64, 64, 128),
    MQ_KEY_ANY("partial_rotary_factor"), /* what qk_rope_head_dim says */
    MQ_KEYS_DEEPSEEK_EXPERTS(128, 4, 2048, 1, 0),
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, true),
    MQ_KEYS_DEEPSEEK_GROUPS(1, 1, 1),
    MQ_KEY("rope_parameters.llama_4_scaling_beta", MQ_KEY_F32_FROM_0, query_beta, 0),
    MQ_KEY("rope_parameters.original_max_position_embeddings", MQ_KEY_F32, query_positions, 8192),
    MQ_KEY_ANY("rope_parameters.max_position_embeddings"),
    {0},
};

static const struct mq_tensor_name names[] = {
    MQ_NAMES_LATENT,
    MQ_NAMES_EXPERTS,
    MQ_NAMES_SHARED("mlp.shared_experts."),
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_mistral4 = {
    .name = "mistral4",
    .architecture = "Mistral4ForCausalLM",
    .models = "Mistral Small 4",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_max_positions = 1048576,
    .default_rotary_part = 1,
    .default_rope = "{\"type\": \"yarn\", \"rope_theta\": 10000, \"factor\": 128, "
                    "\"original_max_position_embeddings\": 8192, \"mscale\": 1, "
                    "\"mscale_all_dim\": 1, \"llama_4_scaling_beta\": 0.1}",
    .without_sliding_window = true,
    .layer = mq_layer_mistral4,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "mistral4",
};
