/*
 * hf_folder.c: a Hugging Face folder: config.json, and its weights: model.safetensors, an index
 * with shards, or shards alone. Or the same in Mistral's own form, of families that have one.
 */
#include "hf_int.h"

#include "error.h"
#include "folder_tokenizer.h"
#include "open_options.h"
#include "sentencepiece.h"
#include "tensor_set_view.h"
#include "what_is_it.h"
#include "text_match.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The forms of a folder: what its files are called. */
static const struct form {
    const char *config, *single, *index;
    bool consolidated; /* so do the names of its weights begin */
} forms[] = {
    {"config.json", "model.safetensors", "model.safetensors.index.json", false},
    {"params.json", "consolidated.safetensors", "consolidated.safetensors.index.json", true},
};

/* One folder that is being opened. Its strings are the view's arena's. */
struct folder {
    const char *path;
    const struct form *form;
    struct mq_view *view;
    struct mq_hf_listing listing;
    const char *config, *single, *index; /* paths, there or not */
    const char **paths;                  /* of the files with the weights */
    size_t count;
    cJSON *tree;      /* of the index, where it is what says which files those are */
    const char *hint; /* the end of an error of the weights; NULL */
    moeq_error *err;
};

/* Whether a file is there. */
static moeq_status look(const struct folder *f, const char *path, bool *there)
{
    enum mq_path_kind kind;
    MQ_TRY(mq_path_look(path, &kind, f->err));
    *there = kind != MQ_PATH_ABSENT;
    return MOEQ_OK;
}

/* ---- small files ---- */

/* A file that is text of the kinds wanted: not a pointer, a page or a message in its place. */
static moeq_status read_text(const char *path, uint64_t cap, unsigned wanted,
                             struct mq_buffer *text, moeq_error *err)
{
    struct mq_what what;
    MQ_TRY(mq_file_read_all(path, cap, text, err));
    mq_what_is(text->data, text->size, text->size, &what);
    return mq_refuse_what(path, &what, wanted, err);
}

/* What a model can be used without: left out, with a note, where there is nothing in it or far too
 * much. One that is something else (a Git LFS pointer) is an error all the same: it can be had. */
static bool is_dispensable(const char *name)
{
    return strncmp(name, "chat_template", 13) == 0 || strncmp(name, "generation_config", 17) == 0;
}

static moeq_status read_side_file(const struct folder *f, enum mq_side which, const char *path)
{
    const struct mq_side_file *side = &mq_side_files[which];
    const bool json = strstr(side->file_name, ".json") != NULL;
    const unsigned wanted = json ? MQ_FILE_JSON : MQ_FILE_JSON | MQ_FILE_TEXT | MQ_FILE_BLANK;
    struct mq_buffer *text = &f->view->side[which];
    moeq_error why = {0};
    if (mq_path_exists(path))
        MQ_TRY(mq_view_remember(f->view, path, f->err));
    const moeq_status status = read_text(path, side->cap_bytes, wanted, text, &why);
    if (status == MOEQ_OK)
        return MOEQ_OK;
    if (!is_dispensable(side->file_name) || (status != MOEQ_LIMIT && status != MOEQ_MALFORMED))
        return mq_fail_with(f->err, &why);
    mq_buffer_free(text);
    return mq_view_note(f->view, f->err, "%s is left out: %s", side->file_name,
                        status == MOEQ_LIMIT ? "it is larger than any that is known"
                                             : "it is empty");
}

static moeq_status read_side_files(const struct folder *f, bool needs_config)
{
    for (int i = 0; i < MQ_SIDE_COUNT; i++) {
        const struct mq_side_file *side = &mq_side_files[i];
        if (!side->file_name)
            continue;
        const char *path = mq_arena_printf(f->view->arena, "%s/%s", f->path,
                                           i == MQ_SIDE_CONFIG ? f->form->config : side->file_name);
        if (!path)
            return mq_fail_memory(f->err, "opening a model");
        MQ_TRY(mq_hf_refuse_dangling(f->path, path, f->err));
        bool there = true;
        if (!side->required || !needs_config)
            MQ_TRY(look(f, path, &there));
        if (there)
            MQ_TRY(read_side_file(f, (enum mq_side)i, path));
    }
    return MOEQ_OK;
}

