/* plan_int.h: what the plans of all formats share. */
#ifndef MQ_PLAN_INT_H
#define MQ_PLAN_INT_H

#include "plan.h"

/* An empty plan with its arena; NULL when out of memory. */
struct mq_plan *mq_plan_new(const struct mq_view *view, const struct mq_policy *policy);

/* plan->entries with the levels that `levels` (one a tensor) gives, and the totals. */
moeq_status mq_plan_entries(struct mq_plan *plan, const struct mq_level *const *levels,
                            moeq_error *err);

/* The policy's levels, one a tensor of the view, in the plan's arena. */
moeq_status mq_plan_levels(struct mq_plan *plan, const struct mq_policy *policy,
                           const struct mq_level ***levels, moeq_error *err);

/* The dtype whose elements a plain level's weights are. */
enum mq_dtype mq_plan_dtype(const struct mq_level *level);

/* What a moeq model is made of, in file order: first the plan's entries, then the side files. */
struct mq_plan_content {
    struct mq_layout_item *items; /* `aligned` where a group begins */
    const void **bytes;           /* [count] of the side files; NULL where an entry is */
    size_t count;
    const char **metadata; /* key, value, ..., NULL: what is said of the model as a whole */
};

/* Cuts the content into files of at most shard_bytes (0: one file) and gives everything its
 * place. */
moeq_status mq_plan_place(struct mq_plan *plan, const struct mq_plan_content *content,
                          uint64_t shard_bytes, moeq_error *err);

/* What the model is called: what a moeq or GGUF file says (moeq.name, general.name), so that its
 * own name does not matter; otherwise the last part of the path. NULL when out of memory. */
const char *mq_plan_model_name(const struct mq_plan *plan);

/* How the policy quantizes: "experts=q4_k; attention=q8_0; ...; effort=default"; NULL when out of memory. */
const char *mq_plan_recipe_text(const struct mq_plan *plan, const struct mq_policy *policy);

/* The texts that what is made was calibrated on, for metadata; NULL: none, or not known. */
const char *mq_plan_calibrated_on(const struct mq_plan *plan, const struct mq_policy *policy);

/* SHA-256 sums of what was compared with a list, lines of it: the source's files, or what these say that they were made of;
 * NULL: none. */
const char *mq_plan_source_sums(const struct mq_plan *plan);

/* Adds a sentence to the plan's warnings (unless it is NULL, or there is no room). */
void mq_plan_warn(struct mq_plan *plan, const char *sentence);

#endif
