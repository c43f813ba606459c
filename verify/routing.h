/*
 * routing.h: do tokens still go to the same experts?
 *
 * For each token and layer the arm's k chosen experts S' are compared with the baseline's S, of n:
 *
 *   exact_set           S' = S
 *   overlap             |S and S'| / k
 *   top1_expert         the expert with the largest weight is the same (of equals the lowest)
 *   weighted_agreement  sum over experts of min(w, w'), each arm's weights first divided by their
 * sum; computed as 1 - sum |w - w'| / 2, so that it is exactly 1 for equal weights cr1, cr2, cr3
 * all of S changed, at least one did, at least half did (EAC-MoE, arXiv 2508.01625) router_kl KL
 * divergence of the two routers' softmax over all n experts, in nats
 *
 * Measured over all tokens of all windows, scored or not: every one of them feeds the caches that
 * later tokens attend to.
 */
#ifndef MQ_ROUTING_H
#define MQ_ROUTING_H

#include "evaluator.h"
#include "statistics.h"

/* id, JSON name */
#define MQ_ROUTING_METRICS(X)         \
    X(EXACT_SET, "exact_set_rate")    \
    X(OVERLAP, "overlap_at_k")        \
    X(TOP1, "top1_expert_rate")       \
    X(WEIGHTED, "weighted_agreement") \
    X(CR1, "cr1_all_changed_rate")    \
    X(CR2, "cr2_any_changed_rate")    \
    X(CR3, "cr3_half_changed_rate")   \
    X(ROUTER_KL, "router_kl_nats")

enum mq_routing_metric {
#define MQ_ROUTING_ENUM(id, name) MQ_ROUTING_##id,
    MQ_ROUTING_METRICS(MQ_ROUTING_ENUM)
#undef MQ_ROUTING_ENUM
        MQ_ROUTING_COUNT
};

const char *mq_routing_metric_name(enum mq_routing_metric metric);

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
 * depends on more than n and k (weighted agreement, router KL). */
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
