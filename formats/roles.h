/* roles.h: what a tensor does in a model. */
#ifndef MQ_ROLES_H
#define MQ_ROLES_H

#include "moeq.h"

#include <stdbool.h>

/* What a tensor does. group: which option of `convert` decides its level, as far as the role alone
 * says so; see mq_view_class. */
#define MQ_ROLE_LIST(X)                                 \
    X(EMBEDDING, "embedding", EMBEDDINGS)               \
    X(ATTN_NORM, "attn_norm", KEEP)                     \
    X(ATTN_NORM_BIAS, "attn_norm_bias", KEEP)           \
    X(ATTN_Q, "attn_q", ATTENTION)                      \
    X(ATTN_Q_BIAS, "attn_q_bias", KEEP)                 \
    X(ATTN_K, "attn_k", ATTENTION)                      \
    X(ATTN_K_BIAS, "attn_k_bias", KEEP)                 \
    X(ATTN_V, "attn_v", ATTENTION)                      \
    X(ATTN_V_BIAS, "attn_v_bias", KEEP)                 \
    X(ATTN_Q_A, "attn_q_a", ATTENTION)                  \
    X(ATTN_Q_A_NORM, "attn_q_a_norm", KEEP)             \
    X(ATTN_Q_B, "attn_q_b", ATTENTION)                  \
    X(ATTN_KV_A, "attn_kv_a", ATTENTION)                \
    X(ATTN_KV_A_NORM, "attn_kv_a_norm", KEEP)           \
    X(ATTN_KV_B, "attn_kv_b", ATTENTION)                \
    X(INDEXER_Q, "indexer_q", ATTENTION)                \
    X(INDEXER_K, "indexer_k", ATTENTION)                \
    X(INDEXER_K_NORM, "indexer_k_norm", KEEP)           \
    X(INDEXER_K_NORM_BIAS, "indexer_k_norm_bias", KEEP) \
    X(INDEXER_WEIGHTS, "indexer_weights", KEEP)         \
    X(ATTN_Q_NORM, "attn_q_norm", KEEP)                 \
    X(ATTN_K_NORM, "attn_k_norm", KEEP)                 \
    X(ATTN_SINKS, "attn_sinks", KEEP)                   \
    X(ATTN_GATE, "attn_gate", ATTENTION)                \
    X(ATTN_O, "attn_o", ATTENTION)                      \
    X(ATTN_O_BIAS, "attn_o_bias", KEEP)                 \
    X(ATTN_OUT_NORM, "attn_out_norm", KEEP)             \
    X(DELTA_QKV, "delta_qkv", ATTENTION)                \
    X(DELTA_Z, "delta_z", ATTENTION)                    \
    X(DELTA_QKVZ, "delta_qkvz", ATTENTION)              \
    X(DELTA_BETA, "delta_beta", KEEP)                   \
    X(DELTA_ALPHA, "delta_alpha", KEEP)                 \
    X(DELTA_BA, "delta_ba", KEEP)                       \
    X(MIX_IN, "mix_in", ATTENTION)                      \
    X(MIX_IN_BIAS, "mix_in_bias", KEEP)                 \
    X(MIX_CONV, "mix_conv", KEEP)                       \
    X(MIX_CONV_BIAS, "mix_conv_bias", KEEP)             \
    X(MIX_DECAY, "mix_decay", KEEP)                     \
    X(MIX_STEP_BIAS, "mix_step_bias", KEEP)             \
    X(MIX_SKIP, "mix_skip", KEEP)                       \
    X(MIX_NORM, "mix_norm", KEEP)                       \
    X(MIX_OUT, "mix_out", ATTENTION)                    \
    X(MIX_OUT_BIAS, "mix_out_bias", KEEP)               \
    X(FFN_NORM, "ffn_norm", KEEP)                       \
    X(FFN_NORM_BIAS, "ffn_norm_bias", KEEP)             \
    X(ROUTER_NORM, "router_norm", KEEP)                 \
    X(ROUTER, "router", KEEP)                           \
    X(ROUTER_BIAS, "router_bias", KEEP)                 \
    X(ROUTER_CHOICE_BIAS, "router_choice_bias", KEEP)   \
    X(ROUTER_EXPERT_SCALE, "router_expert_scale", KEEP) \
    X(EXPERTS_NORM, "experts_norm", KEEP)               \
    X(EXPERTS_OUT_NORM, "experts_out_norm", KEEP)       \
    X(MLP_OUT_NORM, "mlp_out_norm", KEEP)               \
    X(FFN_OUT_NORM, "ffn_out_norm", KEEP)               \
    X(LAYER_SCALE, "layer_scale", KEEP)                 \
    X(EXPERT_GATE, "expert_gate", EXPERTS)              \
    X(EXPERT_GATE_BIAS, "expert_gate_bias", KEEP)       \
    X(EXPERT_UP, "expert_up", EXPERTS)                  \
    X(EXPERT_UP_BIAS, "expert_up_bias", KEEP)           \
    X(EXPERT_DOWN, "expert_down", EXPERTS)              \
    X(EXPERT_DOWN_BIAS, "expert_down_bias", KEEP)       \
    X(SHARED_SCALE, "shared_scale", KEEP)               \
    X(SHARED_GATE, "shared_gate", SHARED)               \
    X(SHARED_GATE_BIAS, "shared_gate_bias", KEEP)       \
    X(SHARED_UP, "shared_up", SHARED)                   \
    X(SHARED_UP_BIAS, "shared_up_bias", KEEP)           \
    X(SHARED_DOWN, "shared_down", SHARED)               \
    X(SHARED_DOWN_BIAS, "shared_down_bias", KEEP)       \
    X(MLP_GATE, "mlp_gate", EXPERTS)                    \
    X(MLP_GATE_BIAS, "mlp_gate_bias", KEEP)             \
    X(MLP_UP, "mlp_up", EXPERTS)                        \
    X(MLP_UP_BIAS, "mlp_up_bias", KEEP)                 \
    X(MLP_DOWN, "mlp_down", EXPERTS)                    \
    X(MLP_DOWN_BIAS, "mlp_down_bias", KEEP)             \
    X(OUTPUT_NORM, "output_norm", KEEP)                 \
    X(OUTPUT_NORM_BIAS, "output_norm_bias", KEEP)       \
    X(HEAD, "head", EMBEDDINGS)                         \
    X(HEAD_BIAS, "head_bias", KEEP)

