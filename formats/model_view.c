/* model_view.c: a view: its memory, finding tensors, reading rows. */
#include "assembly.h"
#include "checksums.h"
#include "gguf_form.h"
#include "view_int.h"

#include "checked.h"
#include "error.h"
#include "text_match.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const struct mq_side_file mq_side_files[MQ_SIDE_COUNT] = {
    [MQ_SIDE_CONFIG] = {"config.json", "moeq.config.json", 16u << 20, true},
    [MQ_SIDE_TOKENIZER] = {"tokenizer.json", "moeq.tokenizer.json", 256u << 20, false},
    [MQ_SIDE_TOKENIZER_CONFIG] = {"tokenizer_config.json", "moeq.tokenizer_config.json", 64u << 20,
                                  false},
    [MQ_SIDE_GENERATION_CONFIG] = {"generation_config.json", "moeq.generation_config.json",
                                   16u << 20, false},
    [MQ_SIDE_CHAT_TEMPLATE] = {"chat_template.jinja", "moeq.chat_template", MQ_CHAT_TEMPLATES_CAP,
                               false},
    [MQ_SIDE_CHAT_TEMPLATES] = {NULL, "moeq.chat_templates", 2 * MQ_CHAT_TEMPLATES_CAP, false},
    [MQ_SIDE_GGUF_METADATA] = {NULL, "moeq.gguf_metadata", 256u << 20, false},
    [MQ_SIDE_ADDED_TOKENS] = {"added_tokens.json", NULL, 64u << 20, false},
    [MQ_SIDE_SPECIAL_TOKENS_MAP] = {"special_tokens_map.json", NULL, 16u << 20, false},
    [MQ_SIDE_CHAT_TEMPLATE_JSON] = {"chat_template.json", NULL, MQ_CHAT_TEMPLATES_CAP, false},
};

/* What is said of the kinds of views. */
static const struct {
    const char *name, *title, *no_tokenizer;
} kinds[] = {
    [MQ_VIEW_FOLDER] = {"huggingface", "Hugging Face folder", "has no tokenizer.json"},
    [MQ_VIEW_MOEQ] = {"moeq", "moeq file", "has no tokenizer"},
    [MQ_VIEW_GGUF] = {"gguf", "GGUF file", "has no tokenizer (no key 'tokenizer.ggml.model')"},
    [MQ_VIEW_CONFIG] = {"huggingface", "config.json", "has no tokenizer.json"},
    [MQ_VIEW_RECORDING] = {"huggingface", "recording", "has no tokenizer.json"},
};

const char *mq_view_kind_name(enum mq_view_kind kind)
{
    return kinds[kind].name;
}

const char *mq_view_kind_title(enum mq_view_kind kind)
{
    return kinds[kind].title;
}

struct mq_view *mq_view_create(const char *path)
{
    struct mq_view *view = calloc(1, sizeof *view);
    if (!view)
        return NULL;
    view->arena = mq_arena_create();
    view->path = view->arena ? mq_arena_strdup(view->arena, path) : NULL;
    if (!view->path) {
        mq_view_close(view);
        return NULL;
    }
    return view;
}

void mq_view_close(struct mq_view *view)
{
    if (!view)
        return;
    for (size_t i = 0; i < view->files_count; i++)
        mq_file_close(&view->files[i].file);
    for (int side = 0; side < MQ_SIDE_COUNT; side++)
        mq_buffer_free(&view->side[side]);
    mq_checksums_close(view->checksums);
    free(view->tensors);
    mq_arena_destroy(view->arena);
    free(view);
}

moeq_status mq_view_adopt_file(struct mq_view *view, struct mq_file *file, uint64_t header_bytes,
                               uint32_t header_crc32, moeq_error *err)
{
    struct mq_source_file *f = &view->files[view->files_count++];
    *f = (struct mq_source_file){
        .file = *file,
        .name = mq_arena_strdup(view->arena, mq_base_name(file->path)),
        .header_bytes = header_bytes,
        .header_crc32 = header_crc32,
    };
    memset(file, 0, sizeof *file);
    file->fd = -1;
    return f->name ? MOEQ_OK : mq_fail_memory(err, "opening a model");
}

size_t mq_view_index_at(const struct mq_view *v, enum mq_role role, int32_t layer,
                        int32_t expert)
{
    const size_t experts = v->hparams.experts ? v->hparams.experts : 1;
    return ((size_t)(layer + 1) * MQ_ROLE_COUNT + role) * experts +
           (size_t)(expert < 0 ? 0 : expert);
}

