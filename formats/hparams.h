/*
 * hparams.h: what config.json says of a model, as typed values of one table: every key of every
 * family fills a row of it, and a family's descriptor makes layers of them (layer.h).
 */
#ifndef MQ_HPARAMS_H
#define MQ_HPARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How positions are stretched: X(id, name). What config.json says of each is read in config_rope.c, what
 * it does to frequencies stands in runtime/rope.c, what two of them share in runtime/arms.c, how GGUF says
 * it in gguf/gguf_rope.c; a type without one of these does not compile. Of the numbers of a head that
 * are turned there are `dim`.
 *
 *     unscaled  frequency_i = theta^(-2i / dim), rotate-half
 *     llama3    low frequencies divided by `factor`, a linear ramp between
 *     linear    all frequencies divided by `factor`
 *     yarn      the slow ones divided by `factor`, with a ramp to the fast ones, which stay
 *     longrope  each divided by a number of its own, from one list or, in windows longer than the
 *               original positions, from another
 *     partly    the first part * dim / 2 divided by `factor`, the others 0
 */
#define MQ_ROPE_TYPE_LIST(X) \
    X(DEFAULT, unscaled)     \
    X(LLAMA3, llama3)        \
    X(LINEAR, linear)        \
    X(YARN, yarn)            \
    X(LONGROPE, longrope)    \
    X(PARTLY, partly)

enum mq_rope_type {
#define MQ_ROPE_TYPE_ENUM(id, name) MQ_ROPE_##id,
    MQ_ROPE_TYPE_LIST(MQ_ROPE_TYPE_ENUM)
#undef MQ_ROPE_TYPE_ENUM
        MQ_ROPE_TYPES
};

/* A list for longrope, and what cosines and sines are multiplied by with it. */
struct mq_rope_list {
    const double *divisors;
    size_t count; /* dim / 2 */
    double magnitude;
};

struct mq_rope {
    enum mq_rope_type type;
    double theta;
    double factor, low_freq_factor, high_freq_factor; /* LLAMA3 (factor: LINEAR, YARN, PARTLY too) */
    double original_max_positions;                    /* LLAMA3, YARN, LONGROPE */
    /* YARN: turns within the original positions between which the ramp is, cut to whole dimensions or
     * not; what cosines and sines are multiplied by; and what DeepSeek's scores are multiplied by
     * twice besides. */
    double beta_fast, beta_slow;
    bool truncate;
    double magnitude, score_factor;
    struct mq_rope_list near, far; /* LONGROPE */
    /* Of a head, the part that is turned: 1 is the whole. PARTLY: the part whose frequencies are not
     * 0. */
    double part;
    /* Not 0: true up to so many positions; beyond, the frequencies would depend on the sequence's
     * length (rope type dynamic), which is not implemented. */
    uint32_t exact_positions;
};

/* Numbers of layers, ascending. */
struct mq_layer_set {
    const uint32_t *layers;
    size_t count;
    bool given; /* config.json has the list, though it may be empty */
};
bool mq_layer_set_has(const struct mq_layer_set *set, uint32_t layer);

/* A number for each layer: a size, or the place of a word (config_keys.h). */
struct mq_layer_values {
    const uint32_t *values;
    size_t count; /* 0: config.json does not say */
};
/* The layer's number; `otherwise` where config.json does not say. Of layers beyond the last one, which
 * family_check.c asks about, the numbers begin again. */
uint32_t mq_layer_value(const struct mq_layer_values *values, uint32_t layer, uint32_t otherwise);

/* What an MLP does between its products, down(f(gate x) * up x): X(id, function); kernels are in
 * runtime/activations.c, the names that config.json has for them in hparams.c. */
#define MQ_ACTIVATION_LIST(X)                                                              \
    X(SILU, silu)             /* f(z) = z / (1 + exp(-z)) */                               \
    X(GELU_TANH, gelu_tanh)   /* f(z) = z / 2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) */ \
    X(SWIGLU_OAI, swiglu_oai) /* see runtime/activations.c: both sides are limited */      \
    X(RELU2, relu2)           /* down(max(0, up x)^2): there is no gate */

enum mq_activation {
#define MQ_ACTIVATION_ENUM(id, function) MQ_ACTIVATION_##id,
    MQ_ACTIVATION_LIST(MQ_ACTIVATION_ENUM)
#undef MQ_ACTIVATION_ENUM
        MQ_ACTIVATIONS
};

bool mq_activation_is_gated(enum mq_activation activation);

