/* model_view.c: building the table of tensors from the family's patterns. */
#include "view_int.h"

#include "checked.h"
#include "error.h"

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
     16u << 20, false},
};
const size_t mq_side_files_count = sizeof mq_side_files / sizeof *mq_side_files;

struct mq_buffer *mq_view_side(struct mq_view *view, const struct mq_side_file *side)
{
    return (struct mq_buffer *)((char *)view + side->view_field);
}

/* ---- the set of tensors on disk ---- */

moeq_status mq_tensor_set_open(struct mq_tensor_set *set, struct mq_arena *arena,
                               const char *folder, const char *const *names, size_t count,
                               moeq_error *err)
{
    memset(set, 0, sizeof *set);
    set->shards = calloc(count, sizeof *set->shards);
    if (!set->shards)
        return mq_fail_memory(err, "opening a model");
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        const char *path = folder[0] ? mq_arena_printf(arena, "%s/%s", folder, names[i]) : names[i];
        if (!path)
            return mq_fail_memory(err, "opening a model");
        MQ_TRY(mq_safetensors_open(path, arena, &set->shards[i], err));
        set->shards_count++;
        total += set->shards[i].count;
    }
    set->tensors = calloc(total + 1, sizeof *set->tensors);
    if (!set->tensors || !mq_strmap_init(&set->by_name, total))
        return mq_fail_memory(err, "opening a model");
    for (size_t i = 0; i < count; i++) {
        const struct mq_safetensors *st = &set->shards[i];
        for (size_t k = 0; k < st->count; k++) {
            const struct mq_st_entry *e = &st->entries[k];
            const enum mq_strmap_result r =
                mq_strmap_add(&set->by_name, e->name, strlen(e->name), (uint32_t)set->count);
            if (r == MQ_STRMAP_DUPLICATE)
                return mq_fail_tensor(
                    err, MOEQ_MALFORMED, st->file.path, e->name, e->offset,
                    "is present twice: also in %s",
                    set->shards[mq_tensor_set_find(set, e->name)->shard].file.path);
            if (r != MQ_STRMAP_ADDED)
                return mq_fail_memory(err, "opening a model");
            set->tensors[set->count++] = (struct mq_located){.shard = (uint32_t)i, .entry = e};
        }
    }
    return MOEQ_OK;
}

void mq_tensor_set_free(struct mq_tensor_set *set)
{
    for (size_t i = 0; i < set->shards_count; i++)
        mq_safetensors_close(&set->shards[i]);
    free(set->shards);
    free(set->tensors);
    mq_strmap_free(&set->by_name);
    memset(set, 0, sizeof *set);
}

struct mq_located *mq_tensor_set_find(const struct mq_tensor_set *set, const char *name)
{
    uint32_t i;
    return mq_strmap_get(&set->by_name, name, strlen(name), &i) ? &set->tensors[i] : NULL;
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
    struct mq_tensor_set *set; /* NULL: config.json alone, every tensor stored as `dtype` */
    enum mq_dtype dtype;
    moeq_error *err;
    size_t capacity;
    struct mq_strmap metadata; /* of a moeq file: key -> index into view->metadata */
};

static moeq_status fail_shape(struct builder *b, const struct mq_located *at, uint32_t dims,
                              const uint64_t *expected)
{
    const struct mq_st_entry *e = at->entry;
    char want[120] = "", have[200] = "";
    for (uint32_t i = 0; i < dims; i++)
        snprintf(want + strlen(want), sizeof want - strlen(want), "%s%" PRIu64, i ? ", " : "",
                 expected[i]);
    for (uint32_t i = 0; i < e->dims; i++)
        snprintf(have + strlen(have), sizeof have - strlen(have), "%s%" PRIu64, i ? ", " : "",
                 e->shape[i]);
    return mq_fail_tensor(b->err, MOEQ_MALFORMED, b->set->shards[at->shard].file.path, e->name,
                          e->offset, "expected shape [%s] from config.json, found [%s]", want,
                          have);
}

static bool shape_is(const struct mq_st_entry *e, uint32_t dims, const uint64_t *expected)
{
    return e->dims == dims && memcmp(e->shape, expected, dims * sizeof *expected) == 0;
}

/* A quantized tensor of a moeq file: U8 [rows, bytes_per_row], level and logical shape in the
 * metadata. */
