/* gguf_form.c: see gguf_form.h. */
#include "gguf_form.h"

#include "checked.h"
#include "error.h"
#include "f16.h"
#include "gguf_arch.h"
#include "gguf_names.h"
#include "family.h"
#include "portable_math.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is done ---- */

static const struct mq_layer_attention *mixer_of(const struct mq_view *view,
                                                 const struct mq_tensor *t)
{
    return t->layer < 0 ? NULL : &view->program->layers[t->layer]->layer.attention;
}

static unsigned what_of(const struct mq_view *view, const struct mq_tensor *t)
{
    const struct mq_gguf_arch *arch = mq_gguf_arch_find(view->family->gguf_architecture);
    const struct mq_layer_attention *a = mixer_of(view, t);
    for (const struct mq_gguf_form_rule *r = arch ? arch->forms : NULL; r && r->what; r++)
        if (r->role == t->role) {
            const unsigned of_heads = MQ_FORM_HEADS | MQ_FORM_TAIL | MQ_FORM_COLUMNS;
            return a && a->heads == a->kv_heads ? r->what & ~of_heads : r->what;
        }
    return 0;
}

/* Value heads, each of `size`, behind `before` that stay. */
static moeq_status tile_heads(const struct mq_layer_attention *a, uint64_t before, uint64_t size,
                              struct mq_arena *arena, const struct mq_form_run **out, size_t *count,
                              moeq_error *err)
{
    const uint64_t keys = a->kv_heads, each = a->heads / a->kv_heads;
    struct mq_form_run *runs = mq_arena_alloc(arena, a->heads + 1, sizeof *runs);
    size_t n = 0;
    if (!runs)
        return mq_fail_memory(err, "opening a model");
    if (before)
        runs[n++] = (struct mq_form_run){.count = before};
    for (uint64_t g = 0; g < keys; g++)
        for (uint64_t j = 0; j < each; j++)
            runs[n++] = (struct mq_form_run){.first = before + (g * each + j) * size,
                                             .count = size,
                                             .to = before + (j * keys + g) * size};
    *out = runs;
    *count = n;
    return MOEQ_OK;
}

/* Of each head, number i of the first half, then number i of the second. */
static moeq_status interleave(const struct mq_tensor *t, uint64_t heads, struct mq_arena *arena,
                              struct mq_form *f, moeq_error *err)
{
    const uint64_t dim = t->cols / heads, half = dim / 2;
    struct mq_form_run *runs = mq_arena_alloc(arena, t->cols, sizeof *runs);
    if (!runs)
        return mq_fail_memory(err, "opening a model");
    for (uint64_t c = 0; c < heads * dim; c++) {
        const uint64_t i = c % dim;
        runs[c] = (struct mq_form_run){
            .first = c, .count = 1, .to = c - i + (i < half ? 2 * i : 2 * (i - half) + 1)};
    }
    f->columns = runs;
    f->columns_count = heads * dim;
    return MOEQ_OK;
}

static moeq_status split_qkvz(const struct mq_layer_attention *a, struct mq_arena *arena,
                              struct mq_form *f, moeq_error *err)
{
    const uint64_t keys = a->kv_heads, key = a->head_dim;
    const uint64_t values = (uint64_t)(a->heads / a->kv_heads) * a->value_dim;
    struct mq_form_run *runs = mq_arena_alloc(arena, 4 * keys, sizeof *runs);
    if (!runs)
        return mq_fail_memory(err, "opening a model");
    for (uint64_t g = 0; g < keys; g++) {
        const uint64_t at = g * 2 * (key + values);
        runs[4 * g] = (struct mq_form_run){at, key, g * key, 0};
        runs[4 * g + 1] = (struct mq_form_run){at + key, key, (keys + g) * key, 0};
        runs[4 * g + 2] =
            (struct mq_form_run){at + 2 * key, values, 2 * keys * key + g * values, 0};
        runs[4 * g + 3] = (struct mq_form_run){at + 2 * key + values, values, g * values, 1};
    }
    f->rows = runs;
    f->rows_count = 4 * keys;
    f->names[0] = "blk.{layer}.attn_qkv.weight";
    f->names[1] = "blk.{layer}.attn_gate.weight";
    f->rows_of[0] = keys * (2 * key + values);
    f->rows_of[1] = keys * values;
    return MOEQ_OK;
}

static moeq_status split_kv(const struct mq_layer_attention *a, const struct mq_tensor *t,
                            struct mq_arena *arena, struct mq_form *f, moeq_error *err)
{
    struct mq_form_run *runs = mq_arena_alloc(arena, a->heads, sizeof *runs);
    if (!runs)
        return mq_fail_memory(err, "opening a model");
    f->heads = a->heads;
    f->plain = a->head_dim - a->rotary_dim;
    f->values = a->value_dim;
    for (uint64_t h = 0; h < f->heads; h++)
        runs[h] = (struct mq_form_run){h * (f->plain + f->values) + f->plain, f->values,
                                       h * f->values, 0};
    f->rows = runs;
    f->rows_count = f->heads;
    f->names[0] = "blk.{layer}.attn_v_b.weight";
    f->names[1] = "blk.{layer}.attn_k_b.weight";
    f->rows_of[0] = f->heads * f->values;
    f->rows_of[1] = f->heads * t->cols;
    return MOEQ_OK;
}

