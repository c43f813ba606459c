/*
 * gguf_split.c: a model in one GGUF file, or in several: NAME-00001-of-00003.gguf and so on, as
 * llama.cpp's gguf-split writes them. The first has all metadata; each has split.no (from 0),
 * split.count and split.tensors.count, and tensors of its own.
 */
#include "gguf_int.h"

#include "error.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILES = 4096 }; /* of published models at most some dozens */

/* What a file says of itself; count 1 where it is not split. */
struct split {
    uint64_t number, count, tensors;
    bool has_tensors;
};

static moeq_status read_split(const struct mq_gguf *g, struct split *split, moeq_error *err)
{
    const struct {
        const char *name;
        uint64_t *value;
    } wanted[] = {{MQ_GGUF_KEY_SPLIT_NO, &split->number},
                  {MQ_GGUF_KEY_SPLIT_COUNT, &split->count},
                  {MQ_GGUF_KEY_SPLIT_TENSORS, &split->tensors}};
    *split = (struct split){.count = 1};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        const struct mq_gguf_key *key = mq_gguf_find(g, wanted[i].name);
        if (!key)
            continue;
        if (key->type == MQ_GGUF_ARRAY || !mq_gguf_whole(g, key, 0, wanted[i].value))
            return mq_gguf_fail_key(g, key, MOEQ_MALFORMED, err, "expected a whole number");
        split->has_tensors |= wanted[i].value == &split->tensors;
    }
    if (split->count == 0) /* as good as absent */
        split->count = 1;
    if (split->count > MAX_FILES || split->number >= split->count)
        return mq_fail_file(err, MOEQ_MALFORMED, g->file.path,
                            "is file number %" PRIu64 " (from 0) of %" PRIu64
                            " by its keys split.no and split.count: expected a number below the "
                            "count, and at most %d files",
                            split->number, split->count, MAX_FILES);
    return MOEQ_OK;
}

/* The path up to "-00001-of-00003.gguf"; 0 if it does not end so. */
static size_t stem_of(const char *path, const struct split *split)
{
    char ending[64];
    const size_t n = strlen(path);
    const int m = snprintf(ending, sizeof ending, "-%05" PRIu64 "-of-%05" PRIu64 ".gguf",
                           split->number + 1, split->count);
    return n > (size_t)m && strcmp(path + n - (size_t)m, ending) == 0 ? n - (size_t)m : 0;
}

static moeq_status open_siblings(struct mq_gguf_set *set, struct mq_arena *arena,
                                 const struct split *first, size_t stem, moeq_error *err)
{
    const char *path = set->files[0].file.path;
    for (uint64_t i = 1; i < first->count; i++) {
        struct split own;
        char *sibling = mq_arena_printf(arena, "%.*s-%05" PRIu64 "-of-%05" PRIu64 ".gguf",
                                        (int)stem, path, i + 1, first->count);
        if (!sibling)
            return mq_fail_memory(err, "opening a model");
        if (!mq_path_exists(sibling))
            return mq_fail_file(err, MOEQ_NOT_FOUND, sibling,
                                "is missing: the model is split into %" PRIu64
                                " files, and all of them are needed, in one folder",
                                first->count);
        MQ_TRY(mq_gguf_read(sibling, arena, &set->files[i], err));
        set->files_count++;
        MQ_TRY(read_split(&set->files[i], &own, err));
        if (own.number != i || own.count != first->count)
            return mq_fail_file(err, MOEQ_MALFORMED, sibling,
                                "expected file %" PRIu64 " of %" PRIu64 ", its keys say %" PRIu64
                                " of %" PRIu64,
                                i + 1, first->count, own.number + 1, own.count);
    }
    return MOEQ_OK;
}

static moeq_status open_files(const char *path, struct mq_arena *arena, struct mq_gguf_set *set,
                              moeq_error *err)
{
    struct mq_gguf first;
    struct split split;
    MQ_TRY(mq_gguf_read(path, arena, &first, err));
    const moeq_status status = read_split(&first, &split, err);
    if (status == MOEQ_OK)
        set->files = calloc(split.count, sizeof *set->files);
    if (!set->files) {
        mq_gguf_close(&first);
        return status == MOEQ_OK ? mq_fail_memory(err, "opening a model") : status;
    }
    set->files[set->files_count++] = first;
    set->count = first.tensors_count;
    if (split.count == 1)
        return MOEQ_OK;
    const size_t stem = stem_of(path, &split);
    if (!stem)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "is file %" PRIu64 " of %" PRIu64 " of a split model: expected a name "
                            "ending in -%05" PRIu64 "-of-%05" PRIu64 ".gguf, to find the others",
                            split.number + 1, split.count, split.number + 1, split.count);
    if (split.number != 0)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "is file %" PRIu64 " of %" PRIu64
                            " of a split model: give the first, %.*s-00001-of-%05" PRIu64 ".gguf",
                            split.number + 1, split.count, (int)stem, path, split.count);
    MQ_TRY(open_siblings(set, arena, &split, stem, err));
    set->count = 0;
    for (size_t i = 0; i < set->files_count; i++)
        set->count += set->files[i].tensors_count;
    if (split.has_tensors && split.tensors != set->count)
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "split.tensors.count is %" PRIu64 ", the %zu files have %zu tensors",
                            split.tensors, set->files_count, set->count);
    return MOEQ_OK;
}

moeq_status mq_gguf_set_open(const char *path, struct mq_arena *arena, struct mq_gguf_set *set,
                             moeq_error *err)
{
    memset(set, 0, sizeof *set);
    MQ_TRY(open_files(path, arena, set, err));
    const size_t total = set->count;
    set->count = 0;
    set->tensors = calloc(total + 1, sizeof *set->tensors);
    if (!set->tensors || !mq_strmap_init(&set->by_name, total))
        return mq_fail_memory(err, "opening a model");
    for (size_t i = 0; i < set->files_count; i++) {
        const struct mq_gguf *g = &set->files[i];
        for (size_t k = 0; k < g->tensors_count; k++) {
            const struct mq_gguf_tensor *t = &g->tensors[k];
            const enum mq_strmap_result r =
                mq_strmap_add(&set->by_name, t->name, strlen(t->name), (uint32_t)set->count);
            if (r == MQ_STRMAP_DUPLICATE)
                return mq_fail_tensor(err, MOEQ_MALFORMED, g->file.path, t->name, t->offset,
                                      "is present twice: also in %s",
                                      set->files[mq_gguf_set_find(set, t->name)->file].file.path);
            if (r != MQ_STRMAP_ADDED)
                return mq_fail_memory(err, "opening a model");
            set->tensors[set->count++] = (struct mq_gguf_at){.file = (uint32_t)i, .tensor = t};
        }
    }
    return MOEQ_OK;
}

void mq_gguf_set_free(struct mq_gguf_set *set)
{
    for (size_t i = 0; i < set->files_count; i++)
        mq_gguf_close(&set->files[i]);
    free(set->files);
    free(set->tensors);
    mq_strmap_free(&set->by_name);
    memset(set, 0, sizeof *set);
}

struct mq_gguf_at *mq_gguf_set_find(const struct mq_gguf_set *set, const char *name)
{
    uint32_t i;
    return mq_strmap_get(&set->by_name, name, strlen(name), &i) ? &set->tensors[i] : NULL;
}
