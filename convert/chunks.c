/* chunks.c: see the header. Chunks' numbers are the plan's own, whatever is finished, so that the next run knows them. */
#include "chunks.h"

#include "checked.h"
#include "error.h"
#include "gguf_form.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

enum {
    CHUNK_WEIGHTS = 1 << 19, /* about 1 MiB of bf16, 2 MiB of f32: in the second-level cache */
    MORE_TIMES = 4,          /* as many, where rows are read well only together */
    SYNC_BYTES = 1 << 28,    /* a power cut costs no more than this, */
    SYNC_SECONDS = 2,        /* or this */
};

/* ---- the table ---- */

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* As many as make CHUNK_WEIGHTS, at least one; whole bands of a level that has some, and of a matrix whose heads are turned,
 * whole heads. */
uint64_t mq_chunk_rows(const struct mq_plan_entry *e)
{
    const struct mq_tensor *t = e->tensor;
    const uint64_t few = CHUNK_WEIGHTS / t->cols;
    const uint64_t more = mq_min_u64(MORE_TIMES * CHUNK_WEIGHTS / t->cols, mq_view_rows_at_once(t));
    const uint64_t rows =
        mq_round_up(mq_max_u64(1, mq_min_u64(mq_max_u64(few, more), t->rows)), e->level->band_rows);
    if (!e->form || !(e->form->what & MQ_FORM_KV_B))
        return rows;
    const uint64_t head = e->form->plain + e->form->values;
    return mq_max_u64(1, rows / head) * head;
}

static bool allocate(struct mq_chunks *c)
{
    const size_t items = c->plan->items_count + 1, n = c->count + 1;
    c->crcs = calloc(n, sizeof *c->crcs);
    c->tensor = calloc(n, sizeof *c->tensor);
    c->losses = calloc(n, sizeof *c->losses);
    c->skip = calloc(n, sizeof *c->skip);
    c->own = calloc(n, sizeof *c->own);
    c->done = calloc(items, sizeof *c->done);
    c->item_crcs = calloc(items, sizeof *c->item_crcs);
    return c->crcs && c->tensor && c->losses && c->skip && c->own && c->done && c->item_crcs;
}

moeq_status mq_chunks_create(struct mq_chunks *c, const struct mq_plan *plan,
                             struct mq_output *output, moeq_error *err)
{
    *c = (struct mq_chunks){.plan = plan,
                            .output = output,
                            .tensors_count = plan->view->tensors_count,
                            .synced_at = now_seconds(),
                            .has_lock = true};
    omp_init_lock(&c->lock);
    c->tensors = calloc(c->tensors_count + 1, sizeof *c->tensors);
    if (!c->tensors)
        return mq_fail_memory(err, "preparing the conversion");
    for (size_t i = 0; i < c->tensors_count; i++) {
        struct mq_chunked *t = &c->tensors[i];
        t->entry = &plan->entries[i];
        t->chunk_rows = mq_chunk_rows(t->entry);
        const uint64_t chunks = (t->entry->tensor->rows + t->chunk_rows - 1) / t->chunk_rows;
        if (chunks > UINT32_MAX - 1 - c->count)
            return mq_fail(err, MOEQ_LIMIT, "the model has too many rows");
        t->first = (uint32_t)c->count;
        t->chunks = (uint32_t)chunks;
        atomic_init(&t->left, t->chunks);
        c->count += (size_t)chunks;
    }
    if (!allocate(c))
        return mq_fail_memory(err, "preparing the conversion");
    for (size_t i = 0; i < c->tensors_count; i++)
        for (uint32_t k = 0; k < c->tensors[i].chunks; k++)
            c->tensor[c->tensors[i].first + k] = (uint32_t)i;
    return MOEQ_OK;
}

void mq_chunks_free(struct mq_chunks *c)
{
    if (c->has_lock)
        omp_destroy_lock(&c->lock);
    free(c->tensors);
    free(c->crcs);
    free(c->tensor);
    free(c->losses);
    free(c->skip);
    free(c->own);
    free(c->done);
    free(c->item_crcs);
    *c = (struct mq_chunks){0};
}

struct mq_chunk_place mq_chunk_place(const struct mq_chunks *c, size_t chunk)
{
    struct mq_chunked *t = &c->tensors[c->tensor[chunk]];
    const uint64_t row = (chunk - t->first) * t->chunk_rows;
    return (struct mq_chunk_place){t, row, mq_min_u64(t->chunk_rows, t->entry->tensor->rows - row)};
}

uint64_t mq_chunks_done_bytes(const struct mq_chunks *c)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct mq_chunk_place p = mq_chunk_place(c, i);
        if (c->skip[i])
            bytes += p.rows * p.tensor->entry->tensor->row_bytes;
    }
    return bytes;
}