const struct mq_tensor *mq_view_find(const struct mq_view *v, enum mq_role role, int32_t layer,
                                     int32_t expert)
{
    if (layer >= (int32_t)v->hparams.layers || expert >= (int32_t)v->hparams.experts)
        return NULL;
    const int32_t i = v->index[mq_view_index_at(v, role, layer, expert)];
    return i < 0 ? NULL : &v->tensors[i];
}

bool mq_view_has_experts(const struct mq_view *v)
{
    for (size_t i = 0; v->program && i < v->program->kinds_count; i++)
        if (v->program->kinds[i].layer.ffn.router.experts)
            return true;
    return false;
}

static bool is_mlp(enum mq_role role)
{
    return role == MQ_ROLE_MLP_GATE || role == MQ_ROLE_MLP_UP || role == MQ_ROLE_MLP_DOWN;
}

enum mq_role_class mq_view_class(const struct mq_view *v, enum mq_role role)
{
    return is_mlp(role) && mq_view_has_experts(v) ? MQ_CLASS_SHARED : mq_role_class(role);
}

uint64_t mq_interleaved_row(uint64_t rows, uint32_t heads, uint64_t row)
{
    const uint64_t head_rows = rows / heads, half = head_rows / 2;
    const uint64_t first = row / head_rows * head_rows, i = row - first;
    return first + (i < half ? 2 * i : 2 * (i - half) + 1);
}

/* Where a row of a tensor stands among those of its file. */
static uint64_t stored_row(const struct mq_tensor *t, uint64_t row)
{
    return t->stored_interleaved ? mq_interleaved_row(t->rows, t->stored_interleaved, row) : row;
}

moeq_status mq_view_read_rows(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                              uint64_t count, void *bytes, moeq_error *err)
{
    MQ_TRY(mq_view_read_rows_unchecked(v, t, row, count, bytes, err));
    return v->checksums ? mq_checksums_read(v, t, row, count, bytes, err) : MOEQ_OK;
}

moeq_status mq_view_read_rows_unchecked(const struct mq_view *v, const struct mq_tensor *t,
                                        uint64_t row, uint64_t count, void *bytes, moeq_error *err)
{
    if (!mq_range_ok(row, count, t->rows))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "tensor '%s' has %" PRIu64 " rows", t->name,
                       t->rows);
    if (v->kind == MQ_VIEW_CONFIG)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, v->path,
                            "a config.json holds no weights: tensor '%s' cannot be read", t->name);
    if (t->assembly)
        return mq_assembly_read(v, t, row, count, bytes, err);
    if (t->form)
        return mq_form_read(v, t, row, count, bytes, err);
    const struct mq_file *file = &v->files[t->file].file;
    if (!t->stored_interleaved)
        return mq_file_read_at(file, t->offset + row * t->row_bytes, bytes,
                               (size_t)(count * t->row_bytes), err);
    for (uint64_t i = 0; i < count; i++)
        MQ_TRY(mq_file_read_at(file, t->offset + stored_row(t, row + i) * t->row_bytes,
                               (char *)bytes + i * t->row_bytes, t->row_bytes, err));
    return MOEQ_OK;
}

static moeq_status read_rest_of(const struct mq_view *v, const struct mq_tensor *t, moeq_error *err)
{
    enum { BYTES = 1 << 20 };
    const uint64_t step = mq_max_u64(1, BYTES / mq_max_u64(1, t->row_bytes));
    moeq_status status = MOEQ_OK;
    uint64_t first, count;
    void *bytes = NULL;
    while (status == MOEQ_OK && mq_checksums_gap(v, t, &first, &count)) {
        if (!bytes && !(bytes = malloc((size_t)(step * t->row_bytes))))
            return mq_fail_memory(err, "checking a tensor");
        status = mq_view_read_rows(v, t, first, mq_min_u64(count, step), bytes, err);
    }
    free(bytes);
    return status;
}

moeq_status mq_view_read_rest(const struct mq_view *v, moeq_error *err)
{
    for (size_t i = 0; v->checksums && i < v->tensors_count; i++)
        MQ_TRY(read_rest_of(v, &v->tensors[i], err));
    return MOEQ_OK;
}

uint64_t mq_view_rows_at_once(const struct mq_tensor *t)
{
    return t->assembly ? mq_assembly_rows_at_once(t) : 1;
}

