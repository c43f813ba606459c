/*
 * calibrated_attention.h: the matrices of attention and other mixers, encoded with error feedback against the
 * covariance of the rows that they are about to multiply.
 */
#ifndef MQ_CALIBRATED_ATTENTION_H
#define MQ_CALIBRATED_ATTENTION_H

#include "columns.h"
#include "convert.h"
#include "evaluator.h"
#include "feedback.h"

struct mq_calibrated_attention {
    const struct mq_context *context;
    const struct mq_view *view;
    struct mq_convert_sink *sink;
    struct mq_feedback_options feedback;
    size_t columns; /* of calibrated.h */
    struct mq_columns inputs;
    /* Of which rows `inputs` is: q, k and v meet the same ones. */
    const float *rows;
    size_t tokens;
    uint32_t crc32;
    float *weights;
    uint8_t *bytes, *scratch;
    uint64_t matrices; /* encoded */
};

uint64_t mq_calibrated_attention_bytes(const struct mq_context *context, const struct mq_view *view,
                                       size_t columns);
/* context to feedback are the caller's to fill in before. */
moeq_status mq_calibrated_attention_prepare(struct mq_calibrated_attention *attention,
                                            moeq_error *err);
void mq_calibrated_attention_finish(struct mq_calibrated_attention *attention);

/* A product of an observer (on_product) over all tokens: nothing is done for other matrices than those of mixers, and for
 * those that the sink does not want. */
moeq_status mq_calibrated_attention_product(struct mq_calibrated_attention *attention,
                                            const struct mq_product *product, moeq_error *err);

#endif
