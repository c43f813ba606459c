/* tensor_set_view.c: a view of the tensors of safetensors files: where each of the family's stands, and
 * what is said where one is not there. */
#include "tensor_set_view.h"

#include "error.h"
#include "mlx_forms.h"
#include "place_tensor.h"
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
    if (sscanf(description, "%31s %19" SCNu64 " %19" SCNu64 "%n", level, &rows, &cols, &end) != 3 ||
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

/* Of a moeq file, which has official names only. *found: whether it is quantized. */
static moeq_status place_if_quantized(struct set_source *b, struct mq_tensor *t, bool *found)
{
    struct mq_located *at = mq_tensor_set_find(b->set, t->name);
    uint32_t i;
    *found = false;
    if (!at)
        return MOEQ_OK;
    const char *key = mq_arena_printf(b->view->arena, MQ_META_TENSOR "%s", at->entry->name);
    if (!key)
        return mq_fail_memory(b->err, "opening a model");
    *found = mq_strmap_get(&b->metadata, key, strlen(key), &i);
    if (!*found)
        return MOEQ_OK;
    at->used = true;
    t->file = at->shard;
    return place_quantized(b, at, b->view->metadata[i + 1], t);
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
    return mq_fail_about(b->err, name,
                         mq_fail_file(b->err, MOEQ_NOT_FOUND, b->view->path,
                        "tensor '%s' is missing: a %s model of %u layers%s needs it%s", name,
                        b->view->family->name, b->view->hparams.layers,
                        b->view->hparams.experts ? " with these experts" : "", why));
}

/* Under its official name or, in a folder, one of the others that it goes by. */
static moeq_status place_by_name(void *user, struct mq_view *v, struct mq_tensor *t,
                                 moeq_error *err)
{
    struct set_source *b = user;
    const bool is_moeq = v->kind == MQ_VIEW_MOEQ;
    bool found = false;
    if (is_moeq)
        MQ_TRY(place_if_quantized(b, t, &found));
    if (!found)
        MQ_TRY(mq_place_tensor(v, b->set, t->name, NULL, t, &found, err));
    for (const struct mq_tensor_alias *alias = is_moeq ? mq_no_aliases : v->family->aliases;
         alias->name && !found; alias++) {
        if (alias->role != t->role)
            continue;
        const char *name = mq_pattern_expand(v->arena, alias->name, t->layer, t->expert);
        if (!name)
            return mq_fail_memory(err, "opening a model");
        MQ_TRY(mq_place_tensor(v, b->set, name, alias, t, &found, err));
    }
    if (!found && !is_moeq)
        MQ_TRY(mq_mlx_place(v, b->set, t, &found, err));
    if (!found)
        return fail_missing(b, t);
    return is_moeq ? MOEQ_OK : mq_mlx_place_norm(v, b->set, t, err);
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
        MQ_TRY_OUT(mq_guess_quantized(view, set, err));
        MQ_TRY_OUT(mq_refuse_quantized_tensors(view, set, err));
        MQ_TRY_OUT(mq_tensor_set_map_names(view, set, err));
    }
    MQ_TRY_OUT(mq_choose_head(view, set, err));
    MQ_TRY_OUT(mq_view_build(view, &source, err));
    MQ_TRY_OUT(mq_judge_extra_tensors(view, set, err));
    if (view->kind != MQ_VIEW_MOEQ)
        MQ_TRY_OUT(mq_view_note_quantized(view, mq_tensor_has_codes, err));
    MQ_TRY_OUT(adopt_files(view, set, err));
out:
    mq_strmap_free(&b.metadata);
    return status;
}
