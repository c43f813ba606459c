/* moeq_index.c: printing, finding and reading the index of a moeq model in several files. */
#include "moeq_index.h"

#include "error.h"
#include "file.h"
#include "json.h"
#include "moeq_profile.h"
#include "safetensors.h"
#include "text_match.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SHARDS "moeq.shards"

/* ---- printing ---- */

void mq_moeq_index_print(struct mq_buffer *b, const struct mq_index_shard *shards,
                         const struct mq_layout *const *layouts, size_t count)
{
    uint64_t total = 0;
    mq_buffer_puts(b, "{\n  \"metadata\": {\n    \"" MQ_META_FORMAT
                      "\": \"moeq\",\n    \"" MQ_META_VERSION "\": \"" MQ_PROFILE_VERSION
                      "\",\n    \"" KEY_SHARDS "\": [");
    for (size_t s = 0; s < count; s++) {
        mq_buffer_puts(b, s ? ",\n      {\"name\": " : "\n      {\"name\": ");
        mq_buffer_put_json(b, shards[s].name, strlen(shards[s].name));
        mq_buffer_printf(b, ", \"bytes\": %" PRIu64 ", \"crc32\": \"%08" PRIx32 "\"}",
                         shards[s].size_bytes, shards[s].crc32);
        for (size_t i = 0; i < layouts[s]->count; i++)
            if (layouts[s]->items[i].source >= 0)
                total += layouts[s]->items[i].size_bytes;
    }
    mq_buffer_printf(b, "\n    ],\n    \"total_size\": %" PRIu64 "\n  },\n  \"weight_map\": {",
                     total);
    bool first = true;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < layouts[s]->count; i++) {
            const struct mq_layout_item *item = &layouts[s]->items[i];
            if (item->source < 0) /* padding and checksums are each file's own */
                continue;
            mq_buffer_puts(b, first ? "\n    " : ",\n    ");
            mq_buffer_put_json(b, item->name, strlen(item->name));
            mq_buffer_puts(b, ": ");
            mq_buffer_put_json(b, shards[s].name, strlen(shards[s].name));
            first = false;
        }
    mq_buffer_puts(b, "\n  }\n}\n");
}

/* ---- reading ---- */

/* The JSON of a file that may be an index. */
static moeq_status read_tree(const char *path, cJSON **tree, moeq_error *err)
{
    struct mq_buffer text;
    MQ_TRY(mq_file_read_all(path, MQ_SAFETENSORS_MAX_HEADER, &text, err));
    const struct mq_json_limits limits = {.depth = 16, .values = MQ_INDEX_MAX_VALUES(text.size)};
    const moeq_status status = mq_json_parse(text.data, text.size, &limits, path, 0, tree, err);
    mq_buffer_free(&text);
    return status;
}

static bool is_text(const cJSON *item, const char *text)
{
    return cJSON_IsString(item) && strcmp(item->valuestring, text) == 0;
}

static bool is_moeq(const cJSON *tree)
{
    return is_text(mq_json_get(mq_json_get(tree, "metadata"), MQ_META_FORMAT), "moeq");
}

/* Eight hexadecimal digits. */
static bool parse_crc(const cJSON *item, uint32_t *crc)
{
    if (!cJSON_IsString(item) || strlen(item->valuestring) != 8 ||
        strspn(item->valuestring, "0123456789abcdef") != 8)
        return false;
    *crc = (uint32_t)strtoul(item->valuestring, NULL, 16);
    return true;
}

static moeq_status read_shards(const cJSON *list, struct mq_arena *arena,
                               struct mq_moeq_index *index, moeq_error *err)
{
    const int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    if (count == 0)
        return mq_fail_file(err, MOEQ_MALFORMED, index->path,
                            "expected a list \"" KEY_SHARDS "\" in the metadata");
    index->shards = mq_arena_alloc(arena, (size_t)count, sizeof *index->shards);
    if (!index->shards)
        return mq_fail_memory(err, "reading an index");
    for (const cJSON *c = list->child; c; c = c->next) {
        struct mq_index_shard *shard = &index->shards[index->count++];
        const cJSON *name = mq_json_get(c, "name");
        if (!cJSON_IsString(name) || !name->valuestring[0] || strchr(name->valuestring, '/') ||
            !mq_json_u64(mq_json_get(c, "bytes"), &shard->size_bytes) ||
            !parse_crc(mq_json_get(c, "crc32"), &shard->crc32))
            return mq_fail_file(err, MOEQ_MALFORMED, index->path,
                                KEY_SHARDS
                                ", entry %zu: expected \"name\" (a file of this folder), "
                                "\"bytes\" and \"crc32\" (8 hexadecimal digits)",
                                index->count);
        shard->name = mq_arena_strdup(arena, name->valuestring);
        if (!shard->name)
            return mq_fail_memory(err, "reading an index");
    }
    return MOEQ_OK;
}

