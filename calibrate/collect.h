/*
 * collect.h: one pass of a model over texts that sums up what its matrices meet.
 *
 * Layer-major as every evaluation: the sums of one layer are in memory, and are added to the file's when
 * the next one begins. So where the windows take several passes, or a model has thousands of experts,
 * memory holds no more.
 */
#ifndef MQ_COLLECT_H
#define MQ_COLLECT_H

#include "calibration_write.h"
#include "evaluator.h"

struct mq_collect_options {
    const struct mq_view *view;
    const struct mq_windows *windows;
    size_t held_out; /* of the last windows: these go to `apart` */
    struct mq_calibration_writer *whole;
    struct mq_calibration_writer *apart; /* of the same view; NULL where none are held out */
};

/* MOEQ_LIMIT where context->memory_bytes does not hold the sums of one layer. */
moeq_status mq_collect(const struct mq_context *context, const struct mq_collect_options *options,
                       moeq_error *err);

#endif
