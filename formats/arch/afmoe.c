/*
 * afmoe.c: Arcee Trinity (Nano, Mini, Large): norms before and after each branch and over each head of
 * q and k; heads' outputs multiplied by the sigmoid of a gate; windows and positions in three of four
 * layers, neither in the others; scores are sigmoids, with a bias for the choice alone. Source: the
 * published config.json files (of which score_func, route_norm and groups are not read by the code), and
 * Transformers' AfmoeForCausalLM.
 */
#include "arch_int.h"

#include <math.h>

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 64),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 6),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 1408),
    MQ_KEY_OR_NULL("num_shared_experts", MQ_KEY_COUNT, shared_experts, 2, 0),
    MQ_KEY("num_dense_layers", MQ_KEY_COUNT, dense_first, 1),
    MQ_KEY("route_scale", MQ_KEY_F32, route_scale, 1),
    MQ_KEY("global_attn_every_n_layers", MQ_KEY_U32, full_step, 4),
    MQ_KEY_WORDS("layer_types", MQ_KEY_LAYER_NAMES, "\"full_attention\" \"sliding_attention\"",
                 layer_kinds, 0),
    MQ_KEY("mup_enabled", MQ_KEY_BOOL, scale_embedding, false),
    MQ_KEY_AT("score_func", "\"sigmoid\""),
    MQ_KEY_AT("route_norm", "true"),
    MQ_KEY_AT("n_group", "1"),
    MQ_KEY_AT("topk_group", "1"),
    MQ_KEY_AT("num_expert_groups", "1"),
    MQ_KEY_AT("num_limited_groups", "1"),
    MQ_KEY_ANY("load_balance_coeff"),
    MQ_KEY_ANY("use_grouped_mm"),
    MQ_KEY_ATTENTION_BIAS,
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    const bool local = mq_layer_value(&hp->layer_kinds, number, (number + 1) % hp->full_step != 0);
    mq_layer_set_biased_attention(hp, l);
    l->attention.qk_norm = MQ_QK_NORM_HEAD;
    l->attention.gate = MQ_GATE_MATRIX;
    l->norm_mixed = l->norm_ffn_out = true;
    if (!local) {
        l->attention.window = 0;
        l->attention.rope = MQ_ROPE_OF_NONE;
    }
    if (number < hp->dense_first) {
        mq_layer_set_mlp(hp->ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    l->ffn.router.normalize = MQ_NORMALIZE_SUM;
    mq_layer_set_sigmoid_router(hp, l);
    l->ffn.shared_rows = hp->shared_experts * hp->expert_ffn;
}

static void ends(const struct mq_hparams *hp, struct mq_ends *e)
{
    if (hp->scale_embedding)
        e->embedding_scale = (float)sqrt((double)hp->hidden);
}

static const struct mq_tensor_name names[] = {
    {.role = MQ_ROLE_EMBEDDING, .name = "model.embed_tokens.weight"},
    {.role = MQ_ROLE_ATTN_NORM, .name = MQ_LAYER_NAME "input_layernorm.weight"},
    {.role = MQ_ROLE_ATTN_OUT_NORM, .name = MQ_LAYER_NAME "post_attention_layernorm.weight"},
    {.role = MQ_ROLE_FFN_NORM, .name = MQ_LAYER_NAME "pre_mlp_layernorm.weight"},
    {.role = MQ_ROLE_FFN_OUT_NORM, .name = MQ_LAYER_NAME "post_mlp_layernorm.weight"},
    MQ_NAMES_QKVO,
    MQ_NAMES_QK_NORM,
    MQ_NAMES_ATTENTION_BIAS,
    {.role = MQ_ROLE_ATTN_GATE, .name = MQ_LAYER_NAME "self_attn.gate_proj.weight"},
    {.role = MQ_ROLE_ROUTER, .name = MQ_LAYER_NAME "mlp.router.gate.weight"},
    {.role = MQ_ROLE_ROUTER_CHOICE_BIAS, .name = MQ_LAYER_NAME "mlp.expert_bias"},
    MQ_NAMES_EXPERT_MATRICES,
    MQ_NAMES_SHARED("mlp.shared_experts."),
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_afmoe = {
    .name = "afmoe",
    .architecture = "AfmoeForCausalLM",
    .models = "Trinity Nano, Mini, Large",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_sliding_window = 1024,
    .default_head_dim = 128,
    .default_max_positions = 16384,
    .layer = layer,
    .ends = ends,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "afmoe",
};
