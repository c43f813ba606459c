/* referee_int.h: what a referee keeps while an evaluation runs. */
#ifndef MQ_REFEREE_INT_H
#define MQ_REFEREE_INT_H

#include "exact_sum.h"
#include "referee.h"

/* A layer's figures, summed over the tokens so far. */
struct layer_sums {
    struct mq_fine_sum sum[MQ_ROUTING_COUNT], squares[MQ_ROUTING_COUNT];
};

struct arm_record {
    double *nll; /* [scored tokens] */
    double *kld; /* [scored tokens]; not of the baseline, nor the rest */
    uint8_t *same_top;
    struct mq_routing_figures *tokens; /* [all tokens]: each summed over the layers so far */
    struct layer_sums *layers;         /* [layers] */
    uint64_t *choices; /* [layers][most_experts]: how often each was chosen; also the baseline's */
    uint64_t margin_flips[MQ_MARGIN_BINS];
    double *task_nll; /* [tasks' slots]; NULL without tasks */
};

struct mq_referee {
    const struct mq_context *context;
    const struct mq_arm *arms;
    size_t arms_count;
    const struct mq_text_windows *text;
    struct arm_record *records; /* [arms] */
    uint64_t *routed;           /* [layers]: not 0 of those with a router */
    uint64_t margin_choices[MQ_MARGIN_BINS];
    double *exps;                       /* [threads][vocab] of the baseline */
    double *scratch;                    /* [threads][mq_routing_scratch] */
    struct mq_routing_figures *figures; /* [ROUTE_BLOCK] */
    size_t exps_stride, scratch_stride;
    uint32_t most_experts; /* of a layer */
};

/* What every process has seen of the tasks becomes what each knows. `arms`, `windows`, `observer`: as evaluated. */
moeq_status mq_referee_merge_tasks(struct mq_referee *r, const struct mq_arm *arms,
                                   const struct mq_windows *windows,
                                   const struct mq_observer *observer, moeq_error *err);

#endif
