/* model_options.h: options that name levels, and tables of a model's sizes: shared by commands. */
#ifndef MQ_MODEL_OPTIONS_H
#define MQ_MODEL_OPTIONS_H

#include "command.h"
#include "plan.h"

/* A level by name; a message with the nearest name on stderr and NULL if there is none. */
const struct mq_level *mq_option_level(const char *command, const char *option, const char *name);

/* The policy of --attention, --embeddings, --tensor and --effort for one --level. False after a
 * message. The policy borrows `overrides`; either way free them afterwards. */
bool mq_option_policy(const char *command, const struct mq_options *options,
                      const struct mq_level *level, struct mq_policy *policy,
                      struct mq_policy_override **overrides);
void mq_option_policy_free(const struct mq_options *options, struct mq_policy_override *overrides);

/* Sizes by class of role and level. */
struct mq_breakdown_row {
    enum mq_role_class class;
    const struct mq_level *level;
    struct mq_plan_total total;
};
struct mq_breakdown {
    struct mq_breakdown_row rows[64];
    size_t count;
    struct mq_plan_total total;
};
void mq_breakdown_add(struct mq_breakdown *b, const struct mq_tensor *tensor,
                      const struct mq_level *level, uint64_t bytes);
void mq_breakdown_print(const struct mq_breakdown *b);
cJSON *mq_breakdown_json(const struct mq_breakdown *b);

/* Hyper-parameters as JSON. */
cJSON *mq_model_json(const struct mq_view *view);

#endif
