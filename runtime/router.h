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

/* The tokens of one expert, in order: their indices and weights. Returns how many there are. */
size_t mq_router_tokens_of(int32_t expert, const int32_t *chosen, const float *weights,
                           size_t tokens, uint32_t top_k, uint32_t *token, float *weight);

#endif