enum mq_role {
#define MQ_ROLE_ENUM(id, name, group) MQ_ROLE_##id,
    MQ_ROLE_LIST(MQ_ROLE_ENUM)
#undef MQ_ROLE_ENUM
        MQ_ROLE_COUNT
};

enum mq_role_class {
    MQ_CLASS_EXPERTS,
    MQ_CLASS_SHARED,
    MQ_CLASS_ATTENTION,
    MQ_CLASS_EMBEDDINGS,
    MQ_CLASS_KEEP,
    MQ_CLASS_COUNT
};

/* The matrix (0 gate, 1 up, 2 down) of an MLP whose first role is gate: biases stand between them in the list. */
static inline enum mq_role mq_role_of_matrix(enum mq_role gate, int matrix)
{
    return (enum mq_role)((int)gate + 2 * matrix);
}

const char *mq_role_name(enum mq_role role);
/* "layer 3, expert 5, expert_up": layer and expert -1 where there is none. */
void mq_role_place(int32_t layer, int32_t expert, const char *role, char *text, size_t room);
/* Whether tensors of the role are carried along for other programs, and have no part in what is computed
 * here (sparse attention's indexer: layer.h, `indexed`). */
bool mq_role_is_carried(enum mq_role role);
/* Of a model: mq_view_class (model_view.h), which everything goes by that asks for levels or sizes. */
enum mq_role_class mq_role_class(enum mq_role role);
const char *mq_role_class_name(enum mq_role_class group);

#endif