moeq_status mq_gguf_form(const struct mq_view *view, const struct mq_tensor *t,
                         struct mq_arena *arena, const struct mq_form **out, moeq_error *err)
{
    const struct mq_layer_attention *a = mixer_of(view, t);
    const unsigned what = what_of(view, t);
    enum { MOST_HEADS = 1 << 16 };
    *out = NULL;
    if (!what)
        return MOEQ_OK;
    if (a && a->kind != MQ_MIXER_NONE && a->kind != MQ_MIXER_CONVOLUTION &&
        (a->heads > MOST_HEADS || a->kv_heads == 0 || a->heads % a->kv_heads))
        return mq_fail_file(err, MOEQ_LIMIT, view->path,
                            "layer %d: %u heads, %u of keys: expected a multiple, at most %d",
                            t->layer, a->heads, a->kv_heads, MOST_HEADS);
    struct mq_form *f = mq_arena_alloc(arena, 1, sizeof *f);
    if (!f)
        return mq_fail_memory(err, "opening a model");
    *f = (struct mq_form){.what = what};
    if (what & MQ_FORM_KV_B)
        MQ_TRY(split_kv(a, t, arena, f, err));
    if (what & MQ_FORM_HALVES)
        MQ_TRY(interleave(t, t->role == MQ_ROLE_ATTN_Q_BIAS ? a->heads : a->kv_heads, arena, f, err));
    if (what & MQ_FORM_QKVZ)
        MQ_TRY(split_qkvz(a, arena, f, err));
    const uint64_t before = what & MQ_FORM_TAIL ? 2 * (uint64_t)a->kv_heads * a->head_dim : 0;
    if ((what & (MQ_FORM_HEADS | MQ_FORM_TAIL)) && t->dims == 2)
        MQ_TRY(tile_heads(a, before, (t->rows - before) / a->heads, arena, &f->rows, &f->rows_count,
                          err));
    if ((what & MQ_FORM_COLUMNS) || ((what & MQ_FORM_HEADS) && t->dims == 1))
        MQ_TRY(tile_heads(a, 0, t->cols / a->heads, arena, &f->columns, &f->columns_count, err));
    *out = f;
    return MOEQ_OK;
}

bool mq_form_shape(const struct mq_view *view, const struct mq_tensor *t, const struct mq_form *f,
                   uint64_t ne[3], uint32_t *dims)
{
    if (f->what & MQ_FORM_KV_B) {
        ne[0] = t->cols;
        ne[1] = f->values;
        ne[2] = f->heads;
        *dims = 3;
    } else if (f->names[0]) {
        ne[0] = t->cols;
        ne[1] = f->rows_of[0];
        ne[2] = 1;
        *dims = 2;
    } else if (f->what & MQ_FORM_STANDING) {
        ne[0] = ne[2] = 1;
        ne[1] = t->cols;
        *dims = 2;
    } else if (f->what & MQ_FORM_GROUPS) {
        ne[1] = mixer_of(view, t)->kv_heads;
        ne[0] = t->cols / ne[1];
        ne[2] = 1;
        *dims = 2;
    } else {
        return false;
    }
    return true;
}

/* ---- doing it ---- */

bool mq_form_columns_fit(const struct mq_form *f, uint32_t block)
{
    for (size_t i = 0; i < f->columns_count; i++)
        if (f->columns[i].first % block || f->columns[i].to % block || f->columns[i].count % block)
            return false;
    return true;
}

void mq_form_columns(const struct mq_form *f, uint32_t block, uint32_t bytes, bool back,
                     const void *from, void *to)
{
    for (size_t i = 0; i < f->columns_count; i++) {
        const struct mq_form_run *r = &f->columns[i];
        const uint64_t model = r->first / block * bytes, file = r->to / block * bytes;
        memcpy((char *)to + (back ? model : file), (const char *)from + (back ? file : model),
               r->count / block * bytes);
    }
}

void mq_form_values(unsigned what, bool back, float *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (what & MQ_FORM_PLUS_ONE)
            values[i] += back ? -1.0f : 1.0f;
        if (what & MQ_FORM_MINUS_EXP)
            values[i] = !back                  ? (float)-mq_exp((double)values[i])
                        : values[i] < -FLT_MIN ? (float)mq_log(-(double)values[i])
                                               : NAN; /* nothing that an exponential gives */
    }
}

enum { Q8_BLOCK = 32, Q8_BYTES = 34 };

bool mq_form_can_decode(const char *storage)
{
    return strcmp(storage, "f32") == 0 || strcmp(storage, "f16") == 0 ||
           strcmp(storage, "bf16") == 0 || strcmp(storage, "q8_0") == 0;
}

