/*
 * hf_cache.c: finding `owner/name` in the local Hugging Face cache.
 *
 *     $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/...
 *         models--owner--name/
 *             refs/main             the commit that `main` was at when it was downloaded
 *             snapshots/<commit>/   symbolic links to the files
 * Source: the cache's description in huggingface_hub's documentation.
 */
#include "view_int.h"

#include "error.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool cache_folder(char *folder, size_t room)
{
    const char *v;
    int n;
    if ((v = getenv("HF_HUB_CACHE")) && *v)
        n = snprintf(folder, room, "%s", v);
    else if ((v = getenv("HF_HOME")) && *v)
        n = snprintf(folder, room, "%s/hub", v);
    else if ((v = getenv("XDG_CACHE_HOME")) && *v)
        n = snprintf(folder, room, "%s/huggingface/hub", v);
    else if ((v = getenv("HOME")) && *v)
        n = snprintf(folder, room, "%s/.cache/huggingface/hub", v);
    else
        return false;
    return n > 0 && (size_t)n < room;
}

/* The commit in refs/main; without that file the only snapshot there is. */
static moeq_status find_commit(const char *repository, char *commit, size_t room, moeq_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/refs/main", repository);
    if (mq_path_exists(path)) {
        struct mq_buffer text;
        MQ_TRY(mq_file_read_all(path, 4096, &text, err));
        snprintf(commit, room, "%.*s", (int)strcspn(text.data, " \r\n"), text.data);
        mq_buffer_free(&text);
        if (commit[0] && !strchr(commit, '/') && commit[0] != '.')
            return MOEQ_OK;
        return mq_fail_file(err, MOEQ_MALFORMED, path, "expected a commit");
    }
    snprintf(path, sizeof path, "%s/snapshots", repository);
    DIR *folder = opendir(path);
    size_t found = 0;
    for (struct dirent *e; folder && (e = readdir(folder));)
        if (e->d_name[0] != '.') {
            snprintf(commit, room, "%s", e->d_name);
            found++;
        }
    if (folder)
        closedir(folder);
    if (found == 1)
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_NOT_FOUND, path,
                        "%zu snapshots and no refs/main: give the folder of one", found);
}

moeq_status mq_hf_cache_find(const char *name, char *folder, size_t room, moeq_error *err)
{
    char cache[2048], repository[3072], commit[256];
    if (!cache_folder(cache, sizeof cache))
        return mq_fail(err, MOEQ_NOT_FOUND,
                       "%s: no such folder, and no Hugging Face cache: HF_HOME and HOME are unset",
                       name);
    const char *slash = strchr(name, '/');
    snprintf(repository, sizeof repository, "%s/models--%.*s--%s", cache, (int)(slash - name), name,
             slash + 1);
    if (!mq_path_is_folder(repository))
        return mq_fail(err, MOEQ_NOT_FOUND,
                       "%s: no such folder here, and not in the Hugging Face cache (%s); "
                       "download it first: hf download %s",
                       name, cache, name);
    MQ_TRY(find_commit(repository, commit, sizeof commit, err));
    if ((size_t)snprintf(folder, room, "%s/snapshots/%s", repository, commit) >= room)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT, "%s: path is too long", repository);
    if (!mq_path_is_folder(folder))
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "the snapshot that refs/main names is not there: download it again");
    return MOEQ_OK;
}
