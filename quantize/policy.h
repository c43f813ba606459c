/* policy.h: which level each tensor is to have. */
#ifndef MQ_POLICY_H
#define MQ_POLICY_H

#include "importance.h"
#include "levels.h"
#include "model_view.h"
#include "recipes.h"
#include "sums_list.h"

struct mq_policy_override {
    const char *pattern; /* shell pattern on the whole tensor name: * ? [...] */
    const struct mq_level *level;
};

struct mq_policy {
    /* NULL, as for MQ_CLASS_KEEP: as in the source. */
    const struct mq_level *levels[MQ_CLASS_COUNT];
    const struct mq_recipe *recipe;             /* its rules refine the levels; NULL: none */
    /* [view's tensors]: levels that were chosen for this view, in place of those above; NULL, or NULL entries: none. */
    const struct mq_level *const *chosen;
    const char *chosen_by;                      /* for metadata */
    const struct mq_policy_override *overrides; /* later ones win */
    size_t overrides_count;
    enum mq_effort effort;
    /* By what the columns of matrices count; NULL: all alike. The caller's, for as long as what is made
     * by the policy. */
    const struct mq_importance *importance;
    /* By what encoders that know more than the weights were guided, for metadata; NULL: none was. */
    const char *calibration;
    /* The tokens of the texts that guided them, a list as of token_profile.h, for metadata; NULL: those of `importance`, or of the
     * model where it has any. */
    const char *calibrated_on;
    const struct mq_source_list
        *source_sums; /* (sums_list.h) what the source must be; NULL: whatever it is. The view's */
    bool allow_nonfinite; /* NaN and infinite weights are copied where nothing is quantized */
    /* What is known of them, for the plan to repeat (see mq_convert_plan); NULL: nothing. */
    uint64_t nonfinite_weights;
    const char *nonfinite_note;
};

/* The default policy for --level L: experts, or the MLPs of a model without them, L; shared experts
 * and the other MLPs of a model with them, attention, embeddings and head q8_0, unless L is
 * unquantized, which then holds for all of them, or has others beside it (mq_level.attention, .embeddings). */
struct mq_policy mq_policy_default(const struct mq_level *level);

/* The levels that a recipe asks for. */
struct mq_policy mq_policy_of_recipe(const struct mq_recipe *recipe);

/*
 * The level of every tensor of the view, in levels[tensors_count]. Fails if an override matches no
 * tensor, or would store a router or norm below its source's precision, or if the importance is of
 * another model's columns.
 */
moeq_status mq_policy_apply(const struct mq_policy *policy, const struct mq_view *view,
                            const struct mq_level **levels, moeq_error *err);

/* By the name that a user sees, or the official one. */
bool mq_policy_override_matches(const struct mq_policy_override *override,
                                const struct mq_tensor *tensor);

#endif
