/* checksums.c: see the header. The words are those of FORMAT.md, "Checksums". */
#include "checksums.h"

#include "checked.h"
#include "error.h"
#include "moeq_profile.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    LOCKS = 64,
    MAX_RUNS = 64, /* of a tensor; where single rows are read here and there, the shortest are forgotten */
};

/* Rows that were read, side by side. */
struct run {
    uint64_t first, end;
    uint32_t crc;
};

struct tensor_sum {
    uint32_t expected;
    atomic_bool done; /* or there is nothing to compare */
    uint32_t runs_count;
    struct run *runs; /* [MAX_RUNS + 1], sorted; NULL: none yet */
};

struct mq_checksums {
    struct tensor_sum *tensors; /* [view->tensors_count] */
    size_t tensors_count;
    pthread_mutex_t locks[LOCKS]; /* tensor i's: i % LOCKS */
};

/* ---- opening ---- */

static uint32_t load_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The checksum tensor of a file: that of entry i at 4 i. NULL without an error: it has none. */
static moeq_status read_words(const struct mq_safetensors *st, const struct mq_file *file,
                              unsigned char **words, moeq_error *err)
{
    const size_t tensors = st->count ? st->count - 1 : 0, bytes = 4 * (tensors + 2);
    const struct mq_st_entry *e = st->count ? &st->entries[tensors] : NULL;
    *words = NULL;
    if (!e || strcmp(e->name, MQ_CRC_NAME) != 0 || e->size_bytes != bytes)
        return mq_fail_file(err, MOEQ_MALFORMED, file->path,
                            "expected a last tensor '" MQ_CRC_NAME "' of %zu bytes, found %s%.100s%s",
                            bytes, e ? "'" : "none", e ? e->name : "", e ? "'" : "");
    unsigned char *w = *words = malloc(bytes);
    if (!w)
        return mq_fail_memory(err, "opening a model");
    MQ_TRY(mq_file_read_at(file, e->offset, w, bytes, err));
    const uint32_t own = (uint32_t)crc32_z(0, w, bytes - 4), header = load_u32(w + bytes - 8);
    if (own != load_u32(w + bytes - 4))
        return mq_fail_tensor(err, MOEQ_CORRUPT, file->path, e->name, e->offset,
                              "the checksums are damaged: they have CRC-32 %08" PRIx32
                              ", expected %08" PRIx32 " (moeq check tells more; --no-check reads on)",
                              own, load_u32(w + bytes - 4));
    if (header != st->header_crc32)
        return mq_fail_file(err, MOEQ_CORRUPT, file->path,
                            "the header is damaged: it has CRC-32 %08" PRIx32 ", expected %08" PRIx32
                            " (moeq check tells more; --no-check reads on)",
                            st->header_crc32, header);
    return MOEQ_OK;
}

static struct mq_checksums *create(size_t tensors)
{
    struct mq_checksums *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&c->locks[i], NULL);
    c->tensors = calloc(tensors + 1, sizeof *c->tensors);
    c->tensors_count = tensors;
    for (size_t i = 0; c->tensors && i < tensors; i++)
        atomic_init(&c->tensors[i].done, true);
    return c;
}

/* What each tensor of the view is to have that stands in this file as it is, whole. */
static void expect(struct mq_view *view, const struct mq_tensor_set *set, uint32_t shard,
                   const unsigned char *words)
{
    const struct mq_st_entry *entries = set->shards[shard].entries;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        const struct mq_located *at =
            t->file == shard ? mq_tensor_set_find(set, t->name) : NULL;
        if (!at || at->shard != shard || t->assembly || t->form || t->stored_interleaved ||
            at->entry->offset != t->offset || at->entry->size_bytes != t->rows * t->row_bytes)
            continue;
        struct tensor_sum *s = &view->checksums->tensors[i];
        s->expected = load_u32(words + 4 * (at->entry - entries));
        atomic_init(&s->done, t->rows == 0);
    }
}

moeq_status mq_checksums_open(struct mq_view *view, const struct mq_tensor_set *set, moeq_error *err)
{
    view->checksums = create(view->tensors_count);
    if (!view->checksums || !view->checksums->tensors)
        return mq_fail_memory(err, "opening a model");
    for (uint32_t shard = 0; shard < set->shards_count; shard++) {
        unsigned char *words;
        const moeq_status status =
            read_words(&set->shards[shard], &view->files[shard].file, &words, err);
        if (status == MOEQ_OK)
            expect(view, set, shard, words);
        free(words);
        MQ_TRY(status);
    }
    return MOEQ_OK;
}

void mq_checksums_close(struct mq_checksums *c)
{
    if (!c)
        return;
    for (size_t i = 0; c->tensors && i < c->tensors_count; i++)
        free(c->tensors[i].runs);
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&c->locks[i]);
    free(c->tensors);
    free(c);
}

/* ---- runs of rows ---- */

/* The first rows of [row, end) that no run has; false: there are none. */
static bool next_gap(const struct tensor_sum *s, uint64_t row, uint64_t end, uint64_t *first,
                     uint64_t *last)
{
    *last = end;
    for (uint32_t i = 0; i < s->runs_count && row < end; i++) {
        const struct run *r = &s->runs[i];
        if (r->end <= row)
            continue;
        if (r->first > row) {
            *last = mq_min_u64(end, r->first);
            break;
        }
        row = r->end;
    }
    *first = row;
    return row < *last;
}

static void remove_run(struct tensor_sum *s, uint32_t i)
{
    memmove(s->runs + i, s->runs + i + 1, (s->runs_count - i - 1) * sizeof *s->runs);
    s->runs_count--;
}

