/* kept_weights.c: for each tensor its matrices, and which of their rows are there. */
#include "kept_weights.h"

#include "checked.h"
#include "error.h"
#include "scratch_file.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct mq_kept_matrix {
    struct mq_weights of;
    uint64_t row_bytes;
    uint8_t *bytes;             /* [rows][row_bytes]; NULL: in the file, */
    const struct mq_file *file; /* from there on: */
    uint64_t at;
    bool *there; /* [rows]; NULL: all or none. Most are met whole, and a model may have many rows. */
    uint64_t rows_there;
    atomic_bool given_up;
    struct mq_kept_matrix *next; /* of the same tensor */
};

struct kept_view {
    const struct mq_view *view;
    struct mq_kept_matrix **matrices; /* [view->tensors_count]: the first of each tensor */
};

struct mq_kept_weights {
    const struct mq_context *context;
    enum mq_kept_kind kind;
    uint64_t room;
    struct kept_view *views; /* those that were met */
    size_t views_count;
    struct mq_file file; /* path NULL: not there (yet) */
    uint64_t file_bytes;
    bool file_is_full; /* or there is none to be had */
};

moeq_status mq_kept_weights_create(const struct mq_context *context, enum mq_kept_kind kind,
                                   uint64_t room, struct mq_kept_weights **kept, moeq_error *err)
{
    struct mq_kept_weights *k = calloc(1, sizeof *k);
    if (!k)
        return mq_fail_memory(err, "keeping weights");
    k->context = context;
    k->kind = kind;
    k->room = room;
    *kept = k;
    return MOEQ_OK;
}

static void free_matrix(struct mq_kept_matrix *m)
{
    free(m->bytes);
    free(m->there);
    free(m);
}

void mq_kept_weights_destroy(struct mq_kept_weights *k)
{
    if (!k)
        return;
    for (size_t v = 0; v < k->views_count; v++) {
        for (size_t i = 0; i < k->views[v].view->tensors_count; i++)
            for (struct mq_kept_matrix *m = k->views[v].matrices[i], *next; m; m = next) {
                next = m->next;
                free_matrix(m);
            }
        free(k->views[v].matrices);
    }
    free(k->views);
    if (k->file.path)
        mq_file_close(&k->file);
    free(k);
}

/* The list of a tensor's matrices; NULL: out of memory. */
static struct mq_kept_matrix **list_of(struct mq_kept_weights *k, const struct mq_weights *w)
{
    size_t v = 0;
    while (v < k->views_count && k->views[v].view != w->view)
        v++;
    if (v == k->views_count) {
        struct kept_view *views = realloc(k->views, (v + 1) * sizeof *views);
        if (!views)
            return NULL;
        k->views = views;
        views[v] = (struct kept_view){
            w->view, calloc(w->view->tensors_count + 1, sizeof *views[v].matrices)};
        if (!views[v].matrices)
            return NULL;
        k->views_count++;
    }
    return &k->views[v].matrices[w->tensor - w->view->tensors];
}

/* Makes the file with the first matrix that goes there. */
static bool find_place_in_file(struct mq_kept_weights *k, struct mq_kept_matrix *m, uint64_t bytes)
{
    if (k->kind == MQ_KEPT_ALL || k->file_is_full)
        return false;
    if ((!k->file.path && !mq_scratch_file_open(k->context->scratch, &k->file)) ||
        !mq_scratch_file_fits(&k->file, k->file_bytes, bytes)) {
        k->file_is_full = true;
        return false;
    }
    m->file = &k->file;
    m->at = k->file_bytes;
    k->file_bytes += bytes;
    return true;
}

static bool find_place(struct mq_kept_weights *k, struct mq_kept_matrix *m)
{
    uint64_t bytes;
    if (!mq_mul_u64(m->row_bytes, m->of.tensor->rows, &bytes))
        return false;
    if (bytes <= k->room)
        m->bytes = malloc(bytes);
    if (m->bytes)
        k->room -= bytes;
    return m->bytes || find_place_in_file(k, m, bytes);
}

struct mq_kept_matrix *mq_kept_weights_matrix(struct mq_kept_weights *k, const struct mq_weights *w)
{
    if (!k || (k->kind == MQ_KEPT_ENCODED && !w->level))
        return NULL;
    struct mq_kept_matrix **list = list_of(k, w), *m = list ? *list : NULL;
    while (m && !mq_weights_equal(&m->of, w))
        m = m->next;
    if (m || !list)
        return m;
    m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->of = *w;
    m->row_bytes =
        w->level ? mq_level_row_bytes(w->level, w->tensor->cols) : w->tensor->row_bytes;
    if (!find_place(k, m)) {
        free(m);
        return NULL;
    }
    m->next = *list;
    *list = m;
    return m;
}

bool mq_kept_matrix_has(const struct mq_kept_matrix *m, uint64_t row, uint64_t count)
{
    if (!m || m->rows_there < count || atomic_load_explicit(&m->given_up, memory_order_relaxed))
        return false;
    for (uint64_t r = row; m->there && r < row + count; r++)
        if (!m->there[r])
            return false;
    return true;
}

void mq_kept_matrix_add(struct mq_kept_matrix *m, uint64_t row, uint64_t count)
{
    const uint64_t rows = m->of.tensor->rows;
    if (count < rows && m->rows_there == 0)
        m->there = calloc(rows, sizeof *m->there);
    if (count < rows && !m->there) /* out of memory, or all are there already */
        return;
    for (uint64_t r = row; m->there && r < row + count; r++) {
        m->rows_there += !m->there[r];
        m->there[r] = true;
    }
    if (count == rows || m->rows_there == rows) {
        free(m->there);
        m->there = NULL;
        m->rows_there = rows;
    }
}

moeq_status mq_kept_matrix_get(const struct mq_kept_matrix *m, uint64_t row, uint64_t count,
                               uint8_t *room, const uint8_t **bytes, moeq_error *err)
{
    *bytes = m->bytes ? m->bytes + row * m->row_bytes : room;
    return m->bytes ? MOEQ_OK
                    : mq_file_read_at(m->file, m->at + row * m->row_bytes, room,
                                      count * m->row_bytes, err);
}

void mq_kept_matrix_prefetch(const struct mq_kept_matrix *m, uint64_t row, uint64_t count)
{
    if (!m->bytes)
        mq_file_prefetch(m->file, m->at + row * m->row_bytes, count * m->row_bytes);
}

void mq_kept_matrix_put(struct mq_kept_matrix *m, uint64_t row, uint64_t count,
                        const uint8_t *bytes)
{
    moeq_error ignored = {0};
    if (m->bytes)
        memcpy(m->bytes + row * m->row_bytes, bytes, count * m->row_bytes);
    else if (!atomic_load_explicit(&m->given_up, memory_order_relaxed) &&
             mq_write_at(m->file->fd, m->file->path, m->at + row * m->row_bytes, bytes,
                         count * m->row_bytes, &ignored) != MOEQ_OK)
        atomic_store_explicit(&m->given_up, true, memory_order_relaxed);
}