void mq_form_decode(const char *storage, const void *bytes, size_t n, float *values)
{
    const uint8_t *b = bytes;
    if (strcmp(storage, "f32") == 0) {
        memcpy(values, bytes, n * sizeof *values);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        if (strcmp(storage, "q8_0") == 0) {
            const uint8_t *block = b + i / Q8_BLOCK * Q8_BYTES;
            memcpy(&bits, block, 2);
            values[i] = mq_f16_to_f32(bits) * (float)(int8_t)block[2 + i % Q8_BLOCK];
            continue;
        }
        memcpy(&bits, b + 2 * i, 2);
        values[i] = storage[0] == 'b' ? mq_bf16_to_f32(bits) : mq_f16_to_f32(bits);
    }
}

/* ---- reading ---- */

/* Rows of two tensors, or of one in another order. */
static moeq_status read_runs(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                             uint64_t count, void *bytes, moeq_error *err)
{
    const struct mq_form *f = t->form;
    for (size_t i = 0; i < f->rows_count; i++) {
        const struct mq_form_run *r = &f->rows[i];
        const uint64_t first = mq_max_u64(row, r->first);
        const uint64_t end = mq_min_u64(row + count, r->first + r->count);
        if (first >= end)
            continue;
        const uint64_t at =
            (r->target ? f->second_offset : t->offset) + (r->to + first - r->first) * t->row_bytes;
        MQ_TRY(mq_file_read_at(&v->files[r->target ? f->second_file : t->file].file, at,
                               (char *)bytes + (first - row) * t->row_bytes,
                               (size_t)((end - first) * t->row_bytes), err));
    }
    return MOEQ_OK;
}

/* Rows of one head of latent keys and values, as f32. */
static moeq_status read_head(const struct mq_view *v, const struct mq_tensor *t, uint64_t head,
                             uint64_t row, uint64_t count, char *block, float *numbers, float *out,
                             moeq_error *err)
{
    const struct mq_form *f = t->form;
    const uint64_t cols = t->cols, keys = row < f->plain ? mq_min_u64(count, f->plain - row) : 0;
    if (keys) {
        const uint64_t size = cols * f->second_row_bytes;
        MQ_TRY(mq_file_read_at(&v->files[f->second_file].file, f->second_offset + head * size,
                               block, (size_t)size, err));
        mq_form_decode(f->second_storage, block, (size_t)(cols * f->plain), numbers);
        for (uint64_t i = 0; i < keys; i++)
            for (uint64_t c = 0; c < cols; c++)
                out[i * cols + c] = numbers[c * f->plain + row + i];
    }
    if (keys == count)
        return MOEQ_OK;
    const uint64_t first = head * f->values + row + keys - f->plain;
    MQ_TRY(mq_file_read_at(&v->files[t->file].file, t->offset + first * f->first_row_bytes, block,
                           (size_t)((count - keys) * f->first_row_bytes), err));
    mq_form_decode(f->first_storage, block, (size_t)((count - keys) * cols), out + keys * cols);
    return MOEQ_OK;
}

static moeq_status read_latent(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                               uint64_t count, void *bytes, moeq_error *err)
{
    const struct mq_form *f = t->form;
    const uint64_t each = f->plain + f->values;
    char *block = malloc(mq_max_u64(t->cols * f->second_row_bytes, f->values * f->first_row_bytes));
    float *numbers = malloc(t->cols * f->plain * sizeof *numbers);
    moeq_status status = MOEQ_OK;
    if (!block || !numbers)
        status = mq_fail_memory(err, "reading a tensor");
    for (uint64_t at = row; at < row + count && status == MOEQ_OK;) {
        const uint64_t head = at / each, in_head = at % each;
        const uint64_t n = mq_min_u64(each - in_head, row + count - at);
        status = read_head(v, t, head, in_head, n, block, numbers,
                           (float *)bytes + (at - row) * t->cols, err);
        at += n;
    }
    free(block);
    free(numbers);
    return status;
}

static moeq_status put_columns_back(const struct mq_tensor *t, uint64_t count, void *bytes,
                                    moeq_error *err)
{
    const struct mq_gguf_type *type = mq_gguf_type_by_storage(t->storage);
    char *row = malloc(t->row_bytes);
    if (!row)
        return mq_fail_memory(err, "reading a tensor");
    for (uint64_t i = 0; i < count; i++) {
        char *at = (char *)bytes + i * t->row_bytes;
        memcpy(row, at, t->row_bytes);
        mq_form_columns(t->form, type->block_weights, type->block_bytes, true, row, at);
    }
    free(row);
    return MOEQ_OK;
}

moeq_status mq_form_read(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                         uint64_t count, void *bytes, moeq_error *err)
{
    const struct mq_form *f = t->form;
    if (f->what & MQ_FORM_KV_B)
        return read_latent(v, t, row, count, bytes, err);
    if (f->rows)
        MQ_TRY(read_runs(v, t, row, count, bytes, err));
    else
        MQ_TRY(mq_file_read_at(&v->files[t->file].file, t->offset + row * t->row_bytes, bytes,
                               (size_t)(count * t->row_bytes), err));
    if (f->columns)
        MQ_TRY(put_columns_back(t, count, bytes, err));
    if (f->what & (MQ_FORM_PLUS_ONE | MQ_FORM_MINUS_EXP))
        mq_form_values(f->what, true, bytes, (size_t)(count * t->cols));
    return MOEQ_OK;
}
