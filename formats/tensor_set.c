/* tensor_set.c: collecting tensors, comparing them with an index, and building a view of them. */
#include "view_int.h"

#include "error.h"
#include "open_options.h"
#include "quantized_source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What every file of a moeq model has of its own. */
static bool is_own(const char *name)
{
    return strcmp(name, MQ_CRC_NAME) == 0 ||
           strncmp(name, MQ_PAD_PREFIX, sizeof MQ_PAD_PREFIX - 1) == 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *mq_index_file(const char *name)
{
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    return name;
}

/* Adds to `listed` the shards in which the index has the tensors. */
static bool list_shards(const struct mq_tensor_set *set, struct mq_strmap *listed)
{
    struct mq_strmap files = {0};
    bool ok = mq_strmap_init(&files, set->shards_count);
    for (size_t i = 0; i < set->shards_count && ok; i++) {
        const char *name = base_name(set->shards[i].file.path);
        ok = mq_strmap_add(&files, name, strlen(name), (uint32_t)i) != MQ_STRMAP_NO_MEMORY;
    }
    for (const cJSON *c = set->index_map->child; c && ok; c = c->next) {
        const char *name = cJSON_IsString(c) ? mq_index_file(c->valuestring) : "";
        uint32_t shard;
        if (mq_strmap_get(&files, name, strlen(name), &shard))
            ok = mq_strmap_add(listed, c->string, strlen(c->string), shard) != MQ_STRMAP_NO_MEMORY;
    }
    mq_strmap_free(&files);
    return ok;
}

/* The tensor stands in another shard too, where it was seen as set->tensors[first]. */
static bool settle(struct mq_tensor_set *set, const struct mq_located *at, uint32_t first,
                   const struct mq_strmap *listed)
{
    struct mq_located *other = &set->tensors[first];
    uint32_t shard;
    if (!mq_strmap_get(listed, at->name, strlen(at->name), &shard) || other->shard == at->shard ||
        (shard != other->shard && shard != at->shard))
        return false;
    if (shard == at->shard)
        *other = *at;
    set->repeated = at->name;
    set->repeated_count++;
    return true;
}

/* Of the tensors that stand in several files under one name, those are taken that the index names:
 * Transformers reads them there. */
static moeq_status drop_repeated(struct mq_tensor_set *set, moeq_error *err)
{
    struct mq_strmap seen = {0}, listed = {0};
    size_t kept = 0;
    bool ok = mq_strmap_init(&seen, set->count) && mq_strmap_init(&listed, set->count) &&
              list_shards(set, &listed);
    for (size_t i = 0; i < set->count && ok; i++) {
        const struct mq_located at = set->tensors[i];
        uint32_t first = 0;
        const enum mq_strmap_result r =
            mq_strmap_add(&seen, at.name, strlen(at.name), (uint32_t)kept);
        ok = r != MQ_STRMAP_NO_MEMORY;
        if (r != MQ_STRMAP_DUPLICATE || !mq_strmap_get(&seen, at.name, strlen(at.name), &first) ||
            !settle(set, &at, first, &listed))
            set->tensors[kept++] = at;
    }
    if (ok)
        set->count = kept;
    mq_strmap_free(&seen);
    mq_strmap_free(&listed);
    return ok ? MOEQ_OK : mq_fail_memory(err, "opening a model");
}

moeq_status mq_tensor_set_open(struct mq_tensor_set *set, struct mq_arena *arena,
                               const char *const *paths, size_t count, bool is_moeq,
                               moeq_error *err)
{
    set->shards = calloc(count, sizeof *set->shards);
    if (!set->shards)
        return mq_fail_memory(err, "opening a model");
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        MQ_TRY(mq_safetensors_open(paths[i], arena, &set->shards[i], err));
        set->shards_count++;
        total += set->shards[i].count;
    }
    set->tensors = calloc(total + 1, sizeof *set->tensors);
    if (!set->tensors)
        return mq_fail_memory(err, "opening a model");
    for (size_t i = 0; i < count; i++) {
        const struct mq_safetensors *st = &set->shards[i];
        for (size_t k = 0; k < st->count; k++) {
            const struct mq_st_entry *e = &st->entries[k];
            if (!is_moeq || !is_own(e->name))
                set->tensors[set->count++] =
                    (struct mq_located){.shard = (uint32_t)i, .entry = e, .name = e->name};
        }
    }
    if (set->index_map)
        MQ_TRY(drop_repeated(set, err));
    return mq_tensor_set_rename(set, err);
}

