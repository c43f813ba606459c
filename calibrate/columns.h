/*
 * columns.h: the covariance of a matrix's inputs, whole or, where memory is short, of runs of columns for themselves.
 *
 * Of runs, each is encoded as a matrix of its own: errors are made good within it only. A run is a multiple of the longest
 * block, so that rows of blocks are those of the runs one after the other.
 */
#ifndef MQ_COLUMNS_H
#define MQ_COLUMNS_H

#include "feedback.h"

struct mq_columns {
    size_t n, width; /* columns in all, of a run at most */
    struct mq_covariance *runs;
    size_t count;   /* runs that are in use */
    size_t most;    /* and that there are */
    float *weights; /* of a run, if there are several */
    uint8_t *bytes;
    size_t rows; /* of the largest matrix */
};

enum { MQ_COLUMNS_WIDTH = 256 }; /* what a run's width is a multiple of */

/* Bytes for matrices of at most so many rows and columns in runs of `width` columns; width 0: whole. */
uint64_t mq_columns_bytes(const struct mq_context *context, size_t n, size_t width, size_t rows);
moeq_status mq_columns_create(const struct mq_context *context, size_t n, size_t width, size_t rows,
                              struct mq_columns *columns, moeq_error *err);
void mq_columns_destroy(struct mq_columns *columns); /* all zero is fine */

/* For matrices of n columns from now on, with nothing added yet. */
void mq_columns_begin(struct mq_columns *columns, size_t n);
/* As mq_covariance_add. */
void mq_columns_add(struct mq_columns *columns, const float *rows, size_t ld, size_t count);
/* The sum of all rows' squares. */
double mq_columns_trace(const struct mq_columns *columns);
/* Damped and factored; `name` is that of the matrix, for a message. */
moeq_status mq_columns_factor(struct mq_columns *columns, double lambda, const char *name,
                              moeq_error *err);
/* As mq_feedback_encode. */
moeq_status mq_columns_encode(const struct mq_columns *columns, const struct mq_level *level,
                              const struct mq_feedback_options *options, const float *weights,
                              size_t rows, uint8_t *bytes, moeq_error *err);

#endif
