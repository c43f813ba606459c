/* family_check.h: whether a family's descriptor holds together. */
#ifndef MQ_FAMILY_CHECK_H
#define MQ_FAMILY_CHECK_H

#include "family.h"

/* Fails for a name whose role no layer takes, a role that a layer takes and no name is for, and a key
 * whose value changes no layer: with the model's values, or with one or two of them changed. */
moeq_status mq_family_check(const struct mq_view *view, const struct mq_model_program *program,
                            const char *path, moeq_error *err);

/* "moeq's own description of the family x is wrong: WHAT 'NAME' WHY" */
moeq_status mq_family_wrong(const struct mq_view *view, const char *path, moeq_error *err,
                            const char *what, const char *name, const char *why);

#endif
