/*
 * feedback.h: a matrix into a level's blocks with the least error of its outputs, not of its weights.
 *
 * Block after block, column after column, codes are rounded so that each makes good what it can of the
 * errors before it (covariance.h), with the scales around the first guess tried; then codes, scales and d are
 * lowered one by one against the whole of H (coordinate descent). The blocks are plain blocks of the level.
 */
#ifndef MQ_FEEDBACK_H
#define MQ_FEEDBACK_H

#include "covariance.h"
#include "levels.h"

/* False: there is no such encoder for the level, and mq_level_encode_rows is to be used. */
bool mq_feedback_can(const struct mq_level *level);

struct mq_feedback_options {
    enum mq_effort effort; /* of the search for first scales */
    int passes;            /* of coordinate descent; -1: MQ_FEEDBACK_PASSES */
};
enum { MQ_FEEDBACK_PASSES = 2 };

/* Bytes of scratch for matrices of so many columns, on context->threads threads. */
uint64_t mq_feedback_bytes(const struct mq_context *context, size_t cols);

/*
 * weights [rows][factor->n] -> rows of blocks. `factor` is finished and factored. The same bytes whatever the
 * threads and the instruction set; rows are independent of each other.
 */
moeq_status mq_feedback_encode(const struct mq_covariance *factor, const struct mq_level *level,
                               const struct mq_feedback_options *options, const float *weights,
                               size_t rows, uint8_t *bytes, moeq_error *err);

/*
 * The matrix that makes good what the inputs have lost: weights X H^-1, with X = sum of x x_q' (x the
 * inputs as they should be, x_q as they are; scaled and damped as H is, so that X = H where both are the
 * same), H of x_q, factored. In place.
 */
moeq_status mq_feedback_cross_target(const struct mq_covariance *factor,
                                     const struct mq_covariance *cross, float *weights, size_t rows,
                                     moeq_error *err);

/* tr(E H E') with E = a - b, [rows][n], and H as mq_covariance_finish left it (factored or not). */
double mq_feedback_loss(const struct mq_covariance *factor, const float *a, const float *b,
                        size_t rows);

#endif
