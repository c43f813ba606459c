/*
 * mistral.c: Mistral 7B and its dense kin; a sliding window on every layer where the config has
 * one. Source: the published config.json files, and Transformers' MistralConfig (whose default
 * window, where the key is absent, is 4096; later models say null).
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

const struct mq_family mq_family_mistral = {
    .name = "mistral",
    .architecture = "MistralForCausalLM",
    .models = "Mistral 7B (dense)",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_kv_heads = 8,
    .default_sliding_window = 4096,
    .default_max_positions = 131072,
    .window_by_layer_types = true,
    .layer = mq_layer_dense,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "llama",
};
