/*
 * glm_moe_dsa.c: GLM-5 and 5.1: DeepSeek-V3.2's attention, whose indexer some layers share. Source: the
 * published config.json files, and Transformers' GlmMoeDsaForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEYS_LATENT(2048, 512, 192, 64, 256),
    MQ_KEYS_DEEPSEEK_EXPERTS(256, 8, 2048, 1, 3),
    MQ_KEYS_INDEXER(32),
    MQ_KEY_WORDS("indexer_types", MQ_KEY_LAYER_NAMES, "\"full\" \"shared\"", indexer_kinds, 0),
    MQ_KEY_WORDS("index_topk_pattern", MQ_KEY_LAYER_NAMES, "\"full\"|\"F\" \"shared\"|\"S\"",
                 indexer_kinds, 0),
    MQ_KEY("index_topk_freq", MQ_KEY_U32, indexer_step, 1),
    MQ_KEY("index_skip_topk_offset", MQ_KEY_COUNT, indexer_from, 2),
    MQ_KEYS_DEEPSEEK_GROUPS(1, 1, 2.5),
    MQ_KEYS_SIGMOID_ROUTER,
    MQ_KEY_AT("moe_router_dtype", "\"float32\""), /* GLM-5.2 */
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

const struct mq_family mq_family_glm_moe_dsa = {
    .name = "glm_moe_dsa",
    .architecture = "GlmMoeDsaForCausalLM",
    .models = "GLM-5, 5.1, 5.2",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_max_positions = 202752,
    .without_sliding_window = true,
    .layer = mq_layer_deepseek,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "glm-dsa",
};
