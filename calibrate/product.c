/* product.c: panels of rows in parallel. */
#include "product.h"

#include "checked.h"
#include "kernels.h"

#include <omp.h>

enum { PANELS = 4 }; /* a task packs, and multiplies every input with */

size_t mq_product_floats(size_t cols)
{
    return (size_t)PANELS * MQ_PANEL * cols;
}

void mq_product(const struct mq_context *context, const float *w, size_t rows, size_t cols,
                const float *bias, const float *x, size_t ldx, size_t count, float *y, size_t ldy,
                float *packed)
{
    const struct mq_kernels *kernels = mq_kernels_get(context->isa);
    const size_t step = (size_t)PANELS * MQ_PANEL;
#pragma omp parallel for num_threads(mq_team(context, rows * cols * count)) schedule(dynamic)
    for (size_t first = 0; first < rows; first += step) {
        float *panels = packed + (size_t)omp_get_thread_num() * mq_product_floats(cols);
        const size_t some = mq_min_u64(step, rows - first);
        for (size_t r = 0; r < some; r += MQ_PANEL)
            kernels->pack(w + (first + r) * cols, cols, mq_min_u64(MQ_PANEL, some - r), cols,
                          panels + r * cols);
        kernels->multiply(x, ldx, count, panels, MQ_PANEL * cols, cols, some, y + first, ldy);
        for (size_t i = 0; bias && i < count; i++)
            for (size_t r = first; r < first + some; r++)
                y[i * ldy + r] += bias[r];
    }
}
