/* mlx_rows.c: norms without the 1 that MLX added, and a matrix whose halves stand apart, one of them transposed. */
#include "mlx_rows.h"

#include "assembly.h"
#include "checked.h"
#include "error.h"
#include "f16.h"
#include "integer_rows.h"

#include <stdlib.h>
#include <string.h>

static moeq_status read_stored(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                               uint64_t count, void *bytes, moeq_error *err)
{
    if (t->assembly)
        return mq_integers_read(v, t, row, count, bytes, err);
    return mq_file_read_at(&v->files[t->file].file, t->offset + row * t->row_bytes, bytes,
                           count * t->row_bytes, err);
}

/* Rows of one that is stored plain or is integers, which are read as floats. */
static moeq_status read_floats(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                               uint64_t count, float *weights, moeq_error *err)
{
    const uint64_t n = count * t->cols;
    const bool wide = strcmp(t->storage, "f32") == 0, f16 = strcmp(t->storage, "f16") == 0;
    /* halves stand at the end of the room, so that each is read before something else stands there */
    uint8_t *bytes = (uint8_t *)weights + (wide ? 0 : n * sizeof(uint16_t));
    MQ_TRY(read_stored(v, t, row, count, bytes, err));
    for (uint64_t i = 0; !wide && i < n; i++) {
        uint16_t half;
        memcpy(&half, bytes + i * sizeof half, sizeof half);
        weights[i] = f16 ? mq_f16_to_f32(half) : mq_bf16_to_f32(half);
    }
    return MOEQ_OK;
}

/* Rows [row, row + count) of one head's kv_b. keys: room for the head's. */
static moeq_status read_head(const struct mq_view *v, const struct mq_mlx_form *f, uint64_t head,
                             uint64_t row, uint64_t count, float *keys, float *to, moeq_error *err)
{
    const uint64_t of_keys = row < f->plain ? mq_min_u64(count, f->plain - row) : 0;
    if (of_keys)
        MQ_TRY(read_floats(v, &f->first, head * f->rank, f->rank, keys, err));
    for (uint64_t i = 0; i < of_keys; i++)
        for (uint64_t c = 0; c < f->rank; c++)
            to[i * f->rank + c] = keys[c * f->plain + row + i];
    if (of_keys == count)
        return MOEQ_OK;
    return read_floats(v, &f->second, head * f->value + row + of_keys - f->plain, count - of_keys,
                       to + of_keys * f->rank, err);
}

static moeq_status read_kv_b(const struct mq_view *v, const struct mq_mlx_form *f, uint64_t row,
                             uint64_t count, float *to, moeq_error *err)
{
    const uint64_t rows = f->plain + f->value;
    float *keys = malloc(f->rank * f->plain * sizeof *keys);
    moeq_status status = keys ? MOEQ_OK : mq_fail_memory(err, "reading a tensor");
    for (uint64_t n; count && status == MOEQ_OK; row += n, count -= n, to += n * f->rank) {
        n = mq_min_u64(count, rows - row % rows);
        status = read_head(v, f, row / rows, row % rows, n, keys, to, err);
    }
    free(keys);
    return status;
}

moeq_status mq_mlx_read(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                        uint64_t count, void *bytes, moeq_error *err)
{
    const struct mq_mlx_form *f = t->assembly->mlx;
    float *weights = bytes;
    if (!f->is_norm)
        return read_kv_b(v, f, row, count, weights, err);
    MQ_TRY(read_floats(v, &f->first, row, count, weights, err));
    for (uint64_t i = 0; i < count * t->cols; i++)
        weights[i] -= 1;
    return MOEQ_OK;
}

uint64_t mq_mlx_rows_at_once(const struct mq_mlx_form *f)
{
    return f->is_norm ? 1 : f->plain + f->value;
}

static void prefetch(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                     uint64_t count)
{
    if (t->assembly)
        mq_integers_prefetch(v, t, row, count);
    else
        mq_file_prefetch(&v->files[t->file].file, t->offset + row * t->row_bytes,
                         count * t->row_bytes);
}

void mq_mlx_prefetch(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                     uint64_t count)
{
    const struct mq_mlx_form *f = t->assembly->mlx;
    if (f->is_norm) {
        prefetch(v, &f->first, row, count);
        return;
    }
    const uint64_t rows = f->plain + f->value;
    const uint64_t first = row / rows, heads = (row + count - 1) / rows - first + 1;
    prefetch(v, &f->first, first * f->rank, heads * f->rank);
    prefetch(v, &f->second, first * f->value, heads * f->value);
}
