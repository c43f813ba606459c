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
};

/* Rotates queries and keys by their positions, then attends. Stops early if cancelled. */
void mq_attention_apply(const struct mq_attention *attention, const struct mq_attention_job *job);

#endif
