/* roles.h: what a tensor does in a model. */
#ifndef MQ_ROLES_H
#define MQ_ROLES_H

#include "moeq.h"

/* What a tensor does. group: which option of `convert` decides its level. */
#define MQ_ROLE_LIST(X)                    \
    X(EMBEDDING, "embedding", EMBEDDINGS)  \
    X(ATTN_NORM, "attn_norm", KEEP)        \
    X(ATTN_Q, "attn_q", ATTENTION)         \
    X(ATTN_K, "attn_k", ATTENTION)         \
    X(ATTN_V, "attn_v", ATTENTION)         \
    X(ATTN_Q_NORM, "attn_q_norm", KEEP)    \
    X(ATTN_K_NORM, "attn_k_norm", KEEP)    \
    X(ATTN_O, "attn_o", ATTENTION)         \
    X(FFN_NORM, "ffn_norm", KEEP)          \
    X(ROUTER, "router", KEEP)              \
    X(EXPERT_GATE, "expert_gate", EXPERTS) \
    X(EXPERT_UP, "expert_up", EXPERTS)     \
    X(EXPERT_DOWN, "expert_down", EXPERTS) \
    X(MLP_GATE, "mlp_gate", EXPERTS)       \
    X(MLP_UP, "mlp_up", EXPERTS)           \
    X(MLP_DOWN, "mlp_down", EXPERTS)       \
    X(OUTPUT_NORM, "output_norm", KEEP)    \
    X(HEAD, "head", EMBEDDINGS)

enum mq_role {
#define MQ_ROLE_ENUM(id, name, group) MQ_ROLE_##id,
    MQ_ROLE_LIST(MQ_ROLE_ENUM)
#undef MQ_ROLE_ENUM
        MQ_ROLE_COUNT
};

enum mq_role_class {
    MQ_CLASS_EXPERTS,
    MQ_CLASS_ATTENTION,
    MQ_CLASS_EMBEDDINGS,
    MQ_CLASS_KEEP,
    MQ_CLASS_COUNT
};

const char *mq_role_name(enum mq_role role);
enum mq_role_class mq_role_class(enum mq_role role);
const char *mq_role_class_name(enum mq_role_class group);

#endif
