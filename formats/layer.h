/*
 * layer.h: a layer as data. A family says what each layer is made of (struct mq_layer); from that
 * follows its program: a short list of steps, each with the tensors that it takes and their shapes.
 * That list is the only one: the table of tensors, the evaluator and its buffers, the planner for
 * cards, GGUF and progress all go by it, and none of them knows a family or repeats a shape.
 *
 *     config.json --config.c--> hparams --family->layer--> mq_layer --program.c--> steps and slots
 *
 * A new kind of piece is a value here, its slots in program.c, and its arithmetic in one place of
 * runtime/; what has no such place does not compile or fails a test.
 */
#ifndef MQ_LAYER_H
#define MQ_LAYER_H

#include "hparams.h"
#include "roles.h"

#include "moeq.h"

struct mq_view;
struct mq_family;

/* Norms of q and k, after their projections and before they are rotated. */
enum mq_qk_norm {
    MQ_QK_NORM_NONE,
    MQ_QK_NORM_WHOLE, /* over all heads together; weights [heads * head_dim] */
    MQ_QK_NORM_HEAD,  /* over each head; weights [head_dim], the same for all */
};

/*
 * How a router goes from its logits to experts and their weights: X(id, function), whose rows are
 * in runtime/router.c, with formulas and sources.
 */
#define MQ_ROUTER_RULE_LIST(X)                \
    X(SOFTMAX_NORMALIZED, softmax_normalized) \
    X(SOFTMAX, softmax)

enum mq_router_rule {
#define MQ_ROUTER_ENUM(id, function) MQ_ROUTER_##id,
    MQ_ROUTER_RULE_LIST(MQ_ROUTER_ENUM)
#undef MQ_ROUTER_ENUM
        MQ_ROUTER_RULES
};

enum mq_ffn_kind {
    MQ_FFN_DENSE,  /* one MLP: down(f(gate x) * up x), f the activation */
    MQ_FFN_ROUTED, /* a router, and such an MLP for each expert */
};

/* What one layer is. Only fields of four bytes, so that two layers are the same if their bytes
 * are. */
struct mq_layer {
    struct mq_layer_attention { /* causal, grouped queries, rotary */
        uint32_t heads, kv_heads, head_dim;
        uint32_t window; /* as mq_hparams.sliding_window */
        enum mq_qk_norm qk_norm;
        float scale; /* of scores */
    } attention;
    struct mq_layer_ffn {
        enum mq_ffn_kind kind;
        enum mq_activation activation;
        uint32_t rows; /* of gate and up, of the MLP or of each expert */
        /* of a routed one: */
        uint32_t experts, top_k;
        enum mq_router_rule rule;
    } ffn;
    float norm_eps; /* of all norms */
};

/*
 * What a step does with the residual stream `h` [tokens][hidden], the normalized copy `x` and the
 * result of a branch `b`: X(id, name). Each has its row in runtime/pass.c.
 *
 *     embed      h = rows of the embedding matrix
 *     norm       x = norm(h)
 *     attention  b = o(attention(q x, k x, v x))
 *     mlp        b = down(f(gate x) * up x)
 *     route      the experts of each token and their weights, from router x
 *     experts    b = sum over a token's experts of weight * mlp of the expert
 *     add        h += b
 *     head       logits = head norm(h)
 */
#define MQ_OP_LIST(X)       \
    X(EMBED, embed)         \
    X(NORM, norm)           \
    X(ATTENTION, attention) \
    X(MLP, mlp)             \
    X(ROUTE, route)         \
    X(EXPERTS, experts)     \
    X(ADD, add)             \
    X(HEAD, head)

enum mq_op {
#define MQ_OP_ENUM(id, name) MQ_OP_##id,
    MQ_OP_LIST(MQ_OP_ENUM)
#undef MQ_OP_ENUM
        MQ_OPS
};

/* A tensor that a step takes. */
struct mq_slot {
    enum mq_role role;
    bool per_expert;
    bool is_vector;      /* rows 1, and 1-D on disk */
    uint64_t rows, cols; /* [rows, cols] = [out, in] */
};

enum { MQ_STEP_SLOTS = 8, MQ_PROGRAM_STEPS = 12, MQ_PROGRAM_KINDS = 64 };

struct mq_step {
    enum mq_op op;
    bool too_long; /* it was to have more slots */
    size_t slots_count;
    struct mq_slot slots[MQ_STEP_SLOTS];
};

struct mq_program {
    struct mq_layer layer; /* of what stands before and after the layers norm_eps alone */
    bool too_long;         /* it, or one of its steps: a mistake, which mq_program_create refuses */
    size_t steps_count;
    struct mq_step steps[MQ_PROGRAM_STEPS];
};

/* Of a whole model; the arena's of the view that owns it. */
struct mq_model_program {
    struct mq_program begin, end;
    const struct mq_program **layers; /* [hparams.layers] */
    const struct mq_program *kinds;   /* the different ones among them, */
    size_t kinds_count;               /* at most MQ_PROGRAM_KINDS */
};

/* The steps of a layer. */
void mq_program_write(struct mq_program *program, const struct mq_layer *layer, uint64_t hidden);
/* The steps before and after the layers; both all zero. */
void mq_program_write_ends(struct mq_program *begin, struct mq_program *end,
                           const struct mq_hparams *hparams);

/*
 * Sets view->program from view->family and hparams. Fails if the family's descriptor is wrong in
 * itself, so that no command goes on with a model that it would compute wrongly: a name whose role
 * no layer takes, a slot without a name, a key whose value changes no layer.
 */
moeq_status mq_program_create(struct mq_view *view, const char *path, moeq_error *err);

/* The next slot of a program, in the order of its steps; start with {0}. NULL at the end. */
struct mq_slot_at {
    size_t step, slot;
};
const struct mq_slot *mq_program_next(const struct mq_program *program, struct mq_slot_at *at);

/* Numbers that a KV cache holds of one token: of its keys, and as many of its values. */
uint64_t mq_layer_kv_numbers(const struct mq_layer *layer);

/* Of the weights of a layer's routed experts, those that one token uses. */
uint64_t mq_layer_used_share(const struct mq_layer *layer, uint64_t of_all_experts);

#endif
