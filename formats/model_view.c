/* model_view.c: building the table of tensors from the family's patterns. */
#include "view_int.h"

#include "checked.h"
#include "error.h"
#include "moeq_index.h"
#include "open_options.h"
#include "what_is_it.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *name;
    enum mq_role_class class;
} roles[] = {
#define ROW(id, name, class) {name, MQ_CLASS_##class},
    MQ_ROLE_LIST(ROW)
#undef ROW
};

const char *mq_role_name(enum mq_role role)
{
    return roles[role].name;
}

enum mq_role_class mq_role_class(enum mq_role role)
{
    return roles[role].class;
}

const char *mq_role_class_name(enum mq_role_class class)
{
    static const char *const names[] = {
        [MQ_CLASS_EXPERTS] = "experts and MLP",
        [MQ_CLASS_ATTENTION] = "attention",
        [MQ_CLASS_EMBEDDINGS] = "embeddings and head",
        [MQ_CLASS_KEEP] = "router and norms",
    };
    return names[class];
}

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

/* ---- the view ---- */

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

const char *mq_pattern_expand(struct mq_arena *arena, const char *pattern, int32_t layer,
                              int32_t expert)
{
    char text[256];
    size_t n = 0;
    while (*pattern && n + 16 < sizeof text) {
        if (strncmp(pattern, "{layer}", 7) == 0) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%d", layer);
            pattern += 7;
        } else if (strncmp(pattern, "{expert}", 8) == 0) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%d", expert);
            pattern += 8;
        } else {
            text[n++] = *pattern++;
        }
    }
    return mq_arena_strndup(arena, text, n);
}

/* What the builder works on. */
struct builder {
    struct mq_view *view;
    const struct mq_view_source *source;
    moeq_error *err;
    size_t capacity;
};

static moeq_status add_tensor(struct builder *b, const struct mq_tensor_pattern *p, int32_t layer,
                              int32_t expert)
{
    /* A table of 2^18 rows is about 50 MB; the largest models known have 2^16 tensors. */
    enum { MAX_TENSORS = 1 << 18 };
    struct mq_view *v = b->view;
    if (v->tensors_count == MAX_TENSORS)
        return mq_fail_file(b->err, MOEQ_LIMIT, v->path,
                            "asks for more than %d tensors: no model has so many", MAX_TENSORS);
    if (v->tensors_count == b->capacity) {
        const size_t capacity = b->capacity ? 2 * b->capacity : 64;
        struct mq_tensor *tensors = realloc(v->tensors, capacity * sizeof *tensors);
        if (!tensors)
            return mq_fail_memory(b->err, "opening a model");
        v->tensors = tensors;
        b->capacity = capacity;
    }
    struct mq_tensor *t = &v->tensors[v->tensors_count];
    *t = (struct mq_tensor){.name = mq_pattern_expand(v->arena, p->name, layer, expert),
                            .role = p->role,
                            .layer = layer,
                            .expert = expert,
                            .dims = p->rows == MQ_DIM_ONE ? 1 : 2,
                            .rows = mq_dim_size(&v->hparams, p->rows),
                            .cols = mq_dim_size(&v->hparams, p->cols)};
    if (!t->name)
        return mq_fail_memory(b->err, "opening a model");
    MQ_TRY(b->source->place(b->source->user, v, t, b->err));
    v->tensors_count++;
    return MOEQ_OK;
}

moeq_status mq_view_fail_missing(const struct mq_view *view, const char *name, moeq_error *err)
{
    return mq_fail_file(err, MOEQ_NOT_FOUND, view->path,
                        "tensor '%s' is missing: a %s model of %u layers%s needs it", name,
                        view->family->name, view->hparams.layers,
                        view->hparams.experts ? " with these experts" : "");
}

static bool per_layer(const struct mq_tensor_pattern *p)
{
    return strstr(p->name, "{layer}") != NULL;
}

static bool per_expert(const struct mq_tensor_pattern *p)
{
    return strstr(p->name, "{expert}") != NULL;
}

/* A layer in the order of a moeq file: what stays unquantized, attention, then each expert's
 * matrices (or the dense MLP's) side by side. */
static moeq_status add_layer(struct builder *b, int32_t layer)
{
    const struct mq_tensor_pattern *patterns = b->view->family->patterns, *p;
    for (int step = 0; step < 3; step++) {
        static const enum mq_role_class order[] = {MQ_CLASS_KEEP, MQ_CLASS_ATTENTION,
                                                   MQ_CLASS_EXPERTS};
        for (p = patterns; p->name; p++)
            if (per_layer(p) && !per_expert(p) && mq_role_class(p->role) == order[step])
                MQ_TRY(add_tensor(b, p, layer, -1));
    }
    for (uint32_t expert = 0; expert < b->view->hparams.experts; expert++)
        for (p = patterns; p->name; p++)
            if (per_expert(p))
                MQ_TRY(add_tensor(b, p, layer, (int32_t)expert));
    return MOEQ_OK;
}

static size_t index_at(const struct mq_view *v, enum mq_role role, int32_t layer, int32_t expert)
{
    const size_t experts = v->hparams.experts ? v->hparams.experts : 1;
    return ((size_t)(layer + 1) * MQ_ROLE_COUNT + role) * experts +
           (size_t)(expert < 0 ? 0 : expert);
}

