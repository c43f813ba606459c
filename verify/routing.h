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
 *   MASS_KEPT  sum over S' of r / sum over S of r, at most 1, with r the distribution over all n
 *              experts that the baseline's router stands for
 *   CR1        all of S changed             (CR1 to CR3: EAC-MoE, arXiv 2508.01625)
 *   CR2        at least one of S changed
 *   CR3        at least half of S changed
 *   ROUTER_KL  KL divergence of the two routers' distributions over all n experts, in nats
 *
 * That distribution is the softmax of the router's logits; of a router that scores by sigmoids each
 * expert's score divided by the sum of all. Experts, k and rule are those of the layer's router. Shared
 * experts, which every token uses, take no part.
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

/* Room for what is computed below: doubles. */
size_t mq_routing_scratch(uint32_t experts);

/* Judges row `token` of the arm's routes against the baseline's. */
void mq_routing_compare(enum mq_isa isa, const struct mq_routes *base, const struct mq_routes *arm,
                        size_t token, double *scratch, struct mq_routing_figures *figures);

/* What two routers that know nothing of each other would reach: S and S' drawn uniformly from what
 * the rule can choose: k of n, or of the top_groups groups that are drawn first. NaN where it
 * depends on more (weights, router KL). */
struct mq_routing_figures mq_routing_chance(const struct mq_layer_router *router);
/* The mean over the layers that have a router; false if none has. */
bool mq_routing_chance_of(const struct mq_view *view, struct mq_routing_figures *chance);
/* The first layer's router that a model has; NULL: none. */
const struct mq_layer_router *mq_routing_first(const struct mq_view *view);
/* Whether all of its routers are alike. */
bool mq_routing_uniform(const struct mq_view *view);

/* The baseline's margin: of what its router compares, the smallest that was chosen minus the largest
 * that was not. That is its logits, or its scores with a bias where the choice has one; where groups
 * are left out, among the others. Bins by their lower edge; the last is open. Negative margins (by
 * rounding) are in the first. Infinite if no other expert could be chosen. `scratch` as above. */
extern const double mq_margin_edges[];
enum { MQ_MARGIN_BINS = 9 };
double mq_routing_margin(enum mq_isa isa, const struct mq_routes *base, size_t token,
                         double *scratch);
size_t mq_margin_bin(double margin);

#endif
