/* model_options.h: options that name levels, and tables of a model's sizes: shared by commands. */
#ifndef MQ_MODEL_OPTIONS_H
#define MQ_MODEL_OPTIONS_H

#include "command.h"
#include "json_tree.h"
#include "plan.h"
#include "text_input.h"

/* --ignore-config, --sliding-window and --lm-head. The result borrows the options' strings. */
struct mq_open_options mq_option_open(const struct mq_options *options);

/* mq_model_open_with the command line's choices. */
moeq_status mq_open_model(const struct mq_options *options, const char *path, struct mq_view **view,
                          moeq_error *err);
/* The same, or a model's config.json alone. (The .json of a sharded file is its index.) */
moeq_status mq_open_model_or_config(const struct mq_options *options, const char *path,
                                    struct mq_view **view, moeq_error *err);

/* Reads what --text names; what is known to be no text is refused as what it is. */
moeq_status mq_option_text(const struct mq_options *options, struct mq_text *text, moeq_error *err);
/* The same; what is to be noted of it becomes a note of the model that reads it. */
moeq_status mq_read_text(const struct mq_options *options, struct mq_view *view,
                         struct mq_text *text, moeq_error *err);

/* "  note: ..." on stdout, wrapped; with --quiet, which leaves stdout to results, a line on stderr:
 * a note is never left out. */
void mq_print_note(const struct mq_options *options, const char *sentence);
/* All of a view's. */
void mq_print_notes(const struct mq_options *options, const struct mq_view *view);

/* A level by a name that people type (spellings.h); a message, with the nearest name or what to use
 * instead, on stderr and NULL if there is none. */
const struct mq_level *mq_option_level(const char *command, const char *option, const char *name);

/* What a policy is for: one of the two, or neither (levels as in the source). */
struct mq_option_target {
    const struct mq_level *level;
    const struct mq_recipe *recipe;
};

/* A level or a recipe by such a name, as in --levels. False after a message. */
bool mq_option_target(const char *command, const char *option, const char *name,
                      struct mq_option_target *target);
/* The target of --level or --recipe, each of which takes both; of neither: levels as in the source. False after a message. */
bool mq_option_level_or_recipe(const char *command, const struct mq_options *options,
                               struct mq_option_target *target);
const char *mq_option_target_name(const struct mq_option_target *target);

/* The policy of --shared, --attention, --embeddings, --tensor and --effort for a target. False after a
 * message. The policy borrows `overrides`; either way free them afterwards. */
bool mq_option_policy(const char *command, const struct mq_options *options,
                      const struct mq_option_target *target, struct mq_policy *policy,
                      struct mq_policy_override **overrides);
void mq_option_policy_free(const struct mq_options *options, struct mq_policy_override *overrides);

/* Sizes by class of role and level. */
struct mq_breakdown_row {
    enum mq_role_class group;
    const struct mq_level *level;
    struct mq_plan_total total;
};
enum { MQ_BREAKDOWN_ROWS = 64 };
struct mq_breakdown {
    struct mq_breakdown_row rows[MQ_BREAKDOWN_ROWS];
    size_t count;
    struct mq_plan_total total;
};
void mq_breakdown_add(struct mq_breakdown *b, const struct mq_view *view,
                      const struct mq_tensor *tensor, const struct mq_level *level, uint64_t bytes);
void mq_breakdown_print(const struct mq_breakdown *b);
cJSON *mq_breakdown_json(struct mq_json_tree *b, const struct mq_breakdown *sizes);

/* Hyper-parameters, and what mq_view_put_json has. */
void mq_model_put_json(struct mq_json_tree *tree, cJSON *object, const struct mq_view *view);

#endif
