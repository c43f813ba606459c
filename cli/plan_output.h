/* plan_output.h: showing a plan, and turning it into files: convert and export. */
#ifndef MQ_PLAN_OUTPUT_H
#define MQ_PLAN_OUTPUT_H

#include "budget_option.h"
#include "convert.h"
#include "model_options.h"

/* The plan of a moeq model or, by `gguf`, of GGUF files. Refuses what a text is to tell of blocks where the plan makes
 * none. */
moeq_status mq_make_plan(const struct mq_options *options, const struct mq_view *view,
                         const struct mq_policy *policy, const struct mq_gguf_options *gguf,
                         struct mq_plan **plan, moeq_error *err);

/* The same of a folder for another runtime. */
moeq_status mq_make_folder_plan(const struct mq_options *options, const struct mq_view *view,
                                const struct mq_policy *policy,
                                const struct mq_folder_options *folder, struct mq_plan **plan,
                                moeq_error *err);

/* Prints the plan (or with --json, a document of it); unless --dry-run, writes --output and says
 * what was written. */
enum mq_exit mq_execute_plan(const char *command, const struct mq_options *options,
                             const struct mq_plan *plan, struct mq_calibrated_option *calibrated,
                             const struct mq_budget_cli *budget);

#endif
