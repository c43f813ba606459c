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

/* How a layer mixes tokens. What the sizes of struct mq_layer_attention mean differs:
 *
 *                 heads         kv_heads    head_dim    value_dim
 *     grouped     of queries    of keys     of q and k  of v
 *     latent      of queries    as many     of q and k, of v          (rank of their sources: q_rank,
 *                                           rotary and              kv_rank; DeepSeek's MLA)
 *                                           plain parts
 *     delta       of values     of keys     of a key    of a value    (gated DeltaNet: Qwen3-Next)
 *     convolution -             -           -           -             (short, gated: LFM2)
 *     mamba       of the state  groups of   state of a  of a head     (Mamba2)
 *                               B and C     head's row
 */
enum mq_mixer {
    MQ_MIXER_NONE, /* the layer has a feed-forward part alone */
    MQ_MIXER_GROUPED,
    MQ_MIXER_LATENT,
    MQ_MIXER_DELTA,
    MQ_MIXER_CONVOLUTION,
    MQ_MIXER_MAMBA,
};

/* Norms of q and k: over what, and before or after they are rotated. */
enum mq_qk_norm {
    MQ_QK_NORM_NONE,
    MQ_QK_NORM_WHOLE,       /* over all heads together; weights [heads * head_dim] */
    MQ_QK_NORM_HEAD,        /* over each head; weights [head_dim], the same for all */
    MQ_QK_NORM_HEAD_AFTER,  /* the same after rotation */
    MQ_QK_NORM_PLAIN_AFTER, /* over each head after rotation, without weights */
};

/* What the heads' outputs are multiplied by before o: the sigmoid of something, element by element. */
enum mq_output_gate {
    MQ_GATE_NONE,
    MQ_GATE_MATRIX, /* of a matrix' product with x */
    MQ_GATE_IN_Q,   /* of rows of q's matrix: head by head, head_dim rows of q, then as many of it */
};

/* Which rotary embedding of the model (hparams.h), and which numbers of a head it turns together. */
enum mq_rope_of { MQ_ROPE_OF_NONE, MQ_ROPE_OF_MAIN, MQ_ROPE_OF_LOCAL };
enum mq_rotary_pairs {
    MQ_ROTARY_HALVES,     /* i and i + rotary_dim / 2 */
    MQ_ROTARY_NEIGHBOURS, /* 2 i and 2 i + 1 */
};

enum mq_norm_kind {
    MQ_NORM_RMS,          /* x / rms(x) * w */
    MQ_NORM_RMS_PLUS_ONE, /* x / rms(x) * (1 + w) */
    MQ_NORM_LAYER,        /* (x - mean) / deviation * w, + bias where norm_bias is set */
};

/*
 * A router: from its logits z to experts and their weights, in pieces (runtime/router.c).
 *
 *     z = W x [+ bias]; z = softcap * tanh(z / softcap) where softcap is not 0
 *     s = softmax(z) over all experts | sigmoid(z) | z           score
 *     c = s [+ choice bias]                                      what is compared
 *     of the top_groups groups alone that have the largest best c (or sum of the two best)
 *     the top_k largest c (of equals the lower expert)
 *     w = s | softmax(z) over the chosen | sigmoid(z)            weights
 *     w = w / (sum w + normalize_eps) | w / max(sum w, normalize_eps)
 *     w = w * scale [* a number of each expert]
 */
enum mq_router_score { MQ_SCORE_SOFTMAX, MQ_SCORE_SIGMOID, MQ_SCORE_LOGIT };
enum mq_router_weights {
    MQ_WEIGHTS_SCORES,
    MQ_WEIGHTS_SOFTMAX_CHOSEN,
    MQ_WEIGHTS_SIGMOID,
    MQ_WEIGHTS_SPARSEMIXER, /* Phi-3.5-MoE's choice and weights; see router.c */
};
enum mq_router_normalize { MQ_NORMALIZE_NONE, MQ_NORMALIZE_SUM, MQ_NORMALIZE_SUM_AT_LEAST };
enum mq_router_groups_by { MQ_GROUPS_BY_BEST, MQ_GROUPS_BY_TWO_BEST };

