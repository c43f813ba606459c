/*
 * grok1.c: Grok-1 as Hugging Face folders have it (hpcai-tech/grok-1; no model_type): norms before and after
 * each branch, embeddings, scores and logits multiplied by numbers of the config, scores within a soft cap,
 * weights of the two chosen experts as softmax over all gives them. Source: xai-org's model.py (JAX, whose
 * gelu is the tanh form), and the config and names of that folder; the other names are those that
 * llama.cpp's converter reads (conversion/grok.py, gguf-py's tensor_mapping.py). Grok-2 is another model.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 8),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 2),
    MQ_KEY("attn_output_multiplier", MQ_KEY_F32, attention_scale, -1),
    MQ_KEY("max_attn_value", MQ_KEY_F32, attention_softcap, -1),
    MQ_KEY("embedding_multiplier_scale", MQ_KEY_F32, embedding_scale, -1),
    MQ_KEY("output_multiplier_scale", MQ_KEY_F32, logit_scale, -1),
    MQ_KEY_AT("residual_moe", "false"), /* Grok-2: an MLP beside the experts, and scores by position */
    MQ_KEY_AT("attn_temperature_len", "0 -1"),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    (void)number;
    mq_layer_set_attention(hp, l);
    l->attention.scale = hp->attention_scale;
    l->attention.softcap = hp->attention_softcap;
    l->norm_mixed = l->norm_ffn_out = true;
    mq_layer_set_experts(hp, hp->ffn, l);
    l->ffn.activation = MQ_ACTIVATION_GELU_TANH;
}

static void ends(const struct mq_hparams *hp, struct mq_ends *e)
{
    e->embedding_scale = hp->embedding_scale;
    e->logit_scale = hp->logit_scale;
}

#define MOE MQ_LAYER_NAME "moe_block."
static const struct mq_tensor_name names[] = {
    {.role = MQ_ROLE_EMBEDDING, .name = "model.embed_tokens.weight"},
    {.role = MQ_ROLE_ATTN_NORM, .name = MQ_LAYER_NAME "pre_attn_norm.scale"},
    {.role = MQ_ROLE_ATTN_OUT_NORM, .name = MQ_LAYER_NAME "post_attn_norm.scale"},
    {.role = MQ_ROLE_FFN_NORM, .name = MQ_LAYER_NAME "pre_moe_norm.scale"},
    {.role = MQ_ROLE_FFN_OUT_NORM, .name = MQ_LAYER_NAME "post_moe_norm.scale"},
    {.role = MQ_ROLE_ATTN_Q, .name = MQ_LAYER_NAME "attn.q_proj.weight"},
    {.role = MQ_ROLE_ATTN_K, .name = MQ_LAYER_NAME "attn.k_proj.weight"},
    {.role = MQ_ROLE_ATTN_V, .name = MQ_LAYER_NAME "attn.v_proj.weight"},
    {.role = MQ_ROLE_ATTN_O, .name = MQ_LAYER_NAME "attn.o_proj.weight"},
    {.role = MQ_ROLE_ROUTER, .name = MOE "gate.weight"},
    {.role = MQ_ROLE_EXPERT_GATE, .name = MOE "experts.{expert}.linear.weight"},
    {.role = MQ_ROLE_EXPERT_UP, .name = MOE "experts.{expert}.linear_v.weight"},
    {.role = MQ_ROLE_EXPERT_DOWN, .name = MOE "experts.{expert}.linear_1.weight"},
    {.role = MQ_ROLE_OUTPUT_NORM, .name = "model.norm.scale"},
    {.role = MQ_ROLE_HEAD, .name = "lm_head.weight"},
    {0},
};

#define DECODER "transformer.decoder_layer.{layer}."
static const struct mq_tensor_alias aliases[] = {
    {MQ_ROLE_EMBEDDING, "transformer.in_out_embed.weight", 0, 0},
    {MQ_ROLE_ATTN_NORM, DECODER "rms_norm.weight", 0, 0},
    {MQ_ROLE_ATTN_OUT_NORM, DECODER "rms_norm_1.weight", 0, 0},
    {MQ_ROLE_FFN_NORM, DECODER "rms_norm_2.weight", 0, 0},
    {MQ_ROLE_FFN_OUT_NORM, DECODER "rms_norm_3.weight", 0, 0},
    {MQ_ROLE_ATTN_Q, DECODER "multi_head_attention.query.weight", 0, 0},
    {MQ_ROLE_ATTN_K, DECODER "multi_head_attention.key.weight", 0, 0},
    {MQ_ROLE_ATTN_V, DECODER "multi_head_attention.value.weight", 0, 0},
    {MQ_ROLE_ATTN_O, DECODER "multi_head_attention.linear.weight", 0, 0},
    {MQ_ROLE_ROUTER, DECODER "router.weight", 0, 0},
    {MQ_ROLE_EXPERT_GATE, DECODER "moe.{expert}.linear.weight", 0, 0},
    {MQ_ROLE_EXPERT_UP, DECODER "moe.{expert}.linear_v.weight", 0, 0},
    {MQ_ROLE_EXPERT_DOWN, DECODER "moe.{expert}.linear_1.weight", 0, 0},
    {MQ_ROLE_OUTPUT_NORM, "transformer.rms_norm.weight", 0, 0},
    {0},
};

const struct mq_family mq_family_grok1 = {
    .name = "grok1",
    .model_types = "grok-1",
    .architecture = "Grok1ModelForCausalLM",
    .models = "Grok-1",
    .architectures = "GrokForCausalLM Grok1ForCausalLM",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 8,
    .default_max_positions = 8192,
    .default_tied = true,
    .without_sliding_window = true,
    .layer = layer,
    .ends = ends,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "grok",
};
