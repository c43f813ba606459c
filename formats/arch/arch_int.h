/* arch_int.h: pieces that several family descriptors share. */
#ifndef MQ_ARCH_INT_H
#define MQ_ARCH_INT_H

#include "family.h"

#include <stddef.h>

/* ---- names ---- */

/* One name a line: */
/* clang-format off */
#define MQ_LAYER_NAME "model.layers.{layer}."

/* Pre-norm attention, then a pre-normed feed-forward part. */
#define MQ_NAMES_BEFORE_FFN                                                    \
    {.role = MQ_ROLE_EMBEDDING, .name = "model.embed_tokens.weight"},          \
    {.role = MQ_ROLE_ATTN_NORM, .name = MQ_LAYER_NAME "input_layernorm.weight"},        \
    {.role = MQ_ROLE_FFN_NORM, .name = MQ_LAYER_NAME "post_attention_layernorm.weight"}, \
    {.role = MQ_ROLE_ATTN_Q, .name = MQ_LAYER_NAME "self_attn.q_proj.weight"}, \
    {.role = MQ_ROLE_ATTN_K, .name = MQ_LAYER_NAME "self_attn.k_proj.weight"}, \
    {.role = MQ_ROLE_ATTN_V, .name = MQ_LAYER_NAME "self_attn.v_proj.weight"}, \
    {.role = MQ_ROLE_ATTN_O, .name = MQ_LAYER_NAME "self_attn.o_proj.weight"}

#define MQ_NAMES_QK_NORM                                                          \
    {.role = MQ_ROLE_ATTN_Q_NORM, .name = MQ_LAYER_NAME "self_attn.q_norm.weight"}, \
    {.role = MQ_ROLE_ATTN_K_NORM, .name = MQ_LAYER_NAME "self_attn.k_norm.weight"}

#define MQ_NAMES_MLP                                                                      \
    {.role = MQ_ROLE_MLP_GATE, .name = MQ_LAYER_NAME "mlp.gate_proj.weight"},  \
    {.role = MQ_ROLE_MLP_UP, .name = MQ_LAYER_NAME "mlp.up_proj.weight"},      \
    {.role = MQ_ROLE_MLP_DOWN, .name = MQ_LAYER_NAME "mlp.down_proj.weight"}

/* A router and experts as most families since Qwen2-MoE call them. */
#define MQ_NAMES_EXPERTS                                                                          \
    {.role = MQ_ROLE_EXPERT_GATE, .name = MQ_LAYER_NAME "mlp.experts.{expert}.gate_proj.weight"}, \
    {.role = MQ_ROLE_EXPERT_UP, .name = MQ_LAYER_NAME "mlp.experts.{expert}.up_proj.weight"},     \
    {.role = MQ_ROLE_EXPERT_DOWN, .name = MQ_LAYER_NAME "mlp.experts.{expert}.down_proj.weight"}, \
    {.role = MQ_ROLE_ROUTER, .name = MQ_LAYER_NAME "mlp.gate.weight"}

/* The same experts in one tensor: Transformers 5 holds those of a layer fused, gate rows before up
 * rows; MLX stacks each of the three matrices, beside where they were (mlx_lm, each model's
 * sanitize). */
#define MQ_ALIASES_EXPERTS(moe)                                            \
    {MQ_ROLE_EXPERT_GATE, MQ_LAYER_NAME "mlp.experts.gate_up_proj", 2, 0}, \
    {MQ_ROLE_EXPERT_UP, MQ_LAYER_NAME "mlp.experts.gate_up_proj", 2, 1},   \
    {MQ_ROLE_EXPERT_DOWN, MQ_LAYER_NAME "mlp.experts.down_proj", 1, 0},    \
    {MQ_ROLE_EXPERT_GATE, moe "switch_mlp.gate_proj.weight", 1, 0},        \
    {MQ_ROLE_EXPERT_UP, moe "switch_mlp.up_proj.weight", 1, 0},            \
    {MQ_ROLE_EXPERT_DOWN, moe "switch_mlp.down_proj.weight", 1, 0}

#define MQ_NAMES_AFTER_LAYERS                                       \
    {.role = MQ_ROLE_OUTPUT_NORM, .name = "model.norm.weight"},     \
    {.role = MQ_ROLE_HEAD, .name = "lm_head.weight"}

/* clang-format on */

/* ---- config keys ---- */

#define MQ_KEY(name, its_rule, member, otherwise)                                    \
    {                                                                                \
        .key = name, .rule = its_rule, .field = offsetof(struct mq_hparams, member), \
        .when_absent = otherwise                                                     \
    }
#define MQ_KEY_EXPERTS(name, its_alias, otherwise)                                \
    {                                                                             \
        .key = name, .alias = its_alias, .rule = MQ_KEY_U32,                      \
        .field = offsetof(struct mq_hparams, experts), .when_absent = otherwise   \
    }

/* Of which null is not the same as absent. */
#define MQ_KEY_OR_NULL(name, its_rule, member, otherwise, null)                      \
    {                                                                                \
        .key = name, .rule = its_rule, .field = offsetof(struct mq_hparams, member), \
        .when_absent = otherwise, .has_null = true, .when_null = null                \
    }
/* Of words: a choice (otherwise: the place of the word), or a list of them for the layers. */
#define MQ_KEY_WORDS(name, its_rule, words, member, otherwise)                 \
    {                                                                          \
        .key = name, .rule = its_rule, .only = words,                          \
        .field = offsetof(struct mq_hparams, member), .when_absent = otherwise \
    }
/* Not read: harmless whatever it says, or at these values only. */
#define MQ_KEY_ANY(name)                     \
    {                                        \
        .key = name, .rule = MQ_KEY_HARMLESS \
    }
#define MQ_KEY_AT(name, values)                          \
    {                                                    \
        .key = name, .rule = MQ_KEY_ONLY, .only = values \
    }

/* ---- layers ---- */

/* Norms, and grouped-query attention, whose scores are divided by sqrt(head_dim). */
void mq_layer_set_attention(const struct mq_hparams *hp, struct mq_layer *layer);
void mq_layer_set_mlp(uint32_t rows, struct mq_layer *layer);
/* A router of softmax, its weights divided by their sum where hp->normalize_top_k says so, and
 * experts. */
void mq_layer_set_experts(const struct mq_hparams *hp, uint32_t rows, struct mq_layer *layer);

/* Attention and an MLP: the whole of a dense family. */
void mq_layer_dense(const struct mq_hparams *hp, uint32_t number, struct mq_layer *layer);

#endif
