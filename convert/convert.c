/*
 * convert.c: the parallel loop over chunks of rows.
 *
 * The plan fixes every output offset, so chunks are independent: a thread takes the next one, reads
 * its rows, decodes, encodes, writes (convert_rows.c), and leaves the CRC of its bytes in the table (chunks.c) and in
 * the journal. No queue and no stages: threads that wait for the disk leave the processor to the
 * others. With peers (peers.h), each rank has chunks of its own (division.h).
 */
#include "job_int.h"

#include "checked.h"
#include "error.h"
#include "file.h"
#include "gguf_form.h"
#include "kept_states.h"
#include "moeq_profile.h"
#include "output_path.h"
#include "places.h"
#include "sink_int.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Notes weights that begin at `at` in their tensor. From the first on that cannot stay, the job
 * only counts. */
static void note_nonfinite(struct mq_job *job, const struct mq_plan_entry *e, uint64_t at,
                           const struct mq_nonfinite *bad)
{
    const bool stays = job->plan->allow_nonfinite && mq_nonfinite_fit(e);
    if (stays && !job->scan)
        return;
    omp_set_lock(&job->lock);
    mq_nonfinite_add(&job->found[e - job->plan->entries], at, bad);
    job->refused = job->refused || !stays;
    omp_unset_lock(&job->lock);
    if (!stays)
        atomic_store(&job->counting, true);
}

/* Chunks that are to be done, each in its turn: in the plan's order, or in the source's (source_sums.h). */
static size_t turns(const struct mq_job *job)
{
    return job->list ? job->list_count : job->table.count;
}

static size_t chunk_at(const struct mq_job *job, size_t turn)
{
    return job->list ? job->list[turn] : turn;
}

/* A chunk is written. One that completes a tensor which lost what no level of its kind does is the last. */
static moeq_status finish_chunk(struct mq_job *job, size_t chunk, uint32_t crc,
                                const struct mq_loss *loss, moeq_error *err)
{
    const struct mq_chunked *t = mq_chunk_place(&job->table, chunk).tensor;
    bool complete;
    MQ_TRY(mq_chunks_finish(&job->table, chunk, crc, loss, &complete, err));
    return complete && !job->allow_loss ? mq_loss_judge(job->plan->view, t->entry->tensor,
                                                        t->entry->level, &t->loss, err)
                                        : MOEQ_OK;
}

static void show_progress(struct mq_job *job, uint64_t bytes)
{
    omp_set_lock(&job->lock);
    job->bytes_done += bytes;
    if (job->context->progress) {
        const struct mq_progress p = {job->phase, job->bytes_done, job->bytes_total, "bytes"};
        job->context->progress(job->context->progress_user, &p);
    }
    omp_unset_lock(&job->lock);
}

static moeq_status run_chunk(struct mq_job *job, size_t turn, const struct mq_scratch *s,
                             moeq_error *err)
{
    const size_t chunk = chunk_at(job, turn);
    const struct mq_chunk_place p = mq_chunk_place(&job->table, chunk);
    const struct mq_plan_entry *e = p.tensor->entry;
    struct mq_nonfinite bad;
    struct mq_loss loss;
    uint32_t crc;
    MQ_TRY(mq_job_read_rows(job, turn, &p, s, &bad, err));
    if (bad.count)
        note_nonfinite(job, e, p.row * e->tensor->cols, &bad);
    if (!atomic_load(
            &job->counting)) { /* of a tensor that cannot stay, one chunk at least is not written */
        MQ_TRY(mq_job_convert_rows(job, e, p.row, p.rows, bad.count > 0, s, &crc, &loss, err));
        MQ_TRY(finish_chunk(job, chunk, crc, &loss, err));
    }
    show_progress(job, p.rows * e->tensor->row_bytes);
    return MOEQ_OK;
}

/* Chunks for each thread that are asked for before they are taken up. */
enum { CHUNKS_AHEAD = 8 };

