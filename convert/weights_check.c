/* weights_check.c: decoding every row of a model. */
#include "weights_check.h"

#include "checked.h"
#include "first_error.h"
#include "stored.h"

#include <inttypes.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_WEIGHTS = 1 << 20 }; /* decoded at once by a thread: 4 MiB in f32 */

struct check {
    const struct mq_context *context;
    const struct mq_view *view;
    atomic_size_t next; /* tensor */
    struct mq_first_error failed;
    struct mq_zero_span *zeros; /* [tensors]; each one thread's */
    uint64_t done, total;       /* bytes; under the critical section */
};

/* A thread's buffers, grown to the widest chunk that it has met. */
struct scratch {
    uint8_t *bytes;
    float *weights;
    size_t bytes_room, weights_room;
};

static moeq_status grow(struct scratch *s, uint64_t bytes, uint64_t weights, moeq_error *err)
{
    if (bytes > s->bytes_room) {
        free(s->bytes);
        s->bytes = malloc(bytes);
        s->bytes_room = s->bytes ? bytes : 0;
    }
    if (weights > s->weights_room) {
        free(s->weights);
        s->weights = malloc(weights * sizeof *s->weights);
        s->weights_room = s->weights ? weights : 0;
    }
    return s->bytes && s->weights ? MOEQ_OK : mq_fail_memory(err, "checking weights");
}

static void add_done(struct check *c, uint64_t bytes)
{
#pragma omp critical(mq_weights_check)
    {
        c->done += bytes;
        if (c->context->progress) {
            const struct mq_progress now = {"check", c->done, c->total, "bytes"};
            c->context->progress(c->context->progress_user, &now);
        }
    }
}

static bool any_weight(const float *weights, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (weights[i] != 0)
            return true;
    return false;
}

/* The next rows of a tensor. One without a weight counts as zeros, whatever its bytes are: blocks
 * of q3_k and q6_k have offsets in their codes. Of a level that is not decoded, bytes must do. */
static void add_zeros(struct mq_zero_span *sum, const struct scratch *s, const struct mq_tensor *t,
                      uint64_t rows, bool decoded)
{
    for (uint64_t r = 0; decoded && r < rows; r++)
        if (!any_weight(s->weights + r * t->cols, t->cols))
            memset(s->bytes + r * t->row_bytes, 0, t->row_bytes);
    const struct mq_zero_span next = mq_zeros_scan(s->bytes, rows * t->row_bytes);
    mq_zeros_join(sum, &next);
}

/* Rows are taken as they are stored, so that one named is one of the file. */
static moeq_status check_tensor(struct check *c, const struct mq_tensor *tensor, struct scratch *s,
                                moeq_error *err)
{
    const struct mq_level *level;
    struct mq_tensor t = *tensor;
    t.stored_interleaved = 0;
    MQ_TRY(mq_tensor_stored(c->view, tensor, &level, err));
    const bool decodes = mq_level_can_decode(level);
    const uint64_t step = mq_min_u64(mq_max_u64(CHUNK_WEIGHTS / t.cols, 1), t.rows);
    MQ_TRY(grow(s, step * t.row_bytes, step * t.cols, err));
    for (uint64_t row = 0; row < t.rows; row += step) {
        if (mq_cancelled(c->context))
            return mq_fail(err, MOEQ_CANCELLED, "interrupted");
        if (mq_first_error_status(&c->failed))
            return MOEQ_OK;
        const uint64_t n = mq_min_u64(step, t.rows - row);
        MQ_TRY(mq_view_read_rows(c->view, &t, row, n, s->bytes, err));
        if (decodes)
            mq_level_decode_rows(level, c->context->isa, s->bytes, n, t.cols, s->weights);
        const size_t bad =
            decodes ? mq_first_not_finite(c->context->isa, s->weights, n * t.cols) : n * t.cols;
        if (bad < n * t.cols) {
            const uint64_t at = row + bad / t.cols;
            return mq_view_fail_row(err, MOEQ_CORRUPT, c->view, &t, at,
                                    "row %" PRIu64 ", column %" PRIu64 ": the weight is not finite",
                                    at, (uint64_t)bad % t.cols);
        }
        add_zeros(&c->zeros[tensor - c->view->tensors], s, &t, n, decodes);
        add_done(c, n * t.row_bytes);
    }
    return MOEQ_OK;
}

static void check_tensors(struct check *c)
{
    struct scratch s = {0};
    moeq_error error = {0};
    moeq_status status = MOEQ_OK;
    while (status == MOEQ_OK && !mq_first_error_status(&c->failed)) {
        const size_t i = atomic_fetch_add(&c->next, 1);
        if (i >= c->view->tensors_count)
            break;
        status = check_tensor(c, &c->view->tensors[i], &s, &error);
    }
    mq_first_error_note(&c->failed, status, &error);
    free(s.bytes);
    free(s.weights);
}

static struct mq_zero_place place_of(const struct mq_view *view, const struct mq_tensor *t)
{
    return (struct mq_zero_place){.name = mq_tensor_shown(t),
                                  .path = mq_view_tensor_path(view, t),
                                  .role = t->role,
                                  .layer = t->layer,
                                  .expert = t->expert,
                                  .offset = t->offset,
                                  .bytes = t->rows * t->row_bytes};
}

