/* output_path.c: inputs are recognised by device and inode: links have other names. */
#include "output_path.h"

#include "error.h"
#include "moeq_profile.h"
#include "new_file.h"
#include "text_match.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static void folder_of(const char *path, char folder[PATH_MAX])
{
    const int n = (int)(mq_base_name(path) - path);
    snprintf(folder, PATH_MAX, "%.*s", n ? n : 1, n ? path : ".");
}

bool mq_same_output(const char *a, const char *b)
{
    char folder_a[PATH_MAX], folder_b[PATH_MAX];
    if (strcmp(a, b) == 0 || mq_same_file(a, b))
        return true;
    folder_of(a, folder_a);
    folder_of(b, folder_b);
    return strcmp(mq_base_name(a), mq_base_name(b)) == 0 && mq_same_file(folder_a, folder_b);
}

/* The small files of a model's folder, which the view has read and closed. */
static bool is_side_file(const struct mq_view *view, const struct stat *st)
{
    static const char *const others[] = {"model.safetensors.index.json", "params.json",
                                         "consolidated.safetensors.index.json"};
    enum { OTHERS = sizeof others / sizeof *others };
    char path[PATH_MAX];
    bool same = false;
    for (int i = 0; i < MQ_SIDE_COUNT + OTHERS; i++) {
        const char *name =
            i < MQ_SIDE_COUNT ? mq_side_files[i].file_name : others[i - MQ_SIDE_COUNT];
        if (name && (size_t)snprintf(path, sizeof path, "%s/%s", view->path, name) < sizeof path)
            same = same || is_at(path, st);
    }
    return same;
}

static bool is_input(const struct mq_view *view, const struct mq_file *other, const struct stat *st)
{
    return (other && other->device == st->st_dev && other->inode == st->st_ino) ||
           mq_view_has_file(view, st->st_dev, st->st_ino) ||
           (view->index_path && is_at(view->index_path, st)) || is_side_file(view, st);
}

moeq_status mq_check_output_place(const char *output, moeq_error *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(output, '/');
    const size_t n = slash ? (size_t)(slash - output) : 0;
    if (!output[0] || (slash && !slash[1]))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output, "no usable file name");
    if (strlen(output) >= sizeof folder || strlen(slash ? slash + 1 : output) > NAME_MAX)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output, "path is too long");
    snprintf(folder, sizeof folder, "%.*s", (int)n, output);
    const char *place = !slash ? "." : n ? folder : "/";
    enum mq_path_kind kind;
    MQ_TRY(mq_path_look(place, &kind, err));
    if (kind != MQ_PATH_FOLDER)
        return mq_fail_file(err, MOEQ_NOT_FOUND, output, "there is no folder %s to write it to",
                            place);
    MQ_TRY(mq_refuse_device_folder(output, err));
    if (access(place, W_OK) != 0)
        return mq_fail_errno(err, place, "cannot write to this folder");
    return MOEQ_OK;
}

moeq_status mq_refuse_output(const struct mq_view *view, const struct mq_file *other,
                             const char *output, moeq_error *err)
{
    struct stat st;
    MQ_TRY(mq_check_output_place(output, err));
    if (stat(output, &st) != 0)
        return MOEQ_OK;
    if (!S_ISREG(st.st_mode))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output, "exists and is no regular file");
    if (is_input(view, other, &st))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output,
                            "the output would replace an input; choose another name");
    return MOEQ_OK;
}

moeq_status mq_refuse_existing(const char *output, bool replace, moeq_error *err)
{
    enum mq_path_kind kind = MQ_PATH_ABSENT;
    if (!replace)
        MQ_TRY(mq_path_look(output, &kind, err));
    return kind == MQ_PATH_ABSENT ? MOEQ_OK
                                  : mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output,
                                                 "exists already; --force replaces it");
}
