/* load_matrix.c: rows are read as many at a time as their storage asks for. */
#include "load_matrix.h"

#include "checked.h"
#include "error.h"
#include "linear.h"

#define MOST_BYTES (UINT64_C(8) << 20)

static uint64_t rows_at_once(const struct mq_tensor *t)
{
    const uint64_t fit = MOST_BYTES / (t->row_bytes + 1);
    const uint64_t some = mq_min_u64(mq_view_rows_at_once(t), mq_min_u64(fit, t->rows));
    return some ? some : 1;
}

uint64_t mq_load_matrix_scratch(const struct mq_tensor *t)
{
    return rows_at_once(t) * t->row_bytes + 64;
}

moeq_status mq_load_matrix(const struct mq_context *context, const struct mq_view *view,
                           const struct mq_tensor *t, uint8_t *scratch, float *rows,
                           moeq_error *err)
{
    const struct mq_weights w = {.view = view, .tensor = t, .storage = mq_level_find(t->storage)};
    const uint64_t step = rows_at_once(t);
    for (uint64_t r = 0; r < t->rows; r += step)
        MQ_TRY(mq_weights_load(&w, context->isa, r, mq_min_u64(step, t->rows - r), scratch,
                               rows + r * t->cols, err));
    return MOEQ_OK;
}