static void join_next(struct tensor_sum *s, uint32_t i, uint64_t row_bytes)
{
    struct run *a = &s->runs[i];
    const struct run *b = a + 1;
    if (i + 1 >= s->runs_count || a->end != b->first)
        return;
    a->crc = (uint32_t)crc32_combine(a->crc, b->crc, (z_off_t)((b->end - b->first) * row_bytes));
    a->end = b->end;
    remove_run(s, i + 1);
}

static void forget_shortest(struct tensor_sum *s)
{
    uint32_t shortest = 0;
    for (uint32_t i = 1; i < s->runs_count; i++)
        if (s->runs[i].end - s->runs[i].first < s->runs[shortest].end - s->runs[shortest].first)
            shortest = i;
    remove_run(s, shortest);
}

/* Adds rows that no run has. False: no memory. */
static bool add_run(struct tensor_sum *s, const struct run *added, uint64_t row_bytes)
{
    uint32_t i = 0;
    if (!s->runs && !(s->runs = malloc((MAX_RUNS + 1) * sizeof *s->runs)))
        return false;
    while (i < s->runs_count && s->runs[i].first < added->first)
        i++;
    memmove(s->runs + i + 1, s->runs + i, (s->runs_count - i) * sizeof *s->runs);
    s->runs[i] = *added;
    s->runs_count++;
    join_next(s, i, row_bytes);
    if (i > 0)
        join_next(s, i - 1, row_bytes);
    if (s->runs_count > MAX_RUNS)
        forget_shortest(s);
    return true;
}

/* ---- reading ---- */

static moeq_status fail(const struct mq_view *view, const struct mq_tensor *t, uint32_t expected,
                        uint32_t found, moeq_error *err)
{
    char where[96];
    mq_role_place(t->layer, t->expert, mq_role_name(t->role), where, sizeof where);
    return mq_fail_tensor(err, MOEQ_CORRUPT, view->files[t->file].file.path, t->name, t->offset,
                          "%s: its %" PRIu64 " bytes have CRC-32 %08" PRIx32 ", expected %08" PRIx32
                          ": it is damaged (moeq check lists all that is; --no-check reads on)",
                          where, t->rows * t->row_bytes, found, expected);
}

/* A piece is known; *crc: of the whole, where *whole. */
static bool note(const struct mq_tensor *t, struct tensor_sum *s, const struct run *piece,
                 uint32_t *crc, bool *whole)
{
    uint64_t first, last;
    *whole = false;
    if (atomic_load(&s->done) || !next_gap(s, piece->first, piece->end, &first, &last) ||
        first != piece->first || last != piece->end) /* another thread has read the same */
        return true;
    if (!add_run(s, piece, t->row_bytes))
        return false;
    if (s->runs_count > 1 || s->runs[0].first || s->runs[0].end != t->rows)
        return true;
    *whole = true;
    *crc = s->runs[0].crc;
    free(s->runs);
    s->runs = NULL;
    s->runs_count = 0;
    atomic_store(&s->done, *crc == s->expected); /* one that is damaged never is */
    return true;
}

/* NULL: there is nothing to compare, or the tensor is one of the caller's own. */
static struct tensor_sum *sum_of(const struct mq_view *view, const struct mq_tensor *t)
{
    if (!view->checksums || t < view->tensors || t >= view->tensors + view->tensors_count)
        return NULL;
    struct tensor_sum *s = &view->checksums->tensors[t - view->tensors];
    return atomic_load_explicit(&s->done, memory_order_relaxed) ? NULL : s;
}

static pthread_mutex_t *lock_of(const struct mq_view *view, const struct mq_tensor *t)
{
    return &view->checksums->locks[(size_t)(t - view->tensors) % LOCKS];
}

static moeq_status take(const struct mq_view *view, const struct mq_tensor *t, struct tensor_sum *s,
                        const struct run *piece, moeq_error *err)
{
    uint32_t found;
    bool whole;
    pthread_mutex_lock(lock_of(view, t));
    const bool ok = note(t, s, piece, &found, &whole);
    pthread_mutex_unlock(lock_of(view, t));
    if (!ok)
        return mq_fail_memory(err, "checking a tensor");
    return whole && found != s->expected ? fail(view, t, s->expected, found, err) : MOEQ_OK;
}

moeq_status mq_checksums_read(const struct mq_view *view, const struct mq_tensor *t, uint64_t row,
                              uint64_t count, const void *bytes, moeq_error *err)
{
    struct tensor_sum *s;
    struct run piece = {.end = row};
    while ((s = sum_of(view, t))) {
        pthread_mutex_lock(lock_of(view, t));
        const bool more = next_gap(s, piece.end, row + count, &piece.first, &piece.end);
        pthread_mutex_unlock(lock_of(view, t));
        if (!more)
            break;
        const unsigned char *at = (const unsigned char *)bytes + (piece.first - row) * t->row_bytes;
        piece.crc = (uint32_t)crc32_z(0, at, (piece.end - piece.first) * t->row_bytes);
        MQ_TRY(take(view, t, s, &piece, err));
    }
    return MOEQ_OK;
}

moeq_status mq_checksums_know(const struct mq_view *view, const struct mq_tensor *t, uint64_t row,
                              uint64_t count, uint32_t crc, moeq_error *err)
{
    struct tensor_sum *s = sum_of(view, t);
    return s ? take(view, t, s, &(struct run){row, row + count, crc}, err) : MOEQ_OK;
}

bool mq_checksums_gap(const struct mq_view *view, const struct mq_tensor *t, uint64_t *first,
                      uint64_t *count)
{
    struct tensor_sum *s = sum_of(view, t);
    if (!s)
        return false;
    pthread_mutex_lock(lock_of(view, t));
    const bool some = s->runs_count > 0 && next_gap(s, 0, t->rows, first, count);
    pthread_mutex_unlock(lock_of(view, t));
    if (some)
        *count -= *first;
    return some;
}