struct mq_layer_router {
    uint32_t experts, top_k;
    uint32_t logit_bias, choice_bias, expert_scale; /* whether there are such vectors */
    enum mq_router_score score;
    enum mq_router_weights weights;
    enum mq_router_normalize normalize;
    float normalize_eps;
    uint32_t groups, top_groups; /* 0: no groups */
    enum mq_router_groups_by groups_by;
    float scale;     /* 1: none */
    float softcap;   /* 0: none */
    float jitter;    /* of the sparsemixer */
    float own_norm;  /* not 0: z is of x = h / rms(h) * w * own_norm, with a vector w of its own */
};

enum mq_ffn_kind {
    MQ_FFN_NONE,
    MQ_FFN_DENSE,  /* one MLP: down(f(gate x) * up x), f the activation */
    MQ_FFN_ROUTED, /* a router, and such an MLP for each expert */
    MQ_FFN_BOTH,   /* both, each with a norm before and after, added */
};

/* What one layer is. Only fields of four bytes, so that two layers are the same if their bytes
 * are. */
struct mq_layer {
    struct mq_layer_attention { /* or another mixer */
        enum mq_mixer kind;
        uint32_t heads, kv_heads, head_dim, value_dim;
        uint32_t window; /* as mq_hparams.sliding_window */
        uint32_t chunk;  /* query i sees keys of its own chunk of so many tokens alone; 0: all */
        enum mq_qk_norm qk_norm;
        uint32_t value_norm;   /* v / rms(v) of each head, without weights */
        uint32_t value_is_key; /* there is no matrix for v: it is k before norm and rotation */
        uint32_t qkv_bias, o_bias; /* of a mamba: o_bias, both its products' */
        uint32_t sinks; /* a number of each head, the score of a key without value */
        enum mq_output_gate gate;
        float clip;        /* not 0: q, k and v are kept within +- clip */
        float value_scale; /* of v; 1: none */
        float softcap;     /* not 0: scores are softcap * tanh(score / softcap) */
        float scale;       /* of scores */
        /* not 0: q *= 1 + query_beta * ln(1 + floor((position + query_shift) / query_positions)) */
        float query_beta, query_positions, query_shift;
        enum mq_rope_of rope;
        uint32_t rotary_dim; /* numbers of a head that are turned: the first, of a latent one's the last */
        enum mq_rotary_pairs pairs;
        /* latent: lengths of what q (0: q is a product of x) and k and v are made of; their norms' */
        uint32_t q_rank, kv_rank;
        float latent_eps;
        /* not 0: of more keys than so many an indexer chooses some, which is not implemented: longer
         * windows are refused (runtime/arms.c) */
        uint32_t indexed;
        /* its heads, and their length; 0: the layer has none of its own, as it shares another's. Its tensors
         * are carried along (mq_role_is_carried) */
        uint32_t indexer_heads, indexer_dim;
        /* delta, convolution, mamba */
        uint32_t taps;      /* of the causal convolution */
        uint32_t conv_bias; /* also of the convolution mixer's products */
        uint32_t by_key_head; /* delta: rows of q, k, v and z stand together for each key head */
        float least_step;     /* mamba: of dt */
    } attention;
    struct mq_layer_ffn {
        enum mq_ffn_kind kind;
        enum mq_activation activation;
        float activation_limit; /* of MQ_ACTIVATION_SWIGLU_OAI */
        uint32_t rows;          /* of gate and up, of the MLP or of each expert */
        uint32_t dense_rows;    /* of MQ_FFN_BOTH: of its MLP */
        uint32_t shared_rows;   /* of the shared experts, stored as one MLP; 0: none */
        uint32_t shared_gate;   /* its result is multiplied by sigmoid(a row of numbers times x) */
        uint32_t bias;          /* of the MLP's products, and of shared experts' */
        uint32_t expert_bias;   /* of each expert's */
        uint32_t weigh_input;   /* an expert's weight multiplies its input, not its result */
        struct mq_layer_router router;
    } ffn;
    enum mq_norm_kind norm;
    uint32_t norm_bias;
    float norm_eps;                   /* of all norms, but latent_eps */
    uint32_t norm_mixed, norm_ffn_out; /* norms of what a branch adds, besides those of its input */
    float residual_scale;             /* of what a branch adds; 1: none */
    uint32_t layer_scale;             /* at last h is multiplied by a number */
};