/*
 * The table: X(type, name, in the maths). A row in the maths makes two models with different values
 * different architectures (runtime/arms.c compares them all). Families with other keys add rows.
 *
 *     ffn             rows of a dense MLP's gate and up matrices; of an expert's, in families that
 *                     have one size for both
 *     expert_ffn      rows of an expert's, in the others
 *     experts, top_k  routed experts, and how many of them a token uses; 0, 0: there are none
 *     normalize_top_k the weights of the chosen experts are divided by their sum
 *     activation      of every MLP
 *     sparse_step     layers step - 1, 2 step - 1, ... have experts
 *     dense_layers    layers that have none, whatever else is said
 *     sparse_layers   layers that have experts; where given, no others have
 *     scale_queries   queries are scaled by position
 *     normalize_by    the weights of the chosen experts are divided by this norm of theirs (1: their
 *                     sum); 0: they are not
 *     dense_first     the first layers, so many, have none
 *     layer_kinds, ffn_kinds, mask_kinds  what the layers are by their mixers, by their MLPs, and by
 *                     which keys queries see: places of words
 *     layer_top_k, layer_expert_ffn, layer_shared  top_k, expert_ffn and shared_experts of each layer
 *     layer_head_dim, layer_kv_heads  head_dim and kv_heads of some layers; 0 of others
 *     full_step       layers step - 1, 2 step - 1, ... are of another kind (full attention, no rope)
 *     shared_experts  experts that every token uses, stored as one MLP, of shared_ffn rows where the
 *                     family says its size so
 *     route_scale     the weights of the chosen experts are multiplied by it
 *     route_grouped, route_groups, route_top_groups  experts are chosen from the best groups alone
 *     route_by        which rule of the family's makes scores, or choices, of logits
 *     q_rank, kv_rank numbers that q, and k and v, are made of (latent attention); q_rank 0: q is
 *                     made of the hidden state
 *     plain_dim, rotary_dim, value_dim  of a head: its numbers of q and k without and with positions,
 *                     and of v
 *     other_heads, other_kv_heads, other_head_dim, other_value_dim  the same of the layers of the
 *                     family's second kind of attention
 *     attention_bias, clip, chunk  as in struct mq_layer_attention (layer.h)
 *     query_beta, query_positions  likewise
 *     mixer_heads, mixer_head_dim, mixer_groups, mixer_state, taps  of mixers that are no attention:
 *                     heads, kv_heads, ... as layer.h says of delta, convolution and mamba
 *     conv_bias, least_step  of those mixers, as in struct mq_layer_attention
 *     position_kind   which of the family's kinds of positions there are
 *     choice_bias     routers have a bias for the choice alone
 *     mixer_bias      a mamba's products have biases
 *     embedding_scale, residual_scale, attention_scale, logit_scale, logit_softcap  as in layer.h;
 *                     what config.json means by them differs
 *     scale_embedding embeddings are multiplied by sqrt(hidden)
 *     activation_limit  of the activations that are limited
 *     sliding_window  query i sees keys j with i - window < j <= i; 0: all j <= i
 *     window_layers   the first layers, or all but those, have the window
 *     rotary_neighbours  numbers of a head that stand side by side are turned together
 *     indexed, indexer_heads, indexer_dim  as in struct mq_layer_attention
 *     indexer_kinds   which layers share the indexer of one before them (1); where it is not said, all but
 *                     the first indexer_from - 1, and of the others each indexer_step-th (0, 1: none)
 *     window_before   not 0: the window is of so many tokens and the query's own
 *     sparse_first, sparse_last  the first and last layers with experts
 *     routed          layers have experts
 *     normalize_least what the sum of the chosen experts' weights is at least, where they are divided
 *                     by it
 *     qk_norm         q and k are normalized
 *     router_jitter, value_is_key, value_scale, attention_softcap, head_bias  as in layer.h
 *     rope, rope_local  positions; of the layers of a second kind, in families that have one, the
 *                     latter
 *     tied_head       the head is the embedding matrix
 *     bos, eos        -1 where none
 */
