/*
 * sensitivity.h: what each matrix loses at each level, for budgets: those of MLPs and experts, of attention and what
 * stands in its place (mixer_sensitivity.h), embeddings and head (ends_sensitivity.h).
 *
 * Only that matrix is quantized; of an expert its own tokens run through it. With g the factor of a
 * token's output in the layer's sum (its routing weight), and x the residual stream after the layer:
 *
 *     loss = sum over tokens of g^2 |out_quantized - out|^2 / sum over all tokens of |x|^2
 *
 * so losses of different matrices and layers are of one kind, and add up. No pass of the whole model is
 * needed for a matrix, and it ranks them as well as the KL divergence of doing so does. docs/calibrate.md has the
 * one over the other.
 */
#ifndef MQ_SENSITIVITY_H
#define MQ_SENSITIVITY_H

#include "evaluator.h"

struct mq_sensitivity_options {
    const struct mq_level *const *levels;
    size_t levels_count;
    enum mq_effort effort;
    const struct mq_importance *importance; /* for the encoders; NULL: all columns count alike */
    bool feedback; /* errors will be fed back (feedback.h) where the text tells how */
    size_t tokens; /* of one MLP in one pass at most, evenly chosen; 0: MQ_SENSITIVITY_TOKENS */
};
enum { MQ_SENSITIVITY_TOKENS = 512 };

struct mq_sensitivity {
    size_t tensors, levels;
    double *loss;         /* [view's tensors][levels]; NAN where nothing was measured */
    uint64_t *tokens;     /* [view's tensors]: that met the matrix, as far as it was looked at */
};

moeq_status mq_sensitivity_measure(const struct mq_context *context, const struct mq_view *view,
                                   const struct mq_windows *windows,
                                   const struct mq_sensitivity_options *options,
                                   struct mq_sensitivity *result, moeq_error *err);
void mq_sensitivity_free(struct mq_sensitivity *result);

#endif
