/* columns.c: runs of columns, each a covariance. */
#include "columns.h"

#include "checked.h"
#include "pages.h"

#include <stdlib.h>
#include <string.h>

static size_t run_width(size_t n, size_t width)
{
    return width && width < n ? width : n;
}

static size_t runs_of(size_t n, size_t width)
{
    const size_t w = run_width(n, width);
    return w ? (n + w - 1) / w : 0;
}

/* Runs before they are put together: weights as floats and, of at most 16 bits, blocks. */
static uint64_t one_run(size_t width, size_t rows)
{
    return (uint64_t)width * rows * (sizeof(float) + 2) + 128;
}

uint64_t mq_columns_bytes(const struct mq_context *context, size_t n, size_t width, size_t rows)
{
    const size_t count = runs_of(n, width), w = run_width(n, width);
    return count * mq_covariance_bytes(context, w) + (count > 1 ? one_run(w, rows) : 0);
}

moeq_status mq_columns_create(const struct mq_context *context, size_t n, size_t width, size_t rows,
                              struct mq_columns *c, moeq_error *err)
{
    *c = (struct mq_columns){.n = n, .width = width, .rows = rows};
    const size_t count = runs_of(n, width), w = run_width(n, width);
    c->runs = calloc(count + 1, sizeof *c->runs);
    if (!c->runs)
        return mq_fail_memory(err, "a covariance");
    for (; c->most < count; c->most++)
        MQ_TRY(mq_covariance_create(context, w, &c->runs[c->most], err));
    if (count > 1) {
        c->weights = mq_pages_alloc((uint64_t)w * rows * sizeof(float));
        c->bytes = malloc((size_t)w * rows * 2 + 64);
        if (!c->weights || !c->bytes)
            return mq_fail_memory(err, "a covariance");
    }
    return MOEQ_OK;
}

void mq_columns_destroy(struct mq_columns *c)
{
    for (size_t i = 0; i < c->most; i++)
        mq_covariance_destroy(&c->runs[i]);
    free(c->runs);
    free(c->weights);
    free(c->bytes);
}

void mq_columns_begin(struct mq_columns *c, size_t n)
{
    const size_t w = run_width(n, c->width);
    c->n = n;
    c->count = runs_of(n, c->width);
    for (size_t i = 0; i < c->count; i++) {
        c->runs[i].n = mq_min_u64(w, n - i * w);
        mq_covariance_clear(&c->runs[i]);
    }
}

void mq_columns_add(struct mq_columns *c, const float *rows, size_t ld, size_t count)
{
    size_t at = 0;
    for (size_t i = 0; i < c->count; at += c->runs[i++].n)
        mq_covariance_add(&c->runs[i], rows + at, ld, count);
}

double mq_columns_trace(const struct mq_columns *c)
{
    double sum = 0.0;
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = 0; k < c->runs[i].n; k++)
            sum += (double)c->runs[i].a[k * c->runs[i].n + k];
    return sum;
}

moeq_status mq_columns_factor(struct mq_columns *c, double lambda, const char *name,
                              moeq_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        double more = lambda; /* once more on top, and more, where that does not suffice */
        mq_covariance_loosen(&c->runs[i], MQ_COVARIANCE_LOOSE);
        mq_covariance_finish(&c->runs[i], lambda);
        for (int attempt = 0; !mq_covariance_factor(&c->runs[i]); attempt++, more *= 10) {
            if (attempt == 4)
                return mq_fail(err, MOEQ_MALFORMED,
                               "tensor '%s': the covariance of its inputs has no factor", name);
            mq_covariance_finish(&c->runs[i], more);
        }
    }
    return MOEQ_OK;
}

moeq_status mq_columns_encode(const struct mq_columns *c, const struct mq_level *level,
                              const struct mq_feedback_options *options, const float *weights,
                              size_t rows, uint8_t *bytes, moeq_error *err)
{
    const size_t row_bytes = mq_level_row_bytes(level, c->n);
    size_t at = 0, byte = 0;
    if (c->count == 1)
        return mq_feedback_encode(&c->runs[0], level, options, weights, rows, bytes, err);
    for (size_t i = 0; i < c->count; i++) {
        const size_t w = c->runs[i].n, run_bytes = mq_level_row_bytes(level, w);
        for (size_t r = 0; r < rows; r++)
            memcpy(c->weights + r * w, weights + r * c->n + at, w * sizeof(float));
        MQ_TRY(mq_feedback_encode(&c->runs[i], level, options, c->weights, rows, c->bytes, err));
        for (size_t r = 0; r < rows; r++)
            memcpy(bytes + r * row_bytes + byte, c->bytes + r * run_bytes, run_bytes);
        at += w;
        byte += run_bytes;
    }
    return MOEQ_OK;
}
