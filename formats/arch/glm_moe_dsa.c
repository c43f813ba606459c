/*
 * glm_moe_dsa.c: GLM-5 and 5.1: DeepSeek-V3.2's attention, whose indexer some layers share. Source: the
 * published config.json files, and Transformers' GlmMoeDsaForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEYS_LATENT(2048, 512, 192, 64, 256),
    MQ_KEYS_DEEPSEEK_EXPERTS(256, 8, 2048, 1, 3),
    MQ_KEYS_INDEXER,
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, true),
    MQ_KEY_AT("scoring_func", "\"sigmoid\""),
    MQ_KEY_AT("topk_method", "\"noaux_tc\""),
    MQ_KEY_OR_NULL("n_group", MQ_KEY_U32, route_groups, 1, 1),
    MQ_KEY_OR_NULL("topk_group", MQ_KEY_U32, route_top_groups, 1, 1),
    MQ_KEY_OR_NULL("routed_scaling_factor", MQ_KEY_F32, route_scale, 2.5, 1),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_layer_set_latent(hp, true, l);
    l->attention.indexed = hp->indexed;
    mq_layer_set_deepseek_ffn(hp, number, l);
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_LATENT,
    MQ_NAMES_EXPERTS,
    MQ_NAMES_CHOICE_BIAS,
    MQ_NAMES_SHARED("mlp.shared_experts."),
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

static const struct mq_tensor_skip skips[] = {
    {"*.self_attn.indexer.*", "the indexer, which chooses among keys beyond index_topk"},
    {0},
};

const struct mq_family mq_family_glm_moe_dsa = {
    .name = "glm_moe_dsa",
    .architecture = "GlmMoeDsaForCausalLM",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_max_positions = 202752,
    .default_rotary_part = 1,
    .without_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .skips = skips,
};
