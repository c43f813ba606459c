/*
 * hf_cache.c: finding `owner/name` in the local Hugging Face cache, and the model in a folder of
 * it.
 *
 *     $HF_HUB_CACHE, else $HUGGINGFACE_HUB_CACHE, else $HF_HOME/hub, else
 *     $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub
 *         models--owner--name/
 *             refs/main             the commit that `main` was at when it was downloaded
 *             snapshots/<commit>/   symbolic links to the files,
 *             blobs/                which are here
 * Source: the cache's description in huggingface_hub's documentation, and its constants.py.
 */
#include "view_int.h"

#include "error.h"
#include "other_systems.h"
#include "text_match.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "~/x" as the Hub's client reads it. */
static int expand_home(const char *path, char *folder, size_t room)
{
    const char *home = getenv("HOME");
    if (path[0] == '~' && (path[1] == '/' || !path[1]) && home && *home)
        return snprintf(folder, room, "%s%s", home, path + 1);
    return snprintf(folder, room, "%s", path);
}

static bool cache_folder(char *folder, size_t room)
{
    static const struct {
        const char *variable, *below;
    } places[] = {{"HF_HUB_CACHE", ""},
                  {"HUGGINGFACE_HUB_CACHE", ""},
                  {"HF_HOME", "/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"},
                  {"HOME", "/.cache/huggingface/hub"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *value = getenv(places[i].variable);
        if (!value || !*value)
            continue;
        const int n = expand_home(value, folder, room);
        const size_t m = strlen(places[i].below);
        if (n <= 0 || (size_t)n + m >= room)
            return false;
        memcpy(folder + n, places[i].below, m + 1);
        return true;
    }
    return false;
}

/* Of several snapshots the one that changed last; *found counts them. */
static void newest_snapshot(const char *repository, char *commit, size_t room, size_t *found)
{
    char path[4096];
    struct timespec newest = {0};
    snprintf(path, sizeof path, "%s/snapshots", repository);
    DIR *folder = opendir(path);
    *found = 0;
    for (struct dirent *e; folder && (e = readdir(folder));) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(folder), e->d_name, &st, 0) != 0 ||
            !S_ISDIR(st.st_mode))
            continue;
        const struct timespec t = st.st_mtim;
        const bool later = t.tv_sec > newest.tv_sec ||
                           (t.tv_sec == newest.tv_sec && t.tv_nsec > newest.tv_nsec) ||
                           /* of one time the later name, so that it is always the same */
                           (t.tv_sec == newest.tv_sec && t.tv_nsec == newest.tv_nsec &&
                            strcmp(e->d_name, commit) > 0);
        if (!*found || later) {
            snprintf(commit, room, "%s", e->d_name);
            newest = t;
        }
        ++*found;
    }
    if (folder)
        closedir(folder);
}

/* The commit in refs/REVISION; "" where there is no such file. */
static moeq_status read_ref(const char *repository, const char *revision, char *commit, size_t room,
                            moeq_error *err)
{
    char path[4096];
    struct mq_buffer text;
    commit[0] = '\0';
    snprintf(path, sizeof path, "%s/refs/%s", repository, revision);
    if (!mq_path_exists(path) || mq_path_is_folder(path))
        return MOEQ_OK;
    MQ_TRY(mq_file_read_all(path, 4096, &text, err));
    snprintf(commit, room, "%.*s", (int)strcspn(text.data, " \r\n"), text.data);
    mq_buffer_free(&text);
    if (commit[0] && !strchr(commit, '/') && commit[0] != '.')
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_MALFORMED, path, "expected a commit");
}

static moeq_status take_snapshot(const char *repository, const char *commit,
                                 struct mq_hf_snapshot *s, moeq_error *err)
{
    const int n = snprintf(s->folder, sizeof s->folder, "%s/snapshots/%s", repository, commit);
    return n > 0 && (size_t)n < sizeof s->folder
               ? MOEQ_OK
               : mq_fail(err, MOEQ_INVALID_ARGUMENT, "%s: path is too long", repository);
}

/* The snapshot of a models--owner--name folder: the one of refs/main, else the newest. */
static moeq_status find_snapshot(const char *repository, struct mq_hf_snapshot *s, moeq_error *err)
{
    char ref[256], newest[256] = "";
    size_t found;
    MQ_TRY(read_ref(repository, "main", ref, sizeof ref, err));
    newest_snapshot(repository, newest, sizeof newest, &found);
    const char *commit = ref[0] ? ref : newest;
    if (!commit[0])
        return mq_fail_file(err, MOEQ_NOT_FOUND, repository,
                            "holds no snapshot: the download did not get that far; start it again");
    MQ_TRY(take_snapshot(repository, commit, s, err));
    if (!mq_path_is_folder(s->folder))
        return mq_fail_file(err, MOEQ_NOT_FOUND, s->folder,
                            "the snapshot that refs/main names is not there: download it again%s%s",
                            found ? ", or give the folder of another: snapshots/" : "", newest);
    if (!ref[0] && found > 1)
        snprintf(s->note, sizeof s->note,
                 "of %zu snapshots without a refs/main the newest is read: %.64s", found, commit);
    return MOEQ_OK;
}