static void ask_for_chunk(const struct mq_job *job, size_t turn)
{
    const size_t chunk = chunk_at(job, turn);
    const struct mq_chunk_place p = mq_chunk_place(&job->table, chunk);
    if (!job->table.skip[chunk])
        mq_view_prefetch_rows(job->plan->view, p.tensor->entry->tensor, p.row, p.rows);
}

/* That the disk works while a chunk is encoded, the kernel is asked for the one that lies CHUNKS_AHEAD
 * for each thread behind it; with the first one for all up to there. */
static void ask_ahead(const struct mq_job *job, size_t turn)
{
    const size_t ahead = CHUNKS_AHEAD * (size_t)omp_get_num_threads();
    const size_t end = mq_min_u64(turn + ahead + 1, turns(job));
    for (size_t i = turn ? turn + ahead : 0; i < end; i++)
        ask_for_chunk(job, i);
}

/* The turn of the next chunk that is not finished; false: there is none. */
static bool next_chunk(struct mq_job *job, size_t *turn)
{
    do
        *turn = atomic_fetch_add(&job->next, 1);
    while (*turn < turns(job) && job->table.skip[chunk_at(job, *turn)]);
    return *turn < turns(job);
}

static moeq_status work_on_chunk(struct mq_job *job, size_t turn, const struct mq_scratch *s,
                                 moeq_error *err)
{
    ask_ahead(job, turn);
    return run_chunk(job, turn, s, err);
}

/* What earlier runs have written of a tensor, read again. */
static moeq_status see_tensor(struct mq_job *job, size_t number, const struct mq_scratch *s,
                              moeq_error *err)
{
    struct mq_chunked *t = &job->table.tensors[number];
    const struct mq_plan_entry *e = t->entry;
    const bool turned = e->form && (e->form->what & MQ_FORM_KV_B);
    uint32_t crc = 0;
    for (uint32_t k = 0; k < t->chunks; k++) {
        const struct mq_chunk_place p = mq_chunk_place(&job->table, t->first + k);
        uint32_t one = 0;
        MQ_TRY(e->split ? mq_place_parts(&job->output, e, p.row, p.rows, NULL, s->room,
                                         mq_place_read, &one, err)
                        : mq_place_rows(&job->output, e, p.row, p.rows, s->encoded, mq_place_read,
                                        &one, err));
        if (turned)
            MQ_TRY(mq_place_turned(&job->output, e, p.row, p.rows, s->encoded, mq_place_read, &one,
                                   err));
        crc = mq_chunk_join(t, k, crc, one);
    }
    MQ_TRY(mq_chunks_saw(&job->table, t, crc == mq_chunks_crc(&job->table, t), err));
    show_progress(job, e->size_bytes);
    return MOEQ_OK;
}

static bool next_unseen(struct mq_job *job, size_t *tensor)
{
    const size_t turn = atomic_fetch_add(&job->next, 1);
    if (turn >= job->list_count)
        return false;
    *tensor = job->list[turn];
    return true;
}

/* One thread's part of a loop: `next` gives it something to do, which `act` does. */
struct loop {
    bool (*next)(struct mq_job *job, size_t *number);
    moeq_status (*act)(struct mq_job *job, size_t number, const struct mq_scratch *s,
                       moeq_error *err);
};

static void work(struct mq_job *job, const struct loop *loop)
{
    struct mq_scratch s;
    moeq_error error = {0};
    moeq_status status = MOEQ_OK;
    size_t number;
    if (!mq_scratch_allocate(job, &s))
        status = mq_fail_memory(&error, "converting");
    while (status == MOEQ_OK && !mq_first_error_status(&job->failed) && loop->next(job, &number))
        if (mq_cancelled(job->context))
            status = mq_fail(&error, MOEQ_CANCELLED, "interrupted");
        else
            status = loop->act(job, number, &s, &error);
    mq_first_error_note(&job->failed, status, &error);
    if (status != MOEQ_OK)
        mq_source_sums_stop(&job->sums);
    mq_scratch_free(&s);
}

static moeq_status run_loop(struct mq_job *job, const struct loop *loop, unsigned threads)
{
    atomic_store(&job->next, 0);
#pragma omp parallel num_threads(threads)
    work(job, loop);
    return mq_first_error_status(&job->failed);
}

