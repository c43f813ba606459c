/* feedback_groups_int.h: what feedback_kernels.c does for levels with codebooks (feedback_groups.c). */
#ifndef MQ_FEEDBACK_GROUPS_INT_H
#define MQ_FEEDBACK_GROUPS_INT_H

#include "feedback_book.h"
#include "feedback_kernels.h"

#include "vec16.h"

void MQ_ISA_NAME(mq_feedback_first_scales)(const struct mq_block_form *form,
                                           const struct mq_feedback_book *book, const float *aim,
                                           const float *D, struct mq_feedback_block *block);

/* As mq_feedback_kernels.feed. */
void MQ_ISA_NAME(mq_feedback_feed_groups)(const struct mq_block_form *form,
                                          const struct mq_feedback_book *book, const float *w,
                                          float *x, const float *f, size_t ldf, const float *D,
                                          struct mq_feedback_block *block, float *delta);

/* The codes' part of mq_feedback_kernels.descend. */
void MQ_ISA_NAME(mq_feedback_descend_groups)(const struct mq_block_form *form,
                                             const struct mq_feedback_book *book, const float *h,
                                             size_t ldh, float *g, float *change,
                                             struct mq_feedback_block *block);

#endif
