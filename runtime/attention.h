/*
 * attention.h: causal attention with grouped queries and an optional sliding window.
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
                                const struct mq_model_program *program, const struct mq_rope *rope,
                                size_t length, struct mq_attention **attention, moeq_error *err);
void mq_attention_destroy(struct mq_attention *attention); /* NULL is fine */

/* The queries, keys and values of some windows, [tokens][heads or kv_heads][head_dim] with strides
 * in floats. The queries are replaced by the heads' outputs. */
struct mq_attention_job {
    const struct mq_layer_attention *layer;
    float *q, *k, *v;
    size_t ldq, ldk, ldv;
    size_t windows;
};

/* Rotates queries and keys by their positions, then attends. Stops early if cancelled. */
void mq_attention_apply(const struct mq_attention *attention, const struct mq_attention_job *job);

#endif