#define MQ_HPARAM_LIST(X)             \
    X(U32, layers, true)              \
    X(U32, hidden, true)              \
    X(U32, heads, true)               \
    X(U32, kv_heads, true)            \
    X(U32, head_dim, true)            \
    X(U32, vocab, true)               \
    X(U32, ffn, true)                 \
    X(U32, expert_ffn, true)          \
    X(U32, experts, true)             \
    X(U32, top_k, true)               \
    X(BOOL, normalize_top_k, true)    \
    X(U32, sparse_step, true)         \
    X(LAYERS, dense_layers, true)     \
    X(LAYERS, sparse_layers, true)    \
    X(BOOL, scale_queries, true)      \
    X(U32, normalize_by, true)        \
    X(U32, dense_first, true)         \
    X(VALUES, layer_kinds, true)      \
    X(VALUES, ffn_kinds, true)        \
    X(VALUES, mask_kinds, true)       \
    X(VALUES, layer_top_k, true)      \
    X(VALUES, layer_expert_ffn, true) \
    X(VALUES, layer_shared, true)     \
    X(VALUES, layer_head_dim, true)   \
    X(VALUES, layer_kv_heads, true)   \
    X(U32, full_step, true)           \
    X(U32, shared_experts, true)      \
    X(U32, shared_ffn, true)          \
    X(F32, route_scale, true)         \
    X(U32, route_grouped, true)       \
    X(U32, route_groups, true)        \
    X(U32, route_top_groups, true)    \
    X(U32, route_by, true)            \
    X(U32, q_rank, true)              \
    X(U32, kv_rank, true)             \
    X(U32, plain_dim, true)           \
    X(U32, rotary_dim, true)          \
    X(U32, value_dim, true)           \
    X(U32, other_heads, true)         \
    X(U32, other_kv_heads, true)      \
    X(U32, other_head_dim, true)      \
    X(U32, other_value_dim, true)     \
    X(BOOL, attention_bias, true)     \
    X(F32, clip, true)                \
    X(U32, chunk, true)               \
    X(F32, query_beta, true)          \
    X(F32, query_positions, true)     \
    X(U32, mixer_heads, true)         \
    X(U32, mixer_head_dim, true)      \
    X(U32, mixer_groups, true)        \
    X(U32, mixer_state, true)         \
    X(U32, taps, true)                \
    X(BOOL, mixer_bias, true)         \
    X(BOOL, conv_bias, true)          \
    X(F32, least_step, true)          \
    X(U32, position_kind, true)       \
    X(BOOL, choice_bias, true)        \
    X(F32, embedding_scale, true)     \
    X(BOOL, scale_embedding, true)    \
    X(F32, residual_scale, true)      \
    X(F32, attention_scale, true)     \
    X(F32, logit_scale, true)         \
    X(F32, logit_softcap, true)       \
    X(F32, activation_limit, true)    \
    X(ACTIVATION, activation, true)   \
    X(F32, rms_eps, true)             \
    X(WINDOW, sliding_window, true)   \
    X(U32, window_layers, true)       \
    X(BOOL, rotary_neighbours, true)  \
    X(U32, indexed, true)             \
    X(U32, indexer_heads, true)       \
    X(U32, indexer_dim, true)         \
    X(VALUES, indexer_kinds, true)    \
    X(U32, indexer_step, true)        \
    X(U32, indexer_from, true)        \
    X(U32, window_before, true)       \
    X(U32, sparse_first, true)        \
    X(U32, sparse_last, true)         \
    X(BOOL, routed, true)             \
    X(F32, normalize_least, true)     \
    X(F32, router_jitter, true)       \
    X(BOOL, value_is_key, true)       \
    X(F32, value_scale, true)         \
    X(F32, attention_softcap, true)   \
    X(BOOL, head_bias, true)          \
    X(BOOL, qk_norm, true)            \
    X(ROPE, rope, true)               \
    X(ROPE, rope_local, true)         \
    X(U32, max_positions, false)      \
    X(BOOL, tied_head, false)         \
    X(TOKEN, bos, false)              \
    X(TOKEN, eos, false)

enum mq_hparam_type {
    MQ_HPARAM_U32,
    MQ_HPARAM_F32,
    MQ_HPARAM_BOOL,
    MQ_HPARAM_LAYERS,     /* a list of layers' numbers */
    MQ_HPARAM_VALUES,     /* a number for each layer */
    MQ_HPARAM_ACTIVATION, /* one of several names */
    MQ_HPARAM_WINDOW,
    MQ_HPARAM_ROPE,
    MQ_HPARAM_TOKEN,
};
typedef uint32_t mq_hparam_U32, mq_hparam_WINDOW;
typedef float mq_hparam_F32;
typedef bool mq_hparam_BOOL;
typedef struct mq_layer_set mq_hparam_LAYERS;
typedef struct mq_layer_values mq_hparam_VALUES;
typedef enum mq_activation mq_hparam_ACTIVATION;
typedef struct mq_rope mq_hparam_ROPE;
typedef int32_t mq_hparam_TOKEN;

struct mq_hparams {
#define MQ_HPARAM_FIELD(type, name, maths) mq_hparam_##type name;
    MQ_HPARAM_LIST(MQ_HPARAM_FIELD)
#undef MQ_HPARAM_FIELD
};

struct mq_hparam {
    const char *name;
    enum mq_hparam_type type;
    size_t offset;
    bool in_maths;
};
extern const struct mq_hparam mq_hparam_table[];
extern const size_t mq_hparam_count;

/* The value of a type that a name in config.json stands for; false if there is none. */
bool mq_hparam_named(enum mq_hparam_type type, const char *name, uint32_t *value);

/* The row of a field, by its offset. */
const struct mq_hparam *mq_hparam_at(size_t offset);

#endif
