/* hf_folder.c: a Hugging Face folder: config.json, and model.safetensors or an index with shards.
 */
#include "view_int.h"

#include "error.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINGLE_FILE "model.safetensors"
#define INDEX_FILE "model.safetensors.index.json"

static moeq_status read_side_files(const char *folder, struct mq_view *view, moeq_error *err)
{
    for (size_t i = 0; i < mq_side_files_count; i++) {
        const struct mq_side_file *side = &mq_side_files[i];
        char *path = mq_arena_printf(view->arena, "%s/%s", folder, side->file_name);
        if (!path)
            return mq_fail_memory(err, "opening a model");
        if (!side->required && !mq_path_exists(path))
            continue;
        MQ_TRY(mq_file_read_all(path, side->cap_bytes, mq_view_side(view, side), err));
    }
    return MOEQ_OK;
}

static bool has_ending(const char *name, const char *ending)
{
    const size_t n = strlen(name), m = strlen(ending);
    return n > m && strcmp(name + n - m, ending) == 0;
}

/* No safetensors (or no config.json besides): says what is there instead. */
static moeq_status explain_absence(const char *folder, bool has_config, moeq_error *err)
{
    static const char *const pickles[] = {".bin", ".pt", ".pth", ".ckpt"};
    char pickle[256] = "", gguf[256] = "", moeq[256] = "", safetensors[256] = "", part[256] = "";
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++)
            if (has_ending(e->d_name, pickles[i]))
                snprintf(pickle, sizeof pickle, "%s", e->d_name);
        if (has_ending(e->d_name, ".gguf"))
            snprintf(gguf, sizeof gguf, "%s", e->d_name);
        if (has_ending(e->d_name, MQ_INDEX_ENDING ".part"))
            snprintf(part, sizeof part, "%s", e->d_name);
        if (has_ending(e->d_name, ".moeq"))
            snprintf(moeq, sizeof moeq, "%s", e->d_name);
        if (has_ending(e->d_name, ".safetensors"))
            snprintf(safetensors, sizeof safetensors, "%s", e->d_name);
    }
    if (d)
        closedir(d);
    if (safetensors[0] && has_config)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "has %s but neither " SINGLE_FILE " nor " INDEX_FILE
                            ": is the download complete?",
                            safetensors);
    if (pickle[0])
        return mq_fail_file(
            err, MOEQ_UNSUPPORTED, folder,
            "%s is a pickle file, which can run code when it is loaded, so moeq does "
            "not read it. Get the safetensors files of this model, or convert it in "
            "Python: AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT, "
            "safe_serialization=True)",
            pickle);
    if (gguf[0])
        return mq_fail_file(err, MOEQ_UNSUPPORTED, folder,
                            "holds no safetensors; %s in it is a GGUF file: give its own path",
                            gguf);
    if (part[0])
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "holds an unfinished conversion, %s: the same moeq convert finishes it",
                            part);
    if (moeq[0])
        return mq_fail_file(
            err, MOEQ_UNSUPPORTED, folder,
            "holds no Hugging Face model and no index of a moeq model; %s in it "
            "%s",
            moeq,
            strstr(moeq, "-of-")
                ? "looks like a shard: is the download, or the conversion, complete?"
                : "is a moeq file: give its own path");
    if (!has_config)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "holds no config.json: expected a Hugging Face model folder");
    return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                        "holds neither " SINGLE_FILE " nor " INDEX_FILE);
}