static moeq_status place_quantized(struct builder *b, const struct mq_located *at,
                                   const char *description, struct mq_tensor *t)
{
    const struct mq_st_entry *e = at->entry;
    const char *path = b->set->shards[at->shard].file.path;
    char level[32];
    uint64_t rows, cols;
    int end = 0;
    if (sscanf(description, "%31s %" SCNu64 " %" SCNu64 "%n", level, &rows, &cols, &end) != 3 ||
        description[end] != '\0')
        return mq_fail_tensor(b->err, MOEQ_MALFORMED, path, e->name, e->offset,
                              "metadata: expected \"<level> <rows> <cols>\", found \"%.60s\"",
                              description);
    if (mq_role_class(t->role) == MQ_CLASS_KEEP)
        return mq_fail_tensor(b->err, MOEQ_MALFORMED, path, e->name, e->offset,
                              "a %s is never quantized, metadata gives the level \"%s\"",
                              mq_role_name(t->role), level);
    if (rows != t->rows || cols != t->cols)
        return mq_fail_tensor(b->err, MOEQ_MALFORMED, path, e->name, e->offset,
                              "expected shape [%" PRIu64 ", %" PRIu64
                              "] from config.json, metadata gives [%" PRIu64 ", %" PRIu64 "]",
                              t->rows, t->cols, rows, cols);
    if (e->dtype != MQ_U8 || e->dims != 2 || e->shape[0] != rows)
        return mq_fail_tensor(b->err, MOEQ_MALFORMED, path, e->name, e->offset,
                              "expected U8 [%" PRIu64 ", bytes a row]", rows);
    t->storage = mq_arena_strdup(b->view->arena, level);
    if (!t->storage)
        return mq_fail_memory(b->err, "opening a model");
    t->row_bytes = e->shape[1];
    t->offset = e->offset;
    return MOEQ_OK;
}

static moeq_status place(struct builder *b, struct mq_located *at,
                         const struct mq_tensor_alias *alias, struct mq_tensor *t)
{
    const struct mq_st_entry *e = at->entry;
    at->used = true;
    t->file = at->shard;
    if (b->view->is_moeq) {
        const char *key = mq_arena_printf(b->view->arena, MQ_META_TENSOR "%s", e->name);
        if (!key)
            return mq_fail_memory(b->err, "opening a model");
        uint32_t i;
        if (mq_strmap_get(&b->metadata, key, strlen(key), &i))
            return place_quantized(b, at, b->view->metadata[i + 1], t);
    }
    t->storage = mq_dtype_storage(e->dtype);
    if (!t->storage)
        return mq_fail_tensor(
            b->err, MOEQ_UNSUPPORTED, b->set->shards[at->shard].file.path, e->name, e->offset,
            "weights of dtype %s are not supported (F32, F16, BF16)", mq_dtype_name(e->dtype));
    t->row_bytes = t->cols * mq_dtype_bytes(e->dtype);
    t->offset = e->offset;
    if (alias && alias->parts) {
        const uint64_t shape[] = {b->view->hparams.experts, alias->parts * t->rows, t->cols};
        if (!shape_is(e, 3, shape))
            return fail_shape(b, at, 3, shape);
        t->offset += ((uint64_t)t->expert * alias->parts + alias->part) * t->rows * t->row_bytes;
        return MOEQ_OK;
    }
    const uint64_t shape[] = {t->rows, t->cols};
    const uint32_t skip = t->dims == 1;
    if (!shape_is(e, t->dims, shape + skip))
        return fail_shape(b, at, t->dims, shape + skip);
    return MOEQ_OK;
}

/* A tensor of which there is only the config's word. */
static moeq_status place_unseen(struct builder *b, struct mq_tensor *t)
{
    /* A table of 2^18 rows is about 50 MB; the largest models known have 2^16 tensors. */
    enum { MAX_TENSORS = 1 << 18 };
    /* 2^18 such tensors in f32 are 2^60 bytes: no sum overflows. Known models have 2^40 in all. */
    const uint64_t max_tensor_weights = UINT64_C(1) << 40;
    uint64_t weights;
    if (b->view->tensors_count == MAX_TENSORS)
        return mq_fail_file(b->err, MOEQ_LIMIT, b->view->path,
                            "asks for more than %d tensors: no model has so many", MAX_TENSORS);
    if (!mq_mul_u64(t->rows, t->cols, &weights) || weights > max_tensor_weights)
        return mq_fail_file(b->err, MOEQ_LIMIT, b->view->path,
                            "asks for a tensor '%s' of %" PRIu64 " x %" PRIu64
                            " weights: no model has one so large",
                            t->name, t->rows, t->cols);
    t->storage = mq_dtype_storage(b->dtype);
    t->row_bytes = t->cols * mq_dtype_bytes(b->dtype);
    b->view->tensors_count++;
    return MOEQ_OK;
}

