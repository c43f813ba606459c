/*
 * exaone_moe.c: K-EXAONE: norms over each head of q and k; windows and positions in three of four layers,
 * neither in the others; DeepSeek-V3's router, whose bias stands beside it. Source: the published
 * config.json, and Transformers' ExaoneMoeForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 64),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 8),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 1024),
    MQ_KEY_OR_NULL("num_shared_experts", MQ_KEY_COUNT, shared_experts, 1, 0),
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, true),
    MQ_KEY("n_group", MQ_KEY_U32, route_groups, 1),
    MQ_KEY("topk_group", MQ_KEY_U32, route_top_groups, 1),
    MQ_KEY("routed_scaling_factor", MQ_KEY_F32, route_scale, 2.5),
    MQ_KEY_AT("scoring_func", "\"sigmoid\""),
    MQ_KEY_AT("topk_method", "\"noaux_tc\""),
    MQ_KEY("first_k_dense_replace", MQ_KEY_COUNT, dense_first, 1),
    MQ_KEY_WORDS("mlp_layer_types", MQ_KEY_LAYER_NAMES, "\"dense\"|false \"sparse\"|true",
                 ffn_kinds, 0),
    MQ_KEY_WORDS("is_moe_layer", MQ_KEY_LAYER_NAMES, "\"dense\"|false \"sparse\"|true", ffn_kinds,
                 0),
    MQ_KEY_WORDS("layer_types", MQ_KEY_LAYER_NAMES, "\"sliding_attention\" \"full_attention\"",
                 layer_kinds, 0),
    MQ_KEY_WORDS("sliding_window_pattern", MQ_KEY_LAYER_CYCLE, "\"L\" \"G\"", layer_kinds, 0),
    MQ_KEY_ANY("first_last_k_dense_replace"), /* is_moe_layer says which layers those are */
    MQ_KEY_ANY("num_nextn_predict_layers"),
    MQ_KEY_ANY("num_mtp_layers"),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    const bool full = mq_layer_value(&hp->layer_kinds, number, (number + 1) % 4 == 0);
    mq_layer_set_attention(hp, l);
    l->attention.qk_norm = MQ_QK_NORM_HEAD;
    if (full && hp->sliding_window) {
        l->attention.window = 0;
        l->attention.rope = MQ_ROPE_OF_NONE;
    }
    if (!mq_layer_value(&hp->ffn_kinds, number, number >= hp->dense_first)) {
        mq_layer_set_mlp(hp->ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    mq_layer_set_sigmoid_router(hp, l);
    l->ffn.shared_rows = hp->shared_experts * hp->expert_ffn;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_QK_NORM,
    MQ_NAMES_EXPERTS,
    {.role = MQ_ROLE_ROUTER_CHOICE_BIAS, .name = MQ_LAYER_NAME "mlp.e_score_correction_bias"},
    MQ_NAMES_SHARED("mlp.shared_experts."),
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    {MQ_ROLE_ROUTER_CHOICE_BIAS, MQ_LAYER_NAME "mlp.gate.e_score_correction_bias", 0, 0},
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_exaone_moe = {
    .name = "exaone_moe",
    .architecture = "ExaoneMoeForCausalLM",
    .models = "K-EXAONE 236B-A23B",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 32,
    .default_sliding_window = 4096,
    .default_max_positions = 2048,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "exaone-moe",
};
