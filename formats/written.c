/* written.c: see written.h. */
#include "written.h"

#include "error.h"

#include <stdlib.h>
#include <zlib.h>

static moeq_status append(struct mq_written *w, const struct mq_written_piece *piece,
                          moeq_error *err)
{
    if (w->count == w->room) {
        const size_t room = 2 * w->room + 64;
        struct mq_written_piece *all = realloc(w->all, room * sizeof *all);
        if (!all)
            return mq_fail_memory(err, "noting what is written");
        w->all = all;
        w->room = room;
    }
    w->all[w->count++] = *piece;
    return MOEQ_OK;
}

moeq_status mq_written_add(struct mq_written *w, uint64_t item, uint64_t at, const void *bytes,
                           uint64_t n, moeq_error *err)
{
    if (!n)
        return MOEQ_OK;
    for (size_t i = w->count; i-- > 0;) { /* items grow in turn: one of the last */
        struct mq_written_piece *piece = &w->all[i];
        if (piece->item != item || piece->at + piece->bytes != at)
            continue;
        piece->crc32 = crc32_z(piece->crc32, bytes, n);
        piece->bytes += n;
        return MOEQ_OK;
    }
    const struct mq_written_piece piece = {item, at, n, crc32_z(0, bytes, n)};
    return append(w, &piece, err);
}

static int by_place(const void *a, const void *b)
{
    const struct mq_written_piece *x = a, *y = b;
    const int order = (x->item > y->item) - (x->item < y->item);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

moeq_status mq_written_gather(struct mq_written *w, const struct mq_peers *peers, moeq_error *err)
{
    const unsigned count = mq_peers_count(peers);
    uint64_t *begin = calloc(count + 1, sizeof *begin);
    void *all;
    moeq_status status = begin ? MOEQ_OK : mq_fail_memory(err, "noting what is written");
    if (status == MOEQ_OK)
        status = mq_peers_gather_all(peers, w->all, w->count * sizeof *w->all, &all, begin, err);
    if (status == MOEQ_OK) {
        free(w->all);
        w->all = all;
        w->count = w->room = begin[count] / sizeof *w->all;
        qsort(w->all, w->count, sizeof *w->all, by_place);
    }
    free(begin);
    return status;
}

bool mq_written_whole(const struct mq_written *w, uint64_t item, uint64_t size_bytes, uint32_t *crc)
{
    size_t i = 0, end = w->count;
    uint64_t at = 0;
    *crc = 0;
    while (i < end) { /* the first of the item */
        const size_t middle = i + (end - i) / 2;
        if (w->all[middle].item < item)
            i = middle + 1;
        else
            end = middle;
    }
    for (; i < w->count && w->all[i].item == item; i++) {
        const struct mq_written_piece *piece = &w->all[i];
        if (piece->at != at)
            return false;
        *crc = (uint32_t)crc32_combine(*crc, piece->crc32, (z_off_t)piece->bytes);
        at += piece->bytes;
    }
    return at == size_bytes;
}

void mq_written_free(struct mq_written *written)
{
    free(written->all);
    *written = (struct mq_written){0};
}