moeq_status mq_tensor_set_rename(struct mq_tensor_set *set, moeq_error *err)
{
    mq_strmap_free(&set->by_name);
    if (!mq_strmap_init(&set->by_name, set->count))
        return mq_fail_memory(err, "opening a model");
    for (size_t i = 0; i < set->count; i++) {
        const struct mq_located *at = &set->tensors[i], *other;
        const enum mq_strmap_result r =
            mq_strmap_add(&set->by_name, at->name, strlen(at->name), (uint32_t)i);
        if (r == MQ_STRMAP_ADDED)
            continue;
        if (r != MQ_STRMAP_DUPLICATE)
            return mq_fail_memory(err, "opening a model");
        other = mq_tensor_set_find(set, at->name);
        return mq_fail_tensor(
            err, MOEQ_MALFORMED, mq_tensor_set_path(set, at), at->entry->name, at->entry->offset,
            "is present twice: also in %s%s%s", mq_tensor_set_path(set, other),
            strcmp(other->entry->name, at->entry->name) ? " as " : "",
            strcmp(other->entry->name, at->entry->name) ? other->entry->name : "");
    }
    return MOEQ_OK;
}

const char *mq_tensor_set_path(const struct mq_tensor_set *set, const struct mq_located *at)
{
    return set->shards[at->shard].file.path;
}

moeq_status mq_tensor_set_compare(const struct mq_tensor_set *set, const cJSON *map,
                                  const char *index_path, moeq_error *err)
{
    struct mq_strmap listed;
    if (!mq_strmap_init(&listed, set->count))
        return mq_fail_memory(err, "reading an index");
    moeq_status status = MOEQ_OK;
    for (const cJSON *c = map->child; c && status == MOEQ_OK; c = c->next) {
        const struct mq_located *at = mq_tensor_set_find(set, c->string);
        const char *name = at ? base_name(set->shards[at->shard].file.path) : NULL;
        if (!cJSON_IsString(c))
            status = mq_fail_file(err, MOEQ_MALFORMED, index_path,
                                  "weight_map: \"%.200s\" names no file", c->string);
        else if (!at || strcmp(name, c->valuestring) != 0)
            status = mq_fail_file(err, MOEQ_NOT_FOUND, index_path,
                                  "tensor '%.200s' is listed in %.200s but %s%.200s", c->string,
                                  c->valuestring, at ? "stands in " : "is not in that file",
                                  at ? name : "");
        else if (mq_strmap_add(&listed, c->string, strlen(c->string), 0) == MQ_STRMAP_NO_MEMORY)
            status = mq_fail_memory(err, "reading an index");
    }
    for (size_t i = 0; i < set->count && status == MOEQ_OK; i++) {
        const struct mq_st_entry *e = set->tensors[i].entry;
        uint32_t unused;
        if (!mq_strmap_get(&listed, e->name, strlen(e->name), &unused))
            status =
                mq_fail_tensor(err, MOEQ_MALFORMED, set->shards[set->tensors[i].shard].file.path,
                               e->name, e->offset, "is missing from %s", base_name(index_path));
    }
    mq_strmap_free(&listed);
    return status;
}

/* Of the tensors of one kind: how many, and a few names. */
struct tally {
    size_t count;
    char names[400];
};

static void add_name(struct tally *t, const char *name)
{
    const size_t n = strlen(t->names);
    if (t->count < 3)
        snprintf(t->names + n, sizeof t->names - n, "%s%.120s", t->count ? ", " : "", name);
    else if (t->count == 3)
        snprintf(t->names + n, sizeof t->names - n, ", ...");
    t->count++;
}