/* What is done, and what is to be; with peers, of their total, each has its share, and rank 0 what is finished. */
static void count_bytes(struct mq_job *job)
{
    job->bytes_done = mq_peers_first(job->division.peers) ? mq_chunks_done_bytes(&job->table) : 0;
    job->bytes_total = job->bytes_done;
    for (size_t turn = 0; turn < turns(job); turn++) {
        const size_t chunk = chunk_at(job, turn);
        const struct mq_chunk_place p = mq_chunk_place(&job->table, chunk);
        if (!job->table.skip[chunk])
            job->bytes_total += p.rows * p.tensor->entry->tensor->row_bytes;
    }
}

/* All chunks that are not finished, and are this rank's. Then every rank knows of all of them. */
static moeq_status run(struct mq_job *job, unsigned threads, moeq_error *err)
{
    static const struct loop chunks = {next_chunk, work_on_chunk};
    MQ_TRY(mq_job_list_chunks(job, err));
    count_bytes(job);
    MQ_TRY(run_loop(job, &chunks, threads));
    MQ_TRY(mq_job_exchange_found(job, err));
    return mq_chunks_exchange(&job->table, err);
}

/* Reads again what earlier runs have written: it may have been damaged since, or never have reached the disk. What is
 * not what it was is no longer finished; *damaged: how many tensors. */
static moeq_status see_earlier(struct mq_job *job, unsigned threads, bool complete, size_t *damaged,
                               moeq_error *err)
{
    static const struct loop unseen = {next_unseen, see_tensor};
    const char *phase = job->phase;
    *damaged = 0;
    if (!mq_chunks_unseen_bytes(&job->table))
        return MOEQ_OK;
    MQ_TRY(mq_chunks_begin_seeing(&job->table, complete, err));
    MQ_TRY(mq_job_list_unseen(job, err));
    job->bytes_total = job->bytes_done = 0;
    for (size_t i = 0; i < job->list_count; i++)
        job->bytes_total += job->table.tensors[job->list[i]].entry->size_bytes;
    job->phase = "verify";
    MQ_TRY(run_loop(job, &unseen, threads));
    job->phase = phase;
    if (job->division.peers)
        MQ_TRY(mq_chunks_exchange_seen(&job->table, job->list, job->list_count, err));
    return mq_chunks_forget_damaged(&job->table, damaged, err);
}

/* ---- tensors that come encoded ---- */

/* What someone else has encoded, compared with the source, which is read again. */
static moeq_status loss_of_put(const struct mq_job *job, const struct mq_chunk_place *p,
                               const uint8_t *encoded, const struct mq_scratch *s,
                               struct mq_loss *loss, moeq_error *err)
{
    const struct mq_plan_entry *e = p->tensor->entry;
    MQ_TRY(mq_view_read_rows(job->plan->view, e->tensor, p->row, p->rows, s->raw, err));
    mq_level_decode_rows(e->source, job->context->isa, s->raw, p->rows, e->tensor->cols,
                         s->weights);
    *loss = mq_job_loss(job, e, encoded, p->rows, s);
    return MOEQ_OK;
}

static moeq_status put_chunk(struct mq_job *job, const struct mq_chunked *t, uint32_t k,
                             const uint8_t *bytes, const struct mq_scratch *s, moeq_error *err)
{
    const struct mq_chunk_place p = mq_chunk_place(&job->table, t->first + k);
    uint8_t *rows = (uint8_t *)bytes + p.row * t->entry->row_bytes; /* mq_place_write reads them */
    struct mq_loss loss;
    uint32_t crc = 0;
    MQ_TRY(loss_of_put(job, &p, rows, s, &loss, err));
    MQ_TRY(mq_job_place_rows(job, t->entry, p.row, p.rows, rows, s, &crc, err));
    return finish_chunk(job, t->first + k, crc, &loss, err);
}

