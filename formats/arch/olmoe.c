/*
 * olmoe.c: OLMoE: every layer has a router (softmax over all experts, top-k; the weights of the
 * chosen ones are divided by their sum only where norm_topk_prob says so), and norms over the whole
 * of q and of k. Source: the published config.json files, and Transformers' OlmoeForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 64),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 8),
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, false),
    MQ_KEY("clip_qkv", MQ_KEY_F32, clip, 0), /* a bound on q, k and v */
    MQ_KEY_ATTENTION_BIAS,
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    (void)number;
    mq_layer_set_biased_attention(hp, l);
    l->attention.qk_norm = MQ_QK_NORM_WHOLE;
    l->attention.clip = hp->clip;
    mq_layer_set_experts(hp, hp->ffn, l);
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN, MQ_NAMES_ATTENTION_BIAS, MQ_NAMES_QK_NORM,
    MQ_NAMES_EXPERTS,    MQ_NAMES_AFTER_LAYERS,   {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_olmoe = {
    .name = "olmoe",
    .architecture = "OlmoeForCausalLM",
    .models = "OLMoE-1B-7B",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_max_positions = 4096,
    .without_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "olmoe",
};
