/*
 * kept_weights.h: rows of matrices as they were stored or quantized on the fly, for who meets them again: a model
 * that is asked for one token after the other, or an evaluation in several passes.
 *
 * Reading a row again from the page cache costs a call and a copy; quantizing it again costs a
 * search. Rows are kept in memory while there is room. An evaluation's, which would not find any beside the tokens'
 * states, go to a scratch file from there on, of which a product reads a panel at a time: the system's page cache holds
 * what it can of them, and the process nothing. What has no place there either is made anew each time, and so is all
 * that is in the file where its disk turns out to be slower than making it.
 */
#ifndef MQ_KEPT_WEIGHTS_H
#define MQ_KEPT_WEIGHTS_H

#include "linear.h"

struct mq_kept_weights;
struct mq_kept_matrix; /* of one tensor, as stored or at one level */

enum mq_kept_kind {
    MQ_KEPT_ALL,     /* in memory alone */
    MQ_KEPT_ENCODED, /* what is quantized on the fly; beyond memory in a file */
};

/* `room`: bytes of rows that may be kept in memory. `context` must outlive it. */
moeq_status mq_kept_weights_create(const struct mq_context *context, enum mq_kept_kind kind,
                                   uint64_t room, struct mq_kept_weights **kept, moeq_error *err);
void mq_kept_weights_destroy(struct mq_kept_weights *kept); /* NULL is fine */

/* Some weights' matrix, for which a place is made at the first time; NULL: there is none, or `kept` is NULL. On one
 * thread, as the next two. */
struct mq_kept_matrix *mq_kept_weights_matrix(struct mq_kept_weights *kept,
                                              const struct mq_weights *weights);
/* Whether all rows [row, row + count) are there; of NULL none is. */
bool mq_kept_matrix_has(const struct mq_kept_matrix *matrix, uint64_t row, uint64_t count);
/* Now they are: all of them were put. */
void mq_kept_matrix_add(struct mq_kept_matrix *matrix, uint64_t row, uint64_t count);

/* Threads may do the rest at a time, each with rows of its own. */

/* The bytes of rows that are there, one after the other, at weights->level or as stored. `room`, for so many, may
 * take them. Fails where the file cannot be read. */
moeq_status mq_kept_matrix_get(struct mq_kept_matrix *matrix, uint64_t row, uint64_t count,
                               uint8_t *room, const uint8_t **bytes, moeq_error *err);
/* Asks the system to have them ready. */
void mq_kept_matrix_prefetch(const struct mq_kept_matrix *matrix, uint64_t row, uint64_t count);
/* Puts rows there, which began to be made at an instant of mq_kept_clock_ns. Where it fails the matrix is given up: it
 * never has any row. */
void mq_kept_matrix_put(struct mq_kept_matrix *matrix, uint64_t row, uint64_t count,
                        const uint8_t *bytes, uint64_t begin_ns);
uint64_t mq_kept_clock_ns(void);

#endif
