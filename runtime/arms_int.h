/* arms_int.h: what the evaluator asks of its arms: their weights, and that they fit together. */
#ifndef MQ_ARMS_INT_H
#define MQ_ARMS_INT_H

#include "evaluator.h"
#include "linear.h"

/* The weights of a role as an arm sees them; valid after mq_arms_check. A tied head is the
 * embedding matrix. */
struct mq_weights mq_arm_weights(const struct mq_arm *arm, enum mq_role role, int32_t layer,
                                 int32_t expert);

/* Whether a layer has a router (the arms agree). */
bool mq_arm_has_router(const struct mq_arm *arm, uint32_t layer);

/* Checks everything that the evaluator relies on, so that it can index without looking: sane hyper-
 * parameters that all arms share, every tensor there with its shape and a known level, routes_from.
 */
moeq_status mq_arms_check(const struct mq_arm *arms, size_t count, moeq_error *err);

#endif
