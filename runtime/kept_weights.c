/* kept_weights.c: for each tensor its rows, and which of them are there. */
#include "kept_weights.h"

#include "checked.h"
#include "error.h"

#include <stdlib.h>
#include <string.h>

struct kept_tensor {
    uint8_t *bytes; /* [rows][row_bytes]; NULL: no room was made */
    bool *there;    /* [rows] */
};

struct mq_kept_weights {
    const struct mq_view *view;
    uint64_t room;
    struct kept_tensor *tensors; /* [view->tensors_count] */
};

moeq_status mq_kept_weights_create(const struct mq_view *view, uint64_t room,
                                   struct mq_kept_weights **kept, moeq_error *err)
{
    struct mq_kept_weights *k = calloc(1, sizeof *k);
    if (k)
        k->tensors = calloc(view->tensors_count + 1, sizeof *k->tensors);
    if (!k || !k->tensors) {
        free(k);
        return mq_fail_memory(err, "keeping weights");
    }
    k->view = view;
    k->room = room;
    *kept = k;
    return MOEQ_OK;
}

void mq_kept_weights_destroy(struct mq_kept_weights *k)
{
    for (size_t i = 0; k && i < k->view->tensors_count; i++) {
        free(k->tensors[i].bytes);
        free(k->tensors[i].there);
    }
    if (k)
        free(k->tensors);
    free(k);
}

static uint64_t row_bytes(const struct mq_weights *w)
{
    return w->level ? mq_level_row_bytes(w->level, w->tensor->cols) : w->tensor->row_bytes;
}

static struct kept_tensor *tensor_of(const struct mq_kept_weights *k, const struct mq_weights *w)
{
    return k && w->view == k->view ? &k->tensors[w->tensor - k->view->tensors] : NULL;
}

void mq_kept_weights_prepare(struct mq_kept_weights *k, const struct mq_weights *w)
{
    struct kept_tensor *t = tensor_of(k, w);
    uint64_t bytes;
    if (!t || t->bytes || !mq_mul_u64(row_bytes(w), w->tensor->rows, &bytes) || bytes > k->room)
        return;
    t->bytes = malloc(bytes);
    t->there = calloc(w->tensor->rows, sizeof *t->there);
    if (t->bytes && t->there) {
        k->room -= bytes;
        return;
    }
    free(t->bytes); /* not to be had: it is read each time */
    free(t->there);
    *t = (struct kept_tensor){0};
}

const uint8_t *mq_kept_weights_find(const struct mq_kept_weights *k, const struct mq_weights *w,
                                    uint64_t row, uint64_t count)
{
    const struct kept_tensor *t = tensor_of(k, w);
    if (!t || !t->bytes)
        return NULL;
    for (uint64_t r = row; r < row + count; r++)
        if (!t->there[r])
            return NULL;
    return t->bytes + row * row_bytes(w);
}

void mq_kept_weights_put(struct mq_kept_weights *k, const struct mq_weights *w, uint64_t row,
                         uint64_t count, const uint8_t *bytes)
{
    struct kept_tensor *t = tensor_of(k, w);
    if (!t || !t->bytes)
        return;
    memcpy(t->bytes + row * row_bytes(w), bytes, count * row_bytes(w));
    memset(t->there + row, true, count * sizeof *t->there);
}
