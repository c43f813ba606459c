/*
 * budget_plan.h: from a budget to a plan: a text is run through the model, and every matrix gets a level, so that what is
 * written has so many bits per weight, so many bytes, or fits cards.
 */
#ifndef MQ_BUDGET_PLAN_H
#define MQ_BUDGET_PLAN_H

#include "budget_levels.h"
#include "convert.h"
#include "fit.h"

/* The level of what is no expert's or MLP's where no budget says otherwise: see mq_policy_default. */
#define MQ_BUDGET_REST "q8_0"
enum { MQ_BUDGET_NAMED_LEVELS = MQ_BUDGET_LEVELS - 4 }; /* the others are for the same */

/* Bits per weight that can be asked for. */
#define MQ_BUDGET_MIN_BPW 1.0
#define MQ_BUDGET_MAX_BPW 32.0

struct mq_budget {
    /* what is asked for, one of three: */
    double bpw;    /* of experts and MLPs, if the rest had MQ_BUDGET_REST; 0: not asked for */
    uint64_t size; /* bytes of all files; 0: not asked for */
    struct mq_fit_target target; /* these cards, */
    const struct mq_kv_kind *kv; /* with this cache (NULL: not asked for) */
    uint64_t context;            /* of so many tokens */
    const char *option;          /* how messages call it: "--bpw" */
    const char *bpw_text;        /* as it was given */
    /* by mq_budget_all_levels or mq_budget_add_level, then mq_budget_end_levels: */
    const struct mq_level *levels[MQ_BUDGET_LEVELS];
    bool not_for_mlps[MQ_BUDGET_LEVELS];
    size_t rest;                         /* number of the level MQ_BUDGET_REST */
    struct mq_budget_levels_options how; /* the caller's: per_matrix, pinned */
    /* by mq_budget_plan: */
    struct mq_sensitivity sensitivity;
    const struct mq_level **chosen; /* [view's tensors] */
    bool *fixed;                    /* [view's tensors]: by --tensor */
    struct mq_budget_result result;
    struct mq_budget_weights weights;
    char sentence[128];
};

/* Levels that a budget chooses among where none are named: all that errors can be fed back in. The others cost many times
 * as much to try. */
void mq_budget_all_levels(struct mq_budget *budget);
/* False if these are too many. */
bool mq_budget_add_level(struct mq_budget *budget, const struct mq_level *level);
void mq_budget_end_levels(struct mq_budget *budget);

/* What a plan is made of. */
struct mq_budget_job {
    const struct mq_context *context;
    const struct mq_view *view;
    const struct mq_gguf_options *gguf; /* NULL: a moeq file, */
    uint64_t shard_bytes;               /* in files of this size; 0: one */
    const char *output;                 /* NULL: nothing is written */
    bool replace;
    const struct mq_windows *windows; /* of the text */
    uint32_t ids_crc32;
    bool feedback; /* errors will be fed back */
};

/* The plan of a policy with levels chosen for the budget, which must outlive both. What no measuring changes is refused
 * before it. */
moeq_status mq_budget_plan(const struct mq_budget_job *job, struct mq_policy *policy,
                           struct mq_budget *budget, struct mq_plan **plan, moeq_error *err);
void mq_budget_free(struct mq_budget *budget);

/* Bytes of what is no expert's or MLP's and the budget is about, at its default. */
uint64_t mq_budget_rest_bytes(const struct mq_budget *budget, const struct mq_view *view);
/* The bpw that gives the bytes that were chosen: bits of experts and MLPs in as many, with the rest at its default. */
double mq_budget_bpw(const struct mq_budget *budget, const struct mq_view *view);

#endif
