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

struct mq_sweep_options {
    struct mq_protocol_options protocol;
    /* Two more arms for each level, which separate the damage by coarse weights from that by wrong
     * routes. */
    bool swap;
    /* One more arm: the source's weights with activations rounded to bf16
     * (mq_arm.bf16_activations). An implementation in bf16 loses about so much by its rounding
     * alone. */
    bool noise_floor;
    /* One more arm for each level: the same weights computed with as integers (MQ_COMPUTE_INT8).
     * The baseline and the other arms stay f32. */
    bool int8;
};

/*
 * The 2x2 table of a level, weights by routes: neither is the baseline, both is the level itself,
 * and these are the others. An arm that runs with another's routes takes its experts and their
 * weights, at every token of every layer, and its own router decides nothing.
 */
struct mq_swap_result {
    struct mq_arm_result weights; /* all of the level's weights, with the baseline's routes */
    /* The baseline's weights, with the routes that the level chose. Not there where the baseline is
     * a recording: has_routes is false, and so are its shares and the interaction NaN. */
    struct mq_arm_result routes;
    bool has_routes;
    struct mq_loss_shares nll_shares, kld_shares;
};

enum mq_sweep_kind {
    MQ_SWEEP_BASELINE,
    MQ_SWEEP_LEVEL,
    MQ_SWEEP_STORED, /* a model in files of its own: what verify judges */
    MQ_SWEEP_NOISE_FLOOR
};

struct mq_sweep_row {
    const char *name;
    enum mq_sweep_kind kind;
    enum mq_compute compute;        /* of `result` and `swap` */
    struct mq_policy policy;        /* of a level; all NULL for the others */
    uint64_t weights, weight_bytes; /* all tensors; of the baseline, as it is stored */
    uint64_t file_bytes;            /* of the moeq file this would make; of the source's files */
    double bits_per_weight;         /* 8 weight_bytes / weights */
    /* sqrt(sum of squared errors / sum of squared weights) over the experts' and MLPs' matrices
     * that were quantized on the fly; 0 where nothing was. */
    double expert_relative_rmse;
    uint64_t expert_tensors_quantized;
    struct mq_arm_result result;
    struct mq_swap_result *swap; /* of a level or a stored model; NULL unless asked for */
    struct mq_arm_result *int8;  /* of a level, with MQ_COMPUTE_INT8; NULL unless asked for */
};

struct mq_sweep_result {
    const struct mq_view *view;
    const char *text_path;        /* its name */
    const struct mq_text *source; /* NULL: a recording's */
    struct mq_text_windows text;
    enum mq_compute compute; /* of the rows that are judged; of a sweep's: MQ_COMPUTE_F32 */
    /* [0]: the baseline, the source as it is stored; then one a level; then the noise floor if
     * asked for */
    struct mq_sweep_row *rows;
    size_t rows_count;
};

/*
 * Writes nothing. Fails where the routes of a model without experts are to be swapped. A tensor
 * whose level is the one it is stored at keeps its bytes, so a sweep to the source's own level
 * gives exactly the baseline. view, source and the arms' names must outlive the result.
 */
moeq_status mq_sweep(const struct mq_context *context, const struct mq_view *view,
                     const struct mq_text *source, const struct mq_sweep_options *options,
                     const struct mq_sweep_arm *arms, size_t arms_count,
                     struct mq_sweep_result *result, moeq_error *err);
void mq_sweep_result_free(struct mq_sweep_result *result);

#endif
