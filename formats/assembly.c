/*
 * assembly.c: rows from where their pieces stand.
 *
 * Codes are read to the end of the room for the rows, and moved to the front block by block as each
 * gets its scale: what is written never passes what is still to be read, as all the scales that are
 * still missing fit in between. A matrix that is stored transposed is read in runs of several of its
 * stored rows, as much of each as the rows that are asked for need: a few KiB at a time where a
 * megabyte of rows is asked for; who asks for few rows gets them slowly (mq_view_rows_at_once).
 */
#include "assembly.h"

#include "checked.h"
#include "error.h"
#include "f16.h"
#include "integer_rows.h"
#include "mlx_rows.h"

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

bool mq_assembly_has_codes(const struct mq_assembly *a)
{
    if (a->mlx)
        return !a->mlx->is_norm && (a->mlx->first.assembly || a->mlx->second.assembly);
    return a->integers || a->kind != MQ_ASSEMBLE_WEIGHTS;
}

uint64_t mq_assembly_row_offset(const struct mq_tensor *t, uint64_t row)
{
    const struct mq_assembly *a = t->assembly;
    if (a->integers)
        return mq_integers_row_offset(t, row);
    return t->offset + stored_row(a, row) * (a->transposed ? a->weight_bytes : a->stored_row_bytes);
}

/* ---- transposed ---- */

/*
 * A block of columns is turned at once: of each a run of the bytes that the rows take up there, at some
 * distance in memory. Runs at distances of a power of two would share few sets of a cache: RUN_PAD.
 * Stored rows of up to NARROW bytes are read whole, all of a block by one call: so are vectors.
 */
enum { COLUMNS = 32, RUN_BYTES = 4096, RUN_PAD = 64, NARROW = 512 };

uint64_t mq_assembly_rows_at_once(const struct mq_tensor *t)
{
    const struct mq_assembly *a = t->assembly;
    if (a->integers)
        return mq_integers_rows_at_once(a->integers);
    if (a->mlx)
        return mq_mlx_rows_at_once(a->mlx);
    return a->transposed ? mq_max_u64(RUN_BYTES / (a->step * a->weight_bytes), 1) : 1;
}

/* bytes[row][column] of `count` rows and some columns = runs[column][row * step]. */
static void turn(const char *runs, size_t distance, size_t step_bytes, size_t columns, size_t count,
                 uint32_t size, char *bytes, size_t row_bytes)
{
    for (size_t r = 0; r < count; r++)
        for (size_t c = 0; c < columns; c++)
            memcpy(bytes + r * row_bytes + c * size, runs + c * distance + r * step_bytes, size);
}

/* Eight rows by eight columns of 2 bytes. A round of interleaving the first half of the vectors with the second
 * turns the bits of a number's place, row and column, by one: after three they have changed places. */
enum { SQUARE = 8 };
typedef uint16_t v8 __attribute__((vector_size(16)));

