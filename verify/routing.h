/*
 * routing.h: do tokens still go to the same experts?
 *
 * For each token and layer the arm's k chosen experts S' are compared with the baseline's S, of n:
 *
 *   EXACT_SET  S' = S
 *   OVERLAP    |S and S'| / k
 *   TOP1       the expert with the largest weight is the same (of equals the lowest)
 *   WEIGHTED   sum over experts of min(w, w'), each arm's weights first divided by their sum;
 *              computed as 1 - sum |w - w'| / 2, so that it is exactly 1 for equal weights
 *   MASS_KEPT  sum over S' of r / sum over S of r, at most 1, with r the softmax of the baseline's
 *              router logits over all n experts
 *   CR1        all of S changed             (CR1 to CR3: EAC-MoE, arXiv 2508.01625)
 *   CR2        at least one of S changed
 *   CR3        at least half of S changed
 *   ROUTER_KL  KL divergence of the two routers' softmax over all n experts, in nats
 *
 * Their names, units and meanings are rows of figures.def.
 *
 * Measured over all tokens of all windows, scored or not: every one of them feeds the caches that
 * later tokens attend to.
 */
#ifndef MQ_ROUTING_H
#define MQ_ROUTING_H

#include "evaluator.h"
#include "figures.h"
#include "statistics.h"

/* One token's choice in one layer, judged. */
struct mq_routing_figures {
    double metric[MQ_ROUTING_COUNT];
};

/* Room for the two softmax computations below: doubles. */
size_t mq_routing_scratch(uint32_t experts);

/* Judges row `token` of the arm's routes against the baseline's. */
void mq_routing_compare(enum mq_isa isa, const struct mq_routes *base, const struct mq_routes *arm,
                        size_t token, uint32_t experts, uint32_t top_k, double *scratch,
                        struct mq_routing_figures *figures);

/* What two routers that know nothing of each other would reach: S' drawn uniformly. NaN where that
 * depends on more than n and k (weights, router KL). */
struct mq_routing_figures mq_routing_chance(uint32_t experts, uint32_t top_k);

/* The baseline's margin: the smallest router logit that was chosen minus the largest that was not.
 * Bins by their lower edge; the last is open. Negative margins (routers that choose by something
 * else than their logits) are in the first. Infinite if every expert is chosen. */
extern const double mq_margin_edges[];
enum { MQ_MARGIN_BINS = 9 };
double mq_routing_margin(const struct mq_routes *base, size_t token, uint32_t experts,
                         uint32_t top_k);
size_t mq_margin_bin(double margin);

#endif
