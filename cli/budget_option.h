/* budget_option.h: --bpw, --size, and --gpu or --vram, of convert and export. */
#ifndef MQ_BUDGET_OPTION_H
#define MQ_BUDGET_OPTION_H

#include "budget_levels.h"
#include "calibrated_option.h"
#include "choice_option.h"
#include "fit.h"

/* The level of what is no expert's or MLP's where no budget says otherwise: see mq_policy_default. */
#define MQ_BUDGET_REST "q8_0"
enum { MQ_BUDGET_NAMED_LEVELS = MQ_BUDGET_LEVELS - 4 }; /* the others are for the same */

struct mq_budget_cli {
    bool given; /* and a text to choose by; without one it is a choice */
    struct mq_choice choice;
    const char *option;          /* the one that was given: "--bpw" */
    double bpw; /* of experts and MLPs, if the rest had MQ_BUDGET_REST; 0: another option's */
    struct mq_fit_target target; /* of --gpu and --vram, */
    const struct mq_kv_kind *kv; /* with this cache; NULL: another option's */
    const struct mq_level *levels[MQ_BUDGET_LEVELS];
    bool not_for_mlps[MQ_BUDGET_LEVELS];
    size_t rest; /* number of the level MQ_BUDGET_REST */
    struct mq_budget_levels_options how;
    struct mq_sensitivity sensitivity;
    const struct mq_level **chosen; /* [view's tensors] */
    bool *fixed;                    /* [view's tensors]: by --tensor */
    struct mq_budget_result result;
    struct mq_budget_weights weights;
    char sentence[128];
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
/* Bytes of what is no expert's or MLP's and the budget is about, at its default. */
uint64_t mq_budget_option_rest_bytes(const struct mq_budget_cli *budget,
                                     const struct mq_view *view);
/* The --bpw that gives the bytes that were chosen: bits of experts and MLPs in as many, with the rest at its default. */
double mq_budget_option_bpw(const struct mq_budget_cli *budget, const struct mq_view *view);

void mq_budget_option_free(struct mq_budget_cli *budget);

#endif
