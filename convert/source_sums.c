/* source_sums.c: see the header. */
#include "source_sums.h"

#include "checked.h"
#include "error.h"
#include "gguf_form.h"
#include "open_options.h"
#include "text_match.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER = 1 << 20 };

/* ---- the list ---- */

static size_t count_read_files(const struct mq_view *v)
{
    size_t n = 0;
    for (const struct mq_read_file *f = v->read_files; f; f = f->next)
        n++;
    return n;
}

/* The folder that names are looked up in: the model's, however it was named. */
static const char *folder_of(const struct mq_view *v)
{
    const char *path = v->index_path ? v->index_path : v->files[0].file.path;
    const size_t n = (size_t)(mq_base_name(path) - path);
    return mq_arena_strndup(v->arena, path, n > 1 ? n - 1 : n);
}

/* The view's files, then the small ones. */
static struct mq_summed *files_of(const struct mq_view *v, size_t *count)
{
    const size_t small = count_read_files(v);
    struct mq_summed *files = mq_arena_alloc(v->arena, v->files_count + small + 1, sizeof *files);
    size_t n = 0;
    for (size_t i = 0; files && i < v->files_count; i++)
        files[n++] = (struct mq_summed){v->files[i].file.path, v->files[i].name, true, NULL};
    for (const struct mq_read_file *f = v->read_files; files && f; f = f->next)
        files[n++] = (struct mq_summed){f->mark.path, mq_base_name(f->mark.path), false, NULL};
    if (files && v->index_path)
        files[n++] = (struct mq_summed){v->index_path, mq_base_name(v->index_path), false, NULL};
    *count = n;
    return files;
}

static moeq_status hash_small(const struct mq_summed *f, moeq_error *err)
{
    struct mq_sha256 sha256;
    struct mq_file file;
    char found[MQ_SHA256_TEXT], buffer[1 << 14];
    MQ_TRY(mq_file_open(f->path, &file, err));
    mq_sha256_begin(&sha256);
    moeq_status status =
        mq_sha256_add_file(&sha256, &file, 0, file.size_bytes, buffer, sizeof buffer, err);
    mq_sha256_end(&sha256, found);
    if (status == MOEQ_OK && strcmp(found, f->sha256) != 0)
        status = mq_sums_differ(f->path, f->sha256, found, err);
    mq_file_close(&file);
    return status;
}

/* A file is there twice where it was read twice. */
static bool stands_before(const struct mq_summed *files, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(files[k].path, files[i].path) == 0)
            return true;
    return false;
}

static moeq_status take_small(struct mq_view *v, const struct mq_summed *files, size_t i,
                              struct mq_buffer *text, size_t *count, moeq_error *err)
{
    if (stands_before(files, i))
        return MOEQ_OK;
    if (!files[i].sha256)
        return mq_view_note(v, err, "%s is not in the list of SHA-256 sums: it was not verified",
                            files[i].name);
    mq_sums_put(text, files[i].sha256, files[i].name);
    ++*count;
    return hash_small(&files[i], err);
}

moeq_status mq_source_list_read(const char *list, struct mq_view *v, struct mq_source_list **out,
                                moeq_error *err)
{
    struct mq_buffer text = {0};
    struct mq_sums sums;
    size_t count, others;
    moeq_status status = MOEQ_OK;
    if (v->kind == MQ_VIEW_CONFIG)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, v->path,
                            "a config.json holds no weights to verify");
    MQ_TRY(mq_sums_read(list, v->arena, &sums, err));
    struct mq_source_list *source = mq_arena_alloc(v->arena, 1, sizeof *source);
    struct mq_summed *files = files_of(v, &count);
    const char **expected = mq_arena_alloc(v->arena, v->files_count, sizeof *expected);
    const char *folder = folder_of(v);
    if (!source || !files || !expected || !folder)
        return mq_fail_memory(err, "reading a list of sums");
    MQ_TRY(mq_sums_match(&sums, folder, v->kind == MQ_VIEW_FOLDER, files, count, &others, err));
    source->count = v->files_count;
    for (size_t i = 0; i < v->files_count; i++) {
        expected[i] = files[i].sha256;
        mq_sums_put(&text, files[i].sha256, files[i].name);
    }
    for (size_t i = v->files_count; i < count && status == MOEQ_OK; i++)
        status = take_small(v, files, i, &text, &source->count, err);
    source->path = list;
    source->files = expected;
    source->text = mq_buffer_ok(&text) ? mq_arena_strndup(v->arena, text.data, text.size) : NULL;
    mq_buffer_free(&text);
    if (status == MOEQ_OK && !source->text)
        status = mq_fail_memory(err, "reading a list of sums");
    *out = source;
    return status;
}