static moeq_status read_metadata(struct mq_moeq_index *index, struct mq_arena *arena,
                                 moeq_error *err)
{
    const cJSON *metadata = mq_json_get(index->tree, "metadata");
    if (!is_moeq(index->tree)) {
        const bool is_index = cJSON_IsObject(mq_json_get(index->tree, "weight_map"));
        return mq_fail_file(err, MOEQ_UNSUPPORTED, index->path,
                            "is %s; for a Hugging Face model "
                            "give its folder",
                            is_index ? "the index of no moeq model" : "JSON");
    }
    const cJSON *version = mq_json_get(metadata, MQ_META_VERSION);
    if (!is_text(version, MQ_PROFILE_VERSION))
        return mq_fail_file(err, MOEQ_UNSUPPORTED, index->path,
                            MQ_META_VERSION " is \"%.20s\", this program reads "
                                            "\"" MQ_PROFILE_VERSION "\"",
                            cJSON_IsString(version) ? version->valuestring : "absent");
    if (!mq_json_u64(mq_json_get(metadata, "total_size"), &index->total_bytes))
        return mq_fail_file(err, MOEQ_MALFORMED, index->path,
                            "expected a whole number \"total_size\" in the metadata");
    return read_shards(mq_json_get(metadata, KEY_SHARDS), arena, index, err);
}

moeq_status mq_moeq_index_read(const char *path, struct mq_arena *arena,
                               struct mq_moeq_index *index, moeq_error *err)
{
    memset(index, 0, sizeof *index);
    MQ_TRY(read_tree(path, &index->tree, err));
    const char *slash = strrchr(path, '/');
    moeq_status status = MOEQ_OK;
    index->path = mq_arena_strdup(arena, path);
    index->folder = mq_arena_strndup(arena, path, slash ? (size_t)(slash - path) + 1 : 0);
    if (!index->path || !index->folder) {
        status = mq_fail_memory(err, "reading an index");
        goto out;
    }
    MQ_TRY_OUT(read_metadata(index, arena, err));
    MQ_TRY_OUT(mq_json_refuse_duplicates(index->tree, path, err));
    index->map = mq_json_get(index->tree, "weight_map");
    if (!cJSON_IsObject(index->map))
        status = mq_fail_file(err, MOEQ_MALFORMED, path, "expected an object \"weight_map\"");
out:
    if (status != MOEQ_OK)
        mq_moeq_index_free(index);
    return status;
}

void mq_moeq_index_free(struct mq_moeq_index *index)
{
    cJSON_Delete(index->tree);
    index->tree = NULL;
    index->map = NULL;
}

/* ---- shards ---- */

const char *mq_moeq_index_shard_path(const struct mq_moeq_index *index, size_t shard,
                                     struct mq_arena *arena)
{
    return mq_arena_printf(arena, "%s%s", index->folder, index->shards[shard].name);
}