/* Of tokenizer.json, or of a SentencePiece model where there is none, and of the files beside it.
 */
static moeq_status read_tokenizer(const struct folder *f)
{
    const char *model = mq_arena_printf(f->view->arena, "%s/tokenizer.model", f->path);
    if (!model)
        return mq_fail_memory(f->err, "opening a model");
    MQ_TRY(mq_hf_refuse_dangling(f->path, model, f->err));
    MQ_TRY(mq_spm_read_folder(f->path, f->view, f->err));
    return mq_folder_tokenizer(f->path, f->view, f->err);
}

moeq_status mq_view_open_tokenizer(const char *path, struct mq_view **out, moeq_error *err)
{
    const struct folder f = {.path = path, .form = forms, .view = mq_view_create(path), .err = err};
    *out = NULL;
    if (!f.view)
        return mq_fail_memory(err, "opening a tokenizer");
    moeq_status status = read_side_files(&f, false);
    if (status == MOEQ_OK)
        status = read_tokenizer(&f);
    if (status == MOEQ_OK)
        *out = f.view;
    else
        mq_view_close(f.view);
    return status;
}

static moeq_status read_index(const struct folder *f, cJSON **tree, moeq_error *err)
{
    struct mq_buffer text = {0};
    if (mq_path_exists(f->index))
        MQ_TRY(mq_view_remember(f->view, f->index, err));
    moeq_status status = read_text(f->index, MQ_SAFETENSORS_MAX_HEADER, MQ_FILE_JSON, &text, err);
    const struct mq_json_limits limits = {.depth = 16, .values = MQ_INDEX_MAX_VALUES(text.size)};
    if (status == MOEQ_OK)
        status = mq_json_parse(text.data, text.size, &limits, f->index, 0, tree, err);
    mq_buffer_free(&text);
    return status;
}

