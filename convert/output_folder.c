/* output_folder.c: see output_int.h: an output that is a folder of files. */
#include "output_int.h"

#include "error.h"
#include "file.h"
#include "new_file.h"
#include "other_systems.h"
#include "text_match.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool mq_folder_name(const char *output, char path[PATH_MAX])
{
    size_t n = strlen(output);
    while (n > 1 && output[n - 1] == '/')
        n--;
    return snprintf(path, PATH_MAX, "%.*s", (int)n, output) < PATH_MAX;
}

/* ---- what lies in a folder ---- */

/* Whether a name is one that shards of tensors have, of whatever number. */
static bool is_shard(const char *name)
{
    static const char pattern[] = "model-ddddd-of-ddddd.safetensors";
    if (strcmp(name, "model.safetensors") == 0 ||
        strcmp(name, "model.safetensors.index.json") == 0)
        return true;
    size_t i = 0;
    while (pattern[i] && (pattern[i] == 'd' ? isdigit((unsigned char)name[i]) : name[i] == pattern[i]))
        i++;
    return !pattern[i] && !name[i];
}

static bool is_ours(const struct mq_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->files_count; i++)
        if (strcmp(plan->files[i].name, name) == 0)
            return true;
    return is_shard(name);
}

/* Calls `act` with each thing in a folder until it fails. */
static moeq_status each_entry(const struct mq_plan *plan, const char *folder,
                              moeq_status (*act)(const struct mq_plan *plan, const char *path,
                                                 moeq_error *err),
                              moeq_error *err)
{
    char path[PATH_MAX];
    moeq_status status = MOEQ_OK;
    DIR *d = opendir(folder);
    if (!d)
        return errno == ENOENT ? MOEQ_OK : mq_fail_errno(err, folder, "cannot list");
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e && errno)
            status = mq_fail_errno(err, folder, "cannot list");
        if (!e || status != MOEQ_OK)
            break;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        const int n = snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        status = n < 0 || (size_t)n >= sizeof path
                     ? mq_fail_file(err, MOEQ_INVALID_ARGUMENT, folder, "path is too long")
                     : act(plan, path, err);
    }
    closedir(d);
    return status;
}

static moeq_status refuse_foreign(const struct mq_plan *plan, const char *path, moeq_error *err)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return mq_fail_errno(err, path, "cannot stat");
    if (is_ours(plan, mq_base_name(path)) && S_ISREG(st.st_mode))
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                        "is nothing that would be written here: remove it, or choose another folder");
}

static moeq_status remove_entry(const struct mq_plan *plan, const char *path, moeq_error *err)
{
    (void)plan;
    return unlink(path) == 0 || errno == ENOENT ? MOEQ_OK
                                                : mq_fail_errno(err, path, "cannot remove");
}

static moeq_status fail_not_empty(const struct mq_plan *plan, const char *path, moeq_error *err)
{
    (void)plan;
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", (int)(mq_base_name(path) - path - 1), path);
    return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, folder,
                        "exists already; give --force to replace it");
}

/* ---- before anything is written ---- */

moeq_status mq_folder_check(const struct mq_plan *plan, const char *folder, bool replace,
                            moeq_error *err)
{
    struct stat st;
    char real[PATH_MAX], source[PATH_MAX];
    const bool is_there = lstat(folder, &st) == 0;
    if (!is_there)
        return errno == ENOENT ? MOEQ_OK
                               : mq_fail_errno(err, folder, "cannot tell whether it exists");
    if (!S_ISDIR(st.st_mode))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, folder,
                            "exists and is no folder; this output is one");
    if (!realpath(folder, real) || !realpath(plan->view->path, source))
        return mq_fail_errno(err, folder, "cannot tell where it is");
    const size_t n = strlen(real);
    if (strncmp(source, real, n) == 0 && (!source[n] || source[n] == '/'))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, folder,
                            "the output would replace the input %s; choose another place",
                            plan->view->path);
    return each_entry(plan, folder, replace ? refuse_foreign : fail_not_empty, err);
}

/* ---- the unfinished folder ---- */

