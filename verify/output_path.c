/* output_path.c: inputs are recognised by device and inode: links have other names. */
#include "output_path.h"

#include "error.h"
#include "moeq_profile.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

static bool is_at(const char *path, const struct stat *st)
{
    struct stat other;
    return stat(path, &other) == 0 && other.st_dev == st->st_dev && other.st_ino == st->st_ino;
}

bool mq_same_file(const char *a, const char *b)
{
    struct stat st;
    return stat(a, &st) == 0 && is_at(b, &st);
}

/* The small files of a model's folder, which the view has read and closed. */
static bool is_side_file(const struct mq_view *view, const struct stat *st)
{
    char path[PATH_MAX];
    bool same = false;
    for (size_t i = 0; i <= mq_side_files_count; i++) {
        const char *name =
            i < mq_side_files_count ? mq_side_files[i].file_name : "model.safetensors.index.json";
        if ((size_t)snprintf(path, sizeof path, "%s/%s", view->path, name) < sizeof path)
            same = same || is_at(path, st);
    }
    return same;
}

static bool is_input(const struct mq_view *view, const struct mq_file *other, const struct stat *st)
{
    bool same = other && other->device == st->st_dev && other->inode == st->st_ino;
    for (size_t i = 0; i < view->files_count; i++)
        same = same || (view->files[i].file.device == st->st_dev &&
                        view->files[i].file.inode == st->st_ino);
    return same || (view->index_path && is_at(view->index_path, st)) || is_side_file(view, st);
}

moeq_status mq_refuse_output(const struct mq_view *view, const struct mq_file *other,
                             const char *output, moeq_error *err)
{
    static const char *const suffixes[] = {"", ".part"};
    for (int i = 0; i < 2; i++) {
        char path[PATH_MAX];
        struct stat st;
        if ((size_t)snprintf(path, sizeof path, "%s%s", output, suffixes[i]) >= sizeof path)
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output, "path is too long");
        if (stat(path, &st) != 0)
            continue;
        if (!S_ISREG(st.st_mode))
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "exists and is no regular file");
        if (is_input(view, other, &st))
            return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                                "the output would replace an input; choose another name");
    }
    return MOEQ_OK;
}
