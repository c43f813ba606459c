/*
 * ends_sensitivity.h: what the first and the last matrices of a model lose at each level, as parts of what is lost in the
 * residual stream.
 *
 * An error before the first MLP says little by its part in the stream there: what that MLP adds is often hundreds of times
 * as large, and depends on the error smoothly. So embeddings, and the matrices of the first layer's mixer, are measured
 * behind the first layer, which is run with each of them quantized:
 *
 *     loss = sum |x_quantized - x|^2 / sum |x|^2            x: the residual stream after the layer
 *
 * The head's errors are in no stream. To second order the KL divergence that errors e of logits make is half their
 * variance by the probabilities p of the tokens that may come next. So the head is compared with an error of the stream that
 * makes as much: r of a random direction, as long as the state h that the head meets,
 *
 *     loss = sum Var_p((W_quantized - W) h) / sum Var_p(W r)
 *
 * where whatever scales all logits alike cancels.
 */
#ifndef MQ_ENDS_SENSITIVITY_H
#define MQ_ENDS_SENSITIVITY_H

#include "evaluator.h"
#include "sensitivity_int.h"

/* Embeddings and the first layer's mixer, by some of the windows. A tied head's tensor has the embeddings' loss alone
 * after this; the head's is added by what follows. */
moeq_status mq_first_sensitivity(const struct mq_sensitivity_job *job,
                                 const struct mq_windows *windows, moeq_error *err);

struct mq_head_sensitivity;

moeq_status mq_head_sensitivity_create(const struct mq_sensitivity_job *job,
                                       struct mq_head_sensitivity **head, moeq_error *err);
/* What the head is about to meet, and then its logits. */
void mq_head_sensitivity_product(struct mq_head_sensitivity *head,
                                 const struct mq_product *product);
moeq_status mq_head_sensitivity_logits(struct mq_head_sensitivity *head, const float *logits,
                                       size_t tokens, moeq_error *err);
void mq_head_sensitivity_finish(struct mq_head_sensitivity *head);
void mq_head_sensitivity_destroy(struct mq_head_sensitivity *head); /* NULL is fine */

#endif
