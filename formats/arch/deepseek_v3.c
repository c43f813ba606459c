/*
 * deepseek_v3.c: DeepSeek-V3, R1, V3.1, and Kimi-K2, which is the same with other sizes: latent attention;
 * scores of experts are sigmoids with a bias for the choice alone, from the best groups; shared experts.
 * Source: the published config.json files, and Transformers' DeepseekV3ForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEYS_LATENT(1536, 512, 128, 64, 128),
    MQ_KEYS_DEEPSEEK_EXPERTS(256, 8, 2048, 1, 3),
    MQ_KEYS_DEEPSEEK_GROUPS(8, 4, 2.5),
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

const struct mq_family mq_family_deepseek_v3 = {
    .name = "deepseek_v3",
    .model_types = "kimi_k2",
    .architecture = "DeepseekV3ForCausalLM",
    .models = "DeepSeek-V3, V3.1, R1, Kimi-K2",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_max_positions = 4096,
    .without_sliding_window = true,
    .layer = mq_layer_deepseek,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "deepseek2",
};
