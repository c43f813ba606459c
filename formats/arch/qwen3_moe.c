/*
 * qwen3_moe.c: Qwen3-MoE (30B-A3B, 235B-A22B, Qwen3-Coder) and the text of Qwen3-VL-MoE: norms over each head of q and k; layers
 * have experts but where mlp_only_layers or decoder_sparse_step say otherwise (no published model's
 * do). Source: the published config.json files, and Transformers' Qwen3MoeForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    /* of Qwen3-Coder-480B's config.json */
    MQ_KEY_AT("use_qk_norm", "true"),
    MQ_KEY_AT("shared_expert_intermediate_size", "0"),
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 128),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 8),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 768),
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, false),
    MQ_KEY("decoder_sparse_step", MQ_KEY_U32, sparse_step, 1),
    MQ_KEY_ATTENTION_BIAS,
    MQ_KEY("mlp_only_layers", MQ_KEY_LAYERS, dense_layers, 0),
    {0},
};

/* Qwen3-VL's text: weights are always divided by their sum. */
static const struct mq_config_key vl_keys[] = {
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 60),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 4),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 1408),
    MQ_KEY_AT("norm_topk_prob", "true"),
    MQ_KEY("decoder_sparse_step", MQ_KEY_U32, sparse_step, 1),
    MQ_KEY("mlp_only_layers", MQ_KEY_LAYERS, dense_layers, 0),
    MQ_KEY_ATTENTION_BIAS,
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_layer_set_biased_attention(hp, l);
    l->attention.qk_norm = MQ_QK_NORM_HEAD;
    if (mq_layer_set_has(&hp->dense_layers, number) || (number + 1) % hp->sparse_step != 0)
        mq_layer_set_mlp(hp->ffn, l);
    else
        mq_layer_set_experts(hp, hp->expert_ffn, l);
}

static void vl_layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    layer(hp, number, l);
    if (l->ffn.kind == MQ_FFN_ROUTED)
        l->ffn.router.normalize = MQ_NORMALIZE_SUM;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_ATTENTION_BIAS,
    MQ_NAMES_QK_NORM,
    MQ_NAMES_EXPERTS,
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

/* Published as [expert, in, out]; Transformers saves [expert, out, in]. Their shapes tell. */
#define FUSED MQ_LAYER_NAME "mlp.experts."
static const struct mq_tensor_alias vl_aliases[] = {
    {MQ_ROLE_EXPERT_GATE, FUSED "gate_up_proj", 2, 0 | MQ_PARTS_TRANSPOSED},
    {MQ_ROLE_EXPERT_UP, FUSED "gate_up_proj", 2, 1 | MQ_PARTS_TRANSPOSED},
    {MQ_ROLE_EXPERT_DOWN, FUSED "down_proj", 1, MQ_PARTS_TRANSPOSED},
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_qwen3_moe = {
    .name = "qwen3_moe",
    .architecture = "Qwen3MoeForCausalLM",
    .models = "Qwen3-30B-A3B, 235B-A22B, Qwen3-Coder",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_kv_heads = 4,
    .default_max_positions = 32768,
    .window_by_use_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "qwen3moe",
};

const struct mq_family mq_family_qwen3_vl_moe = {
    .name = "qwen3_vl_moe",
    .models = "Qwen3-VL-30B-A3B, 235B-A22B (text)",
    .model_types = "qwen3_vl_moe_text",
    .architecture = "Qwen3VLMoeForConditionalGeneration",
    .keys = vl_keys,
    .default_rope_theta = 5e5,
    .default_rms_eps = 1e-6,
    .default_kv_heads = 16,
    .default_max_positions = 128000,
    .without_sliding_window = true,
    .layer = vl_layer,
    .names = names,
    .aliases = vl_aliases,
    .gguf_architecture = "qwen3vlmoe",
};