uint64_t mq_chunks_done_tensors(const struct mq_chunks *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->tensors_count; i++)
        n += c->done[c->tensors[i].entry->item];
    return n;
}

uint32_t mq_chunk_join(const struct mq_chunked *t, uint32_t chunk, uint32_t before, uint32_t crc)
{
    const uint64_t row_bytes = t->entry->row_bytes, full = t->chunk_rows * row_bytes;
    const uint64_t last = t->entry->tensor->rows * row_bytes - (t->chunks - 1) * full;
    if (chunk == 0)
        return crc;
    return (uint32_t)crc32_combine(before, crc, (z_off_t)(chunk + 1 < t->chunks ? full : last));
}

uint32_t mq_chunks_crc(const struct mq_chunks *c, const struct mq_chunked *t)
{
    uint32_t crc = 0;
    if (t->whole)
        return t->crc;
    for (uint32_t k = 0; k < t->chunks; k++)
        crc = mq_chunk_join(t, k, crc, c->crcs[t->first + k]);
    return crc;
}

/* In the order of the chunks, whoever finished them. */
static struct mq_loss loss_of(const struct mq_chunks *c, const struct mq_chunked *t)
{
    struct mq_square_sums sums = {0};
    const uint64_t cols = t->entry->tensor->cols;
    for (uint32_t k = 0; k < t->chunks; k++) {
        const struct mq_chunk_place p = mq_chunk_place(c, t->first + k);
        mq_loss_add(&sums, &c->losses[t->first + k], p.rows * cols);
    }
    return mq_loss_of(&sums, t->entry->tensor->rows * cols);
}

static void set_done(struct mq_chunks *c, struct mq_chunked *t)
{
    const size_t item = t->entry->item;
    c->done[item] = true;
    c->item_crcs[item] = mq_chunks_crc(c, t);
    if (!t->whole)
        t->loss = loss_of(c, t);
}

/* ---- what an earlier run has left ---- */

static void forget(struct mq_chunks *c, struct mq_chunked *t)
{
    t->whole = t->earlier = t->seen = t->damaged = false;
    atomic_store(&t->left, t->chunks);
    memset(c->skip + t->first, 0, t->chunks * sizeof *c->skip);
    c->done[t->entry->item] = false;
}

static void resume_chunk(struct mq_chunks *c, struct mq_chunked *t,
                         const struct mq_journal_line *line)
{
    if (line->chunk >= t->chunks || t->whole)
        return;
    const size_t chunk = t->first + line->chunk;
    if (!c->skip[chunk])
        atomic_fetch_sub(&t->left, 1);
    c->skip[chunk] = true;
    c->crcs[chunk] = line->value;
    c->losses[chunk] = (struct mq_loss){line->lost, line->weights, line->within};
    t->earlier = true;
}

static void resume_line(struct mq_chunks *c, struct mq_chunked *t,
                        const struct mq_journal_line *line)
{
    switch (line->kind) {
    case MQ_JOURNAL_TENSOR:
        t->whole = t->earlier = true;
        t->crc = line->value;
        t->loss = (struct mq_loss){line->lost, line->weights, line->within};
        atomic_store(&t->left, 0);
        memset(c->skip + t->first, 1, t->chunks * sizeof *c->skip);
        break;
    case MQ_JOURNAL_CHUNK:
        resume_chunk(c, t, line);
        break;
    case MQ_JOURNAL_FORGET:
        forget(c, t);
        break;
    case MQ_JOURNAL_SEEN:
        t->seen = true;
        break;
    case MQ_JOURNAL_PARTS:
    case MQ_JOURNAL_RANK:
        break;
    }
}

uint64_t mq_chunks_unseen_bytes(const struct mq_chunks *c)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < c->tensors_count; i++)
        if (mq_chunk_unseen(&c->tensors[i]))
            bytes += c->tensors[i].entry->size_bytes;
    return bytes;
}

moeq_status mq_chunks_resume(struct mq_chunks *c, const struct mq_journal_line *lines, size_t count,
                             uint32_t stamp, moeq_error *err)
{
    size_t last_stamp = count;
    /* Items and tensors of the view are numbered differently. */
    struct mq_chunked **by_item = calloc(c->plan->items_count + 1, sizeof *by_item);
    if (!by_item)
        return mq_fail_memory(err, "reading a journal");
    for (size_t i = 0; i < c->tensors_count; i++)
        by_item[c->tensors[i].entry->item] = &c->tensors[i];
    for (size_t i = 0; i < count; i++)
        if (lines[i].kind == MQ_JOURNAL_PARTS)
            last_stamp = i;
    /* What was read again before the parts were written to once more, by whomever, counts no more. */
    const bool unchanged = last_stamp < count && lines[last_stamp].value == stamp;
    for (size_t i = 0; i < count; i++) {
        const struct mq_journal_line *line = &lines[i];
        struct mq_chunked *t = line->item < c->plan->items_count ? by_item[line->item] : NULL;
        if (t && (line->kind != MQ_JOURNAL_SEEN || (unchanged && i > last_stamp)))
            resume_line(c, t, line);
    }
    for (size_t i = 0; i < c->tensors_count; i++)
        if (atomic_load(&c->tensors[i].left) == 0)
            set_done(c, &c->tensors[i]);
    c->settled =
        unchanged && lines[last_stamp].chunk && mq_chunks_done_tensors(c) == c->tensors_count;
    free(by_item);
    return MOEQ_OK;
}

