/* job_ranks.c: see job_int.h: what a job's ranks deal out, and what they tell each other. */
#include "job_int.h"

#include "error.h"

#include <stdlib.h>

/* What a weight takes: to encode it, several times what it takes to copy it. */
enum { COPIED = 1, ENCODED = 16 };

static uint64_t work_of_chunk(const struct mq_job *job, size_t chunk)
{
    const struct mq_chunk_place p = mq_chunk_place(&job->table, chunk);
    const struct mq_plan_entry *e = p.tensor->entry;
    return p.rows * e->tensor->cols * (e->level == e->source ? COPIED : ENCODED);
}

static uint64_t work_of_tensor(const struct mq_job *job, size_t tensor)
{
    return job->table.tensors[tensor].entry->size_bytes;
}

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
