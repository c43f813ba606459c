/* sensitivity_int.h: what the parts of a measurement share. */
#ifndef MQ_SENSITIVITY_INT_H
#define MQ_SENSITIVITY_INT_H

#include "linear.h"
#include "sensitivity.h"

struct mq_sensitivity_job {
    const struct mq_context *context;
    const struct mq_view *view;
    const struct mq_sensitivity_options *options;
    struct mq_sensitivity *result;
    struct mq_linear *linear;
    struct mq_linear_arm *arms; /* [3 * levels + 2] */
    size_t tokens;              /* of one product at most */
};

/* Whether a tensor is a matrix of attention, or of what stands in its place, that is computed with. */
static inline bool mq_sensitivity_is_mixer(const struct mq_view *view, const struct mq_tensor *t)
{
    return mq_view_class(view, t->role) == MQ_CLASS_ATTENTION && t->layer >= 0 && t->rows > 1 &&
           !mq_role_is_carried(t->role);
}

/* Rows of the head that are multiplied at a time. */
enum { MQ_SENSITIVITY_HEAD_ROWS = 2048 };

/* A matrix at a level; NULL: as stored. */
static inline struct mq_weights mq_sensitivity_weights(const struct mq_sensitivity_job *job,
                                                       const struct mq_tensor *tensor,
                                                       const struct mq_level *level)
{
    return (struct mq_weights){.view = job->view,
                               .tensor = tensor,
                               .storage = mq_level_find(tensor->storage),
                               .level = level,
                               .effort = job->options->effort,
                               .importance =
                                   mq_importance_columns(job->options->importance, tensor)};
}

/* Number i of `chosen` of `all` tokens, evenly. */
static inline size_t mq_sensitivity_token(size_t i, size_t chosen, size_t all)
{
    return i * all / chosen;
}

#endif
