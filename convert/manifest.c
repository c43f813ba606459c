/* manifest.c: see the header. */
#include "manifest.h"

#include "first_error.h"
#include "moeq_index.h"
#include "new_file.h"
#include "output_path.h"
#include "text_match.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

enum { BUFFER = 1 << 20, MAX_FILES = 1 << 16 };

/* ---- which files ---- */

static moeq_status add(struct mq_manifest *m, const char *name, moeq_error *err)
{
    struct stat st;
    const char *path = m->folder[0] ? mq_arena_printf(m->arena, "%s%s%s", m->folder,
                                                      mq_ends_with(m->folder, "/") ? "" : "/", name)
                                    : mq_arena_strdup(m->arena, name);
    const char *kept = mq_arena_strdup(m->arena, name);
    if (!path || !kept)
        return mq_fail_memory(err, "listing files");
    if (stat(path, &st) != 0)
        return mq_fail_errno(err, path, "cannot open");
    if (!S_ISREG(st.st_mode))
        return MOEQ_OK;
    if (m->count == MAX_FILES)
        return mq_fail_file(err, MOEQ_LIMIT, m->folder, "has more than %d files", MAX_FILES);
    if ((m->count & (m->count - 1)) == 0) { /* full, at powers of two */
        struct mq_manifest_file *more = realloc(m->files, (2 * m->count + 1) * sizeof *more);
        if (!more)
            return mq_fail_memory(err, "listing files");
        m->files = more;
    }
    m->files[m->count++] =
        (struct mq_manifest_file){.path = path, .name = kept, .size_bytes = (uint64_t)st.st_size};
    m->bytes += (uint64_t)st.st_size;
    return MOEQ_OK;
}

static moeq_status add_folder(struct mq_manifest *m, const char *list, moeq_error *err)
{
    char path[PATH_MAX];
    moeq_status status = MOEQ_OK;
    DIR *d = opendir(m->folder);
    if (!d)
        return mq_fail_errno(err, m->folder, "cannot open folder");
    for (struct dirent *e; status == MOEQ_OK && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", m->folder, e->d_name);
        if (e->d_name[0] != '.' && !mq_ends_with(e->d_name, ".part") &&
            !strstr(e->d_name, ".part.") && !mq_same_output(path, list))
            status = add(m, e->d_name, err);
    }
    closedir(d);
    return status;
}

static moeq_status add_index(struct mq_manifest *m, const char *path, moeq_error *err)
{
    struct mq_moeq_index index;
    MQ_TRY(mq_moeq_index_read(path, m->arena, &index, err));
    moeq_status status = add(m, mq_base_name(path), err);
    for (size_t i = 0; status == MOEQ_OK && i < index.count; i++)
        status = add(m, index.shards[i].name, err);
    mq_moeq_index_free(&index);
    return status;
}

/* "-00001-of-00003.gguf": the number of files, and where that begins; 0: it is the only one. */
static unsigned split_count(const char *name, size_t *stem)
{
    static const char pattern[] = "-ddddd-of-ddddd.gguf";
    const size_t n = strlen(name), m = sizeof pattern - 1;
    if (n <= m)
        return 0;
    *stem = n - m;
    for (size_t i = 0; i < m; i++) {
        const char c = name[*stem + i];
        if (pattern[i] == 'd' ? c < '0' || c > '9' : c != pattern[i])
            return 0;
    }
    return (unsigned)strtoul(name + *stem + 10, NULL, 10);
}

static moeq_status add_file(struct mq_manifest *m, const char *name, moeq_error *err)
{
    size_t stem = 0;
    const unsigned count = split_count(name, &stem);
    char part[NAME_MAX + 1];
    if (!count)
        return add(m, name, err);
    for (unsigned i = 1; i <= count; i++) {
        snprintf(part, sizeof part, "%.*s-%05u-of-%05u.gguf", (int)stem, name, i, count);
        MQ_TRY(add(m, part, err));
    }
    return MOEQ_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct mq_manifest_file *)a)->name,
                  ((const struct mq_manifest_file *)b)->name);
}

moeq_status mq_manifest_list(const char *path, const char *list, struct mq_manifest *m,
                             moeq_error *err)
{
    const bool is_folder = mq_path_is_folder(path);
    char index[PATH_MAX] = "";
    *m = (struct mq_manifest){.arena = mq_arena_create(), .whole = is_folder};
    const size_t n = is_folder ? strlen(path) : (size_t)(mq_base_name(path) - path);
    m->folder = m->arena ? mq_arena_strndup(m->arena, path, n) : NULL;
    if (!m->folder)
        return mq_fail_memory(err, "listing files");
    if (!mq_path_exists(path))
        return mq_fail_errno(err, path, "cannot open");
    if (is_folder)
        MQ_TRY(add_folder(m, list, err));
    else if (mq_ends_with(path, ".json") &&
             mq_moeq_index_find(path, index, sizeof index, err) != MOEQ_OK)
        return err ? err->status : MOEQ_MALFORMED;
    else if (mq_ends_with(path, ".json") && !index[0])
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "is a file of a model, and sums are of all its files: give its folder");
    else
        MQ_TRY(index[0] ? add_index(m, index, err) : add_file(m, mq_base_name(path), err));
    if (!m->count)
        return mq_fail_file(err, MOEQ_NOT_FOUND, path, "there are no files in it");
    qsort(m->files, m->count, sizeof *m->files, by_name);
    return MOEQ_OK;
}

