/* model_open.c: where a model is, what it is, and which opener takes it. */
#include "view_int.h"

#include "error.h"
#include "file.h"
#include "moeq_index.h"
#include "open_options.h"
#include "what_is_it.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

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

moeq_status mq_model_find(const char *path, char found[MQ_FOUND_PATH], moeq_error *err)
{
    struct mq_hf_snapshot snapshot;
    _Static_assert(sizeof snapshot.folder <= MQ_FOUND_PATH, "a snapshot's folder has room");
    MQ_TRY(find_model(path, &snapshot, err));
    const char *at = snapshot.folder[0] ? snapshot.folder : path;
    return snprintf(found, MQ_FOUND_PATH, "%s", at) < MQ_FOUND_PATH
               ? MOEQ_OK
               : mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "path is too long");
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
    enum mq_path_kind kind;
    if (status == MOEQ_OK)
        status = mq_path_look(path, &kind, err);
    if (status == MOEQ_OK)
        status = kind == MQ_PATH_FOLDER ? open_folder(path, view, err) : open_file(path, view, err);
    if (status == MOEQ_OK) /* config.json of one model, and weights of another */
        status = mq_view_check_unchanged(view, err);
    if (status != MOEQ_OK) {
        mq_view_close(view);
        return status;
    }
    *out = view;
    return MOEQ_OK;
}

moeq_status mq_view_open_config(const char *path, const struct mq_open_options *options,
                                struct mq_view **view, moeq_error *err)
{
    struct mq_hf_snapshot snapshot;
    char config[4096 + 16];
    *view = NULL;
    MQ_TRY(find_model(path, &snapshot, err));
    const char *folder = snapshot.folder[0] ? snapshot.folder : path;
    if (snprintf(config, sizeof config, "%s/config.json", folder) >= (int)sizeof config ||
        !mq_path_exists(config))
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder, "holds no config.json");
    MQ_TRY(mq_view_from_config(config, options, view, err));
    moeq_status status = MOEQ_OK;
    if (snapshot.note[0])
        status = mq_view_note(*view, err, "%s", snapshot.note);
    if (status != MOEQ_OK) {
        mq_view_close(*view);
        *view = NULL;
    }
    return status;
}
