/*
 * qwen2_moe.c: Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B: biases of q, k and v; beside the routed experts an
 * expert for all tokens, whose result is weighed by a sigmoid. Source: the published config.json files,
 * and Transformers' Qwen2MoeForCausalLM (whose windows are those of every second layer among the first
 * max_window_layers, with use_sliding_window; no published model has it).
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 60),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 4),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 1408),
    MQ_KEY("shared_expert_intermediate_size", MQ_KEY_U32, shared_ffn, 5632),
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, false),
    MQ_KEY("decoder_sparse_step", MQ_KEY_U32, sparse_step, 1),
    MQ_KEY("mlp_only_layers", MQ_KEY_LAYERS, dense_layers, 0),
    MQ_KEY("qkv_bias", MQ_KEY_BOOL, attention_bias, true),
    MQ_KEY("max_window_layers", MQ_KEY_COUNT, window_layers, 28),
    MQ_KEY_WORDS("layer_types", MQ_KEY_LAYER_NAMES, "\"full_attention\" \"sliding_attention\"",
                 layer_kinds, 0),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    const bool window = number % 2 == 0 && number < hp->window_layers;
    mq_layer_set_attention(hp, l);
    l->attention.qkv_bias = hp->attention_bias;
    if (!mq_layer_value(&hp->layer_kinds, number, window))
        l->attention.window = 0;
    if (mq_layer_set_has(&hp->dense_layers, number) || (number + 1) % hp->sparse_step != 0) {
        mq_layer_set_mlp(hp->ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    l->ffn.shared_rows = hp->shared_ffn;
    l->ffn.shared_gate = true;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_QKV_BIAS,
    MQ_NAMES_EXPERTS,
    MQ_NAMES_SHARED("mlp.shared_expert."),
    {.role = MQ_ROLE_SHARED_SCALE, .name = MQ_LAYER_NAME "mlp.shared_expert_gate.weight"},
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_qwen2_moe = {
    .name = "qwen2_moe",
    .architecture = "Qwen2MoeForCausalLM",
    .models = "Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_kv_heads = 16,
    .default_sliding_window = 4096,
    .default_max_positions = 32768,
    .window_by_use_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "qwen2moe",
};