/* ---- what this run has done ---- */

static moeq_status put_line(struct mq_chunks *c, const struct mq_journal_line *line,
                            moeq_error *err)
{
    struct mq_buffer text = {0};
    mq_journal_put(&text, line);
    const moeq_status status = mq_output_note(c->output, &text, err);
    mq_buffer_free(&text);
    return status;
}

static moeq_status sync_parts(struct mq_chunks *c, moeq_error *err)
{
    const moeq_status status = mq_output_sync(c->output, c->sync_upto, err);
    omp_set_lock(&c->lock);
    c->sync_busy = false;
    c->sync_failed = status != MOEQ_OK;
    c->synced_at = now_seconds();
    omp_unset_lock(&c->lock);
    return status;
}

/* Whether the caller is to sync; under the lock. After a failure there is no second try: a sync that
 * has failed once may report success the next time although the data is lost. */
static bool begin_sync(struct mq_chunks *c, bool at_once)
{
    const bool due =
        at_once || c->bytes >= SYNC_BYTES || now_seconds() - c->synced_at >= SYNC_SECONDS;
    if (!due || c->sync_busy || c->sync_failed)
        return false;
    c->sync_busy = true;
    c->sync_upto = c->output->journal_bytes;
    c->bytes = 0;
    return true;
}

moeq_status mq_chunks_finish(struct mq_chunks *c, size_t chunk, uint32_t crc,
                             const struct mq_loss *loss, bool *complete, moeq_error *err)
{
    const struct mq_chunk_place p = mq_chunk_place(c, chunk);
    c->crcs[chunk] = crc;
    c->losses[chunk] = *loss;
    c->own[chunk] = true;
    *complete = atomic_fetch_sub(&p.tensor->left, 1) == 1;
    struct mq_journal_line line = {.kind = MQ_JOURNAL_CHUNK,
                                   .item = (uint32_t)p.tensor->entry->item,
                                   .chunk = (uint32_t)(chunk - p.tensor->first),
                                   .value = crc,
                                   .lost = loss->lost,
                                   .weights = loss->weights,
                                   .within = loss->within};
    if (*complete) {
        set_done(c, p.tensor);
        line.kind = MQ_JOURNAL_TENSOR;
        line.value = c->item_crcs[line.item];
        line.lost = p.tensor->loss.lost;
        line.weights = p.tensor->loss.weights;
        line.within = p.tensor->loss.within;
    }
    if (c->output->journal_fd < 0) /* nothing is written */
        return MOEQ_OK;
    omp_set_lock(&c->lock);
    const moeq_status status = put_line(c, &line, err);
    c->bytes += p.rows * p.tensor->entry->row_bytes;
    const bool due = status == MOEQ_OK && begin_sync(c, false);
    omp_unset_lock(&c->lock);
    return due ? sync_parts(c, err) : status;
}

/* ---- what the others have done ---- */

struct finished {
    uint32_t chunk, crc;
    struct mq_loss loss;
};

static void take(struct mq_chunks *c, const struct finished *f)
{
    struct mq_chunked *t = &c->tensors[c->tensor[f->chunk]];
    if (c->skip[f->chunk]) /* this one's own, or another rank's besides, who made the same */
        return;
    c->skip[f->chunk] = true;
    c->crcs[f->chunk] = f->crc;
    c->losses[f->chunk] = f->loss;
    if (atomic_fetch_sub(&t->left, 1) == 1)
        set_done(c, t);
}

