/*
 * hy_v3.c: Hy3: norms over each head of q and k; a first dense layer, the others with routed experts
 * and one for all tokens; scores are sigmoids, with a bias for the choice alone. Source: Transformers'
 * HYV3ForCausalLM, and tensor names as its conversion reads them from the published files.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 192),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 8),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 1536),
    MQ_KEY_OR_NULL("num_shared_experts", MQ_KEY_COUNT, shared_experts, 1, 0),
    MQ_KEY("router_scaling_factor", MQ_KEY_F32, route_scale, 2.826),
    MQ_KEY_WORDS("mlp_layer_types", MQ_KEY_LAYER_NAMES, "\"dense\" \"sparse\"", ffn_kinds, 0),
    MQ_KEY_ANY("enable_moe_fp32_combine"), /* sums in f32, as here */
    MQ_KEY_ATTENTION_BIAS,
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_layer_set_biased_attention(hp, l);
    l->attention.qk_norm = MQ_QK_NORM_HEAD;
    if (!mq_layer_value(&hp->ffn_kinds, number, number > 0)) {
        mq_layer_set_mlp(hp->ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    l->ffn.router.normalize = MQ_NORMALIZE_SUM;
    mq_layer_set_sigmoid_router(hp, l);
    l->ffn.shared_rows = hp->shared_experts * hp->expert_ffn;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_QK_NORM,
    MQ_NAMES_ATTENTION_BIAS,
    {.role = MQ_ROLE_ROUTER, .name = MQ_LAYER_NAME "mlp.router.gate.weight"},
    {.role = MQ_ROLE_ROUTER_CHOICE_BIAS, .name = MQ_LAYER_NAME "mlp.expert_bias"},
    MQ_NAMES_EXPERT_MATRICES,
    MQ_NAMES_SHARED("mlp.shared_mlp."),
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    /* as Transformers 5 saves it */
    {MQ_ROLE_ROUTER, MQ_LAYER_NAME "mlp.gate.weight", 0, 0},
    {MQ_ROLE_ROUTER_CHOICE_BIAS, MQ_LAYER_NAME "mlp.gate.e_score_correction_bias", 0, 0},
    {MQ_ROLE_SHARED_GATE, MQ_LAYER_NAME "mlp.shared_experts.gate_proj.weight", 0, 0},
    {MQ_ROLE_SHARED_UP, MQ_LAYER_NAME "mlp.shared_experts.up_proj.weight", 0, 0},
    {MQ_ROLE_SHARED_DOWN, MQ_LAYER_NAME "mlp.shared_experts.down_proj.weight", 0, 0},
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_hy_v3 = {
    .name = "hy_v3",
    .architecture = "HYV3ForCausalLM",
    .models = "Hy3",
    .keys = keys,
    .default_rope_theta = 11158840,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 8,
    .default_head_dim = 128,
    .default_max_positions = 131072,
    .without_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "hy_v3",
};
