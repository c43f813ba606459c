/*
 * kept_weights.h: rows of matrices that were read, as they were stored or quantized on the fly, for
 * a model that is asked for one token after the other.
 *
 * Reading a row again from the page cache costs a call and a copy; quantizing it again costs a
 * search. Rows are kept while there is room, for the life of a sequence; what does not fit is read
 * each time.
 */
#ifndef MQ_KEPT_WEIGHTS_H
#define MQ_KEPT_WEIGHTS_H

#include "linear.h"

struct mq_kept_weights;

/* `room`: bytes of rows that may be kept. */
moeq_status mq_kept_weights_create(const struct mq_view *view, uint64_t room,
                                   struct mq_kept_weights **kept, moeq_error *err);
void mq_kept_weights_destroy(struct mq_kept_weights *kept); /* NULL is fine */

/* Makes room for a tensor, if there is any; called on one thread before the others. */
void mq_kept_weights_prepare(struct mq_kept_weights *kept, const struct mq_weights *weights);

/* The bytes of rows [row, row + count), one after the other, at weights->level or as stored; NULL
 * where not all of them are kept. Of a kept that is NULL there is nothing. */
const uint8_t *mq_kept_weights_find(const struct mq_kept_weights *kept,
                                    const struct mq_weights *weights, uint64_t row, uint64_t count);
/* Keeps them. Threads may put rows of one tensor at a time, each its own. */
void mq_kept_weights_put(struct mq_kept_weights *kept, const struct mq_weights *weights,
                         uint64_t row, uint64_t count, const uint8_t *bytes);

#endif
