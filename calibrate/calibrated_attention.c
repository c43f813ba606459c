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
    uint64_t cols, weights, scratch; /* of the largest */
};

static struct sizes measure(const struct mq_view *view)
{
    struct sizes s = {0};
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (!is_mixer(view, t))
            continue;
        s.cols = mq_max_u64(s.cols, t->cols);
        s.weights = mq_max_u64(s.weights, t->rows * t->cols);
        s.scratch = mq_max_u64(s.scratch, mq_load_matrix_scratch(t));
    }
    return s;
}

uint64_t mq_calibrated_attention_bytes(const struct mq_context *context, const struct mq_view *view)
{
    const struct sizes s = measure(view);
    return mq_covariance_bytes(context, s.cols) + s.weights * (sizeof(float) + 2) + s.scratch;
}

moeq_status mq_calibrated_attention_prepare(struct mq_calibrated_attention *a, moeq_error *err)
{
    const struct sizes s = measure(a->view);
    MQ_TRY(mq_covariance_create(a->context, s.cols, &a->inputs, err));
    a->weights = mq_pages_alloc(s.weights * sizeof(float) + 64);
    a->bytes = malloc(s.weights * 2 + 64); /* no level that is encoded so takes more than 16 bits */
    a->scratch = malloc(s.scratch);
    return a->weights && a->bytes && a->scratch ? MOEQ_OK : mq_fail_memory(err, "error feedback");
}

void mq_calibrated_attention_finish(struct mq_calibrated_attention *a)
{
    mq_covariance_destroy(&a->inputs);
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
    double lambda = mq_covariance_lambda(cols, product->tokens);
    if (a->rows == product->x && a->tokens == product->tokens && a->inputs.n == cols &&
        a->crc32 == crc)
        return MOEQ_OK;
    a->rows = NULL;
    a->inputs.n = cols;
    mq_covariance_clear(&a->inputs);
    for (size_t first = 0; first < product->tokens; first += MQ_COVARIANCE_ROWS)
        mq_covariance_add(&a->inputs, product->x + first * product->ldx, product->ldx,
                          mq_min_u64(MQ_COVARIANCE_ROWS, product->tokens - first));
    mq_covariance_finish(&a->inputs, lambda);
    for (int more = 0; !mq_covariance_factor(&a->inputs); more++, lambda *= 10) {
        if (more == 4)
            return mq_fail(err, MOEQ_MALFORMED,
                           "tensor '%s': the covariance of its inputs has no factor",
                           mq_tensor_shown(product->tensor));
        mq_covariance_finish(&a->inputs, lambda);
    }
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
    MQ_TRY(mq_feedback_encode(&a->inputs, mq_convert_level(a->sink, t), &a->feedback, a->weights,
                              t->rows, a->bytes, err));
    a->matrices++;
    return mq_convert_put(a->sink, t, a->bytes, err);
}
