/* linear_scratch.c: room for products, in one allocation: for each thread its own, and the rows' sums. */
#include "linear_int.h"

#include "checked.h"
#include "error.h"
#include "pages.h"

#include <stdlib.h>

/* Offsets of the scratch arrays in one allocation. */
struct layout {
    uint64_t rows, quantized, packed, product, bytes, together, band_rows, band_bytes, band_raw;
    struct int8_layout {
        uint64_t codes, scales, mins, tails;
    } unpacked, integers;
    uint64_t thread_bytes, total;
};

/* Room for `rows` rows with together n weights, from *at on. */
static struct int8_layout lay_out_int8(uint64_t n, uint64_t rows, uint64_t *at)
{
    struct int8_layout l;
    const uint64_t scales = mq_round_up(n / (MQ_INT8_BLOCK / 2) * sizeof(float), 64);
    l.codes = *at;
    l.scales = l.codes + mq_round_up(n, 64);
    l.mins = l.scales + scales;
    l.tails = l.mins + scales;
    *at = l.tails + rows * MQ_INT8_BLOCK * sizeof(float);
    return l;
}

static struct int8_rows int8_rows_at(char *base, const struct int8_layout *l)
{
    return (struct int8_rows){
        .codes = (int8_t *)(base + l->codes),
        .scales = (float *)(void *)(base + l->scales),
        .mins = (float *)(void *)(base + l->mins),
        .tails = (float *)(void *)(base + l->tails),
    };
}

static struct layout lay_out(const struct mq_context *context, const struct mq_linear_sizes *sizes)
{
    struct layout l = {0};
    uint64_t at = 0;
    /* mq_linear_apply packs one panel of any width, and more of them up to MAX_PACKED_BYTES */
    const uint64_t panel = MQ_PANEL * sizes->cols;
    const uint64_t floats =
        mq_max_u64(panel, mq_min_u64(MAX_PACKED_BYTES / sizeof(float), MAX_PANELS * panel));
#define TAKE(field, size) (l.field = at, at += mq_round_up((size), 64))
    TAKE(rows, floats * sizeof(float));
    TAKE(quantized, panel * sizeof(float));
    TAKE(packed, floats * sizeof(float));
    TAKE(product, (uint64_t)CHUNK_TOKENS * PRODUCT_LD * sizeof(float));
    TAKE(bytes, MQ_PANEL * sizes->row_bytes);
    TAKE(together, mq_max_u64(TOGETHER_BYTES, MQ_PANEL * sizes->row_bytes));
    if (sizes->band_rows > 1) {
        TAKE(band_rows, sizes->band_rows * sizes->cols * sizeof(float));
        TAKE(band_bytes, sizes->band_rows * sizes->row_bytes);
        TAKE(band_raw, MQ_PANEL * sizes->row_bytes);
    }
#undef TAKE
    if (sizes->int8) {
        l.unpacked = lay_out_int8(panel, MQ_PANEL, &at);
        l.integers = lay_out_int8(floats, MAX_PANELS * MQ_PANEL, &at);
    }
    l.thread_bytes = mq_round_up(at, 4096);
    l.total = l.thread_bytes * context->threads +
              sizes->arms * mq_max_u64(sizes->rows, MQ_LINEAR_BATCH_ROWS) * SQUARES *
                  sizeof(double);
    return l;
}

size_t mq_linear_batch(uint64_t rows)
{
    return mq_max_u64(1, mq_min_u64(MQ_LINEAR_BATCH, MQ_LINEAR_BATCH_ROWS / rows));
}

uint64_t mq_linear_bytes(const struct mq_context *context, const struct mq_linear_sizes *sizes)
{
    return lay_out(context, sizes).total;
}

moeq_status mq_linear_create(const struct mq_context *context, const struct mq_linear_sizes *sizes,
                             struct mq_linear **linear, moeq_error *err)
{
    const struct layout l = lay_out(context, sizes);
    struct mq_linear *r = calloc(1, sizeof *r);
    if (!r)
        return mq_fail_memory(err, "preparing matrix products");
    r->threads = calloc(context->threads, sizeof *r->threads);
    r->bands = calloc(context->threads, sizeof *r->bands);
    r->memory = mq_pages_alloc(l.total);
    if (!r->threads || !r->bands || !r->memory) {
        mq_linear_destroy(r);
        return mq_fail_memory(err, "preparing matrix products");
    }
    r->context = context;
    r->kernels = mq_kernels_get(context->isa);
    r->int8 = mq_int8_kernels_get(context->isa);
    r->sizes = *sizes;
    char *at = r->memory;
    for (unsigned t = 0; t < context->threads; t++, at += l.thread_bytes) {
        r->bands[t] = (struct mq_linear_band){
            .rows = (float *)(void *)(at + l.band_rows),
            .bytes = (uint8_t *)at + l.band_bytes,
            .raw = (uint8_t *)at + l.band_raw,
            .raw_rows = MQ_PANEL,
        };
        r->threads[t] = (struct thread_scratch){
            .rows = (float *)(void *)(at + l.rows),
            .quantized = (float *)(void *)(at + l.quantized),
            .packed = (float *)(void *)(at + l.packed),
            .product = (float *)(void *)(at + l.product),
            .bytes = (uint8_t *)at + l.bytes,
            .together = (uint8_t *)at + l.together,
            .unpacked = int8_rows_at(at, &l.unpacked),
            .integers = int8_rows_at(at, &l.integers),
            .band = sizes->band_rows > 1 ? &r->bands[t] : NULL,
        };
    }
    r->squares = (double *)(void *)at;
    *linear = r;
    return MOEQ_OK;
}

void mq_linear_destroy(struct mq_linear *linear)
{
    if (!linear)
        return;
    free(linear->threads);
    free(linear->bands);
    free(linear->memory);
    free(linear);
}
