/*
 * ministral3.c: Ministral 3 (3B, 8B, 14B), dense: Mistral with yarn and queries scaled by position. Source:
 * the published config.json files, and Transformers' Ministral3ForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY("rope_parameters.llama_4_scaling_beta", MQ_KEY_F32_FROM_0, query_beta, 0),
    MQ_KEY("rope_parameters.original_max_position_embeddings", MQ_KEY_F32, query_positions, 16384),
    MQ_KEY_ANY("rope_parameters.max_position_embeddings"),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_layer_dense(hp, number, l);
    l->attention.query_beta = hp->query_beta;
    l->attention.query_positions = hp->query_positions;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {{0}};

const struct mq_family mq_family_ministral3 = {
    .name = "ministral3",
    .architecture = "Ministral3ForCausalLM",
    .models = "Ministral 3 (dense)",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_rope = "{\"type\": \"yarn\", \"rope_theta\": 1000000, \"factor\": 16, "
                    "\"original_max_position_embeddings\": 16384, \"mscale\": 1, "
                    "\"mscale_all_dim\": 1, \"llama_4_scaling_beta\": 0.1}",
    .default_kv_heads = 8,
    .default_head_dim = 128,
    .default_max_positions = 262144,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "mistral3",
};
