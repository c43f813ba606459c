/*
 * budget_levels.h: a level for every matrix of the experts and MLPs of a model, so that together they take at most so
 * many bytes and lose the least by what sensitivity.h measured.
 */
#ifndef MQ_BUDGET_LEVELS_H
#define MQ_BUDGET_LEVELS_H

#include "budget.h"
#include "sensitivity.h"

struct mq_budget_levels_options {
    const struct mq_level *const *levels; /* those of the sensitivity */
    size_t levels_count;
    bool
        per_matrix; /* one level for a layer's gates, one for its ups, one for its downs (as GGUF has it) */
    bool without_shared; /* MLPs that every token goes through keep the level that they have */
    const bool *fixed;   /* [view's tensors]: those whose level was chosen otherwise; NULL: none */
    uint64_t bytes;
};

/* Gives matrices that no token met a loss: as little as that of their layer and role that loses least, 0 where all of
 * them are so. What follows wants it done. */
moeq_status mq_budget_fill(const struct mq_view *view, struct mq_sensitivity *sensitivity,
                           moeq_error *err);

/* Weights that a budget is about. */
uint64_t mq_budget_weights(const struct mq_view *view,
                           const struct mq_budget_levels_options *options);

/* chosen[view's tensors]: the level, NULL where the budget is not about the tensor. */
moeq_status mq_budget_levels(const struct mq_view *view, const struct mq_sensitivity *sensitivity,
                             const struct mq_budget_levels_options *options,
                             const struct mq_level **chosen, struct mq_budget_result *result,
                             moeq_error *err);

/* Bytes and loss with one level for all that the budget is about. */
struct mq_budget_option mq_budget_uniform(const struct mq_view *view,
                                          const struct mq_sensitivity *sensitivity,
                                          const struct mq_budget_levels_options *options,
                                          size_t level);

#endif
