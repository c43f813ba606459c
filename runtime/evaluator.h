/*
 * evaluator.h: tokens -> logits, layer by layer, for several arms side by side.
 *
 * All tokens of a pass go through a layer before the next layer is touched: its weights are read
 * in panels of a few rows, used for every token, and dropped. So memory holds one panel a
 * thread and the tokens' states, never the model; and several arms (the baseline and any number of
 * levels quantized on the fly, or other files) share each read of the source.
 *
 * The f32 results are the same bits for every instruction set, thread count and memory limit:
 * every output element of a matrix product is one chain of fused multiply-adds over k in order;
 * attention and norms use sums of fixed shape per row.
 *
 * Processes that share a job (context->peers) divide layers and windows as pipeline.h says, and hand the tokens' states
 * on. So each of them calls what an observer has for its own layers and windows alone: see struct mq_observer.
 */
#ifndef MQ_EVALUATOR_H
#define MQ_EVALUATOR_H

#include "compute.h"
#include "context.h"
#include "exact_sum.h"
#include "level_error.h"
#include "layer.h"
#include "importance.h"
#include "levels.h"
#include "model_view.h"
#include "pipeline.h"
#include "router.h"

/* What an arm that ran earlier left behind: it goes through no layer again. The callbacks are
 * called on one thread and fill in, for the tokens [first_token, first_token + tokens) over all
 * windows, what an observer was given then. The final norm and the head are applied as for every
 * other arm, so that an observer cannot tell the two apart by any bit. */
struct mq_playback {
    void *user;
    /* the final norm's input: [tokens][hidden] */
    moeq_status (*read_hidden)(void *user, size_t first_token, size_t tokens, float *hidden,
                               moeq_error *err);
    /* raw router output of a layer that has a router: [tokens][its experts]. The choice is made of
     * it anew, with the view's vectors of that router, where it has some. */
    moeq_status (*read_router)(void *user, uint32_t layer, size_t first_token, size_t tokens,
                               float *logits, moeq_error *err);
};

/* One set of weights. Arms must agree in architecture (hparams). */
struct mq_arm {
    const char *name;
    const struct mq_view *view;
    /* levels[i]: quantize view->tensors[i] to this level on the fly (decode, encode, decode) before
     * use; NULL entries, or levels == NULL: use the weights as they are stored. */
    const struct mq_level *const *levels;
    enum mq_effort effort;
    const struct mq_importance *importance; /* for their encoders; NULL: all columns count alike */
    /* Take the experts and their weights from this earlier arm instead of this arm's own router
     * (its own router's logits are still reported); -1: its own. Must be less than the arm's index.
     */
    int routes_from;
    /* Not NULL: instead of running, play this back. Of the view only the final norm and the head
     * (with their biases) and routers' vectors are read. At least one arm must run. */
    const struct mq_playback *playback;
    /* Round as an implementation in bf16 does, to nearest, ties to even: the embeddings; the
     * residual stream after each addition; the outputs of norms, of attention and of the experts'
     * weighted sum; silu(gate) * up; and the output of every matrix product, the router's and the
     * head's logits included. So every input of a product is bf16 too. What such an implementation
     * keeps in f32 stays f32: sums within a product, norms, attention from rotating q and k to its
     * weighted sum, silu, the router's softmax, the experts' weights and the sum over experts. */
    bool bf16_activations;
    /* MQ_COMPUTE_INT8: products with weights that are quantized (by `levels` or as stored) are
     * those of int8.h, except the router's; also the same bits everywhere. All else is as for f32:
     * embeddings, norms, attention from q and k to its weighted sum, and weights stored as f32, f16
     * or bf16. */
    enum mq_compute compute;
};

/* Token windows: `count` sequences of `length` ids each, evaluated independently (positions from
 * 0, causal within the window). */
struct mq_windows {
    const int32_t *ids; /* [count][length] */
    size_t count, length;
};

/* What one arm's router did in one layer for `tokens` tokens of the pass; experts and top_k are
 * those of the layer's router. */
