/*
 * mixtral.c: Mixtral 8x7B, 8x22B: every layer has a router (softmax over all experts, top-k,
 * renormalized) and gated-SiLU experts; w1 = gate, w3 = up, w2 = down.
 * Source: the published config.json and index files, and Transformers' MixtralForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_local_experts", "num_experts", 8),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 2),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    (void)number;
    mq_layer_set_attention(hp, l);
    mq_layer_set_experts(hp, hp->ffn, l);
    l->ffn.router.normalize = MQ_NORMALIZE_SUM;
}

#define MOE MQ_LAYER_NAME "block_sparse_moe."
static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_MIXTRAL_EXPERTS,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    {MQ_ROLE_ROUTER, MQ_LAYER_NAME "mlp.gate.weight", 0, 0}, /* Transformers 5 */
    MQ_ALIASES_EXPERTS(MOE),
    {0},
};

const struct mq_family mq_family_mixtral = {
    .name = "mixtral",
    .architecture = "MixtralForCausalLM",
    .models = "Mixtral 8x7B, 8x22B",
    .keys = keys,
    .default_rope_theta = 1e6,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 8,
    .default_max_positions = 131072,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "llama",
};