moeq_status mq_moeq_index_check_shard(const struct mq_moeq_index *index, size_t shard,
                                      const char *path, moeq_error *err)
{
    const struct mq_index_shard *s = &index->shards[shard];
    struct mq_file file;
    unsigned char end[4];
    if (!mq_path_exists(path))
        return mq_fail_file(err, MOEQ_NOT_FOUND, path,
                            "is missing: %s lists it as shard %zu of %zu", index->path, shard + 1,
                            index->count);
    MQ_TRY(mq_file_open(path, &file, err));
    moeq_status status = MOEQ_OK;
    if (file.size_bytes != s->size_bytes || file.size_bytes < sizeof end) {
        status = mq_fail_file(
            err, MOEQ_MALFORMED, path, "has %" PRIu64 " bytes, %s says %" PRIu64 ": %s",
            file.size_bytes, index->path, s->size_bytes,
            file.size_bytes < s->size_bytes ? "cut short, or a shard of another conversion"
                                            : "a shard of another conversion");
        goto out;
    }
    MQ_TRY_OUT(mq_file_read_at(&file, file.size_bytes - sizeof end, end, sizeof end, err));
    const uint32_t crc =
        (uint32_t)end[0] | (uint32_t)end[1] << 8 | (uint32_t)end[2] << 16 | (uint32_t)end[3] << 24;
    if (crc != s->crc32)
        status = mq_fail_file(err, MOEQ_CORRUPT, path,
                              "is not the shard that %s was written with: its checksums end in "
                              "%08" PRIx32 ", expected %08" PRIx32
                              " (of another conversion, or damaged)",
                              index->path, crc, s->crc32);
out:
    mq_file_close(&file);
    return status;
}

/* ---- finding ---- */

/* Whether a file is a moeq index. Fails only if it cannot be read: what is no JSON is none. */
static moeq_status is_index(const char *path, bool *is, moeq_error *err)
{
    struct mq_file file;
    char start = '\0';
    *is = false;
    MQ_TRY(mq_file_open(path, &file, err));
    const moeq_status opened =
        file.size_bytes ? mq_file_read_at(&file, 0, &start, 1, err) : MOEQ_OK;
    mq_file_close(&file);
    if (opened != MOEQ_OK || start != '{')
        return opened;
    cJSON *tree = NULL;
    moeq_error why = {0};
    const moeq_status status = read_tree(path, &tree, &why);
    *is = status == MOEQ_OK && is_moeq(tree);
    cJSON_Delete(tree);
    if (status != MOEQ_NO_MEMORY && status != MOEQ_IO)
        return MOEQ_OK;
    return mq_fail_with(err, &why);
}

/* Whether the folder holds a Hugging Face model's weights. */
static moeq_status is_hugging_face(const char *folder, bool *is, moeq_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    enum mq_path_kind single, index;
    MQ_TRY(mq_path_look(path, &single, err));
    *is = single != MQ_PATH_ABSENT;
    snprintf(path, sizeof path, "%s/model.safetensors" MQ_INDEX_ENDING, folder);
    MQ_TRY(mq_path_look(path, &index, err));
    if (*is || index == MQ_PATH_ABSENT)
        return MOEQ_OK;
    bool is_moeq_index;
    MQ_TRY(is_index(path, &is_moeq_index, err));
    *is = !is_moeq_index;
    return MOEQ_OK;
}

/* An entry of the folder: if it is an index, the first is kept, and a second is an error. */
static moeq_status take_index(const char *folder, const char *name, char *index, size_t room,
                              moeq_error *err)
{
    char path[PATH_MAX];
    bool yes;
    const int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!mq_ends_with(name, MQ_INDEX_ENDING) || n < 0 || (size_t)n >= sizeof path ||
        (size_t)n >= room || mq_path_is_folder(path))
        return MOEQ_OK;
    MQ_TRY(is_index(path, &yes, err));
    if (!yes)
        return MOEQ_OK;
    if (index[0])
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, folder,
                            "holds several models, %s and %s: give the path of one's index",
                            mq_base_name(index), name);
    memcpy(index, path, (size_t)n + 1);
    return MOEQ_OK;
}

moeq_status mq_moeq_index_find(const char *path, char *index, size_t room, moeq_error *err)
{
    bool yes;
    enum mq_path_kind kind;
    index[0] = '\0';
    MQ_TRY(mq_path_look(path, &kind, err));
    if (kind != MQ_PATH_FOLDER) {
        MQ_TRY(is_index(path, &yes, err));
        if (yes && (size_t)snprintf(index, room, "%s", path) >= room)
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "path is too long");
        return MOEQ_OK;
    }
    MQ_TRY(is_hugging_face(path, &yes, err));
    DIR *d = yes ? NULL : opendir(path);
    if (!yes && !d && errno != EACCES) /* which may hold files that can be opened all the same */
        return mq_fail_errno(err, path, "cannot list the folder");
    moeq_status status = MOEQ_OK;
    for (struct dirent *e; d && status == MOEQ_OK && (e = readdir(d));)
        status = take_index(path, e->d_name, index, room, err);
    if (d)
        closedir(d);
    return status;
}
