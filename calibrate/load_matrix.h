/* load_matrix.h: whole matrices of a view as floats. */
#ifndef MQ_LOAD_MATRIX_H
#define MQ_LOAD_MATRIX_H

#include "context.h"
#include "model_view.h"

/* Bytes of scratch with which a matrix is read well. */
uint64_t mq_load_matrix_scratch(const struct mq_tensor *tensor);

/* rows[tensor->rows][cols]; finite, or an error that names the row. scratch: as many bytes as the function above says
 * for this tensor, or more. */
moeq_status mq_load_matrix(const struct mq_context *context, const struct mq_view *view,
                           const struct mq_tensor *tensor, uint8_t *scratch, float *rows,
                           moeq_error *err);

#endif