/* What stands before and after the layers. */
struct mq_ends {
    float embedding_scale; /* 1: none */
    float logit_scale;     /* 1: none */
    float logit_softcap;   /* not 0: logits are softcap * tanh(logit / softcap), after the scale */
    uint32_t head_bias;
    enum mq_norm_kind norm;
    uint32_t norm_bias;
    float norm_eps;
};

/*
 * What a step does with the residual stream `h` [tokens][hidden], the normalized copy `x` and the
 * result of a branch `b`: X(id, name). Each has its row in runtime/pass.c.
 *
 *     embed      h = rows of the embedding matrix
 *     norm       x = norm(h)
 *     router_norm  the same with the router's own weights, without the layer's kind of norm
 *     attention  b = o(attention(q x, k x, v x))
 *     latent     the same; c, r = kv_a x; k, v = kv_b norm(c), and r turned ends every head of k;
 *                q = q x, or q_b norm(q_a x)
 *     delta, convolution, mamba  b = the mixers of these names
 *     mlp        b = down(f(gate x) * up x)
 *     route      the experts of each token and their weights, from router x
 *     experts    b = sum over a token's experts of weight * mlp of the expert
 *     shared     b += mlp x, after `experts`
 *     norm_out   b = norm(b)
 *     keep       b is put aside
 *     add_kept   b += what was put aside
 *     add        h += residual_scale * b
 *     rescale    h *= the layer's number
 *     head       logits = head norm(h)
 */
#define MQ_OP_LIST(X)           \
    X(EMBED, embed)             \
    X(NORM, norm)               \
    X(ROUTER_NORM, router_norm) \
    X(ATTENTION, attention)     \
    X(LATENT, latent)           \
    X(DELTA, delta)             \
    X(CONVOLUTION, convolution) \
    X(MAMBA, mamba)             \
    X(MLP, mlp)                 \
    X(ROUTE, route)             \
    X(EXPERTS, experts)         \
    X(SHARED, shared)           \
    X(NORM_OUT, norm_out)       \
    X(KEEP, keep)               \
    X(ADD_KEPT, add_kept)       \
    X(ADD, add)                 \
    X(RESCALE, rescale)         \
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

/* Numbers of a head of q and k; of a state's rows and columns; and taps of a convolution. */
enum { MQ_MAX_HEAD_DIM = 1024, MQ_MAX_TAPS = 64 };

enum { MQ_STEP_SLOTS = 12, MQ_PROGRAM_STEPS = 20, MQ_PROGRAM_KINDS = 64 };

struct mq_step {
    enum mq_op op;
    bool too_long; /* it was to have more slots */
    size_t slots_count;
    struct mq_slot slots[MQ_STEP_SLOTS];
};

struct mq_program {
    struct mq_layer layer; /* of what stands before and after the layers its norm alone */
    bool too_long;         /* it, or one of its steps: a mistake, which mq_program_create refuses */
    size_t steps_count;
    struct mq_step steps[MQ_PROGRAM_STEPS];
};

/* Of a whole model; the arena's of the view that owns it. */
struct mq_model_program {
    struct mq_ends ends;
    struct mq_program begin, end;
    const struct mq_program **layers; /* [hparams.layers] */
    const struct mq_program *kinds;   /* the different ones among them, */
    size_t kinds_count;               /* at most MQ_PROGRAM_KINDS */
};

/* The steps of a layer. */
void mq_program_write(struct mq_program *program, const struct mq_layer *layer, uint64_t hidden);
/* The steps before and after the layers; both all zero. */
void mq_program_write_ends(struct mq_program *begin, struct mq_program *end,
                           const struct mq_hparams *hparams, const struct mq_ends *ends);

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

/* Whether a short convolution's or a Mamba's products have biases. */
bool mq_mixer_products_have_biases(const struct mq_layer_attention *mixer);

/* Numbers that a KV cache holds of one token: of its keys and of its values. Of latent attention
 * it holds what both are made of, told as keys. */
uint64_t mq_layer_key_numbers(const struct mq_layer *layer);
uint64_t mq_layer_value_numbers(const struct mq_layer *layer);
/* f32 numbers of a recurrent mixer's state, whatever the length of the context: of the recurrence,
 * and of the convolution before it. */
uint64_t mq_layer_state_numbers(const struct mq_layer *layer, uint64_t hidden);

/* Of the weights of a layer's routed experts, those that one token uses. */
uint64_t mq_layer_used_share(const struct mq_layer *layer, uint64_t of_all_experts);

#endif
