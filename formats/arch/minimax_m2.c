/*
 * minimax_m2.c: MiniMax-M2, M2.1, M2.5: norms over the whole of q and of k; only a part of each head is
 * turned; every layer has experts, whose scores are sigmoids with a bias for the choice alone. Source: the
 * published config.json files, and Transformers' MiniMaxM2ForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_local_experts", "num_experts", 256),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 8),
    MQ_KEY("rotary_dim", MQ_KEY_COUNT, rotary_dim, 0),
    MQ_KEY_ANY("partial_rotary_factor"), /* the same, as a part; config_rope.c reads it */
    MQ_KEY_AT("scoring_func", "\"sigmoid\""),
    MQ_KEY_AT("use_qk_norm", "true"),
    MQ_KEY_AT("qk_norm_type", "\"per_layer\""), /* over all heads together */
    MQ_KEY_AT("use_routing_bias", "true"),
    {.key = "attn_type_list", .rule = MQ_KEY_ALL, .only = "1"}, /* 1: full attention */
    MQ_KEY_AT("layernorm_full_attention_beta", "1"),
    MQ_KEY_ANY("layernorm_linear_attention_beta"), /* of layers of which there are none */
    MQ_KEY_AT("layernorm_mlp_beta", "1"),
    MQ_KEY_AT("shared_intermediate_size", "0"),
    MQ_KEY_ANY("shared_moe_mode"), /* of shared experts, which there are none of */
    MQ_KEY_ANY("mlp_intermediate_size"),
    MQ_KEY_ANY("num_mtp_modules"),
    MQ_KEY_ANY("mtp_transformer_layers"),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    (void)number;
    mq_layer_set_attention(hp, l);
    l->attention.qk_norm = MQ_QK_NORM_WHOLE;
    if (hp->rotary_dim)
        l->attention.rotary_dim = hp->rotary_dim;
    mq_layer_set_experts(hp, hp->ffn, l);
    l->ffn.router.score = MQ_SCORE_SIGMOID;
    l->ffn.router.choice_bias = true;
    l->ffn.router.normalize = MQ_NORMALIZE_SUM;
}

#define MOE MQ_LAYER_NAME "block_sparse_moe."
static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_QK_NORM,
    MQ_NAMES_MIXTRAL_EXPERTS,
    {.role = MQ_ROLE_ROUTER_CHOICE_BIAS, .name = MOE "e_score_correction_bias"},
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    /* Transformers 5 */
    {MQ_ROLE_ROUTER, MQ_LAYER_NAME "mlp.gate.weight", 0, 0},
    {MQ_ROLE_ROUTER_CHOICE_BIAS, MQ_LAYER_NAME "mlp.e_score_correction_bias", 0, 0},
    MQ_ALIASES_EXPERTS(MOE),
    {0},
};

const struct mq_family mq_family_minimax_m2 = {
    .name = "minimax_m2",
    .architecture = "MiniMaxM2ForCausalLM",
    .models = "MiniMax-M2, M2.1, M2.5",
    .keys = keys,
    .default_rope_theta = 5e6,
    .default_rms_eps = 1e-6,
    .default_kv_heads = 8,
    .default_head_dim = 128,
    .default_max_positions = 196608,
    .default_rotary_part = 1,
    .without_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "minimax-m2",
};
