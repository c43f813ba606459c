/*
 * assembly.c: rows from where their pieces stand.
 *
 * Codes are read to the end of the room for the rows, and moved to the front block by block as each
 * gets its scale: what is written never passes what is still to be read, as all the scales that are
 * still missing fit in between. A matrix that is stored transposed is read in runs of several of its
 * stored rows, as much of each as the rows that are asked for need: a few KiB at a time where a
 * megabyte of rows is asked for.
 */
#include "assembly.h"

#include "checked.h"
#include "error.h"
#include "f16.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a block of the level: its weights, the bytes of its scale, and of the codes behind it. */
static const struct kind {
    const char *storage;
    uint32_t weights, scale_bytes, code_bytes;
    bool nibbles, may_be_cut;
} kinds[MQ_ASSEMBLE_KINDS] = {
    [MQ_ASSEMBLE_F8] = {"f8_e4m3", 128, 4, 128, false, true},
    [MQ_ASSEMBLE_MXFP4] = {"mxfp4", 32, 1, 16, true, false},
    [MQ_ASSEMBLE_I4] = {"i4_32", 32, 4, 16, true, false},
    [MQ_ASSEMBLE_I8] = {"i8_32", 32, 4, 32, false, false},
};

const char *mq_assembly_storage(enum mq_assembly_kind kind)
{
    return kinds[kind].storage;
}

uint32_t mq_assembly_weights(enum mq_assembly_kind kind)
{
    return kinds[kind].may_be_cut || !kinds[kind].weights ? 1 : kinds[kind].weights;
}

uint64_t mq_assembly_code_bytes(enum mq_assembly_kind kind, uint64_t cols)
{
    return kinds[kind].nibbles ? cols / 2 : cols;
}

uint64_t mq_assembly_row_bytes(enum mq_assembly_kind kind, uint64_t cols)
{
    const struct kind *k = &kinds[kind];
    return mq_assembly_code_bytes(kind, cols) +
           (cols + k->weights - 1) / k->weights * k->scale_bytes;
}

static uint64_t stored_row(const struct mq_assembly *a, uint64_t row)
{
    return a->first + row * a->step;
}

uint64_t mq_assembly_row_offset(const struct mq_tensor *t, uint64_t row)
{
    const struct mq_assembly *a = t->assembly;
    return t->offset + stored_row(a, row) * (a->transposed ? a->weight_bytes : a->stored_row_bytes);
}

/* ---- transposed ---- */

enum { COLUMNS = 32, RUN_BYTES = 128 << 10 };

/* bytes[row][column] of `count` rows and some columns = runs[column][row * step]. */
static void turn(const char *runs, size_t run_bytes, size_t step_bytes, size_t columns,
                 size_t count, uint32_t size, char *bytes, size_t row_bytes)
{
    for (size_t r = 0; r < count; r++)
        for (size_t c = 0; c < columns; c++)
            memcpy(bytes + r * row_bytes + c * size, runs + c * run_bytes + r * step_bytes, size);
}

/* Rows of which COLUMNS runs fit into RUN_BYTES. */
static moeq_status read_turned(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                               uint64_t count, char *runs, char *bytes, moeq_error *err)
{
    const struct mq_assembly *a = t->assembly;
    const size_t step = a->step * a->weight_bytes, run = (count - 1) * step + a->weight_bytes;
    const uint64_t at = mq_assembly_row_offset(t, row);
    for (uint64_t c = 0; c < t->cols; c += COLUMNS) {
        const size_t n = mq_min_u64(COLUMNS, t->cols - c);
        for (size_t i = 0; i < n; i++)
            MQ_TRY(mq_file_read_at(&v->files[t->file].file, at + (c + i) * a->stored_row_bytes,
                                   runs + i * run, run, err));
        char *to = bytes + c * a->weight_bytes;
        if (a->weight_bytes == 2) /* a constant size makes the copies single moves */
            turn(runs, run, step, n, count, 2, to, t->row_bytes);
        else
            turn(runs, run, step, n, count, a->weight_bytes, to, t->row_bytes);
    }
    return MOEQ_OK;
}

static moeq_status read_transposed(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                                   uint64_t count, char *bytes, moeq_error *err)
{
    const struct mq_assembly *a = t->assembly;
    const uint64_t room = RUN_BYTES / COLUMNS / (a->step * a->weight_bytes);
    const uint64_t most = mq_min_u64(mq_max_u64(room, 1), count);
    char *runs = malloc(COLUMNS * most * a->step * a->weight_bytes);
    moeq_status status = runs ? MOEQ_OK : mq_fail_memory(err, "reading a transposed tensor");
    for (uint64_t r = 0; r < count && status == MOEQ_OK; r += most)
        status = read_turned(v, t, row + r, mq_min_u64(most, count - r), runs,
                             bytes + r * t->row_bytes, err);
    free(runs);
    return status;
}

/* ---- codes and scales ---- */

/* Rows as they are stored, to `bytes`, one behind the other. */
static moeq_status read_stored(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                               uint64_t count, char *bytes, moeq_error *err)
{
    const struct mq_assembly *a = t->assembly;
    const uint64_t n = a->step == 1 ? count : 1; /* rows at once */
    for (uint64_t r = 0; r < count; r += n)
        MQ_TRY(mq_file_read_at(&v->files[t->file].file, mq_assembly_row_offset(t, row + r),
                               bytes + r * a->stored_row_bytes, n * a->stored_row_bytes, err));
    return MOEQ_OK;
}