moeq_status mq_convert_put(struct mq_convert_sink *sink, const struct mq_tensor *tensor,
                           const uint8_t *bytes, moeq_error *err)
{
    struct mq_job *job = sink->job;
    const struct mq_chunked *t = &job->table.tensors[tensor - job->plan->view->tensors];
    struct mq_scratch s;
    moeq_status status = mq_scratch_allocate(job, &s) ? MOEQ_OK : mq_fail_memory(err, "converting");
    for (uint32_t k = 0; k < t->chunks && status == MOEQ_OK; k++) {
        if (job->table.skip[t->first + k])
            continue;
        status = put_chunk(job, t, k, bytes, &s, err);
        job->table.skip[t->first + k] = status == MOEQ_OK;
    }
    mq_scratch_free(&s);
    return status;
}

static moeq_status run_encoder(struct mq_job *job, const struct mq_convert_encoder *encoder,
                               moeq_error *err)
{
    struct mq_convert_sink sink = {job, job->plan, &job->table,
                                   job->division.peers ? NULL : job->output.states};
    if (!encoder)
        return MOEQ_OK;
    MQ_TRY(encoder->run(encoder->user, &sink, err));
    return mq_chunks_exchange(&job->table, err);
}

/* ---- the rest of the file ---- */

/* A moeq file's last tensor; `last` is its last word. */
static moeq_status write_checksums(const struct mq_job *job, size_t file, uint32_t *last,
                                   moeq_error *err)
{
    const struct mq_layout *layout = job->plan->files[file].layout;
    const uint32_t *crcs = job->table.item_crcs + job->plan->files[file].first_item;
    const struct mq_output_file *out = &job->output.files[file];
    return mq_layout_write_crcs(layout, crcs, out->fd, out->part, last, err);
}

/* The checksums of each file that has some, and the index of all. */
static moeq_status write_ends(const struct mq_job *job, moeq_error *err)
{
    const struct mq_plan *plan = job->plan;
    uint32_t *last = calloc(plan->files_count, sizeof *last);
    if (!last)
        return mq_fail_memory(err, "writing the checksums");
    moeq_status status = MOEQ_OK;
    for (size_t i = 0; i < plan->files_count && status == MOEQ_OK; i++)
        if (plan->files[i].layout)
            status = write_checksums(job, i, &last[i], err);
    if (status == MOEQ_OK && plan->has_index)
        status = mq_output_write_index(plan, &job->output, last, err);
    free(last);
    return status;
}

/* What was lost, of all tensors, by whichever run. */
static moeq_status list_losses(struct mq_job *job, moeq_error *err)
{
    job->losses = (struct mq_losses){0};
    for (size_t i = 0; i < job->table.tensors_count; i++) {
        const struct mq_chunked *t = &job->table.tensors[i];
        if (!job->allow_loss)
            MQ_TRY(mq_loss_judge(job->plan->view, t->entry->tensor, t->entry->level, &t->loss,
                                 err));
        mq_losses_add(&job->losses, t->entry->tensor, t->entry->level, &t->loss);
    }
    return MOEQ_OK;
}

/* Into the metadata of a moeq model's first file, as much as there is room for: every place was fixed before. */
static void note_losses(const struct mq_job *job)
{
    const struct mq_plan *plan = job->plan;
    const struct mq_layout *layout = plan->files[plan->has_index].layout;
    char text[4096];
    if (!layout || !job->losses.count)
        return;
    mq_losses_describe(&job->losses, text, sizeof text);
    for (size_t room = sizeof text; text[0] && !mq_layout_note(layout, MQ_META_LOSSES, text);) {
        room -= 64;
        mq_losses_describe(&job->losses, text, room > 64 ? room : 0);
        if (room <= 64)
            return;
    }
}

