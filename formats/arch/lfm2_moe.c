/*
 * lfm2_moe.c: LFM2-8B-A1B: most layers mix tokens by a short gated convolution, the others by attention
 * with norms over each head of q and k; the first have an MLP, the others experts, whose scores are
 * sigmoids with a bias for the choice alone. Source: the published config.json, and Transformers'
 * Lfm2MoeForCausalLM.
 */
#include "arch_int.h"

enum { ATTENTION, CONVOLUTION }; /* places in layer_types */

static const struct mq_config_key keys[] = {
    MQ_KEY_WORDS("layer_types", MQ_KEY_LAYER_NAMES, "\"full_attention\" \"conv\"", layer_kinds, 0),
    MQ_KEY("norm_eps", MQ_KEY_F32, rms_eps, 1e-5),
    MQ_KEY("tie_embedding", MQ_KEY_BOOL, tied_head, true),
    MQ_KEY("tie_word_embeddings", MQ_KEY_BOOL, tied_head, true),
    MQ_KEY("conv_L_cache", MQ_KEY_U32, taps, 3),
    MQ_KEY("conv_bias", MQ_KEY_BOOL, conv_bias, false),
    MQ_KEY("num_dense_layers", MQ_KEY_COUNT, dense_first, 2),
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 32),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 4),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 1792),
    MQ_KEY("use_expert_bias", MQ_KEY_BOOL, choice_bias, true),
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, true),
    MQ_KEY("routed_scaling_factor", MQ_KEY_F32, route_scale, 1),
    MQ_KEY_AT("use_pos_enc", "true"),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    struct mq_layer_router *r = &l->ffn.router;
    if (mq_layer_value(&hp->layer_kinds, number, ATTENTION) == ATTENTION) {
        mq_layer_set_attention(hp, l);
        l->attention.qk_norm = MQ_QK_NORM_HEAD;
    } else {
        l->attention.kind = MQ_MIXER_CONVOLUTION;
        l->attention.taps = hp->taps;
        l->attention.conv_bias = hp->conv_bias;
    }
    if (number < hp->dense_first) {
        mq_layer_set_mlp(hp->ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    r->score = MQ_SCORE_SIGMOID;
    r->choice_bias = hp->choice_bias;
    r->normalize_eps = hp->normalize_top_k ? 1e-6f : 0;
    r->scale = hp->route_scale;
}

#define CONV MQ_LAYER_NAME "conv."
#define MLP MQ_LAYER_NAME "feed_forward."
static const struct mq_tensor_name names[] = {
    {.role = MQ_ROLE_EMBEDDING, .name = "model.embed_tokens.weight"},
    {.role = MQ_ROLE_ATTN_NORM, .name = MQ_LAYER_NAME "operator_norm.weight"},
    {.role = MQ_ROLE_ATTN_Q, .name = MQ_LAYER_NAME "self_attn.q_proj.weight"},
    {.role = MQ_ROLE_ATTN_K, .name = MQ_LAYER_NAME "self_attn.k_proj.weight"},
    {.role = MQ_ROLE_ATTN_V, .name = MQ_LAYER_NAME "self_attn.v_proj.weight"},
    {.role = MQ_ROLE_ATTN_Q_NORM, .name = MQ_LAYER_NAME "self_attn.q_layernorm.weight"},
    {.role = MQ_ROLE_ATTN_K_NORM, .name = MQ_LAYER_NAME "self_attn.k_layernorm.weight"},
    {.role = MQ_ROLE_ATTN_O, .name = MQ_LAYER_NAME "self_attn.out_proj.weight"},
    {.role = MQ_ROLE_MIX_IN, .name = CONV "in_proj.weight"},
    {.role = MQ_ROLE_MIX_IN_BIAS, .name = CONV "in_proj.bias"},
    {.role = MQ_ROLE_MIX_CONV, .name = CONV "conv.weight"},
    {.role = MQ_ROLE_MIX_CONV_BIAS, .name = CONV "conv.bias"},
    {.role = MQ_ROLE_MIX_OUT, .name = CONV "out_proj.weight"},
    {.role = MQ_ROLE_MIX_OUT_BIAS, .name = CONV "out_proj.bias"},
    {.role = MQ_ROLE_FFN_NORM, .name = MQ_LAYER_NAME "ffn_norm.weight"},
    {.role = MQ_ROLE_MLP_GATE, .name = MLP "w1.weight"},
    {.role = MQ_ROLE_MLP_UP, .name = MLP "w3.weight"},
    {.role = MQ_ROLE_MLP_DOWN, .name = MLP "w2.weight"},
    {.role = MQ_ROLE_ROUTER, .name = MLP "gate.weight"},
    {.role = MQ_ROLE_ROUTER_CHOICE_BIAS, .name = MLP "expert_bias"},
    {.role = MQ_ROLE_EXPERT_GATE, .name = MLP "experts.{expert}.w1.weight"},
    {.role = MQ_ROLE_EXPERT_UP, .name = MLP "experts.{expert}.w3.weight"},
    {.role = MQ_ROLE_EXPERT_DOWN, .name = MLP "experts.{expert}.w2.weight"},
    {.role = MQ_ROLE_OUTPUT_NORM, .name = "model.embedding_norm.weight"}, /* after the layers */
    {.role = MQ_ROLE_HEAD, .name = "lm_head.weight"},
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    /* Transformers 5 */
    {MQ_ROLE_EXPERT_GATE, MLP "experts.gate_up_proj", 2, 0},
    {MQ_ROLE_EXPERT_UP, MLP "experts.gate_up_proj", 2, 1},
    {MQ_ROLE_EXPERT_DOWN, MLP "experts.down_proj", 1, 0},
    /* MLX */
    {MQ_ROLE_MLP_GATE, MLP "gate_proj.weight", 0, 0},
    {MQ_ROLE_MLP_UP, MLP "up_proj.weight", 0, 0},
    {MQ_ROLE_MLP_DOWN, MLP "down_proj.weight", 0, 0},
    {0},
};

const struct mq_family mq_family_lfm2_moe = {
    .name = "lfm2_moe",
    .architecture = "Lfm2MoeForCausalLM",
    .models = "LFM2-8B-A1B",
    .keys = keys,
    .default_rope_theta = 1e6,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 8,
    .default_max_positions = 128000,
    .default_tied = true,
    .without_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "lfm2moe",
};
