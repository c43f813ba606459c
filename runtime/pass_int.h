/*
 * pass_int.h: some windows on their way through the layers.
 *
 * A pass owns, per arm, the residual stream, its normalized copy, the routes, and one work area
 * whose use changes with the phase:
 *
 *     attention  | q [tokens] | of some heads: k [tokens] | v [tokens] |
 *     latent     | latents [tokens] | of some heads: q, k and v, k [tokens] | out [tokens] |
 *     delta      | q, k, v [tokens] | z [tokens] | b, a [tokens] | out [tokens] |
 *     mamba      | z, x, B, C, dt [tokens] | out [tokens] |
 *     convolution | B, C, u [tokens] |
 *     MLP        | activations [slab] |
 *     experts    | sum [tokens] | gathered tokens, then results [slab] | activations [slab] |
 *     shared     | sum [tokens] | activations [slab] |
 *     head       | normalized states [slice] | logits [slice] |
 *
 * Strides of matrices that products read or write are padded (MQ_ROW_PAD).
 */
#ifndef MQ_PASS_INT_H
#define MQ_PASS_INT_H

#include "arms_int.h"
#include "attention.h"
#include "cache.h"
#include "kernels.h"

/* Sizes in floats of one arm's work area for a number of tokens, and of a pass's other parts. `keys`:
 * of a sequence that goes on, all its tokens; 0: windows, which see their own tokens. */
struct mq_pass_sizes {
    size_t hidden, ldh; /* ldh: padded stride */
    size_t vocab, experts, top_k;
    size_t vector;       /* the longest vector of a step: a norm's weights, biases */
    size_t mlp_bias;     /* the longest bias of an MLP or expert; 0: they have none */
    bool keeps;          /* whether any layer keeps a branch */
    size_t tokens;       /* of a whole pass */
    size_t keys;         /* tokens that they may see, with those before */
    bool goes_on;        /* with a cache */
    size_t slice;        /* tokens whose logits are formed at a time */
    size_t work;         /* floats */
    uint64_t arm_bytes;  /* everything that an arm needs, */
    uint64_t int8_bytes; /* and besides for activations as integers if it computes so */
    bool
        encodes; /* whether any MLP or expert meets its tokens in slabs, so that what a level makes of its
                   * matrices is kept for the next slab (mq_pass_encoded_bytes) */
};
struct mq_pass_sizes mq_pass_sizes(const struct mq_model_program *program,
                                   const struct mq_hparams *hparams, size_t tokens, size_t keys);

struct mq_pass_arm {
    const struct mq_arm *arm;
    /* Layers before this one are the same as arm 0's, and so are the states that enter it: they are not run
     * again. Arm 0 itself, and arms that are not so: 0. */
    uint32_t own_from;
    bool idle;            /* in the layer at hand */
    float *hidden;        /* [tokens][hidden]: the residual stream */
    float *x;             /* [tokens][ldh] */
    float *router_logits; /* [tokens][experts] */
    int32_t *chosen;      /* [tokens][top_k] */
    float *weights;       /* [tokens][top_k] */
    /* The routes of a layer, expert by expert: of the tokens of expert e, numbers
     * [expert_begin[e], expert_begin[e + 1]), which tokens they are, and their weights. */
    size_t *expert_begin; /* [experts + 1] */
    uint32_t *token;      /* [tokens * top_k] */
    float *scale;         /* [tokens * top_k] */
    float *kept;          /* [tokens][hidden]: what `keep` has put aside; NULL where no layer does */
    float *work;
    float *branch;    /* what the step at hand has left for `add`: [tokens][hidden], */
    size_t branch_ld; /* its stride */
    struct mq_cache *cache; /* of a sequence that goes on; NULL: windows start anew */
    void *int8; /* [sizes.int8_bytes]: activations as integers; NULL for f32 */
    uint8_t *
        encoded; /* [mq_pass_encoded_bytes]: the matrices at hand as its levels have them; or NULL */
};

struct mq_pass {
    const struct mq_context *context;
    const struct mq_kernels *kernels;
    const struct mq_windows *windows;
    const struct mq_observer *observer;
    const struct mq_hparams *hparams;
    const struct mq_model_program *program;
    const struct mq_layer *layer; /* at hand */
    struct mq_pass_sizes sizes;
    struct mq_linear *linear;
    struct mq_attention *attention;
    struct mq_mixers *mixers; /* mixers_int.h */
    struct mq_kept_weights *kept; /* of a sequence: for vectors too; NULL: none are */

    struct mq_pass_arm *arms;
    size_t arms_count;
    struct mq_linear_arm *products; /* [MQ_LINEAR_BATCH][arms]: the products at hand */
    const float **pointers;         /* [arms]: for callbacks, */
    float **states;                 /* and for on_begin */
    struct mq_routes *routes;       /* [arms] */
    float *norm, *norm_bias;        /* [sizes.vector]: a norm's weights and biases */
    float *biases;                  /* [arms][sizes.vector]: of the product at hand */
    float *mlp_biases;           /* [MQ_LINEAR_BATCH][arms][sizes.mlp_bias] */
    float *probabilities;           /* [experts rounded up to 16] three times */
    float *router_vectors;          /* [arms][2][experts] */
    uint8_t *row_bytes;             /* [threads][row_capacity]: rows of embeddings as stored */
    size_t row_capacity;
    size_t *token_index; /* [tokens]: tokens whose logits are wanted */

    size_t first_window, windows_count; /* this pass */
    size_t tokens;
    size_t pass, passes;
    uint64_t weights_done, weights_total; /* for progress */
};

/* The largest of all products of some arms. */
struct mq_linear_sizes mq_pass_products(const struct mq_arm *arms, size_t count);
/* The weights that a pass goes through, for progress. */
uint64_t mq_pass_weights_sum(const struct mq_view *view, bool logits);