static void turn_square(const char *runs, size_t distance, bool alternate, char *bytes,
                        size_t row_bytes)
{
    v8 a[SQUARE], b[SQUARE];
    for (size_t i = 0; i < SQUARE; i++) {
        memcpy(&a[i], runs + i * distance, sizeof *a);
        if (!alternate)
            continue;
        memcpy(&b[i], runs + i * distance + sizeof *a, sizeof *a);
        a[i] = __builtin_shufflevector(a[i], b[i], 0, 2, 4, 6, 8, 10, 12, 14);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SQUARE / 2; i++) {
            b[2 * i] = __builtin_shufflevector(a[i], a[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
            b[2 * i + 1] = __builtin_shufflevector(a[i], a[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
        }
        memcpy(a, b, sizeof a);
    }
    for (size_t i = 0; i < SQUARE; i++)
        memcpy(bytes + i * row_bytes, &a[i], sizeof *a);
}

/* As turn(), of 2 bytes, every one or every second number of a run, after which RUN_PAD bytes may be read. */
static void turn_squares(const char *runs, size_t distance, size_t step_bytes, size_t columns,
                         size_t count, char *bytes, size_t row_bytes)
{
    const size_t rows = count - count % SQUARE, whole = columns - columns % SQUARE;
    for (size_t r = 0; r < rows; r += SQUARE)
        for (size_t c = 0; c < whole; c += SQUARE)
            turn_square(runs + c * distance + r * step_bytes, distance, step_bytes == 4,
                        bytes + r * row_bytes + c * 2, row_bytes);
    turn(runs + whole * distance, distance, step_bytes, columns - whole, rows, 2, bytes + whole * 2,
         row_bytes);
    turn(runs + rows * step_bytes, distance, step_bytes, columns, count - rows, 2,
         bytes + rows * row_bytes, row_bytes);
}

struct runs {
    char *bytes;
    size_t columns, distance;
};

static bool are_narrow(const struct mq_assembly *a)
{
    return a->stored_row_bytes <= NARROW;
}

static bool alloc_runs(const struct mq_assembly *a, uint64_t rows, struct runs *runs)
{
    const bool narrow = are_narrow(a);
    runs->columns = narrow ? COLUMNS * RUN_BYTES / a->stored_row_bytes : COLUMNS;
    runs->distance = narrow ? a->stored_row_bytes : rows * a->step * a->weight_bytes + RUN_PAD;
    runs->bytes = malloc(runs->columns * runs->distance);
    return runs->bytes;
}

/* Runs of `run` bytes at `at` of n columns from column c on. */
static moeq_status read_runs(const struct mq_file *file, const struct mq_assembly *a, uint64_t at,
                             uint64_t c, size_t n, size_t run, const struct runs *runs,
                             moeq_error *err)
{
    if (are_narrow(a))
        return mq_file_read_at(file, at + c * a->stored_row_bytes, runs->bytes,
                               (n - 1) * runs->distance + run, err);
    for (size_t i = 0; i < n; i++)
        MQ_TRY(mq_file_read_at(file, at + (c + i) * a->stored_row_bytes,
                               runs->bytes + i * runs->distance, run, err));
    return MOEQ_OK;
}

/* As many rows as the runs have room for. */
static moeq_status read_turned(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                               uint64_t count, const struct runs *runs, char *bytes,
                               moeq_error *err)
{
    const struct mq_assembly *a = t->assembly;
    const size_t step = a->step * a->weight_bytes, run = (count - 1) * step + a->weight_bytes;
    const uint64_t at = mq_assembly_row_offset(t, row);
    for (uint64_t c = 0; c < t->cols; c += runs->columns) {
        const size_t n = mq_min_u64(runs->columns, t->cols - c);
        MQ_TRY(read_runs(&v->files[t->file].file, a, at, c, n, run, runs, err));
        char *to = bytes + c * a->weight_bytes;
        if (a->weight_bytes == 2 && a->step <= 2 && !are_narrow(a))
            turn_squares(runs->bytes, runs->distance, step, n, count, to, t->row_bytes);
        else
            turn(runs->bytes, runs->distance, step, n, count, a->weight_bytes, to, t->row_bytes);
    }
    return MOEQ_OK;
}

static moeq_status read_transposed(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                                   uint64_t count, char *bytes, moeq_error *err)
{
    const uint64_t most = mq_min_u64(mq_assembly_rows_at_once(t), count);
    struct runs runs;
    moeq_status status = alloc_runs(t->assembly, most, &runs)
                             ? MOEQ_OK
                             : mq_fail_memory(err, "reading a transposed tensor");
    for (uint64_t r = 0; r < count && status == MOEQ_OK; r += most)
        status = read_turned(v, t, row + r, mq_min_u64(most, count - r), &runs,
                             bytes + r * t->row_bytes, err);
    free(runs.bytes);
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
    if (a->integers)
        return mq_integers_read(v, t, row, count, bytes, err);
    if (a->mlx)
        return mq_mlx_read(v, t, row, count, bytes, err);
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
    if (a->integers) {
        mq_integers_prefetch(v, t, row, count);
        return;
    }
    if (a->mlx) {
        mq_mlx_prefetch(v, t, row, count);
        return;
    }
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