moeq_status mq_folder_open(struct mq_output *o, moeq_error *err)
{
    struct stat held, named;
    const char *part = o->folder_part;
    if (mkdir(part, 0777) != 0 && errno != EEXIST)
        return mq_fail_errno(err, part, "cannot create");
    o->folder_fd = MQ_AGAIN(open(part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (o->folder_fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, part,
                            "lies where the unfinished folder would be: remove it");
    if (o->folder_fd < 0)
        return mq_fail_errno(err, part, "cannot open");
    if (MQ_AGAIN(flock(o->folder_fd, LOCK_EX | LOCK_NB)) != 0) {
        if (errno != EWOULDBLOCK)
            return mq_fail_errno(err, part, "cannot lock");
        return mq_fail_file(err, MOEQ_IO, part, "another command is writing this output");
    }
    if (fstat(o->folder_fd, &held) != 0)
        return mq_fail_errno(err, part, "cannot stat");
    const bool has_name = lstat(part, &named) == 0;
    if (!has_name && errno != ENOENT)
        return mq_fail_errno(err, part, "cannot stat");
    if (!has_name || named.st_dev != held.st_dev || named.st_ino != held.st_ino)
        return mq_fail_file(err, MOEQ_IO, part, "another command has just finished this output");
    return MOEQ_OK;
}

moeq_status mq_folder_refuse_foreign(const struct mq_plan *plan, const struct mq_output *o,
                                     moeq_error *err)
{
    return each_entry(plan, o->folder_part, refuse_foreign, err);
}

/* What this run has not opened: of another plan. */
moeq_status mq_folder_remove_others(const struct mq_plan *plan, const struct mq_output *o,
                                    moeq_error *err)
{
    char path[PATH_MAX];
    DIR *d = opendir(o->folder_part);
    moeq_status status = d ? MOEQ_OK : mq_fail_errno(err, o->folder_part, "cannot list");
    for (struct dirent *e; d && status == MOEQ_OK && (e = readdir(d));) {
        bool planned = false;
        for (size_t i = 0; i < plan->files_count; i++)
            planned = planned || strcmp(plan->files[i].name, e->d_name) == 0;
        const int n = snprintf(path, sizeof path, "%s/%s", o->folder_part, e->d_name);
        if (!planned && is_shard(e->d_name) && n > 0 && (size_t)n < sizeof path)
            status = remove_entry(plan, path, err);
    }
    if (d)
        closedir(d);
    return status;
}

void mq_folder_discard(const struct mq_output *o)
{
    for (size_t i = 0; i < o->files_count; i++)
        unlink(o->files[i].part);
    rmdir(o->folder_part);
}

/* ---- its name ---- */

/* The two change names at once, or, where the system cannot, one after the other. *old: where the replaced one is. */
static bool change_places(const struct mq_output *o, char old[PATH_MAX])
{
    memcpy(old, o->folder_part, PATH_MAX);
#if defined(RENAME_EXCHANGE)
    if (renameat2(AT_FDCWD, o->folder_part, AT_FDCWD, o->folder, RENAME_EXCHANGE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
#endif
    return mq_name_beside(o->folder, ".replaced.part", old) && rename(o->folder, old) == 0 &&
           rename(o->folder_part, o->folder) == 0;
}

moeq_status mq_folder_finish(const struct mq_plan *plan, struct mq_output *o, moeq_error *err)
{
    char old[PATH_MAX];
    if (MQ_AGAIN(fsync(o->folder_fd)) != 0)
        return mq_fail_errno(err, o->folder_part, "cannot sync");
    if (rename(o->folder_part, o->folder) == 0) /* there was none, or it was empty */
        return MOEQ_OK;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return mq_fail_errno(err, o->folder, "cannot rename the finished folder to this name");
    /* Someone may have put something there since it was looked at. */
    MQ_TRY(each_entry(plan, o->folder, refuse_foreign, err));
    if (!change_places(o, old))
        return mq_fail_errno(err, o->folder, "cannot be replaced by the finished folder");
    MQ_TRY(each_entry(plan, old, remove_entry, err));
    return rmdir(old) == 0 ? MOEQ_OK : mq_fail_errno(err, old, "cannot remove");
}
