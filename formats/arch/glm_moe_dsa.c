/*
 * glm_moe_dsa.c: GLM-5 and 5.1: DeepSeek-V3.2's attention, whose indexer some layers share. Source: the
 * published config.json files, and Transformers' GlmMoeDsaForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEYS_LATENT(2048, 512, 192, 64, 256),
    MQ_KEYS_DEEPSEEK_EXPERTS(256, 8, 2048, 1, 3),
    MQ_KEYS_INDEXER,
    MQ_KEYS_DEEPSEEK_GROUPS(1, 1, 2.5),
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

static const struct mq_tensor_skip skips[] = {
    MQ_SKIP_INDEXER("*.self_attn.indexer.*"),
    {0},
};

const struct mq_family mq_family_glm_moe_dsa = {
    .name = "glm_moe_dsa",
    .architecture = "GlmMoeDsaForCausalLM",
    .models = "GLM-5, 5.1",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_max_positions = 202752,
    .without_sliding_window = true,
    .layer = mq_layer_deepseek,
    .names = names,
    .aliases = aliases,
    .skips = skips,
};