/* ---- which files have the weights ---- */

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
        const char *file = mq_index_file(c->valuestring);
        if (!mq_ends_with(file, ".safetensors") || strchr(file, '/')) {
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

/* Names for a message, as many as fit. */
struct names {
    char text[600];
    size_t count;
};

static void add_name(struct names *n, const char *name)
{
    const size_t at = strlen(n->text);
    if (at + strlen(name) + 8 < sizeof n->text)
        snprintf(n->text + at, sizeof n->text - at, "%s%s", n->count ? ", " : "", name);
    else if (at + 6 < sizeof n->text && strcmp(n->text + at - 3, "...") != 0)
        snprintf(n->text + at, sizeof n->text - at, ", ...");
    n->count++;
}

static moeq_status fail_missing_shards(const struct folder *f, const struct names *missing,
                                       size_t total, const char *by)
{
    char fetch[600];
    mq_hf_fetch_command(f->path, fetch, sizeof fetch);
    return mq_fail_file(f->err, MOEQ_NOT_FOUND, f->path,
                        "%zu of the %zu files that %s are missing: %s. Fetch them: %s",
                        missing->count, total, by, missing->text, fetch);
}

/* All files that the index lists are there. */
static moeq_status check_listed(const struct folder *f)
{
    struct names missing = {0};
    for (size_t i = 0; i < f->count; i++) {
        MQ_TRY(mq_hf_refuse_dangling(f->path, f->paths[i], f->err));
        bool there;
        MQ_TRY(look(f, f->paths[i], &there));
        if (!there)
            add_name(&missing, strrchr(f->paths[i], '/') + 1);
    }
    char by[80];
    snprintf(by, sizeof by, "%s lists", f->form->index);
    return missing.count ? fail_missing_shards(f, &missing, f->count, by) : MOEQ_OK;
}

static moeq_status take_index(struct folder *f)
{
    moeq_error *err = f->err;
    MQ_TRY(read_index(f, &f->tree, err));
    const cJSON *map = mq_json_get(f->tree, "weight_map");
    if (!cJSON_IsObject(map))
        return mq_fail_file(err, MOEQ_MALFORMED, f->index, "expected an object \"weight_map\"");
    MQ_TRY(mq_json_refuse_duplicates(f->tree, f->index, err));
    MQ_TRY(shard_paths(map, f->path, f->index, f->view->arena, &f->paths, &f->count, err));
    return check_listed(f);
}

/* Transformers takes the single file before the index. Where the index lists other files, one of
 * the two is left over from something else. */
static moeq_status take_single(struct folder *f)
{
    cJSON *tree = NULL;
    size_t others = 0, here = 0;
    const char **paths = NULL;
    bool has_index;
    f->paths = &f->single;
    f->count = 1;
    MQ_TRY(look(f, f->index, &has_index));
    if (!has_index)
        return MOEQ_OK;
    moeq_status status = read_index(f, &tree, NULL);
    const cJSON *map = mq_json_get(tree, "weight_map");
    if (status == MOEQ_OK && cJSON_IsObject(map))
        status = shard_paths(map, f->path, f->index, f->view->arena, &paths, &others, NULL);
    cJSON_Delete(tree);
    if (status == MOEQ_NO_MEMORY)
        return mq_fail_memory(f->err, "reading an index");
    /* An index that is none is no matter, as it is not needed. */
    for (size_t i = 0; status == MOEQ_OK && i < others; i++)
        here += mq_path_exists(paths[i]);
    if (status != MOEQ_OK || others == 0 || (others == 1 && strcmp(paths[0], f->single) == 0))
        return MOEQ_OK;
    f->hint =
        mq_arena_printf(f->view->arena,
                        ". %s was read, as Transformers does; %s beside it lists %zu other "
                        "file%s, of which %zu are here: if the single file is a leftover, "
                        "move it away, and those are read",
                        f->form->single, f->form->index, others, others == 1 ? "" : "s", here);
    if (!f->hint)
        return mq_fail_memory(f->err, "opening a model");
    return mq_view_note(f->view, f->err,
                        "%s is read, as in Transformers; %s beside it lists %zu other file%s (%zu "
                        "of them here), which are not",
                        f->form->single, f->form->index, others, others == 1 ? "" : "s", here);
}

/* ---- shards without an index ---- */

static moeq_status fail_without_index(const struct folder *f, const char *a, const char *b)
{
    return mq_fail_file(f->err, MOEQ_NOT_FOUND, f->path,
                        "holds shards of several models, as %s and %s, and no %s that says which "
                        "to read",
                        a, b, f->form->index);
}

/* Whether a file's name is of a shard in the folder's form. */
static bool is_shard(const struct folder *f, const char *name, struct mq_hf_shard_name *shard)
{
    return mq_hf_parse_shard_name(name, shard) &&
           (strncmp(name, "consolidated", 12) == 0) == f->form->consolidated;
}

/* Collects shards of one model by their names; *first is one of them, NULL where there are none. */
static moeq_status collect_shards(struct folder *f, bool *seen, const char **first)
{
    struct mq_hf_shard_name a = {0}, b;
    for (size_t i = 0; i < f->listing.count; i++) {
        const char *name = f->listing.names[i];
        if (!is_shard(f, name, &b))
            continue;
        if (!*first) {
            *first = name;
            a = b;
        }
        if (a.total != b.total || a.stem != b.stem || memcmp(name, *first, a.stem) != 0)
            return fail_without_index(f, *first, name);
        if (b.number < 1 || b.number > b.total || b.total > MQ_HF_LISTING_MAX || seen[b.number])
            return fail_without_index(f, *first, name);
        seen[b.number] = true;
        const char *path = mq_arena_printf(f->view->arena, "%s/%s", f->path, name);
        if (!path)
            return mq_fail_memory(f->err, "opening a model");
        f->paths[f->count++] = path;
    }
    return MOEQ_OK;
}

/* All shards that the names speak of: what an index would say. */
static moeq_status take_shards(struct folder *f)
{
    struct mq_hf_shard_name shard = {0};
    struct names missing = {0};
    const char *first = NULL;
    bool *seen = mq_arena_alloc(f->view->arena, MQ_HF_LISTING_MAX + 1, sizeof *seen);
    f->paths = mq_arena_alloc(f->view->arena, f->listing.count + 1, sizeof *f->paths);
    if (!seen || !f->paths)
        return mq_fail_memory(f->err, "opening a model");
    MQ_TRY(collect_shards(f, seen, &first));
    if (!first)
        return MOEQ_OK;
    mq_hf_parse_shard_name(first, &shard);
    for (uint32_t i = 1; i <= shard.total; i++) {
        char name[256];
        snprintf(name, sizeof name, "%.*s-%0*u%s", (int)shard.stem, first, shard.digits, i,
                 first + shard.stem + 1 + (size_t)shard.digits);
        if (!seen[i])
            add_name(&missing, name);
    }
    if (missing.count)
        return fail_missing_shards(f, &missing, shard.total, "the names of its shards count");
    for (size_t i = 0; i < f->count; i++)
        MQ_TRY(mq_hf_refuse_dangling(f->path, f->paths[i], f->err));
    return mq_view_note(f->view, f->err,
                        "there is no %s; all %zu shards are here that their names count, and are "
                        "read",
                        f->form->index, f->count);
}

static moeq_status find_weights(struct folder *f)
{
    bool there;
    MQ_TRY(mq_hf_refuse_dangling(f->path, f->single, f->err));
    MQ_TRY(look(f, f->single, &there));
    if (there)
        return take_single(f);
    MQ_TRY(mq_hf_refuse_dangling(f->path, f->index, f->err));
    MQ_TRY(look(f, f->index, &there));
    if (there)
        return take_index(f);
    MQ_TRY(take_shards(f));
    if (f->count)
        return MOEQ_OK;
    if (!f->form->consolidated)
        return mq_hf_explain(f->path, &f->listing, true, f->err);
    char fetch[600];
    mq_hf_fetch_command(f->path, fetch, sizeof fetch);
    return mq_fail_file(f->err, MOEQ_NOT_FOUND, f->path,
                        "has %s, but neither %s nor %s: fetch the weights: %s", f->form->config,
                        f->form->single, f->form->index, fetch);
}

/* ---- opening ---- */

static moeq_status has_weights(const struct folder *f, bool *has)
{
    struct mq_hf_shard_name shard;
    MQ_TRY(look(f, f->single, has));
    if (!*has)
        MQ_TRY(look(f, f->index, has));
    for (size_t i = 0; i < f->listing.count && !*has; i++)
        *has = is_shard(f, f->listing.names[i], &shard);
    return MOEQ_OK;
}

static moeq_status set_form(struct folder *f, const struct form *form)
{
    struct mq_arena *arena = f->view->arena;
    f->form = form;
    f->config = mq_arena_printf(arena, "%s/%s", f->path, form->config);
    f->single = mq_arena_printf(arena, "%s/%s", f->path, form->single);
    f->index = mq_arena_printf(arena, "%s/%s", f->path, form->index);
    return f->config && f->single && f->index ? MOEQ_OK : mq_fail_memory(f->err, "opening a model");
}

/* Whether the folder has the config of its form, of a family that is known by it. */
static moeq_status is_native(const struct folder *f, bool *native)
{
    enum { CAP_BYTES = 1 << 20 };
    struct mq_buffer text = {0};
    MQ_TRY(mq_hf_refuse_dangling(f->path, f->config, f->err));
    MQ_TRY(look(f, f->config, native));
    if (!*native)
        return MOEQ_OK;
    *native = false;
    const moeq_status status = read_text(f->config, CAP_BYTES, MQ_FILE_JSON, &text, NULL);
    if (status == MOEQ_OK)
        *native = mq_config_is_native(text.data, text.size);
    mq_buffer_free(&text);
    return status == MOEQ_NO_MEMORY ? mq_fail_memory(f->err, "opening a model") : MOEQ_OK;
}

/* A folder of both forms is read as Transformers reads it, unless only the other's weights are
 * there. */
static moeq_status choose_form(struct folder *f)
{
    bool native = false, has_config, has;
    MQ_TRY(look(f, f->config, &has_config));
    MQ_TRY(has_weights(f, &has));
    if (has_config && has)
        return MOEQ_OK;
    MQ_TRY(set_form(f, &forms[1]));
    MQ_TRY(is_native(f, &native));
    MQ_TRY(has_weights(f, &has));
    if (!native || (has_config && !has))
        return set_form(f, &forms[0]);
    if (!has_config)
        return MOEQ_OK;
    return mq_view_note(f->view, f->err,
                        "%s is not read: the weights that are here are of Mistral's own form, "
                        "which %s describes",
                        forms[0].config, forms[1].config);
}

/* Of an adapter's folder the weights may be merged already. */
static moeq_status check_adapter(const struct folder *f)
{
    const char *path = mq_arena_printf(f->view->arena, "%s/adapter_config.json", f->path);
    if (!path)
        return mq_fail_memory(f->err, "opening a model");
    bool adapter, has;
    MQ_TRY(look(f, path, &adapter));
    if (!adapter)
        return MOEQ_OK;
    MQ_TRY(has_weights(f, &has));
    if (!has)
        return mq_hf_explain_adapter(f->path, f->err);
    return mq_view_note(f->view, f->err,
                        "an adapter (adapter_config.json) lies beside the weights and is not "
                        "applied; Transformers would load its base model, and it on top");
}

/* To an error of the weights, what it may come from. */
static void add_hint(const struct folder *f, moeq_status status)
{
    if (!f->hint || !f->err || status == MOEQ_NO_MEMORY || status == MOEQ_IO)
        return;
    char *message = f->err->message;
    const size_t n = strlen(message);
    snprintf(message + n, sizeof f->err->message - n, "%s", f->hint);
}

static moeq_status open_weights(struct folder *f)
{
    struct mq_tensor_set set = {0};
    if (f->tree) {
        set.index_path = f->index;
        set.index_map = mq_json_get(f->tree, "weight_map");
    }
    moeq_status status =
        mq_tensor_set_open(&set, f->view->arena, f->paths, f->count, false, f->err);
    if (status == MOEQ_OK && f->tree)
        status = mq_tensor_set_note_index(f->view, &set, f->err);
    if (status == MOEQ_OK)
        status = mq_view_build_from_set(f->view, &set, f->err);
    mq_tensor_set_free(&set);
    if (status != MOEQ_OK)
        add_hint(f, status);
    return status;
}

/* A folder may forbid listing and have files that can be opened all the same. */
static moeq_status list(struct folder *f)
{
    moeq_error why = {0};
    errno = 0;
    const moeq_status status = mq_hf_list(f->path, f->view->arena, &f->listing, &why);
    if (status == MOEQ_OK || (errno == EACCES && mq_path_exists(f->config)))
        return MOEQ_OK;
    return mq_fail_with(f->err, &why);
}

static moeq_status open_folder(struct folder *f)
{
    MQ_TRY(set_form(f, &forms[0]));
    MQ_TRY(mq_hf_refuse_dangling(f->path, f->config, f->err));
    MQ_TRY(list(f));
    MQ_TRY(choose_form(f));
    bool has_config;
    MQ_TRY(look(f, f->config, &has_config));
    if (!has_config)
        return mq_hf_explain(f->path, &f->listing, false, f->err);
    MQ_TRY(check_adapter(f));
    MQ_TRY(read_side_files(f, true));
    MQ_TRY(mq_config_parse(f->view, f->config, f->err));
    MQ_TRY(read_tokenizer(f));
    MQ_TRY(find_weights(f));
    return open_weights(f);
}

moeq_status mq_hf_folder_open(const char *folder, struct mq_view *view, moeq_error *err)
{
    struct folder f = {.path = folder, .view = view, .err = err};
    const moeq_status status = open_folder(&f);
    cJSON_Delete(f.tree);
    return status;
}
