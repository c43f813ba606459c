/*
 * deepseek_v32.c: DeepSeek-V3.2 and V3.2-Exp: V3 with an indexer that chooses keys where there are more than
 * index_topk; up to there it does nothing. Source: the published config.json files, and Transformers'
 * DeepseekV32ForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEYS_LATENT(1536, 512, 128, 64, 128),
    MQ_KEYS_DEEPSEEK_EXPERTS(256, 8, 2048, 1, 3),
    MQ_KEYS_INDEXER(64),
    MQ_KEY_ANY("index_topk_freq"), /* of GLM's class */
    MQ_KEY_ANY("index_topk_pattern"),
    MQ_KEY_ANY("index_skip_topk_offset"),
    MQ_KEY_ANY("indexer_types"),
    MQ_KEYS_DEEPSEEK_GROUPS(8, 4, 2.5),
    MQ_KEYS_SIGMOID_ROUTER,
    {0},
};

static const struct mq_tensor_name names[] = {
    MQ_NAMES_DEEPSEEK,
    MQ_NAMES_INDEXER(MQ_LAYER_NAME "self_attn.indexer."),
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_deepseek_v32 = {
    .name = "deepseek_v32",
    .architecture = "DeepseekV32ForCausalLM",
    .models = "DeepSeek-V3.2",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_max_positions = 163840,
    .without_sliding_window = true,
    .layer = mq_layer_deepseek,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "deepseek32",
};
