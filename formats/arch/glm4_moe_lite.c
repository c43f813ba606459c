/*
 * glm4_moe_lite.c: GLM-4.7-Flash: DeepSeek-V3's attention and router in other sizes. Source: the published
 * config.json, and Transformers' Glm4MoeLiteForCausalLM (for which the first layer alone is dense, as in
 * that model).
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEYS_LATENT(768, 512, 192, 64, 256),
    MQ_KEYS_DEEPSEEK_EXPERTS(64, 4, 1536, 1, 1),
    MQ_KEYS_DEEPSEEK_GROUPS(1, 1, 1.8),
    MQ_KEYS_SIGMOID_ROUTER,
    {0},
};

static const struct mq_tensor_name names[] = {
    MQ_NAMES_DEEPSEEK,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_glm4_moe_lite = {
    .name = "glm4_moe_lite",
    .architecture = "Glm4MoeLiteForCausalLM",
    .models = "GLM-4.7-Flash",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_max_positions = 202752,
    .without_sliding_window = true,
    .layer = mq_layer_deepseek,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "deepseek2",
};
