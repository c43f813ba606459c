/*
 * mixer_sensitivity.h: what each matrix of attention, or of what stands in its place, loses at each level.
 *
 * Of every product W x of a mixer the error is measured, on the tokens that the matrix meets, and taken as the
 * error of what the mixer adds to the residual stream, both as parts of the whole:
 *
 *     loss = sum |W_quantized x - W x|^2 / sum |W x|^2 * sum |added|^2 / (sum |stream before|^2 + sum |added|^2)
 *
 * For the last product of a mixer that is what sensitivity.h has for MLPs (the sum of squares behind the mixer is taken as if
 * what is added were at right angles to what is there). Errors of the others go through softmax or a recurrence; how much
 * of them comes out is not derived but measured: by the KL divergence that q2_k of one matrix makes, in layers behind the first
 * of two trained models, queries have 0.2 to 0.9 of what the same loss of the last product makes there, keys 0.2 to 1.9, values
 * 0.3 to 0.7. So all count alike. The first layer's mixer: ends_sensitivity.h.
 */
#ifndef MQ_MIXER_SENSITIVITY_H
#define MQ_MIXER_SENSITIVITY_H

#include "evaluator.h"
#include "sensitivity_int.h"

struct mq_mixer_sensitivity;

moeq_status mq_mixer_sensitivity_create(const struct mq_sensitivity_job *job,
                                        struct mq_mixer_sensitivity **mixers, moeq_error *err);
moeq_status mq_mixer_sensitivity_product(struct mq_mixer_sensitivity *mixers,
                                         const struct mq_product *product, moeq_error *err);
/* Losses of all mixers' matrices; stream[layer + 1]: squares of what leaves a layer. */
void mq_mixer_sensitivity_finish(struct mq_mixer_sensitivity *mixers, const double *stream);
void mq_mixer_sensitivity_destroy(struct mq_mixer_sensitivity *mixers); /* NULL is fine */

#endif