/* By file and offset. */
static int by_place(const void *a, const void *b)
{
    const struct mq_tensor *x = *(const struct mq_tensor *const *)a,
                           *y = *(const struct mq_tensor *const *)b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static moeq_status judge_zeros(const struct check *c, struct mq_zeros *zeros, moeq_error *err)
{
    const struct mq_view *view = c->view;
    const struct mq_tensor **order = malloc(view->tensors_count * sizeof *order);
    bool want = false;
    if (!order)
        return mq_fail_memory(err, "checking weights");
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = order[i] = &view->tensors[i];
        want = want || mq_zeros_want_tokens(t->role, t->rows, t->rows * t->row_bytes, &c->zeros[i]);
    }
    qsort(order, view->tensors_count, sizeof(*order), by_place);
    if (want)
        zeros->tokens = mq_zeros_tokens(view);
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_zero_place place = place_of(view, order[i]);
        mq_zeros_judge(zeros, &place, order[i]->rows, &c->zeros[order[i] - view->tensors]);
    }
    free(order);
    return MOEQ_OK;
}

/* Counts a tensor that cannot be decoded. */
static void add_unread(struct mq_weights_result *r, const struct mq_tensor *t)
{
    char *list = r->unread_levels;
    const size_t n = strlen(list), m = strlen(t->storage);
    const char *at = list;
    r->unread_tensors++;
    r->unread_weights += t->rows * t->cols;
    for (; (at = strstr(at, t->storage)); at += m) /* as a whole word */
        if ((at == list || at[-1] == ' ') && (at[m] == ',' || !at[m]))
            return;
    snprintf(list + n, sizeof r->unread_levels - n, "%s%s", n ? ", " : "", t->storage);
}

moeq_status mq_weights_check(const struct mq_context *context, const struct mq_view *view,
                             struct mq_weights_result *result, moeq_error *err)
{
    struct check c = {.context = context, .view = view, .failed = {.err = err}};
    const struct mq_stored_size size = mq_stored_size(view);
    *result = (struct mq_weights_result){.tensors = view->tensors_count,
                                         .weights = size.weights,
                                         .bytes = size.weight_bytes,
                                         .file_bytes = size.file_bytes};
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        const struct mq_level *level = mq_level_of_storage(t->storage);
        if (level && !mq_level_can_decode(level))
            add_unread(result, t);
        else
            c.total += t->rows * t->row_bytes;
    }
    c.zeros = calloc(view->tensors_count, sizeof *c.zeros);
    if (!c.zeros)
        return mq_fail_memory(err, "checking weights");
    atomic_init(&c.next, 0);
#pragma omp parallel num_threads(context->threads)
    check_tensors(&c);
    moeq_status status = mq_first_error_status(&c.failed);
    if (status == MOEQ_OK)
        status = judge_zeros(&c, &result->zeros, err);
    if (status == MOEQ_OK)
        status = mq_view_check_unchanged(view, err);
    free(c.zeros);
    return status;
}

/* Whether a matrix has no weight, but bytes. */
static moeq_status is_zero(const struct mq_context *context, const struct mq_view *view,
                           const struct mq_tensor *t, struct scratch *s, bool *yes, moeq_error *err)
{
    const struct mq_level *level;
    bool bytes = false;
    *yes = false;
    MQ_TRY(mq_tensor_stored(view, t, &level, err));
    if (!mq_level_can_decode(level))
        return MOEQ_OK;
    MQ_TRY(grow(s, t->row_bytes, t->cols, err));
    for (uint64_t row = 0; row < t->rows; row++) {
        if (mq_cancelled(context))
            return mq_fail(err, MOEQ_CANCELLED, "interrupted");
        MQ_TRY(mq_view_read_rows(view, t, row, 1, s->bytes, err));
        mq_level_decode_rows(level, context->isa, s->bytes, 1, t->cols, s->weights);
        if (any_weight(s->weights, t->cols))
            return MOEQ_OK;
        for (uint64_t i = 0; i < t->row_bytes && !bytes; i++)
            bytes = s->bytes[i] != 0;
    }
    *yes = bytes;
    return MOEQ_OK;
}

moeq_status mq_zero_matrices(const struct mq_context *context, const struct mq_view *view,
                             struct mq_arena *arena, struct mq_zeros *zeros, moeq_error *err)
{
    struct scratch s = {0};
    moeq_status status = MOEQ_OK;
    for (size_t i = 0; status == MOEQ_OK && i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        struct mq_zero_place place = place_of(view, t);
        bool zero = false;
        if (t->dims == 2)
            status = is_zero(context, view, t, &s, &zero, err);
        if (status != MOEQ_OK || !zero)
            continue;
        const struct mq_zero_span all = {.bytes = place.bytes, .lead = place.bytes};
        place.name = mq_arena_strdup(arena, place.name);
        place.path = mq_arena_strdup(arena, place.path);
        if (place.name && place.path)
            mq_zeros_judge(zeros, &place, t->rows, &all);
        else
            status = mq_fail_memory(err, "checking weights");
    }
    free(s.bytes);
    free(s.weights);
    return status;
}
