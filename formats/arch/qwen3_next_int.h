/* qwen3_next_int.h: what Qwen3-Next and Qwen3.5 with experts have in common. */
#ifndef MQ_QWEN3_NEXT_INT_H
#define MQ_QWEN3_NEXT_INT_H

#include "arch_int.h"

#define MQ_KEYS_QWEN3_NEXT                                                                     \
    MQ_KEY_WORDS("layer_types", MQ_KEY_LAYER_NAMES, "\"linear_attention\" \"full_attention\"", \
                 layer_kinds, 0),                                                              \
    MQ_KEY("full_attention_interval", MQ_KEY_U32, full_step, 4),                               \
    MQ_KEY("linear_num_value_heads", MQ_KEY_U32, mixer_heads, 32),                             \
    MQ_KEY("linear_value_head_dim", MQ_KEY_U32, mixer_head_dim, 128),                          \
    MQ_KEY("linear_num_key_heads", MQ_KEY_U32, mixer_groups, 16),                              \
    MQ_KEY("linear_key_head_dim", MQ_KEY_U32, mixer_state, 128),                               \
    MQ_KEY("linear_conv_kernel_dim", MQ_KEY_U32, taps, 4),                                     \
    MQ_KEY("shared_expert_intermediate_size", MQ_KEY_U32, shared_ffn, 512),                    \
    MQ_KEY_ATTENTION_BIAS,                                                                     \
    MQ_KEY_ANY("partial_rotary_factor") /* config_rope.c reads it */

/* clang-format off */
#define MQ_NAMES_QWEN3_NEXT                                                             \
    MQ_NAMES_BEFORE_FFN,                                                                \
    MQ_NAMES_ATTENTION_BIAS,                                                            \
    MQ_NAMES_QK_NORM,                                                                   \
    {.role = MQ_ROLE_MIX_CONV, .name = MQ_LAYER_NAME "linear_attn.conv1d.weight"},      \
    {.role = MQ_ROLE_MIX_DECAY, .name = MQ_LAYER_NAME "linear_attn.A_log"},             \
    {.role = MQ_ROLE_MIX_STEP_BIAS, .name = MQ_LAYER_NAME "linear_attn.dt_bias"},       \
    {.role = MQ_ROLE_MIX_NORM, .name = MQ_LAYER_NAME "linear_attn.norm.weight"},        \
    {.role = MQ_ROLE_MIX_OUT, .name = MQ_LAYER_NAME "linear_attn.out_proj.weight"},     \
    MQ_NAMES_EXPERTS,                                                                   \
    MQ_NAMES_SHARED("mlp.shared_expert."),                                              \
    {.role = MQ_ROLE_SHARED_SCALE, .name = MQ_LAYER_NAME "mlp.shared_expert_gate.weight"}, \
    MQ_NAMES_AFTER_LAYERS
/* clang-format on */

/* Attention with a gate, in layers full_step - 1, ... or as layer_types says; a DeltaNet in the others. */
void mq_qwen3_next_mixer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *layer);
/* Experts of so many rows, and the one for all tokens. */
void mq_qwen3_next_experts(const struct mq_hparams *hp, uint32_t rows, struct mq_layer *layer);
void mq_qwen3_next_ends(const struct mq_hparams *hp, struct mq_ends *ends);

#endif