moeq_status mq_tensor_set_note_index(struct mq_view *view, const struct mq_tensor_set *set,
                                     moeq_error *err)
{
    struct tally absent = {0}, elsewhere = {0}, unlisted = {0};
    struct mq_strmap listed;
    if (!mq_strmap_init(&listed, set->count))
        return mq_fail_memory(err, "reading an index");
    moeq_status status = MOEQ_OK;
    for (const cJSON *c = set->index_map->child; c; c = c->next) {
        const struct mq_located *at = mq_tensor_set_find(set, c->string);
        if (!at)
            add_name(&absent, c->string);
        else if (strcmp(base_name(mq_tensor_set_path(set, at)), mq_index_file(c->valuestring)) != 0)
            add_name(&elsewhere, c->string);
        if (mq_strmap_add(&listed, c->string, strlen(c->string), 0) == MQ_STRMAP_NO_MEMORY) {
            status = mq_fail_memory(err, "reading an index");
            goto out;
        }
    }
    for (size_t i = 0; i < set->count; i++) {
        uint32_t unused;
        const char *name = set->tensors[i].name;
        if (!mq_strmap_get(&listed, name, strlen(name), &unused))
            add_name(&unlisted, name);
    }
    const struct {
        const struct tally *tally;
        const char *verb, *what;
    } kinds[] = {
        {&absent, "lists", "that none of its files has"},
        {&elsewhere, "has", "in another file than the one where they stand and are read"},
        {&unlisted, "leaves out", "that its files have and that are read too"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].tally->count)
            MQ_TRY_OUT(mq_view_note(view, err, "%s %s %zu tensor%s %s (%s)",
                                    base_name(set->index_path), kinds[i].verb,
                                    kinds[i].tally->count, kinds[i].tally->count == 1 ? "" : "s",
                                    kinds[i].what, kinds[i].tally->names));
    if (set->repeated_count)
        MQ_TRY_OUT(mq_view_note(view, err,
                                "%zu tensor%s in several files (%.120s): read in the one that %s "
                                "names",
                                set->repeated_count, set->repeated_count == 1 ? " is" : "s are",
                                set->repeated, base_name(set->index_path)));
out:
    mq_strmap_free(&listed);
    return status;
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

/* ---- as a source of a view ---- */

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

static bool shape_is(const struct mq_st_entry *e, uint32_t dims, const uint64_t *expected)
{
    return e->dims == dims && memcmp(e->shape, expected, dims * sizeof *expected) == 0;
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
static void list_layer(const struct mq_tensor_set *set, const struct mq_tensor *t, char *text,
                       size_t room)
{
    enum { SHOWN = 3 };
    const struct mq_located *best[SHOWN] = {0};
    size_t found = 0;
    char layer[40];
    snprintf(layer, sizeof layer, ".layers.%d.", (int)t->layer);
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
    const char *guess = mq_tensor_set_guess(set);
    const struct mq_located *adapter = find_adapter(set);
    struct tally there = {0};
    char why[700] = "";
    for (size_t i = 0; i < set->count && there.count < 4; i++)
        add_name(&there, set->tensors[i].name);
    if (b->view->kind == MQ_VIEW_MOEQ)
        return mq_view_fail_missing(b->view, name, b->err);
    if (cJSON_IsString(listed))
        snprintf(why, sizeof why, ". %s lists it in %.200s, which does not have it",
                 base_name(set->index_path), listed->valuestring);
    else if (adapter)
        snprintf(why, sizeof why, ". There is '%.200s': %s", adapter->entry->name,
                 mq_adapter_says(adapter->name));
    else if (guess)
        snprintf(why, sizeof why, ". Its names (%s) are those of %s", there.names, guess);
    else if (b->view->tensors_count == 0 && set->count)
        snprintf(why, sizeof why, ". There are %zu tensors: %s", set->count, there.names);
    else if (t->layer >= 0)
        list_layer(set, t, why, sizeof why);
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
