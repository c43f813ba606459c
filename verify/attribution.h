/*
 * attribution.h: where a level's loss comes from: the figures with only a part of the tensors quantized, part by part.
 *
 * Parts' losses need not add up to the whole's: errors of several parts meet in the same logits. How near
 * their sum comes says how far a choice by part (a budget) can be trusted.
 */
#ifndef MQ_ATTRIBUTION_H
#define MQ_ATTRIBUTION_H

#include "comparison.h"

enum {
    MQ_ATTRIBUTE_LAYER = 1,
    MQ_ATTRIBUTE_ROLE = 2,
};

struct mq_attribution_part {
    int32_t layer; /* -1: not in a layer (embedding, head), or not asked for */
    int role;      /* enum mq_role; -1: not asked for */
    char name[48]; /* "layer 3", "expert_down", "layer 3 expert_down", "outside layers" */
    uint64_t tensors, weights, bytes; /* that are quantized in it, and what they take then */
    struct mq_estimate kld, log_ppl_ratio;
    struct mq_estimate exact_routes; /* rate of tokens with the same experts; NaN without routers */
};

struct mq_attribution {
    int by;                            /* MQ_ATTRIBUTE_... */
    struct mq_attribution_part *parts; /* in the order of layers and roles */
    size_t parts_count;
    double sum; /* of the parts' mean KLD */
};

/* "layer", "role" or "layer,role" -> `by`; false for another. */
bool mq_attribution_by(const char *text, int *by);

/* A candidate is a policy here, not a file. The model itself is the baseline. Several evaluations, where there are more parts than one
 * takes. */
moeq_status mq_attribute(const struct mq_context *context, const struct mq_baseline *baseline,
                         const struct mq_policy *policy, int by,
                         const struct mq_comparison_options *options,
                         struct mq_attribution *attribution, moeq_error *err);
void mq_attribution_free(struct mq_attribution *attribution);

#endif