static moeq_status write_pieces(struct mq_job *job, moeq_error *err)
{
    const struct mq_plan *plan = job->plan;
    static const unsigned char zeros[MQ_GROUP_ALIGN]; /* no padding is longer */
    for (size_t i = 0; i < plan->files_count; i++)
        MQ_TRY(mq_write_at(job->output.files[i].fd, job->output.files[i].part, 0,
                           plan->files[i].header, plan->files[i].header_bytes, err));
    for (size_t i = 0; i < plan->pieces_count; i++) {
        const struct mq_plan_piece *p = &plan->pieces[i];
        const struct mq_output_file *file = &job->output.files[p->file];
        const void *bytes = p->bytes ? p->bytes : zeros;
        MQ_TRY(mq_write_at(file->fd, file->part, p->offset, bytes, p->size_bytes, err));
        if (p->item != SIZE_MAX)
            job->table.item_crcs[p->item] = (uint32_t)crc32_z(0, bytes, p->size_bytes);
    }
    return write_ends(job, err);
}

/* Headers, side files, padding, checksums, index. All are small and written anew by every run: by rank 0, when what the
 * others have written stands in the files. */
static moeq_status write_rest(struct mq_job *job, moeq_error *err)
{
    const struct mq_peers *peers = job->division.peers;
    MQ_TRY(list_losses(job, err));
    note_losses(job);
    if (peers)
        MQ_TRY(mq_peers_agree(peers, mq_chunks_sync(&job->table, err), err));
    moeq_status status = MOEQ_OK;
    if (mq_peers_first(peers)) {
        if (peers)
            mq_output_refresh(&job->output);
        status = write_pieces(job, err);
    }
    return mq_peers_agree(peers, status, err);
}

/* What was made of a source that changed meanwhile is of no use: an output that is half of one
 * model and half of another would pass every check. */
static moeq_status check_sources(const struct mq_job *job, moeq_error *err)
{
    const moeq_status status = mq_view_check_unchanged(job->plan->view, err);
    if (status != MOEQ_OK)
        mq_output_discard(&job->output);
    return status;
}

static void job_begin(struct mq_job *job)
{
    job->output.journal_fd = -1;
    if (!job->place)
        job->place = mq_place_write;
    omp_init_lock(&job->lock);
    atomic_init(&job->next, 0);
    atomic_init(&job->counting, job->scan);
}

static void job_end(struct mq_job *job)
{
    mq_output_close(&job->output);
    omp_destroy_lock(&job->lock);
    free(job->found);
    free(job->list);
    free(job->level_work);
    mq_source_sums_free(&job->sums);
    mq_chunks_free(&job->table);
}

moeq_status mq_convert_scan(const struct mq_context *context, const struct mq_plan *plan,
                            struct mq_buffer *sentence, uint64_t *weights, moeq_error *err)
{
    struct mq_job job = {.context = context,
                         .plan = plan,
                         .failed = {.err = err},
                         .scan = true,
                         .phase = "look for NaN"};
    job.division.peers = mq_peers_count(context->peers) > 1 ? context->peers : NULL;
    moeq_status status = MOEQ_OK;
    unsigned threads = 1;
    job_begin(&job);
    MQ_TRY_OUT(mq_job_plan_memory(&job, err));
    MQ_TRY_OUT(mq_job_choose_threads(&job, &threads, err));
    for (size_t i = 0; i < job.table.count; i++)
        job.table.skip[i] = !mq_nonfinite_fit(mq_chunk_place(&job.table, i).tensor->entry);
    MQ_TRY_OUT(run(&job, threads, err));
    *weights = mq_nonfinite_describe(plan, job.found, sentence);
out:
    job_end(&job);
    return status;
}

/* What has to be looked at before anything is written, by the rank that writes it. */
static moeq_status check_output(struct mq_job *job, const struct mq_convert_options *options,
                                moeq_error *err)
{
    const struct mq_peers *peers = job->context->peers;
    moeq_status status = MOEQ_OK;
    if (mq_peers_first(peers)) {
        status = mq_output_check(job->plan, options, err);
        if (status == MOEQ_OK)
            status = mq_division_look(job->plan, options->output, peers, &job->division, err);
        if (status == MOEQ_OK && job->division.by_files && options->encoder)
            status = mq_fail_file(err, MOEQ_INVALID_ARGUMENT, options->output,
                                  "would be calibrated on %u hosts, which write into all files, and "
                                  "may not on %s: write to a file system of the cluster's, or take "
                                  "one host",
                                  job->division.hosts, job->division.file_system);
    }
    MQ_TRY(mq_peers_agree(peers, status, err));
    uint64_t by_files = job->division.by_files;
    MQ_TRY(mq_peers_broadcast(peers, &by_files, sizeof by_files, err));
    MQ_TRY(mq_division_look(job->plan, NULL, peers, &job->division, err));
    job->division.by_files = by_files;
    return mq_output_check_peers(job->plan, job->division.peers, err);
}

