/* arms_int.h: what the evaluator asks of its arms: their weights, and that they fit together. */
#ifndef MQ_ARMS_INT_H
#define MQ_ARMS_INT_H

#include "evaluator.h"
#include "linear.h"

/* The weights of a role as an arm sees them; valid after mq_arms_check. A tied head is the
 * embedding matrix. All zero if a recording has none. */
struct mq_weights mq_arm_weights(const struct mq_arm *arm, enum mq_role role, int32_t layer,
                                 int32_t expert);

/* The first layer in which an arm may come to other states than `base`: what is before it has the same weights at the
 * same levels, and the arithmetic is the same. 0 where that cannot be told. */
uint32_t mq_arm_own_from(const struct mq_arm *base, const struct mq_arm *arm);

/* Fails everywhere unless all ranks have these arms, of the same files, and these windows. */
moeq_status mq_evaluation_agreed(const struct mq_context *context, const struct mq_arm *arms,
                                 size_t arms_count, const struct mq_windows *windows,
                                 moeq_error *err);

#endif
