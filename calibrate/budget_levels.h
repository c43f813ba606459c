/*
 * budget_levels.h: a level for every matrix of a model that a text was measured on, so that together they take at most so
 * many bytes and lose the least by what sensitivity.h measured: experts and MLPs, attention and what stands in its
 * place, embeddings and head.
 */
#ifndef MQ_BUDGET_LEVELS_H
#define MQ_BUDGET_LEVELS_H

#include "budget.h"
#include "sensitivity.h"

struct mq_budget_levels_options {
    const struct mq_level *const *levels; /* those of the sensitivity */
    size_t levels_count;
    const bool
        *not_for_mlps; /* [levels_count]: levels that experts and MLPs do not get; NULL: none */
    /* Experts of a layer share a level for their gates, one for their ups, one for their downs, and what is no MLP's has
     * only levels of whose blocks its rows are made: as GGUF has it. */
    bool per_matrix;
    bool pinned[MQ_CLASS_COUNT]; /* classes that keep the level that they have */
    const bool *fixed;   /* [view's tensors]: those whose level was chosen otherwise; NULL: none */
    uint64_t bytes;
};

/* Gives matrices that no token met a loss: as little as that of their layer and role that loses least, 0 where all of
 * them are so. What follows wants it done. */
moeq_status mq_budget_fill(const struct mq_view *view, struct mq_sensitivity *sensitivity,
                           moeq_error *err);

/* Whether a budget is about a tensor. */
bool mq_budget_covers(const struct mq_view *view, const struct mq_sensitivity *sensitivity,
                      const struct mq_budget_levels_options *options, size_t tensor);

/* Weights that a budget is about: of experts and MLPs, and of the rest. */
struct mq_budget_weights {
    uint64_t mlps, rest;
};
struct mq_budget_weights mq_budget_weights(const struct mq_view *view,
                                           const struct mq_sensitivity *sensitivity,
                                           const struct mq_budget_levels_options *options);

/* chosen[view's tensors]: the level, NULL where the budget is not about the tensor. */
moeq_status mq_budget_levels(const struct mq_view *view, const struct mq_sensitivity *sensitivity,
                             const struct mq_budget_levels_options *options,
                             const struct mq_level **chosen, struct mq_budget_result *result,
                             moeq_error *err);

/* Bytes and loss with one level for experts and MLPs, and one for the rest that the budget is about (both numbers of
 * levels); SIZE_MAX: without these. */
struct mq_budget_option mq_budget_uniform(const struct mq_view *view,
                                          const struct mq_sensitivity *sensitivity,
                                          const struct mq_budget_levels_options *options,
                                          size_t level, size_t rest);

#endif
