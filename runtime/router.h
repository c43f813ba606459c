/* router.h: from router logits to chosen experts, and from tokens to experts' lists of tokens. */
#ifndef MQ_ROUTER_H
#define MQ_ROUTER_H

#include "cpu.h"
#include "layer.h"

/* A router's vectors, [experts]; NULL where it has none. */
struct mq_router_vectors {
    const float *choice_bias;  /* added to what is compared, not to weights */
    const float *expert_scale; /* what the experts' weights are multiplied by */
};

/*
 * Applies a router (the pieces are said in layer.h). Writes for each token the chosen experts in
 * ascending order, and their weights in that order. `scratch`: room for the experts rounded up to
 * 16, three times.
 */
void mq_router_choose(enum mq_isa isa, const struct mq_layer_router *router,
                      const struct mq_router_vectors *vectors, const float *logits, size_t tokens,
                      float *scratch, int32_t *chosen, float *weights);

/* The routes expert by expert, of each its tokens in order, with their weights; those of expert e
 * are numbers [begin[e], begin[e + 1]). token, weight: [tokens * top_k]. */
void mq_router_sort(const int32_t *chosen, const float *weights, size_t tokens,
                    const struct mq_layer_router *router, size_t *begin, uint32_t *token,
                    float *weight);

#endif
