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

/* Whether a router compares its scores as numbers (plus a bias) rather than in the order of its
 * logits. */
static inline bool mq_router_compares_scores(const struct mq_layer_router *router)
{
    return router->choice_bias != 0;
}

/*
 * What one token's experts were chosen by, compared[experts]: the top_k largest of it are the
 * choice. Scores plus choice bias; of routers that have none the logits (after softcap), which
 * stand in the order of their scores. -INFINITY: of a group that was left out. `scratch` as above.
 */
void mq_router_compare(enum mq_isa isa, const struct mq_layer_router *router,
                       const struct mq_router_vectors *vectors, const float *logits, float *scratch,
                       float *compared);

/*
 * Numbers whose softmax is the distribution over all experts that the router's scores stand for:
 * softmax scores themselves, and what softmax would make of scores that are logits; of sigmoid
 * scores each divided by their sum. Returns the logits where they are such numbers, else `room`
 * ([experts rounded up to 16]).
 */
const float *mq_router_log_scores(enum mq_isa isa, const struct mq_layer_router *router,
                                  const float *logits, float *room);

/* The routes expert by expert, of each its tokens in order, with their weights; those of expert e
 * are numbers [begin[e], begin[e + 1]). token, weight: [tokens * top_k]. */
void mq_router_sort(const int32_t *chosen, const float *weights, size_t tokens,
                    const struct mq_layer_router *router, size_t *begin, uint32_t *token,
                    float *weight);

#endif