static float scale_value(enum mq_dtype dtype, const char *at)
{
    uint16_t half;
    float value;
    if (dtype == MQ_F32) {
        memcpy(&value, at, sizeof value);
        return value;
    }
    memcpy(&half, at, sizeof half);
    return dtype == MQ_F16 ? mq_f16_to_f32(half) : mq_bf16_to_f32(half);
}

/* Puts the scale at `at` in front of a block: E8M0's exponent as it is, others as floats. False if it
 * is none: E8M0 has no 0, and NaN where all its bits are set. */
static bool put_scale(enum mq_dtype dtype, const char *at, char *block)
{
    if (dtype == MQ_U8) {
        *block = *at;
        return (unsigned char)*at != 0xff;
    }
    const float value = scale_value(dtype, at);
    memcpy(block, &value, sizeof value);
    return isfinite(value) && value != 0;
}

/* Weights 2j and 2j + 1 in the nibbles of byte j -> weights l and l + 16 in those of byte l. */
static void put_nibbles(const char *in, char *out)
{
    unsigned char from[16], to[16];
    memcpy(from, in, sizeof from);
    for (int j = 0; j < 8; j++) {
        to[2 * j] = (unsigned char)((from[j] & 15) | (from[j + 8] & 15) << 4);
        to[2 * j + 1] = (unsigned char)(from[j] >> 4 | (from[j + 8] & 0xf0));
    }
    memcpy(out, to, sizeof to);
}

static moeq_status fail_scale(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                              uint64_t column, uint64_t offset, moeq_error *err)
{
    const struct mq_assembly_scales *s = &t->assembly->scales;
    return mq_fail_tensor(err, MOEQ_CORRUPT, v->files[s->file].file.path, s->name, offset,
                          "the scale of row %" PRIu64 ", columns from %" PRIu64
                          " of '%s': expected a finite number that is not 0",
                          row, column, mq_tensor_shown(t));
}

/* A row of codes at `in` becomes blocks at `out`, by its row of scales at `scales`, which stands at
 * `offset` in its file. */
static moeq_status put_blocks(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                              const char *scales, uint64_t offset, const char *in, char *out,
                              moeq_error *err)
{
    const struct mq_assembly *a = t->assembly;
    const struct kind *k = &kinds[a->kind];
    const uint32_t size = mq_dtype_bytes(a->scales.dtype);
    for (uint64_t c = 0; c < t->cols; c += k->weights) {
        const uint64_t at = c / a->scales.cols_each * size;
        const size_t n = mq_min_u64(k->code_bytes, mq_assembly_code_bytes(a->kind, t->cols - c));
        if (k->nibbles) /* first: the scale may take the place of its first codes */
            put_nibbles(in, out + k->scale_bytes);
        else
            memmove(out + k->scale_bytes, in, n);
        if (!put_scale(a->scales.dtype, scales + at, out))
            return fail_scale(v, t, row, c, offset + at, err);
        in += n;
        out += k->scale_bytes + n;
    }
    return MOEQ_OK;
}

static moeq_status read_blocks(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                               uint64_t count, char *bytes, moeq_error *err)
{
    const struct mq_assembly *a = t->assembly;
    const struct mq_assembly_scales *s = &a->scales;
    const uint64_t first = stored_row(a, row) / s->rows_each;
    const uint64_t n = stored_row(a, row + count - 1) / s->rows_each - first + 1;
    char *codes = bytes + count * (t->row_bytes - a->stored_row_bytes);
    char *scales = malloc(n * s->row_bytes);
    moeq_status status = scales ? MOEQ_OK : mq_fail_memory(err, "reading scales");
    if (status == MOEQ_OK)
        status = mq_file_read_at(&v->files[s->file].file, s->offset + first * s->row_bytes, scales,
                                 n * s->row_bytes, err);
    if (status == MOEQ_OK)
        status = read_stored(v, t, row, count, codes, err);
    for (uint64_t r = 0; r < count && status == MOEQ_OK; r++) {
        const uint64_t k = stored_row(a, row + r) / s->rows_each;
        status = put_blocks(v, t, row + r, scales + (k - first) * s->row_bytes,
                            s->offset + k * s->row_bytes, codes + r * a->stored_row_bytes,
                            bytes + r * t->row_bytes, err);
    }
    free(scales);
    return status;
}

moeq_status mq_assembly_read(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                             uint64_t count, void *bytes, moeq_error *err)
{
    const struct mq_assembly *a = t->assembly;
    if (!count)
        return MOEQ_OK;
    if (a->transposed)
        return read_transposed(v, t, row, count, bytes, err);
    if (a->kind == MQ_ASSEMBLE_WEIGHTS)
        return read_stored(v, t, row, count, bytes, err);
    return read_blocks(v, t, row, count, bytes, err);
}

void mq_assembly_prefetch(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                          uint64_t count)
{
    const struct mq_assembly *a = t->assembly;
    const struct mq_assembly_scales *s = &a->scales;
    const uint64_t first = stored_row(a, row), last = stored_row(a, row + count - 1);
    const struct mq_file *file = &v->files[t->file].file;
    if (a->transposed) { /* a piece of each stored row: all of them are wanted soon */
        mq_file_prefetch(file, t->offset, t->cols * a->stored_row_bytes);
        return;
    }
    mq_file_prefetch(file, t->offset + first * a->stored_row_bytes,
                     (last - first + 1) * a->stored_row_bytes);
    if (a->kind != MQ_ASSEMBLE_WEIGHTS)
        mq_file_prefetch(&v->files[s->file].file, s->offset + first / s->rows_each * s->row_bytes,
                         (last / s->rows_each - first / s->rows_each + 1) * s->row_bytes);
}