/* ---- the order ---- */

/* Whether rows are read as they stand. */
static bool in_place(const struct mq_tensor *t)
{
    return !t->assembly && !t->form && !t->stored_interleaved;
}

struct key {
    uint64_t offset;
    uint32_t file, chunk;
};

static int by_place(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->chunk < y->chunk ? -1 : x->chunk > y->chunk;
}

moeq_status mq_source_sums_order(const struct mq_chunks *chunks, uint32_t *order, size_t count,
                                 moeq_error *err)
{
    struct key *keys = malloc((count + 1) * sizeof *keys);
    if (!keys)
        return mq_fail_memory(err, "preparing the conversion");
    for (size_t i = 0; i < count; i++) {
        const struct mq_chunk_place p = mq_chunk_place(chunks, order[i]);
        const struct mq_tensor *t = p.tensor->entry->tensor;
        keys[i] = (struct key){t->offset + (in_place(t) ? p.row * t->row_bytes : 0), t->file,
                               order[i]};
    }
    qsort(keys, count, sizeof *keys, by_place);
    for (size_t i = 0; i < count; i++)
        order[i] = keys[i].chunk;
    free(keys);
    return MOEQ_OK;
}

/* A rank's files: those whose middle lies in its part of all bytes. */
static void choose_files(struct mq_source_sums *s, const struct mq_peers *peers)
{
    double total = 0, before = 0;
    for (size_t i = 0; i < s->view->files_count; i++)
        total += (double)s->view->files[i].file.size_bytes;
    for (size_t i = 0; i < s->view->files_count; i++) {
        const double size = (double)s->view->files[i].file.size_bytes;
        const double rank = (before + 0.5 * size) * mq_peers_count(peers) / (total + 1);
        s->file += rank < peers->rank;
        s->end += rank < peers->rank + 1;
        before += size;
    }
}

moeq_status mq_source_sums_begin(struct mq_source_sums *s, const struct mq_plan *plan,
                                 const struct mq_peers *peers, moeq_error *err)
{
    *s = (struct mq_source_sums){.view = plan->view, .list = plan->source_sums};
    if (!s->list)
        return MOEQ_OK;
    if (peers)
        choose_files(s, peers);
    else
        s->end = (uint32_t)s->view->files_count;
    s->has_lock = pthread_mutex_init(&s->lock, NULL) == 0 && pthread_cond_init(&s->next, NULL) == 0;
    s->buffer = malloc(BUFFER);
    if (!s->buffer || !s->has_lock)
        return mq_fail_memory(err, "preparing the conversion");
    mq_sha256_begin(&s->state);
    return MOEQ_OK;
}

void mq_source_sums_free(struct mq_source_sums *s)
{
    if (s->has_lock) {
        pthread_cond_destroy(&s->next);
        pthread_mutex_destroy(&s->lock);
    }
    free(s->buffer);
    *s = (struct mq_source_sums){0};
}

/* ---- the hash ---- */

