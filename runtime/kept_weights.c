/*
 * kept_weights.c: for each tensor its matrices, and which of their rows are there.
 *
 * The scratch file is several, which take a matrix's rows in turn, STRIPE_ROWS each: a system lets one thread at a time
 * write to a file. Whether a disk is worth it is seen from the time that its rows took: once they have cost more than
 * making them anew does, the files are left alone.
 */
#include "kept_weights.h"

#include "checked.h"
#include "error.h"
#include "scratch_file.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FILES = 8, STRIPE_ROWS = 128 };
/* Time, of all threads, that files may have cost beyond what they spare: to write them is an investment. */
#define GRACE_NS 10000000000

/* Of the rows that went to files and came from there. */
struct costs {
    _Atomic uint64_t making_ns, writing_ns; /* what was written, and */
    _Atomic uint64_t spared_ns, reading_ns; /* what was read: making it anew, and reading it */
};

struct mq_kept_matrix {
    struct mq_weights of;
    uint64_t row_bytes;
    uint8_t *bytes;                /* [rows][row_bytes]; NULL: in the files, */
    struct mq_kept_weights *owner; /* its, */
    uint64_t at;                   /* from there on */
    _Atomic uint64_t making_ns;    /* all rows */
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
    struct mq_file files[FILES];
    unsigned files_count; /* 0: they are not there (yet) */
    uint64_t file_bytes;  /* of each */
    bool files_are_full;  /* or there are none to be had */
    struct costs costs;
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
    for (unsigned f = 0; f < k->files_count; f++)
        mq_file_close(&k->files[f]);
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

uint64_t mq_kept_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t spent(_Atomic uint64_t *ns)
{
    return atomic_load_explicit(ns, memory_order_relaxed);
}

static void spend(_Atomic uint64_t *ns, uint64_t more)
{
    atomic_fetch_add_explicit(ns, more, memory_order_relaxed);
}

/* With the first matrix that goes there. */
static bool open_files(struct mq_kept_weights *k)
{
    const unsigned wanted = (unsigned)mq_min_u64(FILES, k->context->threads);
    while (k->files_count < wanted &&
           mq_scratch_file_open(k->context->scratch, &k->files[k->files_count]))
        k->files_count++;
    return k->files_count > 0;
}

static bool find_place_in_files(struct mq_kept_weights *k, struct mq_kept_matrix *m, uint64_t bytes)
{
    if (k->kind == MQ_KEPT_ALL || k->files_are_full)
        return false;
    if ((k->files_count == 0 && !open_files(k)) ||
        !mq_scratch_file_fits(&k->files[0], k->file_bytes, bytes) ||
        spent(&k->costs.writing_ns) > 2 * spent(&k->costs.making_ns) + GRACE_NS) {
        k->files_are_full = true;
        return false;
    }
    const uint64_t stripes = (m->of.tensor->rows + STRIPE_ROWS - 1) / STRIPE_ROWS;
    m->at = k->file_bytes;
    k->file_bytes += (stripes + k->files_count - 1) / k->files_count * STRIPE_ROWS * m->row_bytes;
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
    return m->bytes || find_place_in_files(k, m, bytes);
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
    m->owner = k;
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

static bool is_slow(struct costs *c)
{
    return spent(&c->reading_ns) > spent(&c->spared_ns) + GRACE_NS;
}

bool mq_kept_matrix_has(const struct mq_kept_matrix *m, uint64_t row, uint64_t count)
{
    if (!m || m->rows_there < count || atomic_load_explicit(&m->given_up, memory_order_relaxed) ||
        (!m->bytes && is_slow(&m->owner->costs)))
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

/* Rows [row, row + count) of a matrix in the files, as far as they lie in one. */
struct piece {
    const struct mq_file *file;
    uint64_t at, rows;
};

static struct piece piece_of(const struct mq_kept_matrix *m, uint64_t row, uint64_t count)
{
    const struct mq_kept_weights *k = m->owner;
    const uint64_t stripe = row / STRIPE_ROWS, in_stripe = row % STRIPE_ROWS;
    return (struct piece){
        .file = &k->files[stripe % k->files_count],
        .at = m->at + (stripe / k->files_count * STRIPE_ROWS + in_stripe) * m->row_bytes,
        .rows = mq_min_u64(count, STRIPE_ROWS - in_stripe),
    };
}

moeq_status mq_kept_matrix_get(struct mq_kept_matrix *m, uint64_t row, uint64_t count,
                               uint8_t *room, const uint8_t **bytes, moeq_error *err)
{
    *bytes = m->bytes ? m->bytes + row * m->row_bytes : room;
    if (m->bytes)
        return MOEQ_OK;
    const uint64_t begin = mq_kept_clock_ns();
    for (uint64_t done = 0; done < count;) {
        const struct piece p = piece_of(m, row + done, count - done);
        MQ_TRY(mq_file_read_at(p.file, p.at, room + done * m->row_bytes, p.rows * m->row_bytes,
                               err));
        done += p.rows;
    }
    spend(&m->owner->costs.reading_ns, mq_kept_clock_ns() - begin);
    spend(&m->owner->costs.spared_ns, spent(&m->making_ns) * count / m->of.tensor->rows);
    return MOEQ_OK;
}

void mq_kept_matrix_prefetch(const struct mq_kept_matrix *m, uint64_t row, uint64_t count)
{
    for (uint64_t done = 0; !m->bytes && done < count;) {
        const struct piece p = piece_of(m, row + done, count - done);
        mq_file_prefetch(p.file, p.at, p.rows * m->row_bytes);
        done += p.rows;
    }
}

static void write_rows(struct mq_kept_matrix *m, uint64_t row, uint64_t count, const uint8_t *bytes)
{
    moeq_error ignored = {0};
    for (uint64_t done = 0; done < count;) {
        const struct piece p = piece_of(m, row + done, count - done);
        if (mq_write_at(p.file->fd, p.file->path, p.at, bytes + done * m->row_bytes,
                        p.rows * m->row_bytes, &ignored) != MOEQ_OK) {
            atomic_store_explicit(&m->given_up, true, memory_order_relaxed);
            return;
        }
        done += p.rows;
    }
}

void mq_kept_matrix_put(struct mq_kept_matrix *m, uint64_t row, uint64_t count,
                        const uint8_t *bytes, uint64_t begin_ns)
{
    if (m->bytes) {
        memcpy(m->bytes + row * m->row_bytes, bytes, count * m->row_bytes);
        return;
    }
    if (atomic_load_explicit(&m->given_up, memory_order_relaxed))
        return;
    const uint64_t begin = mq_kept_clock_ns(); /* when they have been made */
    write_rows(m, row, count, bytes);
    spend(&m->owner->costs.writing_ns, mq_kept_clock_ns() - begin);
    spend(&m->owner->costs.making_ns, begin - begin_ns);
    spend(&m->making_ns, begin - begin_ns);
}
