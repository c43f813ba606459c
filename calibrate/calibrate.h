/* calibrate.h: calibrations made, merged and looked at: `moeq calibrate`. */
#ifndef MQ_CALIBRATE_H
#define MQ_CALIBRATE_H

#include "calibration.h"
#include "coverage.h"
#include "evaluator.h"

/* An output whose name ends in .gguf becomes an imatrix (imatrix.h), every other one a calibration. */
struct mq_calibrate_output {
    const char *path;
    bool replace; /* one that exists */
};

/* Fails if it exists and is not to be replaced, or cannot be written there: to find out before texts are read. */
moeq_status mq_calibrate_check_output(const struct mq_calibrate_output *output, moeq_error *err);

struct mq_calibrate_job {
    const struct mq_view *view;
    struct mq_windows windows;
    size_t held_out; /* of the last windows: measured against the others, and not in the output */
    const struct mq_calibration_text *texts; /* what the others are of */
    size_t texts_count;
    struct mq_calibrate_output output;
};

struct mq_calibrate_result {
    struct mq_coverage coverage;
    struct mq_calibration_text *texts; /* the coverage's arena */
    size_t texts_count;
    const char *model_name; /* the coverage's arena */
    uint64_t tokens, file_bytes;
};

/* The file appears under its name when it is complete and on the disk. An output that is an input is refused. */
moeq_status mq_calibrate(const struct mq_context *context, const struct mq_calibrate_job *job,
                         struct mq_calibrate_result *result, moeq_error *err);

/* The sum of calibrations of one model, of different texts; of one file: that, in the form of the output. */
moeq_status mq_calibrate_merge(const struct mq_context *context, const char *const *paths,
                               size_t count, const struct mq_calibrate_output *output,
                               struct mq_calibrate_result *result, moeq_error *err);

void mq_calibrate_result_free(struct mq_calibrate_result *result);

#endif
