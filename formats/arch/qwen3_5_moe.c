/*
 * qwen3_5_moe.c: Qwen3.5 and Qwen3.6 with experts (35B-A3B, 122B-A10B, 397B-A17B), the text part:
 * Qwen3-Next, but a DeltaNet's matrices stand one by one, all of q's heads before all of k's, every layer
 * has experts, and their weights are always divided by their sum. Source: the published config.json files,
 * and Transformers' Qwen3_5MoeForConditionalGeneration.
 */
#include "qwen3_next_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEYS_QWEN3_NEXT,
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 256),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 8),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, ffn, 512),
    MQ_KEY_AT("norm_topk_prob", "true"),
    MQ_KEY_AT("attn_output_gate", "true"),
    MQ_KEY_ANY("intermediate_size"), /* of models without experts */
    MQ_KEY_ANY("mamba_ssm_dtype"),   /* of the state, which is always f32 here */
    MQ_KEY_ANY("mtp_num_hidden_layers"),
    MQ_KEY_ANY("mtp_use_dedicated_embeddings"),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_qwen3_next_mixer(hp, number, l);
    mq_qwen3_next_experts(hp, hp->ffn, l);
    l->ffn.router.normalize = MQ_NORMALIZE_SUM;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_QWEN3_NEXT,
    {.role = MQ_ROLE_DELTA_QKV, .name = MQ_LAYER_NAME "linear_attn.in_proj_qkv.weight"},
    {.role = MQ_ROLE_DELTA_Z, .name = MQ_LAYER_NAME "linear_attn.in_proj_z.weight"},
    {.role = MQ_ROLE_DELTA_BETA, .name = MQ_LAYER_NAME "linear_attn.in_proj_b.weight"},
    {.role = MQ_ROLE_DELTA_ALPHA, .name = MQ_LAYER_NAME "linear_attn.in_proj_a.weight"},
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_qwen3_5_moe = {
    .name = "qwen3_5_moe",
    .model_types = "qwen3_5_moe_text",
    .architecture = "Qwen3_5MoeForConditionalGeneration",
    .models = "Qwen3.5 and Qwen3.6 35B-A3B, 122B-A10B, 397B-A17B",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_kv_heads = 2,
    .default_head_dim = 256,
    .default_max_positions = 32768,
    .default_rotary_part = 0.25,
    .without_sliding_window = true,
    .layer = layer,
    .ends = mq_qwen3_next_ends,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "qwen35moe",
};
