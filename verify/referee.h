/*
 * referee.h: the observer that turns an evaluation into a judgement.
 *
 * Arm 0 is the baseline; every other arm is compared with it, token by token: perplexity (paired),
 * KL divergence, most likely token, routing. Per-token figures are kept, logits and weights are not:
 *
 *     output    17 bytes a scored token and arm: NLL, KL divergence, same most likely token
 *     routing   8 bytes a token, arm and figure of MQ_ROUTING_COUNT
 */
#ifndef MQ_REFEREE_H
#define MQ_REFEREE_H

#include "protocol.h"
#include "routing.h"
#include "statistics.h"

/* Mean -log p of the scored tokens, in nats, and its exponential. */
struct mq_perplexity {
    struct mq_estimate nll, ppl;
    size_t scored_tokens;
};

/* The output's KL divergence among scored tokens of which exactly (or, in the last entry, at least)
 * `layers` layers chose other experts than the baseline. */
struct mq_flip_group {
    uint32_t layers;
    size_t scored_tokens;
    struct mq_estimate kld; /* NaN if there are no such tokens */
};
enum { MQ_FLIP_GROUPS = 9 }; /* 0, 1, ... 7, 8 and more */

struct mq_routing_estimates {
    struct mq_estimate metric[MQ_ROUTING_COUNT];
};

struct mq_routing_layer {
    uint32_t layer;
    uint32_t experts, top_k;
    bool shared; /* it has shared experts too: every token uses them, and they are in no figure */
    bool compares_scores; /* what margins are of: mq_router_compares_scores */
    struct mq_routing_estimates rates;
    /* Expert load: each expert's share of the layer's choices (tokens * k), which sum to 1. */
    const double *base_load, *load; /* [experts]: the baseline's, this arm's */
    double load_shift; /* total variation distance of the two: sum |load - base_load| / 2 */
};

struct mq_routing_result {
    size_t tokens;                       /* all tokens of all windows */
    struct mq_routing_estimates overall; /* per token the mean over layers; then over tokens */
    struct mq_routing_layer *layers;     /* those that have a router */
    size_t layers_count;
    double load_shift; /* mean over the layers */
    double *loads;     /* [layers_count][baseline, arm][experts]: what the layers point into */
    struct mq_flip_group flips[MQ_FLIP_GROUPS];
    size_t flips_count;
    uint64_t margin_choices[MQ_MARGIN_BINS]; /* the baseline's choices with such a margin, */
    uint64_t margin_flips[MQ_MARGIN_BINS];   /* and how many of them this arm did not make */
};

struct mq_domain_result; /* domains.h */

struct mq_arm_result {
    struct mq_perplexity perplexity;
    /* Against the baseline; not of the baseline itself. */
    struct mq_estimate
        log_ppl_ratio; /* mean of NLL - the baseline's NLL; the error is the paired one */
    struct mq_estimate ppl_ratio; /* its exponential */
    struct mq_distribution kld;   /* nats */
    struct mq_estimate same_top;  /* rate of equal most likely tokens */
    struct mq_estimate delta_p_rms; /* of the probabilities of the text's tokens */
    bool has_routing;             /* false for models without a router */
    struct mq_routing_result routing;
    struct mq_task_result tasks;        /* of all; count 0: there are none, and shares are NaN */
    struct mq_task_result *task_groups; /* [task_groups_count]: of each file */
    size_t task_groups_count;
    struct mq_domain_result *domains; /* [domains_count] */
    size_t domains_count;
};

struct mq_referee;

/* The arms, the text and the context must outlive the referee. arms_count 1 gives perplexity alone.
 */
moeq_status mq_referee_create(const struct mq_context *context, const struct mq_arm *arms,
                              size_t arms_count, const struct mq_text_windows *text,
                              struct mq_referee **referee, moeq_error *err);
void mq_referee_free(struct mq_referee *referee); /* NULL is fine */

/* What to give to mq_evaluate; on_hidden and on_quantized are free for the caller. */
struct mq_observer mq_referee_observer(struct mq_referee *referee);

/* After the evaluation with an observer that calls that one, before anything below: what every process has seen becomes
 * what each knows. Without peers nothing. */
moeq_status mq_referee_merge(struct mq_referee *referee, const struct mq_observer *observer,
                             moeq_error *err);

/* Evaluates the text's tasks, where there are some, after the text: `arms` are the referee's. `playback`: of tasks, in the
 * place of what arm 0 plays back of the text; NULL where it runs. */
moeq_status mq_referee_tasks(struct mq_referee *referee, struct mq_arm *arms,
                             const struct mq_playback *playback, moeq_error *err);

/* After the evaluation, once: results[arms_count]. Their arrays are freed by mq_arm_result_free. */
moeq_status mq_referee_finish(struct mq_referee *referee, struct mq_arm_result *results,
                              moeq_error *err);
void mq_arm_result_free(struct mq_arm_result *result);

/* After the evaluation: the figures of some windows alone, but for those of layers. Nothing to free. */
moeq_status mq_referee_range(const struct mq_referee *referee, size_t arm, size_t first,
                             size_t windows, struct mq_arm_result *result, moeq_error *err);
/* An arm's negative log-likelihoods of the tasks' slots (tasks.h); NULL without tasks. */
const double *mq_referee_task_nll(const struct mq_referee *referee, size_t arm);
const struct mq_text_windows *mq_referee_text(const struct mq_referee *referee);

/* How much of an arm's loss is there with part of what makes it: of a mean over tokens, the part's
 * share of the whole. The shares of effects that do not simply add up need not sum to 1:
 * `interaction` is what is missing. All NaN where the whole is not above 0 by two of its standard
 * errors. */
struct mq_loss_shares {
    struct mq_estimate weights, routes, interaction;
};

/* After the evaluation. `whole`: an arm with weights and routes of its own; `weights`: its weights
 * with the baseline's routes; `routes`: the baseline's weights with its routes, or 0 if no arm ran
 * so: then only the weights' shares are defined. */
moeq_status mq_referee_shares(const struct mq_referee *referee, size_t whole, size_t weights,
                              size_t routes, struct mq_loss_shares *nll, struct mq_loss_shares *kld,
                              moeq_error *err);

/* Figures of which the mean of every window can be had, for paired comparisons of two arms: those
 * that mq_figure_of_difference gives, in its order. */
enum mq_window_figure {
    MQ_WINDOW_NLL,
    MQ_WINDOW_KLD,
    MQ_WINDOW_SAME_TOP,
    MQ_WINDOW_ROUTING, /* + an mq_routing_metric */
    MQ_WINDOW_FIGURES = MQ_WINDOW_ROUTING + MQ_ROUTING_COUNT
};
/* After the evaluation: means[windows] of arm 1 or beyond; their mean is the arm's figure. Routing
 * figures are NaN for dense models. */
void mq_referee_window_means(const struct mq_referee *referee, size_t arm, int figure,
                             double *means);

/* Perplexity of per-token negative log-likelihoods. */
struct mq_perplexity mq_perplexity_of(const double *nll, size_t n);

#endif