moeq_status mq_convert_check(const struct mq_context *context, const struct mq_plan *plan,
                             const struct mq_convert_options *options, moeq_error *err)
{
    struct mq_job job = {
        .context = context, .plan = plan, .failed = {.err = err}, .phase = "convert"};
    moeq_status status;
    unsigned threads = 1;
    char folder[PATH_MAX];
    MQ_TRY(mq_check_output_place(
        plan->is_folder && mq_folder_name(options->output, folder) ? folder : options->output,
        err));
    MQ_TRY(check_output(&job, options, err));
    job_begin(&job);
    MQ_TRY_OUT(mq_job_plan_memory(&job, err));
    MQ_TRY_OUT(mq_job_choose_threads(&job, &threads, err));
out:
    job_end(&job);
    return status;
}

/* Opens the output, and takes over what earlier runs have written. What an encoder has made, and is damaged, it makes
 * again, from its beginning; so that is looked at before. */
static moeq_status open_output(struct mq_job *job, const struct mq_convert_options *options,
                               unsigned threads, moeq_error *err)
{
    struct mq_journal_line *lines = NULL;
    size_t count, damaged;
    uint32_t stamp;
    MQ_TRY(mq_output_open(job->plan, options, job->division.peers, &job->output, &lines, &count,
                          err));
    moeq_status status = mq_output_stamp(&job->output, &stamp, err);
    if (status == MOEQ_OK)
        status = mq_chunks_resume(&job->table, lines, count, stamp, err);
    free(lines);
    if (status != MOEQ_OK)
        return status;
    if (options->encoder) {
        MQ_TRY(see_earlier(job, threads, false, &damaged, err));
        job->damaged = damaged;
        if (damaged && mq_peers_first(job->division.peers))
            mq_kept_states_remove(job->output.states);
    }
    job->resumed = mq_chunks_done_tensors(&job->table);
    return MOEQ_OK;
}

/* All chunks and the rest; then what earlier runs have written is read again, and what is damaged is converted again. */
static moeq_status run_all(struct mq_job *job, unsigned threads, moeq_error *err)
{
    size_t damaged;
    MQ_TRY(mq_source_sums_begin(&job->sums, job->plan, job->division.peers, err));
    MQ_TRY(run(job, threads, err));
    if (job->refused)
        return MOEQ_OK;
    MQ_TRY(mq_source_sums_finish(&job->sums, job->context, err));
    if (!job->table.settled)
        MQ_TRY(write_rest(job, err));
    MQ_TRY(see_earlier(job, threads, true, &damaged, err));
    if (!damaged)
        return MOEQ_OK;
    job->damaged += damaged;
    job->resumed -= mq_min_u64(damaged, job->resumed);
    job->sums.list = NULL; /* they are known */
    MQ_TRY(run(job, threads, err));
    return job->refused ? MOEQ_OK : write_rest(job, err);
}

/* What every rank has written is on the disk; then rank 0 gives it its name. */
static moeq_status finish(struct mq_job *job, moeq_error *err)
{
    const struct mq_peers *peers = job->division.peers;
    moeq_status status =
        mq_peers_first(peers) ? MOEQ_OK : mq_output_leave(&job->output, err);
    MQ_TRY(mq_peers_agree(peers, status, err));
    MQ_TRY(mq_peers_reduce(peers, MQ_SUM, &job->sums.again, 1, err));
    if (mq_peers_first(peers))
        status = mq_output_finish(job->plan, &job->output, err);
    return mq_peers_agree(peers, status, err);
}