static moeq_status add_tensor(struct builder *b, const struct mq_tensor_pattern *p, int32_t layer,
                              int32_t expert)
{
    struct mq_view *v = b->view;
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
    if (!b->set)
        return place_unseen(b, t);
    struct mq_located *at = mq_tensor_set_find(b->set, t->name);
    if (at) {
        MQ_TRY(place(b, at, NULL, t));
        v->tensors_count++;
        return MOEQ_OK;
    }
    /* A moeq file has official names only. */
    const struct mq_tensor_alias *alias = v->is_moeq ? mq_no_aliases : v->family->aliases;
    for (; alias->name; alias++) {
        if (alias->role != p->role)
            continue;
        const char *name = mq_pattern_expand(v->arena, alias->name, layer, expert);
        if (!name)
            return mq_fail_memory(b->err, "opening a model");
        at = mq_tensor_set_find(b->set, name);
        if (at) {
            MQ_TRY(place(b, at, alias, t));
            v->tensors_count++;
            return MOEQ_OK;
        }
    }
    return mq_fail_file(b->err, MOEQ_NOT_FOUND, v->path,
                        "tensor '%s' is missing: a %s model of %u layers%s needs it", t->name,
                        v->family->name, v->hparams.layers,
                        v->hparams.experts ? " with these experts" : "");
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

static bool ends_with(const char *text, const char *suffix)
{
    const size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

/* A tensor that nothing has asked for may be a bias or a norm of a variant that we would get wrong.
 */
static moeq_status refuse_unused(const struct builder *b)
{
    const struct mq_view *v = b->view;
    for (size_t i = 0; i < b->set->count; i++) {
        const struct mq_located *at = &b->set->tensors[i];
        const char *name = at->entry->name;
        bool fine = at->used || (v->is_moeq && strncmp(name, "moeq.", 5) == 0);
        for (const char *const *s = v->family->ignored_suffixes; *s; s++)
            fine |= ends_with(name, *s);
        for (const struct mq_tensor_pattern *p = v->family->patterns; p->name; p++)
            fine |= p->role == MQ_ROLE_HEAD && v->hparams.tied_head && strcmp(name, p->name) == 0;
        if (!fine)
            return mq_fail_tensor(b->err, MOEQ_UNSUPPORTED, b->set->shards[at->shard].file.path,
                                  name, at->entry->offset,
                                  "has no place in a %s model of this config.json",
                                  v->family->name);
    }
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

static moeq_status adopt_files(struct mq_view *v, struct mq_tensor_set *set, moeq_error *err)
{
    v->files = mq_arena_alloc(v->arena, set->shards_count, sizeof *v->files);
    if (!v->files)
        return mq_fail_memory(err, "opening a model");
    for (size_t i = 0; i < set->shards_count; i++) {
        struct mq_safetensors *st = &set->shards[i];
        const char *slash = strrchr(st->file.path, '/');
        v->files[i] = (struct mq_source_file){
            .file = st->file,
            .name = mq_arena_strdup(v->arena, slash ? slash + 1 : st->file.path),
            .header_bytes = st->header_bytes,
            .header_crc32 = st->header_crc32,
        };
        memset(&st->file, 0, sizeof st->file);
        st->file.fd = -1;
        v->files_count++;
        if (!v->files[i].name)
            return mq_fail_memory(err, "opening a model");
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
    return b->set ? refuse_unused(b) : MOEQ_OK;
}

moeq_status mq_view_build(struct mq_view *view, struct mq_tensor_set *set, moeq_error *err)
{
    struct builder b = {.view = view, .set = set, .err = err};
    for (size_t i = 0; view->metadata && view->metadata[i]; i += 2) {
        const char *key = view->metadata[i];
        if (mq_strmap_add(&b.metadata, key, strlen(key), (uint32_t)i) == MQ_STRMAP_NO_MEMORY) {
            mq_strmap_free(&b.metadata);
            return mq_fail_memory(err, "opening a model");
        }
    }
    const moeq_status status = add_all(&b);
    mq_strmap_free(&b.metadata);
    if (status != MOEQ_OK)
        return status;
    MQ_TRY(build_index(view, err));
    return adopt_files(view, set, err);
}

moeq_status mq_view_build_from_config(struct mq_view *view, enum mq_dtype dtype, moeq_error *err)
{
    struct builder b = {.view = view, .dtype = dtype, .err = err};
    view->no_weights = true;
    MQ_TRY(add_all(&b));
    return build_index(view, err);
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

/* owner/name, as on the Hub: one slash, neither part empty nor a dot name; and no file that is
 * merely missing. */
static bool looks_like_repository(const char *path)
{
    const char *slash = strchr(path, '/');
    return slash && slash > path && slash[1] && !strchr(slash + 1, '/') && path[0] != '.' &&
           path[0] != '~' && slash[1] != '.' && !ends_with(path, ".moeq");
}

moeq_status mq_view_open(const char *path, struct mq_view **out, moeq_error *err)
{
    *out = NULL;
    struct stat st;
    const bool exists = stat(path, &st) == 0;
    char snapshot[4096];
    if (!exists && looks_like_repository(path)) {
        MQ_TRY(mq_hf_cache_find(path, snapshot, sizeof snapshot, err));
        path = snapshot;
    } else if (!exists) {
        return mq_fail_file(err, MOEQ_NOT_FOUND, path, "no such file or folder");
    }
    struct mq_view *view = mq_view_create(path);
    if (!view)
        return mq_fail_memory(err, "opening a model");
    const moeq_status status = mq_path_is_folder(path) ? mq_hf_folder_open(path, view, err)
                                                       : mq_moeq_file_open(path, view, err);
    if (status != MOEQ_OK) {
        mq_view_close(view);
        return status;
    }
    *out = view;
    return MOEQ_OK;
}