/* The paths of the distinct shards of an index's weight_map, in order of appearance. */
static moeq_status shard_paths(const cJSON *map, const char *folder, const char *index_path,
                               struct mq_arena *arena, const char ***paths, size_t *count,
                               moeq_error *err)
{
    struct mq_strmap seen;
    if (!mq_strmap_init(&seen, 64))
        return mq_fail_memory(err, "reading an index");
    moeq_status status = MOEQ_OK;
    size_t capacity = 0;
    *count = 0;
    for (const cJSON *c = map->child; c; c = c->next) {
        if (!cJSON_IsString(c)) {
            status = mq_fail_file(err, MOEQ_MALFORMED, index_path,
                                  "weight_map: \"%.200s\" names no file", c->string);
            goto out;
        }
        const char *file = c->valuestring;
        if (!has_ending(file, ".safetensors") || strchr(file, '/')) {
            status =
                mq_fail_file(err, MOEQ_MALFORMED, index_path,
                             "weight_map: \"%.200s\" is in \"%.200s\": expected a .safetensors "
                             "file of this folder",
                             c->string, file);
            goto out;
        }
        const enum mq_strmap_result r = mq_strmap_add(&seen, file, strlen(file), 0);
        if (r == MQ_STRMAP_DUPLICATE)
            continue;
        if (*count == capacity) {
            capacity = capacity ? 2 * capacity : 32;
            const char **more = mq_arena_alloc(arena, capacity, sizeof *more);
            if (!more || r == MQ_STRMAP_NO_MEMORY) {
                status = mq_fail_memory(err, "reading an index");
                goto out;
            }
            if (*count)
                memcpy(more, *paths, *count * sizeof *more);
            *paths = more;
        }
        (*paths)[*count] = mq_arena_printf(arena, "%s/%s", folder, file);
        if (!(*paths)[(*count)++]) {
            status = mq_fail_memory(err, "reading an index");
            goto out;
        }
    }
    if (*count == 0)
        status = mq_fail_file(err, MOEQ_MALFORMED, index_path, "weight_map is empty");
out:
    mq_strmap_free(&seen);
    return status;
}

static moeq_status open_index(const char *folder, const char *index_path, struct mq_view *view,
                              struct mq_tensor_set *set, moeq_error *err)
{
    struct mq_buffer text;
    cJSON *tree = NULL;
    MQ_TRY(mq_file_read_all(index_path, MQ_SAFETENSORS_MAX_HEADER, &text, err));
    const struct mq_json_limits limits = {.depth = 16, .values = text.size / 4 + 64};
    moeq_status status = mq_json_parse(text.data, text.size, &limits, index_path, 0, &tree, err);
    mq_buffer_free(&text);
    if (status != MOEQ_OK)
        return status;
    const cJSON *map = mq_json_get(tree, "weight_map");
    const char **paths = NULL;
    size_t count = 0;
    if (!cJSON_IsObject(map)) {
        status = mq_fail_file(err, MOEQ_MALFORMED, index_path, "expected an object \"weight_map\"");
        goto out;
    }
    MQ_TRY_OUT(mq_json_refuse_duplicates(tree, index_path, err));
    MQ_TRY_OUT(shard_paths(map, folder, index_path, view->arena, &paths, &count, err));
    MQ_TRY_OUT(mq_tensor_set_open(set, view->arena, paths, count, false, err));
    MQ_TRY_OUT(mq_tensor_set_compare(set, map, index_path, err));
out:
    cJSON_Delete(tree);
    return status;
}

moeq_status mq_hf_folder_open(const char *folder, struct mq_view *view, moeq_error *err)
{
    const char *config = mq_arena_printf(view->arena, "%s/config.json", folder);
    const char *single = mq_arena_printf(view->arena, "%s/" SINGLE_FILE, folder);
    const char *index = mq_arena_printf(view->arena, "%s/" INDEX_FILE, folder);
    if (!config || !single || !index)
        return mq_fail_memory(err, "opening a model");
    if (!mq_path_exists(config))
        return explain_absence(folder, false, err);
    MQ_TRY(read_side_files(folder, view, err));
    MQ_TRY(mq_config_parse(view, config, err));
    struct mq_tensor_set set = {0};
    moeq_status status;
    if (mq_path_exists(single)) { /* as Transformers: the single file before the index */
        status = mq_tensor_set_open(&set, view->arena, &single, 1, false, err);
    } else if (mq_path_exists(index)) {
        status = open_index(folder, index, view, &set, err);
    } else {
        return explain_absence(folder, true, err);
    }
    if (status == MOEQ_OK)
        status = mq_view_build_from_set(view, &set, err);
    mq_tensor_set_free(&set);
    return status;
}
