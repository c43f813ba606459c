/*
 * llama.c: Llama 2 (multi-head or grouped attention) and Llama 3 (rope_scaling llama3; the small
 * ones tie the head to the embeddings).
 * Source: the published config.json files, and Transformers' LlamaForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {{0}};

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {{0}};

const struct mq_family mq_family_llama = {
    .name = "llama",
    .architecture = "LlamaForCausalLM",
    .models = "Llama 2, Llama 3 (dense)",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_max_positions = 2048,
    .without_sliding_window = true,
    .layer = mq_layer_dense,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "llama",
};
