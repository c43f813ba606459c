/* model_fingerprint.c: a CRC-32 over shapes, norms and routers. */
#include "model_fingerprint.h"

#include "checked.h"
#include "error.h"
#include "linear.h"

#include <math.h>
#include <stdlib.h>
#include <zlib.h>

#define STEPS 1024.0 /* to 1 */

static const enum mq_role hashed[] = {MQ_ROLE_ATTN_NORM, MQ_ROLE_FFN_NORM, MQ_ROLE_ROUTER,
                                      MQ_ROLE_OUTPUT_NORM};

static bool is_hashed(enum mq_role role)
{
    for (size_t i = 0; i < sizeof hashed / sizeof *hashed; i++)
        if (hashed[i] == role)
            return true;
    return false;
}

static uint32_t add_shape(uint32_t crc, const struct mq_tensor *t)
{
    const uint64_t shape[] = {(uint64_t)t->role, (uint64_t)(t->layer + 1),
                              (uint64_t)(t->expert + 1), t->rows, t->cols};
    return (uint32_t)crc32_z(crc, (const Bytef *)shape, sizeof shape);
}

/* `steps` has room for a row, in place of which it is rounded. */
static moeq_status add_values(const struct mq_context *context, const struct mq_view *view,
                              const struct mq_tensor *t, uint8_t *bytes, float *row, int32_t *steps,
                              uint32_t *crc, moeq_error *err)
{
    const struct mq_weights w = {.view = view, .tensor = t, .storage = mq_level_find(t->storage)};
    if (!w.storage)
        return mq_view_fail_row(err, MOEQ_UNSUPPORTED, view, t, 0,
                                "is stored as %s, which is not known", t->storage);
    for (uint64_t r = 0; r < t->rows; r++) {
        MQ_TRY(mq_weights_load(&w, context->isa, r, 1, bytes, row, err));
        for (uint64_t c = 0; c < t->cols; c++) {
            const double x = rint((double)row[c] * STEPS);
            steps[c] = (int32_t)fmax(-1e9, fmin(1e9, x));
        }
        *crc = (uint32_t)crc32_z(*crc, (const Bytef *)steps, t->cols * sizeof *steps);
    }
    return MOEQ_OK;
}

moeq_status mq_model_fingerprint(const struct mq_context *context, const struct mq_view *view,
                                 uint32_t *fingerprint, moeq_error *err)
{
    uint64_t cols = 1, row_bytes = 1;
    uint32_t crc = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        crc = add_shape(crc, t);
        if (is_hashed(t->role)) {
            cols = mq_max_u64(cols, t->cols);
            row_bytes = mq_max_u64(row_bytes, t->row_bytes);
        }
    }
    uint8_t *bytes = malloc(row_bytes + 64);
    float *row = malloc(cols * sizeof *row);
    int32_t *steps = malloc(cols * sizeof *steps);
    moeq_status status = MOEQ_OK;
    if (!bytes || !row || !steps)
        status = mq_fail_memory(err, "telling a model from others");
    for (size_t i = 0; i < view->tensors_count && status == MOEQ_OK; i++)
        if (is_hashed(view->tensors[i].role))
            status = add_values(context, view, &view->tensors[i], bytes, row, steps, &crc, err);
    free(bytes);
    free(row);
    free(steps);
    *fingerprint = crc;
    return status;
}
