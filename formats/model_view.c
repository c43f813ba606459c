/* model_view.c: a view: its memory, finding tensors, reading rows. */
#include "view_int.h"

#include "checked.h"
#include "error.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const struct mq_side_file mq_side_files[] = {
    {"config.json", "moeq.config.json", offsetof(struct mq_view, config_json), 16u << 20, true},
    {"tokenizer.json", "moeq.tokenizer.json", offsetof(struct mq_view, tokenizer_json), 256u << 20,
     false},
    {"tokenizer_config.json", "moeq.tokenizer_config.json",
     offsetof(struct mq_view, tokenizer_config_json), 64u << 20, false},
    {"generation_config.json", "moeq.generation_config.json",
     offsetof(struct mq_view, generation_config_json), 16u << 20, false},
    {"chat_template.jinja", "moeq.chat_template", offsetof(struct mq_view, chat_template),
     MQ_CHAT_TEMPLATES_CAP, false},
    {NULL, "moeq.chat_templates", offsetof(struct mq_view, chat_templates),
     2 * MQ_CHAT_TEMPLATES_CAP, false},
    {NULL, "moeq.gguf_metadata", offsetof(struct mq_view, gguf_metadata), 256u << 20, false},
    {"added_tokens.json", NULL, offsetof(struct mq_view, added_tokens_json), 64u << 20, false},
    {"special_tokens_map.json", NULL, offsetof(struct mq_view, special_tokens_map_json), 16u << 20,
     false},
    {"chat_template.json", NULL, offsetof(struct mq_view, chat_template_json),
     MQ_CHAT_TEMPLATES_CAP, false},
};
const size_t mq_side_files_count = sizeof mq_side_files / sizeof *mq_side_files;

struct mq_buffer *mq_view_side(struct mq_view *view, const struct mq_side_file *side)
{
    return (struct mq_buffer *)((char *)view + side->view_field);
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
    for (size_t i = 0; i < mq_side_files_count; i++)
        mq_buffer_free(mq_view_side(view, &mq_side_files[i]));
    free(view->tensors);
    mq_arena_destroy(view->arena);
    free(view);
}

moeq_status mq_view_adopt_file(struct mq_view *view, struct mq_file *file, uint64_t header_bytes,
                               uint32_t header_crc32, moeq_error *err)
{
    const char *slash = strrchr(file->path, '/');
    struct mq_source_file *f = &view->files[view->files_count++];
    *f = (struct mq_source_file){
        .file = *file,
        .name = mq_arena_strdup(view->arena, slash ? slash + 1 : file->path),
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

uint64_t mq_interleaved_row(uint64_t rows, uint32_t heads, uint64_t row)
{
    const uint64_t head_rows = rows / heads, half = head_rows / 2;
    const uint64_t first = row / head_rows * head_rows, i = row - first;
    return first + (i < half ? 2 * i : 2 * (i - half) + 1);
}

moeq_status mq_view_read_rows(const struct mq_view *v, const struct mq_tensor *t, uint64_t row,
                              uint64_t count, void *bytes, moeq_error *err)
{
    if (!mq_range_ok(row, count, t->rows))
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "tensor '%s' has %" PRIu64 " rows", t->name,
                       t->rows);
    if (v->no_weights)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, v->path,
                            "a config.json holds no weights: tensor '%s' cannot be read", t->name);
    const struct mq_file *file = &v->files[t->file].file;
    if (!t->interleaved_heads)
        return mq_file_read_at(file, t->offset + row * t->row_bytes, bytes,
                               (size_t)(count * t->row_bytes), err);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t at = mq_interleaved_row(t->rows, t->interleaved_heads, row + i);
        MQ_TRY(mq_file_read_at(file, t->offset + at * t->row_bytes,
                               (char *)bytes + i * t->row_bytes, t->row_bytes, err));
    }
    return MOEQ_OK;
}

const char *mq_view_no_tokenizer(const struct mq_view *view)
{
    if (view->tokenizer_problem)
        return view->tokenizer_problem;
    return view->is_gguf   ? "has no tokenizer (no key 'tokenizer.ggml.model')"
           : view->is_moeq ? "has no tokenizer"
                           : "has no tokenizer.json";
}
