/* calibration_importance.h: the importance of columns, of a calibration or an imatrix in GGUF. */
#ifndef MQ_CALIBRATION_IMPORTANCE_H
#define MQ_CALIBRATION_IMPORTANCE_H

#include "context.h"
#include "importance.h"

/*
 * The mean squares of each matrix's inputs, for encoding the matrices of a model; those of experts that met few
 * tokens blended (mq_importance_blend_experts). Fails if the file is of another model: by the fingerprint of a
 * calibration; of an imatrix by columns that differ, or matrices of experts and MLPs that are missing. Other matrices that it
 * lacks are noted in the view.
 */
moeq_status mq_calibration_importance(const struct mq_context *context, const char *path,
                                      struct mq_view *view, struct mq_importance **importance,
                                      moeq_error *err);

#endif