struct mq_routes {
    const float *logits;    /* [tokens][experts] raw router output */
    const int32_t *experts; /* [tokens][top_k] chosen, ascending by expert id */
    const float *weights;   /* [tokens][top_k] in that order */
    const struct mq_layer_router *router;
    struct mq_router_vectors vectors; /* the arm's own, also where it took another's routes */
};

/* An MLP of one arm and the tokens that are about to meet it. */
struct mq_mlp_inputs {
    int arm;
    int32_t layer, expert; /* expert -1: no routed expert's (a dense MLP, shared experts) */
    enum mq_role gate;     /* the roles of up and down follow it: MQ_ROLE_LIST */
    const struct mq_layer *shape;
    uint32_t rows; /* of gate and up */
    size_t tokens;
    const float *x; /* [pass_tokens], of stride ldx: normalized states */
    size_t ldx, pass_tokens;
    const uint32_t
        *token; /* [tokens]: which rows of x, ascending; NULL: the first `tokens` in order */
    /* [tokens]: with what the MLP's output is multiplied (shape->ffn.weigh_input: its input); NULL:
     * 1 */
    const float *scale;
};

/* A product of one arm that is about to be formed: rows of a layer's matrix, or of the head, with the inputs of tokens. */
struct mq_product {
    int arm;
    const struct mq_layer *shape;
    const struct mq_tensor *tensor;
    uint64_t first_row,
        rows; /* of the matrix: some come in several products, for the same inputs */
    size_t tokens;
    const float *x; /* [tokens][tensor->cols], of stride ldx, as the matrix meets them */
    size_t ldx;
    size_t first_token;    /* of the pass, over all windows */
    const uint32_t *token; /* [tokens]: behind first_token, ascending; NULL: 0, 1, ... */
    /* [tokens]: with what the output of the MLP that it is part of is multiplied; NULL: 1 */
    const float *scale;
    struct mq_product_sums sums; /* for the observer to ask for; zeros: nothing */
};

/* Called on one thread, in this order: on_router for each layer with a router, on_hidden for each
 * layer's input (layer = 0 .. layers-1; NULL for an arm that is played back) and the final norm's
 * input (layer = layers), then on_logits for slices of tokens. `first_token` counts over all
 * windows, window-major. Any callback may be NULL; a status other than MOEQ_OK stops the
 * evaluation. Arrays are indexed by arm and valid during the call only. */
/* A matrix that an arm quantizes on the fly, or `rows` rows of it. */
struct mq_quantized {
    int arm;
    const struct mq_view *view;
    const struct mq_tensor *tensor;
    const struct mq_level *level;
    uint64_t rows;
    struct mq_square_sums squares;
};

/*
 * Of several processes, the one that runs a layer for some windows calls what is said of it: on_router, on_mlp,
 * on_product, on_quantized, and on_hidden of what enters it. The one with the head calls on_hidden of what enters the
 * final norm, and on_logits. Of each callback batches come in the order of their windows. Who does what,
 * mq_evaluation_parts says; what was seen is for the observer's owner to bring together after the evaluation.
 */