/* All tensors were found, so layers x experts is no more than what the files hold. */
static moeq_status build_index(struct mq_view *v, moeq_error *err)
{
    const size_t n = index_at(v, 0, (int32_t)v->hparams.layers, 0);
    v->index = mq_arena_alloc(v->arena, n, sizeof *v->index);
    if (!v->index)
        return mq_fail_memory(err, "opening a model");
    for (size_t i = 0; i < n; i++)
        v->index[i] = -1;
    for (size_t i = 0; i < v->tensors_count; i++) {
        const struct mq_tensor *t = &v->tensors[i];
        v->index[index_at(v, t->role, t->layer, t->expert)] = (int32_t)i;
    }
    return MOEQ_OK;
}

/* Everything in the order of a moeq file. */
static moeq_status add_all(struct builder *b)
{
    const struct mq_view *view = b->view;
    const struct mq_tensor_pattern *p = view->family->patterns;
    for (; p->name && !per_layer(p); p++)
        MQ_TRY(add_tensor(b, p, -1, -1));
    for (uint32_t layer = 0; layer < view->hparams.layers; layer++)
        MQ_TRY(add_layer(b, (int32_t)layer));
    while (p->name && per_layer(p))
        p++;
    for (; p->name; p++)
        if (!(p->role == MQ_ROLE_HEAD && view->hparams.tied_head))
            MQ_TRY(add_tensor(b, p, -1, -1));
    return MOEQ_OK;
}

moeq_status mq_view_build(struct mq_view *view, const struct mq_view_source *source,
                          moeq_error *err)
{
    struct builder b = {.view = view, .source = source, .err = err};
    MQ_TRY(add_all(&b));
    return build_index(view, err);
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

const struct mq_tensor *mq_view_find(const struct mq_view *v, enum mq_role role, int32_t layer,
                                     int32_t expert)
{
    if (layer >= (int32_t)v->hparams.layers || expert >= (int32_t)v->hparams.experts)
        return NULL;
    const int32_t i = v->index[index_at(v, role, layer, expert)];
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

/* ---- which opener ---- */

static moeq_status open_folder(const char *folder, struct mq_view *view, moeq_error *err)
{
    char index[4096];
    MQ_TRY(mq_moeq_index_find(folder, index, sizeof index, err));
    return index[0] ? mq_moeq_index_open(index, view, err) : mq_hf_folder_open(folder, view, err);
}

/* By its first bytes. */
static moeq_status open_file(const char *path, struct mq_view *view, moeq_error *err)
{
    struct mq_what what;
    MQ_TRY(mq_what_is_file(path, &what, err));
    MQ_TRY(mq_refuse_what(path, &what, MQ_FILE_SAFETENSORS | MQ_FILE_GGUF | MQ_FILE_JSON, err));
    if (what.kind == MQ_FILE_GGUF)
        return mq_gguf_open(path, view, err);
    if (what.kind == MQ_FILE_UNKNOWN)
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "begins as no safetensors, moeq or GGUF file does: a damaged one (moeq "
                            "check tells more of a moeq file), or a later part of a file that was "
                            "cut (cat joins the parts, in order)");
    return what.kind == MQ_FILE_JSON ? mq_moeq_index_open(path, view, err)
                                     : mq_moeq_file_open(path, view, err);
}

moeq_status mq_view_open(const char *path, struct mq_view **view, moeq_error *err)
{
    return mq_view_open_with(path, NULL, view, err);
}

/* Where the model is: a path may name a model, or a folder, of the Hub's cache. */
static moeq_status find_model(const char *path, struct mq_hf_snapshot *snapshot, moeq_error *err)
{
    struct stat st, link;
    struct mq_hf_reference reference;
    snapshot->folder[0] = snapshot->note[0] = '\0';
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? mq_hf_cache_resolve(path, snapshot, err) : MOEQ_OK;
    if (errno != ENOENT && errno != ENOTDIR)
        return mq_fail_errno(err, path, "cannot open");
    if (lstat(path, &link) == 0)
        return mq_fail_file(err, MOEQ_NOT_FOUND, path,
                            "is a link to a file or folder that is not there");
    if (!mq_hf_parse_reference(path, &reference))
        return mq_fail_file(err, MOEQ_NOT_FOUND, path, "no such file or folder");
    return mq_hf_cache_find(path, &reference, snapshot, err);
}

moeq_status mq_view_open_with(const char *path, const struct mq_open_options *options,
                              struct mq_view **out, moeq_error *err)
{
    *out = NULL;
    struct mq_hf_snapshot snapshot;
    MQ_TRY(find_model(path, &snapshot, err));
    if (snapshot.folder[0])
        path = snapshot.folder;
    struct mq_view *view = mq_view_create(path);
    if (!view)
        return mq_fail_memory(err, "opening a model");
    moeq_status status = mq_view_set_options(view, options, err);
    if (status == MOEQ_OK && snapshot.note[0])
        status = mq_view_note(view, err, "%s", snapshot.note);
    if (status == MOEQ_OK)
        status =
            mq_path_is_folder(path) ? open_folder(path, view, err) : open_file(path, view, err);
    if (status != MOEQ_OK) {
        mq_view_close(view);
        return status;
    }
    *out = view;
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
