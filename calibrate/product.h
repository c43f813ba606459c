/* product.h: a product with a matrix that is in memory. */
#ifndef MQ_CALIBRATE_PRODUCT_H
#define MQ_CALIBRATE_PRODUCT_H

#include "context.h"

#include <stddef.h>

/* y[i][r] = sum over c of x[i][c] w[r][c] (+ bias[r]), i < count, w [rows][cols]; `packed`: scratch of
 * mq_product_floats for each of context->threads. */
size_t mq_product_floats(size_t cols);
void mq_product(const struct mq_context *context, const float *w, size_t rows, size_t cols,
                const float *bias, const float *x, size_t ldx, size_t count, float *y, size_t ldy,
                float *packed);

#endif
