/*
 * mixtral.c: Mixtral 8x7B, 8x22B: every layer has a router (softmax over all experts, top-k,
 * renormalized) and gated-SiLU experts; w1 = gate, w3 = up, w2 = down.
 * Source: the published config.json and index files, and Transformers' MixtralForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    {.key = "num_local_experts",
     .rule = MQ_KEY_U32,
     .field = offsetof(struct mq_hparams, experts),
     .when_absent = 8},
    {.key = "num_experts_per_tok",
     .rule = MQ_KEY_U32,
     .field = offsetof(struct mq_hparams, top_k),
     .when_absent = 2},
    {0},
};

#define LAYER "model.layers.{layer}."
static const struct mq_tensor_pattern patterns[] = {
    MQ_PATTERNS_BEFORE_FFN,
    {MQ_ROLE_EXPERT_GATE, LAYER "block_sparse_moe.experts.{expert}.w1.weight", MQ_DIM_FFN,
     MQ_DIM_HIDDEN},
    {MQ_ROLE_EXPERT_UP, LAYER "block_sparse_moe.experts.{expert}.w3.weight", MQ_DIM_FFN,
     MQ_DIM_HIDDEN},
    {MQ_ROLE_EXPERT_DOWN, LAYER "block_sparse_moe.experts.{expert}.w2.weight", MQ_DIM_HIDDEN,
     MQ_DIM_FFN},
    {MQ_ROLE_ROUTER, LAYER "block_sparse_moe.gate.weight", MQ_DIM_EXPERTS, MQ_DIM_HIDDEN},
    MQ_PATTERNS_AFTER_LAYERS,
    {0},
};

/* Transformers 5 holds the experts of a layer fused, gate rows before up rows; MLX stacks each of
 * the three matrices (mlx_lm/models/mixtral.py, sanitize). */
static const struct mq_tensor_alias aliases[] = {
    {MQ_ROLE_ROUTER, LAYER "mlp.gate.weight", 0, 0},
    {MQ_ROLE_EXPERT_GATE, LAYER "mlp.experts.gate_up_proj", 2, 0},
    {MQ_ROLE_EXPERT_UP, LAYER "mlp.experts.gate_up_proj", 2, 1},
    {MQ_ROLE_EXPERT_DOWN, LAYER "mlp.experts.down_proj", 1, 0},
    {MQ_ROLE_EXPERT_GATE, LAYER "block_sparse_moe.switch_mlp.gate_proj.weight", 1, 0},
    {MQ_ROLE_EXPERT_UP, LAYER "block_sparse_moe.switch_mlp.up_proj.weight", 1, 0},
    {MQ_ROLE_EXPERT_DOWN, LAYER "block_sparse_moe.switch_mlp.down_proj.weight", 1, 0},
    {0},
};

const struct mq_family mq_family_mixtral = {
    .name = "mixtral",
    .architecture = "MixtralForCausalLM",
    .keys = keys,
    .default_rope_theta = 1e6,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 8,
    .default_max_positions = 131072,
    .patterns = patterns,
    .aliases = aliases,
    .gguf_architecture = "llama",
    .gguf_interleaved_rope = true,
};