void mq_manifest_free(struct mq_manifest *m)
{
    free(m->files);
    mq_arena_destroy(m->arena);
    *m = (struct mq_manifest){0};
}

/* ---- sums ---- */

struct job {
    const struct mq_context *context;
    const struct mq_manifest *manifest;
    uint64_t done;
    omp_lock_t lock; /* of it */
};

static void show(struct job *job, size_t bytes)
{
    omp_set_lock(&job->lock);
    job->done += bytes;
    if (job->context->progress) {
        const struct mq_progress p = {"sums", job->done, job->manifest->bytes, "bytes"};
        job->context->progress(job->context->progress_user, &p);
    }
    omp_unset_lock(&job->lock);
}

static moeq_status hash_open(struct job *job, const struct mq_file *file, char *found, void *buffer,
                             moeq_error *err)
{
    struct mq_sha256 sha256;
    mq_sha256_begin(&sha256);
    for (uint64_t at = 0; at < file->size_bytes;) {
        const uint64_t left = file->size_bytes - at;
        const size_t n = left < BUFFER ? (size_t)left : BUFFER;
        if (mq_cancelled(job->context))
            return mq_fail(err, MOEQ_CANCELLED, "interrupted");
        mq_file_prefetch(file, at + n, left - n < BUFFER ? left - n : BUFFER);
        MQ_TRY(mq_sha256_add_file(&sha256, file, at, at + n, buffer, BUFFER, err));
        at += n;
        show(job, n);
    }
    mq_sha256_end(&sha256, found);
    return mq_file_check_unchanged(file, err);
}

static moeq_status hash_file(struct job *job, struct mq_manifest_file *f, moeq_error *err)
{
    struct mq_file file;
    MQ_TRY(mq_file_open(f->path, &file, err));
    f->size_bytes = file.size_bytes;
    void *buffer = malloc(BUFFER);
    const moeq_status status = buffer ? hash_open(job, &file, f->found, buffer, err)
                                      : mq_fail_memory(err, "hashing a file");
    free(buffer);
    mq_file_close(&file);
    return status;
}

moeq_status mq_manifest_hash(const struct mq_context *context, struct mq_manifest *m,
                             moeq_error *err)
{
    struct mq_first_error first = {.err = err};
    struct job job = {.context = context, .manifest = m};
    omp_init_lock(&job.lock);
#pragma omp parallel for schedule(dynamic, 1) num_threads(context->threads)
    for (size_t i = 0; i < m->count; i++) {
        moeq_error mine = {0};
        if (!mq_first_error_status(&first))
            mq_first_error_note(&first, hash_file(&job, &m->files[i], &mine), &mine);
    }
    omp_destroy_lock(&job.lock);
    return mq_first_error_status(&first);
}

/* ---- the list ---- */

moeq_status mq_manifest_check_place(const char *list, moeq_error *err)
{
    enum { HEAD = PATH_MAX + 128 };
    char head[HEAD];
    struct mq_file file;
    MQ_TRY(mq_check_output_place(list, err));
    if (!mq_path_exists(list))
        return MOEQ_OK;
    MQ_TRY(mq_file_open(list, &file, err));
    const size_t n = file.size_bytes < HEAD ? (size_t)file.size_bytes : HEAD;
    moeq_status status = mq_file_read_at(&file, 0, head, n, err);
    mq_file_close(&file);
    if (status == MOEQ_OK && n && !mq_sums_is(head, n))
        status = mq_fail_file(err, MOEQ_INVALID_ARGUMENT, list,
                              "exists and is no list of SHA-256 sums; choose another name");
    return status;
}

moeq_status mq_manifest_write(const struct mq_manifest *m, const char *list, moeq_error *err)
{
    struct mq_buffer text = {0};
    for (size_t i = 0; i < m->count; i++)
        mq_sums_put(&text, m->files[i].found, m->files[i].name);
    const moeq_status status = mq_buffer_ok(&text)
                                   ? mq_file_replace(list, text.data, text.size, err)
                                   : mq_fail_memory(err, "writing a list of sums");
    mq_buffer_free(&text);
    return status;
}

/* What weights are kept in, by any program. */
static bool has_weights(const char *name)
{
    static const char *const extensions[] = {".safetensors", ".moeq", ".gguf",
                                             ".bin",         ".pth",  ".pt"};
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
        if (strcasecmp(mq_extension(name), extensions[i]) == 0)
            return true;
    return false;
}

moeq_status mq_manifest_expect(struct mq_manifest *m, const char *list, moeq_error *err)
{
    struct mq_sums sums;
    MQ_TRY(mq_sums_read(list, m->arena, &sums, err));
    struct mq_summed *files = mq_arena_alloc(m->arena, m->count, sizeof *files);
    if (!files)
        return mq_fail_memory(err, "reading a list of sums");
    for (size_t i = 0; i < m->count; i++)
        files[i] = (struct mq_summed){.path = m->files[i].path,
                                      .name = m->files[i].name,
                                      .required = !m->whole || has_weights(m->files[i].name)};
    MQ_TRY(mq_sums_match(&sums, m->folder, m->whole, files, m->count, &m->others, err));
    for (size_t i = 0; i < m->count; i++)
        m->files[i].expected = files[i].sha256;
    return MOEQ_OK;
}

moeq_status mq_manifest_status(const struct mq_manifest *m, moeq_error *err)
{
    for (size_t i = 0; i < m->count; i++)
        if (!mq_manifest_good(&m->files[i]))
            return mq_sums_differ(m->files[i].path, m->files[i].expected, m->files[i].found, err);
    return MOEQ_OK;
}
