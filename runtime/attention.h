/*
 * attention.h: causal attention of heads: grouped queries, windows, chunks, sinks (layer.h says all).
 *
 * A head works through its queries in blocks; only a block's scores exist at a time.
 */
#ifndef MQ_ATTENTION_H
#define MQ_ATTENTION_H

#include "context.h"
#include "layer.h"

struct mq_attention;

/* Scratch for all layers of a model, for windows of `length` tokens on context->threads threads.
 */
uint64_t mq_attention_bytes(const struct mq_context *context,
                            const struct mq_model_program *program, size_t length);
moeq_status mq_attention_create(const struct mq_context *context,
                                const struct mq_model_program *program,
                                const struct mq_hparams *hparams, size_t length,
                                struct mq_attention **attention, moeq_error *err);
void mq_attention_destroy(struct mq_attention *attention); /* NULL is fine */

/* Fills the rotary embeddings as they are for windows of `length` tokens, at most those that the
 * scratch was made for: some types turn differently in longer ones (MQ_ROPE_LONGROPE). */
void mq_attention_turn_for(struct mq_attention *attention, const struct mq_hparams *hparams,
                           size_t length);

/*
 * The keys and values of a layer's tokens so far, turned, and packed as the products take them, of
 * every kv head side by side: keys in panels of tokens, [stride / MQ_PANEL][head_dim][MQ_PANEL];
 * values in panels of components, [ceil(value_dim / MQ_PANEL)][stride][MQ_PANEL]. Tokens that no
 * query sees any more make room for others.
 */
struct mq_key_cache {
    float *keys, *values; /* aligned to 64 bytes */
    size_t stride;        /* tokens of which there is room */
    size_t base;          /* the position of the first; 0 in the beginning */
};
/* The stride for up to `tokens` tokens, of which `at_once` come at a time at most. */
size_t mq_key_cache_stride(const struct mq_layer_attention *layer, size_t tokens, size_t at_once);

/* Where the tokens at hand go on from others. */
struct mq_attention_past {
    size_t position; /* of the first token at hand; so many stand before it */
    size_t tokens;   /* at hand */
    /* Where theirs are, and those of the tokens at hand are put; NULL: k and v of the job have rows
     * of all of them, not turned. */
    struct mq_key_cache *cache;
};

/* Heads of some windows' tokens: those of a token are `ld` floats from the next one's, one head
 * `head` floats from the next. */
struct mq_heads {
    float *at;
    size_t ld, head;
};

/* Queries and keys, [tokens][heads or kv_heads][head_dim], values, [..][value_dim], and where the
 * heads' outputs go: to a place of their own, or over the queries. */
struct mq_attention_job {
    const struct mq_layer_attention *layer;
    struct mq_heads q, k, v, out;
    const float *sinks; /* [heads]; NULL where the layer has none */
    /* [head_dim] where they are normalized after they are rotated; NULL: they are not, or without
     * weights */
    const float *q_norm, *k_norm;
    float norm_eps;
    size_t windows;
    const struct mq_attention_past *past; /* NULL: windows begin with the tokens at hand */
};

/* Rotates queries and keys by their positions, then attends. Stops early if cancelled. */
void mq_attention_apply(const struct mq_attention *attention, const struct mq_attention_job *job);

#endif
