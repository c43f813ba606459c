/* tensor_set_view.c: a view of the tensors of safetensors files: where each of the family's stands, and
 * what is said where one is not there. */
#include "tensor_set_view.h"

#include "error.h"
#include "quantized_source.h"
#include "text_match.h"
#include "view_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct set_source {
    struct mq_view *view;
    struct mq_tensor_set *set;
    moeq_error *err;
    struct mq_strmap metadata; /* of a moeq file: key -> index into view->metadata */
};

static moeq_status fail_shape(struct set_source *b, const struct mq_located *at, uint32_t dims,
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

/* Dimensions of 1 make no difference: a convolution's weights are [channels, 1, taps] (in MLX
 * [channels, taps, 1]), a vector may be [1, n]. */
static bool shape_is(const struct mq_st_entry *e, uint32_t dims, const uint64_t *expected)
{
    uint32_t i = 0, k = 0;
    for (;; i++, k++) {
        while (i < e->dims && e->shape[i] == 1)
            i++;
        while (k < dims && expected[k] == 1)
            k++;
        if (i == e->dims || k == dims || e->shape[i] != expected[k])
            return i == e->dims && k == dims;
    }
}

/* A quantized tensor of a moeq file: U8 [rows, bytes_per_row], level and logical shape in the
 * metadata. */
static moeq_status place_quantized(struct set_source *b, const struct mq_located *at,
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

static moeq_status place(struct set_source *b, struct mq_located *at,
                         const struct mq_tensor_alias *alias, struct mq_tensor *t)
{
    const struct mq_st_entry *e = at->entry;
    at->used = true;
    t->file = at->shard;
    if (b->view->kind == MQ_VIEW_MOEQ) {
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
        const uint32_t first = t->expert < 0, of = first ? 0 : (uint32_t)t->expert;
        if (!shape_is(e, 3 - first, shape + first))
            return fail_shape(b, at, 3 - first, shape + first);
        t->offset += ((uint64_t)of * alias->parts + alias->part) * t->rows * t->row_bytes;
        return MOEQ_OK;
    }
    const uint64_t shape[] = {t->rows, t->cols};
    const uint32_t skip = t->dims == 1;
    if (!shape_is(e, t->dims, shape + skip))
        return fail_shape(b, at, t->dims, shape + skip);
    return MOEQ_OK;
}

/* How much of two names is the same, from both ends. */
static size_t likeness(const char *a, const char *b)
{
    const size_t n = strlen(a), m = strlen(b), most = n < m ? n : m;
    size_t begin = 0, end = 0;
    while (begin < most && a[begin] == b[begin])
        begin++;
    while (begin + end < most && a[n - end - 1] == b[m - end - 1])
        end++;
    return begin + end;
}

/* ". Found in this layer: ...": the tensors without a use whose names are most alike; "". */
static void list_layer(const struct mq_tensor_set *set, const struct mq_family *family,
                       const struct mq_tensor *t, char *text, size_t room)
{
    enum { SHOWN = 3 };
    const struct mq_located *best[SHOWN] = {0};
    size_t found = 0;
    char layer[80];
    const char *prefix;
    const size_t n = mq_family_layer_prefix(family, &prefix);
    size_t part = n ? n - 1 : 0;
    while (part && prefix[part - 1] != '.') /* of "model.layers." the last part */
        part--;
    snprintf(layer, sizeof layer, "%.*s%d.", (int)(n - part), prefix + part, (int)t->layer);
    for (size_t i = 0; i < set->count; i++) {
        const struct mq_located *at = &set->tensors[i];
        if (at->used || !strstr(at->name, layer))
            continue;
        found++;
        for (size_t k = 0; k < SHOWN; k++)
            if (!best[k] || likeness(at->name, t->name) > likeness(best[k]->name, t->name)) {
                const struct mq_located *worse = best[k];
                best[k] = at;
                at = worse;
                if (!at)
                    break;
            }
    }
    text[0] = '\0';
    for (size_t k = 0; k < SHOWN && best[k]; k++)
        snprintf(text + strlen(text), room - strlen(text), "%s%.140s",
                 k ? ", " : ". Found in this layer: ", best[k]->entry->name);
    if (found > SHOWN)
        snprintf(text + strlen(text), room - strlen(text), ", ... (%zu)", found);
}

/* The first tensor of an adapter; NULL. */
static const struct mq_located *find_adapter(const struct mq_tensor_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (mq_adapter_says(set->tensors[i].name))
            return &set->tensors[i];
    return NULL;
}

/* What is known of why a tensor is not there. */
static moeq_status fail_missing(const struct set_source *b, const struct mq_tensor *t)
{
    const struct mq_tensor_set *set = b->set;
    const char *name = t->name;
    const cJSON *listed = mq_json_get(set->index_map, name);
    const char *guess = mq_tensor_set_guess(set, b->view->family);
    const struct mq_located *adapter = find_adapter(set);
    char why[700] = "", there[400];
    mq_tensor_set_names(set, there, sizeof there);
    if (b->view->kind == MQ_VIEW_MOEQ)
        return mq_view_fail_missing(b->view, name, b->err);
    if (cJSON_IsString(listed))
        snprintf(why, sizeof why, ". %s lists it in %.200s, which does not have it",
                 mq_base_name(set->index_path), listed->valuestring);
    else if (adapter)
        snprintf(why, sizeof why, ". There is '%.200s': %s", adapter->entry->name,
                 mq_adapter_says(adapter->name));
    else if (guess)
        snprintf(why, sizeof why, ". Its names (%s) are those of %s", there, guess);
    else if (b->view->tensors_count == 0 && set->count)
        snprintf(why, sizeof why, ". There are %zu tensors: %s", set->count, there);
    else if (t->layer >= 0)
        list_layer(set, b->view->family, t, why, sizeof why);
    return mq_fail_file(b->err, MOEQ_NOT_FOUND, b->view->path,
                        "tensor '%s' is missing: a %s model of %u layers%s needs it%s", name,
                        b->view->family->name, b->view->hparams.layers,
                        b->view->hparams.experts ? " with these experts" : "", why);
}

/* Under its official name or, in a folder, one of the others that it goes by. */
static moeq_status place_by_name(void *user, struct mq_view *v, struct mq_tensor *t,
                                 moeq_error *err)
{
    struct set_source *b = user;
    struct mq_located *at = mq_tensor_set_find(b->set, t->name);
    if (at)
        return place(b, at, NULL, t);
    /* A moeq file has official names only. */
    const struct mq_tensor_alias *alias =
        v->kind == MQ_VIEW_MOEQ ? mq_no_aliases : v->family->aliases;
    for (; alias->name; alias++) {
        if (alias->role != t->role)
            continue;
        const char *name = mq_pattern_expand(v->arena, alias->name, t->layer, t->expert);
        if (!name)
            return mq_fail_memory(err, "opening a model");
        at = mq_tensor_set_find(b->set, name);
        if (at)
            return place(b, at, alias, t);
    }
    return fail_missing(b, t);
}

static moeq_status adopt_files(struct mq_view *v, struct mq_tensor_set *set, moeq_error *err)
{
    v->files = mq_arena_alloc(v->arena, set->shards_count, sizeof *v->files);
    if (!v->files)
        return mq_fail_memory(err, "opening a model");
    for (size_t i = 0; i < set->shards_count; i++) {
        struct mq_safetensors *st = &set->shards[i];
        MQ_TRY(mq_view_adopt_file(v, &st->file, st->header_bytes, st->header_crc32, err));
    }
    return MOEQ_OK;
}

moeq_status mq_view_build_from_set(struct mq_view *view, struct mq_tensor_set *set, moeq_error *err)
{
    struct set_source b = {.view = view, .set = set, .err = err};
    const struct mq_view_source source = {.user = &b, .place = place_by_name};
    moeq_status status = MOEQ_OK;
    for (size_t i = 0; view->metadata && view->metadata[i]; i += 2) {
        const char *key = view->metadata[i];
        if (mq_strmap_add(&b.metadata, key, strlen(key), (uint32_t)i) == MQ_STRMAP_NO_MEMORY) {
            status = mq_fail_memory(err, "opening a model");
            goto out;
        }
    }
    if (view->kind != MQ_VIEW_MOEQ) {
        /* before a tensor is missed that stands there in another tool's blocks */
        MQ_TRY_OUT(mq_refuse_quantized_tensors(view, set, err));
        MQ_TRY_OUT(mq_tensor_set_map_names(view, set, err));
    }
    MQ_TRY_OUT(mq_choose_head(view, set, err));
    MQ_TRY_OUT(mq_view_build(view, &source, err));
    MQ_TRY_OUT(mq_judge_extra_tensors(view, set, err));
    MQ_TRY_OUT(adopt_files(view, set, err));
out:
    mq_strmap_free(&b.metadata);
    return status;
}
