/* calibrated_attention.c: error feedback for the matrices of mixers. */
#include "calibrated_attention.h"

#include "checked.h"
#include "load_matrix.h"
#include "pages.h"

#include <stdlib.h>
#include <zlib.h>

static bool is_mixer(const struct mq_view *view, const struct mq_tensor *t)
{
    return mq_view_class(view, t->role) == MQ_CLASS_ATTENTION && t->layer >= 0 && t->rows > 1;
}

struct sizes {
    uint64_t rows, cols, weights, scratch; /* of the largest */
};

static struct sizes measure(const struct mq_view *view)
{
    struct sizes s = {0};
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (!is_mixer(view, t))
            continue;
        s.rows = mq_max_u64(s.rows, t->rows);
        s.cols = mq_max_u64(s.cols, t->cols);
        s.weights = mq_max_u64(s.weights, t->rows * t->cols);
        s.scratch = mq_max_u64(s.scratch, mq_load_matrix_scratch(t));
    }
    return s;
}

uint64_t mq_calibrated_attention_bytes(const struct mq_context *context, const struct mq_view *view,
                                       size_t columns)
{
    const struct sizes s = measure(view);
    return mq_columns_bytes(context, s.cols, columns, s.rows) + s.weights * (sizeof(float) + 2) +
           s.scratch;
}

moeq_status mq_calibrated_attention_prepare(struct mq_calibrated_attention *a, moeq_error *err)
{
    const struct sizes s = measure(a->view);
    MQ_TRY(mq_columns_create(a->context, s.cols, a->columns, s.rows, &a->inputs, err));
    a->weights = mq_pages_alloc(s.weights * sizeof(float) + 64);
    a->bytes = malloc(s.weights * 2 + 64); /* no level that is encoded so takes more than 16 bits */
    a->scratch = malloc(s.scratch);
    return a->weights && a->bytes && a->scratch ? MOEQ_OK : mq_fail_memory(err, "error feedback");
}

void mq_calibrated_attention_finish(struct mq_calibrated_attention *a)
{
    mq_columns_destroy(&a->inputs);
    free(a->weights);
    free(a->bytes);
    free(a->scratch);
}

static uint32_t crc_of(const struct mq_product *product)
{
    uLong crc = 0;
    for (size_t i = 0; i < product->tokens; i++)
        crc = crc32_z(crc, (const Bytef *)(product->x + i * product->ldx),
                      product->tensor->cols * sizeof(float));
    return (uint32_t)crc;
}

/* The factored covariance of the product's rows. */
static moeq_status gather(struct mq_calibrated_attention *a, const struct mq_product *product,
                          moeq_error *err)
{
    const size_t cols = product->tensor->cols;
    const uint32_t crc = crc_of(product);
    if (a->rows == product->x && a->tokens == product->tokens && a->inputs.n == cols &&
        a->crc32 == crc)
        return MOEQ_OK;
    a->rows = NULL;
    mq_columns_begin(&a->inputs, cols);
    for (size_t first = 0; first < product->tokens; first += MQ_COVARIANCE_ROWS)
        mq_columns_add(&a->inputs, product->x + first * product->ldx, product->ldx,
                       mq_min_u64(MQ_COVARIANCE_ROWS, product->tokens - first));
    MQ_TRY(mq_columns_factor(&a->inputs, mq_covariance_lambda(cols, product->tokens),
                             mq_tensor_shown(product->tensor), err));
    a->rows = product->x;
    a->tokens = product->tokens;
    a->crc32 = crc;
    return MOEQ_OK;
}

moeq_status mq_calibrated_attention_product(struct mq_calibrated_attention *a,
                                            const struct mq_product *product, moeq_error *err)
{
    const struct mq_tensor *t = product->tensor;
    if (!is_mixer(a->view, t) || product->first_row > 0 || !mq_convert_as_it_is(a->sink, t) ||
        !mq_convert_wants(a->sink, t) || !mq_feedback_can(mq_convert_level(a->sink, t)))
        return MOEQ_OK;
    MQ_TRY(gather(a, product, err));
    MQ_TRY(mq_load_matrix(a->context, a->view, t, a->scratch, a->weights, err));
    MQ_TRY(mq_columns_encode(&a->inputs, mq_convert_level(a->sink, t), &a->feedback, a->weights,
                             t->rows, a->bytes, err));
    a->matrices++;
    return mq_convert_put(a->sink, t, a->bytes, err);
}
