/* budget_option.h: --bpw, --size, and --gpu or --vram, of convert and export. */
#ifndef MQ_BUDGET_OPTION_H
#define MQ_BUDGET_OPTION_H

#include "budget_plan.h"
#include "calibrated_option.h"
#include "choice_option.h"

struct mq_budget_cli {
    bool given; /* and a text to choose by; without one it is a choice */
    struct mq_choice choice;
    struct mq_budget budget;
};

/* False after a message. gguf: experts of a matrix share a level unless --granularity says otherwise. */
bool mq_budget_option_check(const char *command, const struct mq_options *options, bool gguf,
                            struct mq_budget_cli *budget);

/* --level or --recipe; with a budget, attention, embeddings and head are as a level's default has them. */
bool mq_budget_option_target(const char *command, const struct mq_options *options,
                             const struct mq_budget_cli *budget, struct mq_option_target *target);

/* The plan of a policy, with levels chosen for the budget where one is given: the text runs through the model
 * first. MQ_EXIT_GOOD, or the code to leave with after a message. */
enum mq_exit mq_budget_option_plan(const struct mq_options *options, const struct mq_view *view,
                                   struct mq_policy *policy, const struct mq_gguf_options *gguf,
                                   const struct mq_calibrated_option *calibrated,
                                   struct mq_budget_cli *budget, struct mq_plan **plan);

void mq_budget_option_print(const struct mq_budget_cli *budget, const struct mq_view *view);
cJSON *mq_budget_option_json(struct mq_json_tree *b, const struct mq_budget_cli *budget,
                             const struct mq_view *view);

void mq_budget_option_free(struct mq_budget_cli *budget);

#endif