/* As far as `to`, which may lie behind. */
static moeq_status read_up_to(struct mq_source_sums *s, uint64_t to, moeq_error *err)
{
    if (to <= s->at)
        return MOEQ_OK;
    MQ_TRY(mq_sha256_add_file(&s->state, &s->view->files[s->file].file, s->at, to, s->buffer,
                              BUFFER, err));
    s->again += to - s->at;
    s->at = to;
    return MOEQ_OK;
}

/* All of the file is hashed. */
static moeq_status end_file(struct mq_source_sums *s, moeq_error *err)
{
    const char *expected = s->list->files[s->file];
    const char *path = s->view->files[s->file].file.path;
    char found[MQ_SHA256_TEXT];
    mq_sha256_end(&s->state, found);
    s->file++;
    s->at = 0;
    mq_sha256_begin(&s->state);
    if (strcmp(expected, found) == 0)
        return MOEQ_OK;
    s->differ = true;
    return mq_sums_differ(path, expected, found, err);
}

static moeq_status add(struct mq_source_sums *s, const struct mq_chunk_place *p, const void *bytes,
                       moeq_error *err)
{
    const struct mq_tensor *t = p->tensor->entry->tensor;
    if (!in_place(t) || t->file >= s->end) /* whoever comes next, or the end, reads up to there */
        return MOEQ_OK;
    while (s->file < t->file) {
        MQ_TRY(read_up_to(s, s->view->files[s->file].file.size_bytes, err));
        MQ_TRY(end_file(s, err));
    }
    const uint64_t from = t->offset + p->row * t->row_bytes, n = p->rows * t->row_bytes;
    if (s->file > t->file || from + n <= s->at)
        return MOEQ_OK;
    MQ_TRY(read_up_to(s, from, err));
    mq_sha256_add(&s->state, (const char *)bytes + (s->at - from), (size_t)(from + n - s->at));
    s->at = from + n;
    return MOEQ_OK;
}

moeq_status mq_source_sums_add(struct mq_source_sums *s, size_t turn,
                               const struct mq_chunk_place *place, const void *bytes,
                               moeq_error *err)
{
    if (!s->list)
        return MOEQ_OK;
    pthread_mutex_lock(&s->lock);
    while (s->turn != turn && !s->stopped)
        pthread_cond_wait(&s->next, &s->lock);
    const bool mine = s->turn == turn && !s->stopped;
    pthread_mutex_unlock(&s->lock);
    if (!mine) /* another thread has failed, which ends the work of all */
        return MOEQ_OK;
    const moeq_status status = add(s, place, bytes, err);
    pthread_mutex_lock(&s->lock);
    s->turn++;
    s->stopped = s->stopped || status != MOEQ_OK;
    pthread_cond_broadcast(&s->next);
    pthread_mutex_unlock(&s->lock);
    return status;
}

void mq_source_sums_stop(struct mq_source_sums *s)
{
    if (!s->list || !s->has_lock)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopped = true;
    pthread_cond_broadcast(&s->next);
    pthread_mutex_unlock(&s->lock);
}

static uint64_t bytes_left(const struct mq_source_sums *s)
{
    uint64_t left = 0;
    for (size_t i = s->file; i < s->end; i++)
        left += s->view->files[i].file.size_bytes;
    return left - s->at;
}

moeq_status mq_source_sums_finish(struct mq_source_sums *s, const struct mq_context *context,
                                  moeq_error *err)
{
    if (!s->list || s->finished)
        return MOEQ_OK;
    const uint64_t total = bytes_left(s);
    while (s->file < s->end) {
        const uint64_t size = s->view->files[s->file].file.size_bytes;
        const struct mq_progress p = {"sums", total - bytes_left(s), total, "bytes"};
        if (mq_cancelled(context))
            return mq_fail(err, MOEQ_CANCELLED, "interrupted");
        MQ_TRY(read_up_to(s, mq_min_u64(size, s->at + BUFFER), err));
        if (s->at == size)
            MQ_TRY(end_file(s, err));
        if (context->progress)
            context->progress(context->progress_user, &p);
    }
    s->finished = true;
    return MOEQ_OK;
}
