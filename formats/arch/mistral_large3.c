/*
 * mistral_large3.c: Mistral Large 3 (and Small 4) in Mistral's own form: params.json and
 * consolidated*.safetensors; the maths of mistral4.c. Source: the published params.json, and vLLM's map of
 * it (mistral_large_3.py).
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY("dim", MQ_KEY_U32, hidden, -1),
    MQ_KEY("n_layers", MQ_KEY_U32, layers, -1),
    MQ_KEY("n_heads", MQ_KEY_U32, heads, -1),
    MQ_KEY("hidden_dim", MQ_KEY_U32, ffn, -1),
    MQ_KEY("norm_eps", MQ_KEY_F32, rms_eps, 1e-6),
    MQ_KEY_ANY("n_kv_heads"), /* as many as n_heads */
    MQ_KEYS_LATENT(-1, -1, -1, -1, -1),
    MQ_KEY("moe.num_experts", MQ_KEY_U32, experts, -1),
    MQ_KEY("moe.num_experts_per_tok", MQ_KEY_U32, top_k, -1),
    MQ_KEY("moe.expert_hidden_dim", MQ_KEY_U32, expert_ffn, -1),
    MQ_KEY("moe.num_shared_experts", MQ_KEY_COUNT, shared_experts, 0),
    MQ_KEY("moe.first_k_dense_replace", MQ_KEY_COUNT, dense_first, 0),
    MQ_KEY("moe.num_expert_groups", MQ_KEY_U32, route_groups, 1),
    MQ_KEY("moe.num_expert_groups_per_tok", MQ_KEY_U32, route_top_groups, 1),
    MQ_KEY("moe.routed_scale", MQ_KEY_F32, route_scale, 1),
    MQ_KEY_AT("moe.route_every_n", "1"),
    MQ_KEY_ANY("moe.expert_parallel"),
    MQ_KEY_ANY("moe.expert_model_parallel"),
    MQ_KEY("llama_4_scaling.beta", MQ_KEY_F32_FROM_0, query_beta, 0),
    MQ_KEY("llama_4_scaling.original_max_position_embeddings", MQ_KEY_F32, query_positions, 8192),
    /* config_rope.c reads these */
    MQ_KEY_ANY("yarn.factor"),
    MQ_KEY_ANY("yarn.alpha"),
    MQ_KEY_ANY("yarn.beta"),
    MQ_KEY_ANY("yarn.original_max_position_embeddings"),
    MQ_KEY_ANY("yarn.apply_scale"),
    MQ_KEY("tied_embeddings", MQ_KEY_BOOL, tied_head, false),
    MQ_KEY_ANY("vision_encoder"),
    MQ_KEY_ANY("max_batch_size"),
    {0},
};

/* Here the file says itself whether yarn multiplies scores (apply_scale), and nothing of weights, which are
 * always divided by their sum. */
static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    struct mq_hparams normalized = *hp;
    normalized.normalize_top_k = true;
    mq_layer_mistral4(&normalized, number, l);
    mq_layer_set_latent(hp, true, l);
}

#define LAYER "layers.{layer}."
static const struct mq_tensor_name names[] = {
    {.role = MQ_ROLE_EMBEDDING, .name = "tok_embeddings.weight"},
    {.role = MQ_ROLE_ATTN_NORM, .name = LAYER "attention_norm.weight"},
    {.role = MQ_ROLE_FFN_NORM, .name = LAYER "ffn_norm.weight"},
    {.role = MQ_ROLE_ATTN_Q, .name = LAYER "attention.wq.weight"},
    {.role = MQ_ROLE_ATTN_Q_A, .name = LAYER "attention.wq_a.weight"},
    {.role = MQ_ROLE_ATTN_Q_A_NORM, .name = LAYER "attention.q_a_norm.weight"},
    {.role = MQ_ROLE_ATTN_Q_B, .name = LAYER "attention.wq_b.weight"},
    {.role = MQ_ROLE_ATTN_KV_A, .name = LAYER "attention.wkv_a_with_mqa.weight"},
    {.role = MQ_ROLE_ATTN_KV_A_NORM, .name = LAYER "attention.kv_a_norm.weight"},
    {.role = MQ_ROLE_ATTN_KV_B, .name = LAYER "attention.wkv_b.weight"},
    {.role = MQ_ROLE_ATTN_O, .name = LAYER "attention.wo.weight"},
    {.role = MQ_ROLE_ROUTER, .name = LAYER "gate.weight"},
    {.role = MQ_ROLE_EXPERT_GATE, .name = LAYER "experts.{expert}.w1.weight"},
    {.role = MQ_ROLE_EXPERT_UP, .name = LAYER "experts.{expert}.w3.weight"},
    {.role = MQ_ROLE_EXPERT_DOWN, .name = LAYER "experts.{expert}.w2.weight"},
    {.role = MQ_ROLE_SHARED_GATE, .name = LAYER "shared_experts.w1.weight"},
    {.role = MQ_ROLE_SHARED_UP, .name = LAYER "shared_experts.w3.weight"},
    {.role = MQ_ROLE_SHARED_DOWN, .name = LAYER "shared_experts.w2.weight"},
    {.role = MQ_ROLE_MLP_GATE, .name = LAYER "feed_forward.w1.weight"},
    {.role = MQ_ROLE_MLP_UP, .name = LAYER "feed_forward.w3.weight"},
    {.role = MQ_ROLE_MLP_DOWN, .name = LAYER "feed_forward.w2.weight"},
    {.role = MQ_ROLE_OUTPUT_NORM, .name = "norm.weight"},
    {.role = MQ_ROLE_HEAD, .name = "output.weight"},
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    {0},
};

const struct mq_family mq_family_mistral_large3 = {
    .name = "mistral_large3",
    .native_keys = "moe kv_lora_rank",
    .architecture = "MistralLarge3ForCausalLM",
    .models = "Mistral Large 3, Small 4 (params.json)",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_max_positions = 294912,
    .without_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "deepseek2",
};
