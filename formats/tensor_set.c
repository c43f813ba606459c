/* tensor_set.c: collecting tensors, and comparing them with an index. */
#include "tensor_set.h"

#include "error.h"
#include "moeq_profile.h"
#include "open_options.h"
#include "text_match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What every file of a moeq model has of its own. */
static bool is_own(const char *name)
{
    return strcmp(name, MQ_CRC_NAME) == 0 ||
           strncmp(name, MQ_PAD_PREFIX, sizeof MQ_PAD_PREFIX - 1) == 0;
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
        const char *name = mq_base_name(set->shards[i].file.path);
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
        const char *name = at ? mq_base_name(set->shards[at->shard].file.path) : NULL;
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
                               e->name, e->offset, "is missing from %s", mq_base_name(index_path));
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
        else if (strcmp(mq_base_name(mq_tensor_set_path(set, at)), mq_index_file(c->valuestring)) !=
                 0)
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
                                    mq_base_name(set->index_path), kinds[i].verb,
                                    kinds[i].tally->count, kinds[i].tally->count == 1 ? "" : "s",
                                    kinds[i].what, kinds[i].tally->names));
    if (set->repeated_count)
        MQ_TRY_OUT(mq_view_note(view, err,
                                "%zu tensor%s in several files (%.120s): read in the one that %s "
                                "names",
                                set->repeated_count, set->repeated_count == 1 ? " is" : "s are",
                                set->repeated, mq_base_name(set->index_path)));
out:
    mq_strmap_free(&listed);
    return status;
}

void mq_tensor_set_names(const struct mq_tensor_set *set, char *text, size_t room)
{
    struct tally all = {0};
    for (size_t i = 0; i < set->count && all.count < 4; i++)
        add_name(&all, set->tensors[i].name);
    snprintf(text, room, "%s", all.names);
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