/* ---- names ---- */

/* A part of a name of the Hub: letters, digits, '.', '_' and '-'. Its length; 0 if it is none. */
static size_t part_length(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._-";
    enum { MOST = 96 };
    const size_t n = strspn(text, letters);
    return n <= MOST && text[0] != '.' && text[0] != '-' ? n : 0;
}

/* What a person has on disk or misses there is no name, though it looks like one. */
static bool ends_as_a_file(const char *name)
{
    static const char *const ends[] = {".moeq", ".gguf", ".json", ".safetensors",
                                       ".bin",  ".txt",  ".model"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (mq_ends_with(name, ends[i]))
            return true;
    return false;
}

/* Behind owner/name: "@revision", of an address "/tree/revision" and what follows. */
static bool read_revision(const char *rest, bool address, struct mq_hf_reference *r)
{
    static const char *const views[] = {"/tree/", "/blob/", "/resolve/", "/raw/"};
    size_t n = 0;
    if (*rest == '@')
        n = strcspn(++rest, "?#");
    for (size_t i = 0; address && i < sizeof views / sizeof *views; i++)
        if (strncmp(rest, views[i], strlen(views[i])) == 0) {
            rest += strlen(views[i]);
            n = strcspn(rest, "/?#");
            break;
        }
    if (n >= sizeof r->revision)
        return false;
    memcpy(r->revision, rest, n);
    r->revision[n] = '\0';
    return !strstr(r->revision, "..") && (address || !rest[n] || strcmp(rest + n, "/") == 0);
}

bool mq_hf_parse_reference(const char *path, struct mq_hf_reference *r)
{
    static const char *const addresses[] = {"https://huggingface.co/",
                                            "http://huggingface.co/",
                                            "https://hf.co/",
                                            "huggingface.co/",
                                            "hf.co/",
                                            "hf://"};
    bool address = false;
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses && !address; i++)
        if (strncmp(path, addresses[i], strlen(addresses[i])) == 0) {
            path += strlen(addresses[i]);
            address = true;
        }
    const size_t owner = part_length(path);
    if (!owner || path[owner] != '/')
        return false;
    const size_t name = part_length(path + owner + 1);
    const char *rest = path + owner + 1 + name;
    if (!name || (*rest && !strchr("/@?#", *rest)))
        return false;
    snprintf(r->owner, sizeof r->owner, "%.*s", (int)owner, path);
    snprintf(r->name, sizeof r->name, "%.*s", (int)name, path + owner + 1);
    return !ends_as_a_file(r->name) && read_revision(rest, address, r);
}

/* refs/ has branches and tags; a commit is the name of its snapshot. */
static moeq_status find_revision(const char *path, const char *repository,
                                 const struct mq_hf_reference *r, struct mq_hf_snapshot *s,
                                 moeq_error *err)
{
    char commit[256];
    MQ_TRY(read_ref(repository, r->revision, commit, sizeof commit, err));
    MQ_TRY(take_snapshot(repository, commit[0] ? commit : r->revision, s, err));
    if (mq_path_is_folder(s->folder))
        return MOEQ_OK;
    return mq_fail(err, MOEQ_NOT_FOUND,
                   "%s: the Hugging Face cache has %s/%s, but not its revision %s; download it "
                   "first: hf download %s/%s --revision %s",
                   path, r->owner, r->name, r->revision, r->owner, r->name, r->revision);
}

moeq_status mq_hf_cache_find(const char *path, const struct mq_hf_reference *r,
                             struct mq_hf_snapshot *s, moeq_error *err)
{
    char cache[2048], repository[3072];
    *s = (struct mq_hf_snapshot){0};
    if (!cache_folder(cache, sizeof cache))
        return mq_fail(err, MOEQ_NOT_FOUND,
                       "%s: no such folder, and no Hugging Face cache: HF_HOME and HOME are unset",
                       path);
    snprintf(repository, sizeof repository, "%s/models--%s--%s", cache, r->owner, r->name);
    if (!mq_path_is_folder(repository))
        return mq_fail(err, MOEQ_NOT_FOUND,
                       "%s: no such folder here, and not in the Hugging Face cache (%s); "
                       "download it first: hf download %s/%s%s%s",
                       path, cache, r->owner, r->name, r->revision[0] ? " --revision " : "",
                       r->revision);
    return r->revision[0] ? find_revision(path, repository, r, s, err)
                          : find_snapshot(repository, s, err);
}

static bool holds(const char *folder, const char *name)
{
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof path && mq_path_exists(path);
}

moeq_status mq_hf_cache_resolve(const char *folder, struct mq_hf_snapshot *s, moeq_error *err)
{
    char repository[3072];
    *s = (struct mq_hf_snapshot){0};
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    if (n >= sizeof repository || holds(folder, "config.json") || holds(folder, "params.json"))
        return MOEQ_OK;
    memcpy(repository, folder, n);
    repository[n] = '\0';
    if (holds(repository, "snapshots"))
        return find_snapshot(repository, s, err);
    char *slash = strrchr(repository, '/');
    if (!slash || strcmp(slash + 1, "snapshots") != 0)
        return MOEQ_OK;
    *slash = '\0';
    return find_snapshot(repository, s, err);
}