/* Memory and threads are each rank's own; what cannot be done is told before anything is written. */
static moeq_status prepare(struct mq_job *job, unsigned *threads, moeq_error *err)
{
    moeq_status status = mq_job_plan_memory(job, err);
    if (status == MOEQ_OK)
        status = mq_job_choose_threads(job, threads, err);
    return mq_peers_agree(job->division.peers, status, err);
}

moeq_status mq_convert(const struct mq_context *context, const struct mq_plan *plan,
                       const struct mq_convert_options *options, struct mq_convert_result *result,
                       moeq_error *err)
{
    struct mq_job job = {.context = context,
                         .plan = plan,
                         .failed = {.err = err},
                         .allow_loss = options->allow_loss,
                         .phase = "convert"};
    moeq_status status = MOEQ_OK;
    unsigned threads = 1;
    MQ_TRY(check_output(&job, options, err));
    job_begin(&job);
    MQ_TRY_OUT(prepare(&job, &threads, err));
    MQ_TRY_OUT(open_output(&job, options, threads, err));
    status = run_encoder(&job, options->encoder, err);
    if (status == MOEQ_OK)
        status = run_all(&job, threads, err);
    if (status != MOEQ_OK && job.sums.differ) /* what was made of another source is of no use */
        mq_output_discard(&job.output);
    else if (status != MOEQ_OK)
        mq_chunks_sync(&job.table, NULL); /* what is finished need not be done again */
    if (status != MOEQ_OK)
        goto out;
    if (job.refused) { /* nothing of this source can ever be finished */
        if (mq_peers_first(job.division.peers))
            mq_output_discard(&job.output);
        status = mq_nonfinite_refuse(plan, job.found, err);
        goto out;
    }
    MQ_TRY_OUT(mq_view_read_rest(plan->view, err));
    MQ_TRY_OUT(list_losses(&job, err));
    MQ_TRY_OUT(check_sources(&job, err));
    MQ_TRY_OUT(finish(&job, err));
    *result = (struct mq_convert_result){.tensors = plan->view->tensors_count,
                                         .tensors_resumed = job.resumed,
                                         .tensors_damaged = job.damaged,
                                         .source_again = job.sums.again,
                                         .losses = job.losses};
    for (size_t i = 0; i < plan->files_count; i++)
        result->bytes_written += job.output.files[i].bytes;
out:
    job_end(&job);
    if (status != MOEQ_CANCELLED)
        return status;
    if (err) /* whoever stopped knows nothing of what goes on */
        *err = (moeq_error){0};
    return mq_fail(err, status, "interrupted; the same command goes on where this one stopped");
}

moeq_status mq_convert_compare(const struct mq_context *context, const struct mq_plan *plan,
                               const struct mq_convert_encoder *encoder,
                               struct mq_output_file *files, mq_place_fn *place, const bool *skip,
                               struct mq_losses *losses, moeq_error *err)
{
    struct mq_job job = {.context = context,
                         .plan = plan,
                         .failed = {.err = err},
                         .allow_loss = true,
                         .place = place,
                         .phase = "compare"};
    moeq_status status = MOEQ_OK;
    unsigned threads = 1;
    job_begin(&job);
    job.output.files = files;
    MQ_TRY_OUT(mq_job_plan_memory(&job, err));
    MQ_TRY_OUT(mq_job_choose_threads(&job, &threads, err));
    for (size_t i = 0; i < job.table.count; i++)
        job.table.skip[i] = skip[mq_chunk_place(&job.table, i).tensor->entry - plan->entries];
    MQ_TRY_OUT(run_encoder(&job, encoder, err));
    MQ_TRY_OUT(mq_source_sums_begin(&job.sums, plan, NULL, err));
    MQ_TRY_OUT(run(&job, threads, err));
    if (job.refused) {
        status = mq_nonfinite_refuse(plan, job.found, err);
        goto out;
    }
    MQ_TRY_OUT(mq_source_sums_finish(&job.sums, context, err));
    MQ_TRY_OUT(list_losses(&job, err));
    MQ_TRY_OUT(mq_view_check_unchanged(plan->view, err));
    *losses = job.losses;
out:
    job.output.files = NULL; /* the caller's */
    job_end(&job);
    return status;
}
