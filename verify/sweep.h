/* sweep.h: `sweep SRC --levels ...`: several ways to quantize one model, judged in one pass over
 * it. */
#ifndef MQ_SWEEP_H
#define MQ_SWEEP_H

#include "plan.h"
#include "referee.h"

/* One way to quantize. */
struct mq_sweep_arm {
    const char *name; /* "q4_k" */
    struct mq_policy policy;
};

struct mq_sweep_row {
    const char *name;
    struct mq_policy policy;        /* of the arm; all NULL for the baseline */
    uint64_t weights, weight_bytes; /* all tensors; of the baseline, as it is stored */
    uint64_t file_bytes;            /* of the moeq file this would make; of the source's files */
    double bits_per_weight;         /* 8 weight_bytes / weights */
    /* sqrt(sum of squared errors / sum of squared weights) over the experts' and MLPs' matrices
     * that were quantized on the fly; 0 where nothing was. */
    double expert_relative_rmse;
    uint64_t expert_tensors_quantized;
    struct mq_arm_result result;
};

struct mq_sweep_result {
    const struct mq_view *view;
    const char *text_path;
    struct mq_text_windows text;
    struct mq_sweep_row *rows; /* [0]: the baseline, the source as it is stored; then one an arm */
    size_t rows_count;
};

/*
 * Writes nothing. A tensor whose level is the one it is stored at keeps its bytes, so a sweep to
 * the source's own level gives exactly the baseline. view, text_path and the arms' names must
 * outlive the result.
 */
moeq_status mq_sweep(const struct mq_context *context, const struct mq_view *view,
                     const char *text_path, const struct mq_protocol_options *options,
                     const struct mq_sweep_arm *arms, size_t arms_count,
                     struct mq_sweep_result *result, moeq_error *err);
void mq_sweep_result_free(struct mq_sweep_result *result);

#endif