/* Bytes of an arm's MLP or expert at most, as encoded on the fly; 0 where that is not to be kept. */
uint64_t mq_pass_encoded_bytes(const struct mq_pass_sizes *sizes, const struct mq_arm *arm);

/* Allocates for the largest pass, in tokens; destroy is fine on a half-made one. */
moeq_status mq_pass_create(struct mq_pass *pass, const struct mq_arm *arms, size_t tokens,
                           size_t keys, moeq_error *err);
void mq_pass_destroy(struct mq_pass *pass);

/* For who runs several passes, which need so many bytes: what the arms quantize on the fly is kept from the first one
 * on, in what is left of the context's memory, or in a scratch file. *kept is then to be destroyed after `linear`; it
 * stays as it is where no arm quantizes. */
moeq_status mq_evaluation_keep(const struct mq_context *context, const struct mq_arm *arms,
                               size_t arms_count, uint64_t needed, struct mq_linear *linear,
                               struct mq_kept_weights **kept, moeq_error *err);

/* Runs the windows [first, first + count) through all layers. */
moeq_status mq_pass_run(struct mq_pass *pass, size_t first, size_t count, moeq_error *err);

/* The steps: see MQ_OP_LIST in layer.h. `layer` -1: before or after the layers. */
#define MQ_PASS_STEP(id, name)                                                                  \
    moeq_status mq_pass_##name(struct mq_pass *pass, const struct mq_step *step, int32_t layer, \
                               moeq_error *err);
MQ_OP_LIST(MQ_PASS_STEP)
#undef MQ_PASS_STEP
/* What a step needs for the tokens of a pass: of an arm's work area in floats, and for activations
 * as integers in bytes. */
#define MQ_PASS_SIZES(name)                                                                    \
    size_t mq_pass_##name##_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer); \
    uint64_t mq_pass_##name##_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer);
MQ_PASS_SIZES(attention)
MQ_PASS_SIZES(latent)
MQ_PASS_SIZES(delta)
MQ_PASS_SIZES(convolution)
MQ_PASS_SIZES(mamba)
MQ_PASS_SIZES(mlp)
MQ_PASS_SIZES(experts)
MQ_PASS_SIZES(shared)
#undef MQ_PASS_SIZES
/* Whether a layer's MLP or experts take their tokens in slabs as a rule. */
bool mq_pass_has_slabs(const struct mq_pass_sizes *sizes, const struct mq_layer *layer);

/* vector = one of an arm's, as floats. */
moeq_status mq_pass_load_vector(struct mq_pass *pass, const struct mq_pass_arm *arm,
                                enum mq_role role, int32_t layer, int32_t expert, float *vector,
                                moeq_error *err);
/* pass->norm = a norm's weights, as the layer's kind of norm takes them; of a step that is a norm
 * its biases too. */
moeq_status mq_pass_load_norm(struct mq_pass *pass, const struct mq_pass_arm *arm,
                              enum mq_role role, int32_t layer, moeq_error *err);
moeq_status mq_pass_load_step_norm(struct mq_pass *pass, const struct mq_pass_arm *arm,
                                   const struct mq_step *step, int32_t layer, moeq_error *err);
/* y = norm(x) of one token by what was loaded; y may be x. */
void mq_pass_norm_rows(const struct mq_pass *pass, const struct mq_pass_arm *arm, const float *x,
                       float *y);
/* The step's result stands in every arm's x, whose normalized states have served. */
void mq_pass_branch_is_x(struct mq_pass *pass);
/* Rounds [tokens][n], of stride ld, to bf16 for an arm that wants it. */
void mq_pass_round(const struct mq_pass *pass, const struct mq_pass_arm *arm, float *x, size_t n,
                   size_t ld);
/* Fills products[a].weights and tokens; the caller fills the rest and then applies. */
void mq_pass_weights(struct mq_pass *pass, enum mq_role role, int32_t layer, int32_t expert);
/* After mq_pass_weights: the products get the biases of a role. */
moeq_status mq_pass_bias(struct mq_pass *pass, enum mq_role role, int32_t layer, int32_t expert,
                         moeq_error *err);
/* The same of product number `product` of several. */
void mq_pass_weights_of(struct mq_pass *pass, enum mq_role role, int32_t layer, int32_t expert,
                        size_t product);
/* False for an arm that is played back, or whose layer at hand is arm 0's: it takes part in no product of a
 * layer. */
static inline bool mq_pass_runs(const struct mq_pass *pass, size_t arm)
{
    return !pass->arms[arm].arm->playback && !pass->arms[arm].idle;
}
/* Threads for a loop over the tokens' states. */
static inline int mq_pass_team(const struct mq_pass *pass)
{
    return mq_team(pass->context, 4 * pass->tokens * pass->sizes.hidden);
}
/* Tells the observer of an arm's product, of which everything is filled in; its tokens are those of the pass
 * from `first` on, or behind it (`token`). */
moeq_status mq_pass_tell_product(const struct mq_pass *pass, struct mq_linear_arm *arm, int number,
                                 size_t first, const uint32_t *token, const float *scale,
                                 moeq_error *err);
/* Tells what quantizing the matrices of the products at hand lost, where that was measured. */
moeq_status mq_pass_tell_quantized(const struct mq_pass *pass, size_t products, moeq_error *err);
/* Applies the products and counts the weights as done. */
moeq_status mq_pass_apply(struct mq_pass *pass, enum mq_linear_output output, moeq_error *err);
/* Tells the progress callback that `weights` more are done. */
void mq_pass_progress(struct mq_pass *pass, int32_t layer, uint64_t weights);
moeq_status mq_pass_check_cancelled(const struct mq_pass *pass, moeq_error *err);

#endif