struct mq_observer {
    void *user;
    /* There is to be one pipeline, so that of a layer one process sees all windows. */
    bool one_pipeline;
    /* And it sees them all at once, however much memory that takes, like a pass of all windows, while every other
     * process does the same with its own layers. For this the states go through all layers first, without the observer. */
    bool whole;
    /* What is summed up from layer to layer for each token is handed on with its states: so many bytes a token (0:
     * nothing), which are packed behind one process' layers, and set before the next one's. NULL: nothing. */
    size_t (*carry_bytes)(void *user);
    void (*pack)(void *user, size_t first_token, size_t tokens, void *out);
    void (*unpack)(void *user, size_t first_token, size_t tokens, const void *in);
    /* Called first in a pass: what was seen in an earlier run of the same windows and arms, on_hidden's of a layer
     * (up to `layers`), may be given back here with that layer's number, which is then the first that is run. Layer 0,
     * as it is given: nothing. By a process alone. */
    moeq_status (*on_begin)(void *user, size_t first_token, size_t tokens,
                            float *const *hidden /* [arm] -> [tokens][hidden] */, uint32_t *layer,
                            moeq_error *err);
    moeq_status (*on_hidden)(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const float *const *hidden /* [arm] -> [tokens][hidden] */,
                             moeq_error *err);
    moeq_status (*on_router)(void *user, uint32_t layer, size_t first_token, size_t tokens,
                             const struct mq_routes *routes /* [arm] */, moeq_error *err);
    /* For each MLP and routed expert of each arm that runs, before its products are formed; once
     * even without tokens. Experts in order. */
    moeq_status (*on_mlp)(void *user, const struct mq_mlp_inputs *inputs, moeq_error *err);
    /* For each product of a layer, before it is formed: gathered tokens of an expert may come in several,
     * in order. Rows of inputs are those of all tokens that the matrix meets, in the order of tokens. Then for
     * the head (tensor->layer -1), where logits are wanted: before each on_logits, whose tokens they are. */
    moeq_status (*on_product)(void *user, struct mq_product *product, moeq_error *err);
    /* Return false to skip the logits of a token, counted over all windows (those that a protocol does not
     * score). NULL: all. */
    bool (*wants_logits)(void *user, size_t token);
    /* `token_index[i]`: the token (over all windows) that row i of the logits belongs to. */
    moeq_status (*on_logits)(void *user, const size_t *token_index, size_t tokens,
                             const float *const *logits /* [arm] -> [tokens][vocab] */,
                             moeq_error *err);
    /* Per arm and quantized matrix that tokens are multiplied with, when quantized on the fly: what was lost of it.
     * Experts' and MLPs' once, others once or more (first pass only). NULL is fine. */
    moeq_status (*on_quantized)(void *user, const struct mq_quantized *quantized, moeq_error *err);
};

/* Bytes that the evaluator needs for passes of so many windows, each of `length` tokens: for the weights'
 * panels, the states of all arms, and the work area of the experts at hand. */
uint64_t mq_evaluation_bytes(const struct mq_context *context, const struct mq_arm *arms,
                             size_t arms_count, size_t length, size_t windows);
/* The largest passes, of at most `most` windows, for which so many bytes suffice; 0: none. */
size_t mq_evaluation_windows(const struct mq_context *context, const struct mq_arm *arms,
                             size_t arms_count, size_t length, size_t most, uint64_t bytes);
/* Windows a pass for the context's memory: at least 1. */
size_t mq_evaluation_step(const struct mq_context *context, const struct mq_arm *arms,
                          size_t arms_count, const struct mq_windows *windows);

/* Checks everything that the evaluator relies on: sane hyper-parameters that all arms share, every
 * tensor there with its shape and a known level, routes_from. mq_evaluate does so itself; this is
 * for finding out earlier. window_tokens: the length of the windows to come, beyond which sliding
 * windows may differ; 0: not known. */
moeq_status mq_arms_check(const struct mq_arm *arms, size_t count, size_t window_tokens,
                          moeq_error *err);

/* Runs all windows through all arms. Fails on an id outside the vocabulary, a level that the codecs
 * do not know, weights that are not finite (naming tensor and row), states that are not (naming
 * layer, arm and token), or arms that differ in architecture. */
moeq_status mq_evaluate(const struct mq_context *context, const struct mq_arm *arms,
                        size_t arms_count, const struct mq_windows *windows,
                        const struct mq_observer *observer, moeq_error *err);

/* What each process does of that: *parts, [ranks], to be freed. The same at all of them. `division`: NULL is fine. */
moeq_status mq_evaluation_parts(const struct mq_context *context, const struct mq_arm *arms,
                                size_t arms_count, const struct mq_windows *windows,
                                const struct mq_observer *observer, struct mq_part **parts,
                                struct mq_pipelines *division, moeq_error *err);

#endif
