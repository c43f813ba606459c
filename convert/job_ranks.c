/* job_ranks.c: see job_int.h: what a job's ranks deal out, and what they tell each other. */
#include "job_int.h"

#include "checked.h"
#include "error.h"

#include <stdlib.h>
#include <time.h>

/* ---- how much work there is ---- */

/* Work is in quarters of a nanosecond, as rank 0 has measured it: levels differ a hundredfold, instruction sets tenfold. */
enum { COPIED = 4, TRIED_ROWS = 8, TRIED_COLS = 2048, TRIES = 3 };

static uint64_t now_quarters(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return 4 * ((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
}

/* Of a weight that is encoded, and decoded again for its loss: the least of some tries. */
static moeq_status measure(const struct mq_job *job, const struct mq_level *level, uint64_t *work,
                           moeq_error *err)
{
    const enum mq_isa isa = job->context->isa;
    const size_t rows = mq_round_up(TRIED_ROWS, level->band_rows), n = rows * TRIED_COLS;
    float *weights = malloc(n * sizeof *weights);
    uint8_t *encoded = malloc(rows * mq_level_row_bytes(level, TRIED_COLS));
    uint64_t random = 1, least = UINT64_MAX;
    for (size_t i = 0; weights && i < n; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        weights[i] = 1e-3f * ((float)(random >> 40 & 0xffff) - 32768.0f) / 32768.0f;
    }
    for (int i = 0; weights && encoded && i < TRIES; i++) {
        const uint64_t begin = now_quarters();
        mq_level_encode_rows(level, isa, job->plan->effort, NULL, weights, rows, TRIED_COLS,
                             encoded);
        mq_level_decode_rows(level, isa, encoded, rows, TRIED_COLS, weights);
        least = mq_min_u64(least, now_quarters() - begin);
    }
    const bool ok = weights && encoded;
    free(weights);
    free(encoded);
    *work = mq_max_u64(1, least / n);
    return ok ? MOEQ_OK : mq_fail_memory(err, "preparing the conversion");
}

/* job->level_work, of the plan's levels. */
static moeq_status measure_levels(struct mq_job *job, moeq_error *err)
{
    const struct mq_peers *peers = job->division.peers;
    if (job->level_work || !peers)
        return MOEQ_OK;
    job->level_work = calloc(mq_levels_count, sizeof *job->level_work);
    if (!job->level_work)
        return mq_fail_memory(err, "preparing the conversion");
    for (size_t i = 0; i < job->plan->view->tensors_count && mq_peers_first(peers); i++) {
        const struct mq_plan_entry *e = &job->plan->entries[i];
        uint64_t *work = &job->level_work[e->level - mq_levels];
        if (e->level != e->source && !*work && !job->scan)
            MQ_TRY(measure(job, e->level, work, err));
    }
    return mq_peers_broadcast(peers, job->level_work, mq_levels_count * sizeof *job->level_work,
                              err);
}

static uint64_t work_of_chunk(const struct mq_job *job, size_t chunk)
{
    const struct mq_chunk_place p = mq_chunk_place(&job->table, chunk);
    const struct mq_plan_entry *e = p.tensor->entry;
    const uint64_t encoding = e->level == e->source ? 0 : job->level_work[e->level - mq_levels];
    return p.rows * e->tensor->cols * (COPIED + encoding);
}

static uint64_t work_of_tensor(const struct mq_job *job, size_t tensor)
{
    return job->table.tensors[tensor].entry->size_bytes;
}

/* ---- dealing ---- */

/* The files that what is in the list is written to, as they belong together. */
static moeq_status look_up_files(const struct mq_job *job, uint32_t *files, moeq_error *err)
{
    const struct mq_plan *plan = job->plan;
    uint32_t *groups = calloc(plan->files_count, sizeof *groups);
    if (!groups)
        return mq_fail_memory(err, "dealing the work to ranks");
    mq_division_group_files(plan, groups);
    for (size_t i = 0; i < job->list_count; i++) {
        const struct mq_plan_entry *e = mq_chunk_place(&job->table, job->list[i]).tensor->entry;
        files[i] = groups[e->split ? e->parts[0].file : e->file];
    }
    free(groups);
    return MOEQ_OK;
}

/* Leaves in the list what is this rank's. */
static moeq_status deal(struct mq_job *job, bool written,
                        uint64_t (*work_of)(const struct mq_job *job, size_t number),
                        moeq_error *err)
{
    const struct mq_division *d = &job->division;
    const size_t n = job->list_count;
    const bool by_files = written && d->by_files;
    moeq_status status = MOEQ_OK;
    if (!d->peers)
        return MOEQ_OK;
    uint64_t *work = calloc(n + 1, sizeof *work);
    unsigned *owners = calloc(n + 1, sizeof *owners);
    uint32_t *files = calloc(n + 1, sizeof *files);
    if (!work || !owners || !files)
        status = mq_fail_memory(err, "dealing the work to ranks");
    for (size_t i = 0; i < n && status == MOEQ_OK; i++)
        work[i] = work_of(job, job->list[i]);
    if (status == MOEQ_OK && by_files)
        status = look_up_files(job, files, err);
    if (status == MOEQ_OK)
        status = mq_division_deal(d, work, by_files ? files : NULL, job->plan->files_count, n,
                                  owners, err);
    job->list_count = 0;
    for (size_t i = 0; i < n && status == MOEQ_OK; i++)
        if (owners[i] == d->peers->rank)
            job->list[job->list_count++] = job->list[i];
    free(work);
    free(owners);
    free(files);
    return status;
}

static moeq_status new_list(struct mq_job *job, size_t count, moeq_error *err)
{
    free(job->list);
    job->list_count = 0;
    job->list = malloc((count + 1) * sizeof *job->list);
    return job->list ? MOEQ_OK : mq_fail_memory(err, "preparing the conversion");
}

moeq_status mq_job_list_chunks(struct mq_job *job, moeq_error *err)
{
    const struct mq_chunks *c = &job->table;
    if (!job->sums.list && !job->division.peers) {
        free(job->list);
        job->list = NULL;
        return MOEQ_OK;
    }
    MQ_TRY(new_list(job, c->count, err));
    MQ_TRY(measure_levels(job, err));
    for (size_t i = 0; i < c->count; i++)
        if (!c->skip[i])
            job->list[job->list_count++] = (uint32_t)i;
    if (job->sums.list)
        MQ_TRY(mq_source_sums_order(c, job->list, job->list_count, err));
    return deal(job, true, work_of_chunk, err);
}

moeq_status mq_job_list_unseen(struct mq_job *job, moeq_error *err)
{
    const struct mq_chunks *c = &job->table;
    MQ_TRY(new_list(job, c->tensors_count, err));
    for (size_t i = 0; i < c->tensors_count; i++)
        if (mq_chunk_unseen(&c->tensors[i]))
            job->list[job->list_count++] = (uint32_t)i;
    return deal(job, false, work_of_tensor, err);
}

/* ---- what all are to know ---- */

struct found {
    uint64_t entry;
    struct mq_nonfinite what;
};

moeq_status mq_job_exchange_found(struct mq_job *job, moeq_error *err)
{
    const struct mq_peers *peers = job->division.peers;
    const size_t n = job->plan->view->tensors_count;
    uint64_t refused = job->refused;
    struct mq_buffer own = {0};
    void *all = NULL;
    if (!peers)
        return MOEQ_OK;
    MQ_TRY(mq_peers_reduce(peers, MQ_MOST, &refused, 1, err));
    job->refused = refused;
    for (size_t i = 0; i < n; i++) {
        const struct found f = {.entry = i, .what = job->found[i]};
        if (f.what.count)
            mq_buffer_append(&own, &f, sizeof f);
        job->found[i] = (struct mq_nonfinite){0};
    }
    uint64_t *begin = calloc(peers->count + 1, sizeof *begin);
    moeq_status status =
        begin && mq_buffer_ok(&own) ? MOEQ_OK : mq_fail_memory(err, "counting weights");
    status = mq_peers_agree(peers, status, err);
    if (status == MOEQ_OK)
        status = mq_peers_gather_all(peers, own.data, own.size, &all, begin, err);
    const struct found *f = all;
    for (uint64_t i = 0; status == MOEQ_OK && i < begin[peers->count] / sizeof *f; i++)
        mq_nonfinite_add(&job->found[f[i].entry], 0, &f[i].what);
    free(all);
    free(begin);
    mq_buffer_free(&own);
    return status;
}
