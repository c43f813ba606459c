/* arch_int.h: pieces that several family descriptors share. */
#ifndef MQ_ARCH_INT_H
#define MQ_ARCH_INT_H

#include "family.h"

#include <stddef.h>

/* The common skeleton: pre-norm attention, then a pre-normed feed-forward part. */
#define MQ_PATTERNS_BEFORE_FFN                                                                     \
    {MQ_ROLE_EMBEDDING, "model.embed_tokens.weight", MQ_DIM_VOCAB, MQ_DIM_HIDDEN},                 \
        {MQ_ROLE_ATTN_NORM, "model.layers.{layer}.input_layernorm.weight", MQ_DIM_ONE,             \
         MQ_DIM_HIDDEN},                                                                           \
        {MQ_ROLE_FFN_NORM, "model.layers.{layer}.post_attention_layernorm.weight", MQ_DIM_ONE,     \
         MQ_DIM_HIDDEN},                                                                           \
        {MQ_ROLE_ATTN_Q, "model.layers.{layer}.self_attn.q_proj.weight", MQ_DIM_Q, MQ_DIM_HIDDEN}, \
        {MQ_ROLE_ATTN_K, "model.layers.{layer}.self_attn.k_proj.weight", MQ_DIM_KV,                \
         MQ_DIM_HIDDEN},                                                                           \
        {MQ_ROLE_ATTN_V, "model.layers.{layer}.self_attn.v_proj.weight", MQ_DIM_KV,                \
         MQ_DIM_HIDDEN},                                                                           \
    {                                                                                              \
        MQ_ROLE_ATTN_O, "model.layers.{layer}.self_attn.o_proj.weight", MQ_DIM_HIDDEN, MQ_DIM_Q    \
    }

#define MQ_PATTERNS_DENSE_MLP                                                                    \
    {MQ_ROLE_MLP_GATE, "model.layers.{layer}.mlp.gate_proj.weight", MQ_DIM_FFN, MQ_DIM_HIDDEN},  \
        {MQ_ROLE_MLP_UP, "model.layers.{layer}.mlp.up_proj.weight", MQ_DIM_FFN, MQ_DIM_HIDDEN},  \
    {                                                                                            \
        MQ_ROLE_MLP_DOWN, "model.layers.{layer}.mlp.down_proj.weight", MQ_DIM_HIDDEN, MQ_DIM_FFN \
    }

#define MQ_PATTERNS_AFTER_LAYERS                                           \
    {MQ_ROLE_OUTPUT_NORM, "model.norm.weight", MQ_DIM_ONE, MQ_DIM_HIDDEN}, \
    {                                                                      \
        MQ_ROLE_HEAD, "lm_head.weight", MQ_DIM_VOCAB, MQ_DIM_HIDDEN        \
    }

#endif