moeq_status mq_chunks_exchange(struct mq_chunks *c, moeq_error *err)
{
    const struct mq_peers *peers = c->output->peers;
    struct mq_buffer own = {0};
    void *all = NULL;
    for (size_t i = 0; i < c->count; i++) {
        const struct finished f = {(uint32_t)i, c->crcs[i], c->losses[i]};
        if (!c->own[i])
            continue;
        c->own[i] = false;
        c->skip[i] = true;
        if (peers)
            mq_buffer_append(&own, &f, sizeof f);
    }
    if (!peers)
        return MOEQ_OK;
    uint64_t *begin = calloc(peers->count + 1, sizeof *begin);
    moeq_status status = begin && !own.failed
                             ? MOEQ_OK
                             : mq_fail_memory(err, "gathering what other ranks have written");
    status = mq_peers_agree(peers, status, err);
    if (status == MOEQ_OK)
        status = mq_peers_gather_all(peers, own.data, own.size, &all, begin, err);
    const struct finished *f = all;
    for (uint64_t i = 0; status == MOEQ_OK && i < begin[peers->count] / sizeof *f; i++)
        take(c, &f[i]);
    free(all);
    free(begin);
    mq_buffer_free(&own);
    return status;
}

/* ---- to the disk ---- */

moeq_status mq_chunks_sync(struct mq_chunks *c, moeq_error *err)
{
    if (c->output->journal_fd < 0)
        return MOEQ_OK;
    omp_set_lock(&c->lock);
    const bool due = begin_sync(c, true);
    omp_unset_lock(&c->lock);
    return due ? sync_parts(c, err) : MOEQ_OK;
}

/* ---- reading again ---- */

moeq_status mq_chunks_begin_seeing(struct mq_chunks *c, bool complete, moeq_error *err)
{
    const bool first = mq_peers_first(c->output->peers);
    if (c->settled && !c->output->peers) /* the journal says so already */
        return MOEQ_OK;
    MQ_TRY(mq_peers_agree(c->output->peers, mq_chunks_sync(c, err), err));
    struct mq_journal_line line = {.kind = MQ_JOURNAL_PARTS, .chunk = complete};
    MQ_TRY(mq_output_stamp(c->output, &line.value, err));
    return c->settled && first ? MOEQ_OK : put_line(c, &line, err);
}

moeq_status mq_chunks_saw(struct mq_chunks *c, struct mq_chunked *t, bool good, moeq_error *err)
{
    t->seen = good;
    t->damaged = !good;
    if (!good)
        return MOEQ_OK;
    omp_set_lock(&c->lock);
    const moeq_status status = put_line(
        c, &(struct mq_journal_line){.kind = MQ_JOURNAL_SEEN, .item = (uint32_t)t->entry->item},
        err);
    omp_unset_lock(&c->lock);
    return status;
}

moeq_status mq_chunks_exchange_seen(struct mq_chunks *c, const uint32_t *tensors, size_t count,
                                    moeq_error *err)
{
    const struct mq_peers *peers = c->output->peers;
    const unsigned ranks = mq_peers_count(peers);
    uint64_t *begin = calloc(ranks + 1, sizeof *begin);
    uint32_t *own = malloc((2 * count + 1) * sizeof *own);
    void *all = NULL;
    moeq_status status = begin && own ? MOEQ_OK : mq_fail_memory(err, "gathering what ranks saw");
    for (size_t i = 0; i < count && own; i++) {
        own[2 * i] = tensors[i];
        own[2 * i + 1] = c->tensors[tensors[i]].damaged;
    }
    status = mq_peers_agree(peers, status, err);
    if (status == MOEQ_OK)
        status = mq_peers_gather_all(peers, own, 2 * count * sizeof *own, &all, begin, err);
    const uint32_t *seen = all;
    for (uint64_t i = 0; status == MOEQ_OK && i < begin[ranks] / sizeof *seen; i += 2) {
        struct mq_chunked *t = &c->tensors[seen[i]];
        t->damaged = seen[i + 1];
        t->seen = !t->damaged;
    }
    free(all);
    free(begin);
    free(own);
    return status;
}

/* OUT.part.journal says so, before anyone writes them again. */
static moeq_status note_damaged(struct mq_chunks *c, moeq_error *err)
{
    bool any = false;
    for (size_t i = 0; i < c->tensors_count; i++) {
        const struct mq_chunked *t = &c->tensors[i];
        const struct mq_journal_line line = {.kind = MQ_JOURNAL_FORGET,
                                             .item = (uint32_t)t->entry->item};
        if (t->damaged)
            MQ_TRY(put_line(c, &line, err));
        any = any || t->damaged;
    }
    return any ? mq_output_sync(c->output, c->output->journal_bytes, err) : MOEQ_OK;
}

moeq_status mq_chunks_forget_damaged(struct mq_chunks *c, size_t *count, moeq_error *err)
{
    const struct mq_peers *peers = c->output->peers;
    const moeq_status noted = mq_peers_first(peers) ? note_damaged(c, err) : MOEQ_OK;
    MQ_TRY(mq_peers_agree(peers, noted, err));
    *count = 0;
    for (size_t i = 0; i < c->tensors_count; i++) {
        struct mq_chunked *t = &c->tensors[i];
        if (!t->damaged)
            continue;
        forget(c, t);
        ++*count;
    }
    return MOEQ_OK;
}