void mq_view_prefetch_rows(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                           uint64_t count)
{
    if (v->kind == MQ_VIEW_CONFIG || !mq_range_ok(row, count, t->rows) || !count || t->form)
        return;
    if (t->assembly) {
        mq_assembly_prefetch(v, t, row, count);
        return;
    }
    /* Of interleaved rows all that stand from the first of them to the last: the others come next. */
    uint64_t first = row, last = row + count - 1;
    if (t->stored_interleaved) {
        first = t->rows;
        last = 0;
        for (uint64_t i = 0; i < count; i++) {
            first = mq_min_u64(first, stored_row(t, row + i));
            last = mq_max_u64(last, stored_row(t, row + i));
        }
    }
    mq_file_prefetch(&v->files[t->file].file, t->offset + first * t->row_bytes,
                     (last + 1 - first) * t->row_bytes);
}

moeq_status mq_view_fail_row(moeq_error *err, moeq_status status, const struct mq_view *v,
                             const struct mq_tensor *t, uint64_t row, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    status = mq_fail_tensor_list(err, status, mq_view_tensor_path(v, t), mq_tensor_shown(t),
                                 t->assembly ? mq_assembly_row_offset(t, row)
                                             : t->offset + stored_row(t, row) * t->row_bytes,
                                 format, args);
    va_end(args);
    return status;
}

uint64_t mq_tensor_stored_bytes(const struct mq_tensor *t)
{
    return t->assembly ? t->assembly->stored_bytes : t->rows * t->row_bytes;
}

bool mq_tensor_has_codes(const struct mq_tensor *t)
{
    return t->assembly && mq_assembly_has_codes(t->assembly);
}

const char *mq_view_tensor_path(const struct mq_view *v, const struct mq_tensor *t)
{
    return v->files[t->file].file.path;
}

const char *mq_view_tensor_file(const struct mq_view *v, const struct mq_tensor *t)
{
    return v->files[t->file].name;
}

const char *mq_view_has_file(const struct mq_view *v, dev_t device, ino_t inode)
{
    for (size_t i = 0; i < v->files_count; i++)
        if (v->files[i].file.device == device && v->files[i].file.inode == inode)
            return v->files[i].file.path;
    return NULL;
}

moeq_status mq_view_remember(struct mq_view *view, const char *path, moeq_error *err)
{
    struct mq_read_file *file = mq_arena_alloc(view->arena, 1, sizeof *file);
    const char *kept = file ? mq_arena_printf(view->arena, "%s", path) : NULL;
    if (!kept)
        return mq_fail_memory(err, "opening a model");
    MQ_TRY(mq_file_mark(kept, &file->mark, err));
    file->next = view->read_files;
    view->read_files = file;
    return MOEQ_OK;
}

moeq_status mq_view_check_unchanged(const struct mq_view *view, moeq_error *err)
{
    for (size_t i = 0; i < view->files_count; i++)
        MQ_TRY(view->removed ? mq_file_check_whole(&view->files[i].file, err)
                             : mq_file_check_unchanged(&view->files[i].file, err));
    for (const struct mq_read_file *f = view->read_files; f; f = f->next)
        MQ_TRY(mq_file_check_unchanged(&f->mark, err));
    return MOEQ_OK;
}

mode_t mq_view_mode(const struct mq_view *view)
{
    mode_t mode = 0666;
    for (size_t i = 0; i < view->files_count; i++)
        mode &= view->files[i].file.mode;
    return mode | 0600; /* who makes it may write and read it */
}

bool mq_same_model(const struct mq_view *a, const struct mq_view *b)
{
    /* a file belongs to one model: the first of each is enough */
    return a == b || (a->files_count && b->files_count &&
                      a->files[0].file.device == b->files[0].file.device &&
                      a->files[0].file.inode == b->files[0].file.inode);
}

struct mq_stored_size mq_stored_size(const struct mq_view *v)
{
    struct mq_stored_size s = {0};
    for (size_t i = 0; i < v->tensors_count; i++) {
        s.weights += v->tensors[i].rows * v->tensors[i].cols;
        s.weight_bytes += mq_tensor_stored_bytes(&v->tensors[i]);
    }
    for (size_t i = 0; i < v->files_count; i++)
        s.file_bytes += v->files[i].file.size_bytes;
    return s;
}

const char *mq_view_no_tokenizer(const struct mq_view *view)
{
    if (view->tokenizer_problem)
        return view->tokenizer_problem;
    return kinds[view->kind].no_tokenizer;
}
