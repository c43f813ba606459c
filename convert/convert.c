/*
 * convert.c: the parallel loop over chunks of rows.
 *
 * The plan fixes every output offset, so chunks are independent: a thread takes the next one, reads
 * its rows, decodes, encodes, writes, and leaves the CRC of its bytes. The thread that completes a
 * tensor joins its chunks' CRCs; now and then one thread makes the finished tensors durable and
 * notes them in the journal. No queue and no stages: threads that wait for the disk leave the
 * processor to the others.
 */
#include "convert.h"

#include "checked.h"
#include "file.h"
#include "first_error.h"
#include "gguf_form.h"
#include "kept_states.h"
#include "moeq_profile.h"
#include "nonfinite.h"
#include "output_int.h"
#include "output_path.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

enum {
    CHUNK_WEIGHTS = 1 << 19, /* about 1 MiB of bf16, 2 MiB of f32: in the second-level cache */
    MORE_TIMES = 4,          /* as many, where rows are read well only together */
    NOTE_BYTES = 1 << 28,    /* journal at least this often, */
    NOTE_SECONDS = 2,        /* or this */
};

/* A tensor on its way. */
struct tensor_job {
    const struct mq_plan_entry *entry;
    uint64_t chunk_rows;
    uint32_t chunks, first_chunk; /* first_chunk: index into job.chunk_crcs */
    atomic_uint left;
};

/* Tensors that are written but not yet in the journal. */
struct finished {
    uint32_t *items, *crcs; /* [plan's tensors] */
    size_t count;
    uint64_t bytes;
};

struct job {
    const struct mq_context *context;
    const struct mq_plan *plan;
    struct mq_output output;
    struct tensor_job *tensors;
    size_t tensors_count;
    uint32_t *chunk_crcs, *chunk_tensor; /* [chunks] */
    size_t chunks;
    atomic_size_t next_chunk;
    struct mq_first_error failed;
    bool scan;            /* see mq_convert_plan: copies are looked at, nothing is written */
    atomic_bool counting; /* nothing is written (any more): only weights that are no numbers */
    bool *done;           /* [plan's items] */
    uint64_t resumed;     /* tensors that an earlier run has finished */
    uint32_t *crcs;       /* [plan's items] */
    uint64_t raw_bytes, weights, turned, columns, encoded_bytes; /* a thread's scratch */
    /* Under the lock, except that `noting` is the noting thread's own while `note_busy`: */
    omp_lock_t lock;
    struct finished finished, noting;
    bool note_busy, note_failed;
    struct mq_nonfinite *found; /* [plan's entries]: what cannot stay; of a scan, what can */
    bool refused;
    time_t noted_at;
    const char *phase;
    uint64_t bytes_done, bytes_total; /* of source, for progress */
};

/* ---- setting up ---- */

/* Rows a chunk: as many as make CHUNK_WEIGHTS, at least one. */
static uint64_t chunk_rows(const struct mq_tensor *t)
{
    const uint64_t rows = CHUNK_WEIGHTS / t->cols;
    const uint64_t more = mq_min_u64(MORE_TIMES * CHUNK_WEIGHTS / t->cols, mq_view_rows_at_once(t));
    return mq_max_u64(1, mq_min_u64(mq_max_u64(rows, more), t->rows));
}

/* Of a matrix whose heads are turned, whole heads. */
static uint64_t entry_rows(const struct mq_plan_entry *e)
{
    const uint64_t rows = chunk_rows(e->tensor);
    if (!e->form || !(e->form->what & MQ_FORM_KV_B))
        return rows;
    const uint64_t head = e->form->plain + e->form->values;
    return mq_max_u64(1, rows / head) * head;
}

static bool alloc_finished(struct finished *f, size_t n)
{
    f->items = calloc(n, sizeof *f->items);
    f->crcs = calloc(n, sizeof *f->crcs);
    return f->items && f->crcs;
}

static void free_finished(struct finished *f)
{
    free(f->items);
    free(f->crcs);
}

/* Memory that the job needs, whatever is finished already: called before anything is written. */
static moeq_status plan_memory(struct job *job, moeq_error *err)
{
    const struct mq_plan *plan = job->plan;
    const size_t n = plan->view->tensors_count;
    for (size_t i = 0; i < n; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        const uint64_t rows = entry_rows(e);
        job->raw_bytes = mq_max_u64(job->raw_bytes, rows * e->tensor->row_bytes);
        job->weights = mq_max_u64(job->weights, rows * e->tensor->cols);
        job->encoded_bytes = mq_max_u64(job->encoded_bytes, rows * e->row_bytes);
        if (e->form && e->form->columns)
            job->columns = mq_max_u64(job->columns, e->tensor->cols);
        if (e->form && (e->form->what & MQ_FORM_KV_B)) {
            const uint64_t turned = rows / (e->form->plain + e->form->values) * e->tensor->cols;
            job->turned = mq_max_u64(job->turned, turned * e->form->plain);
            job->encoded_bytes = mq_max_u64(job->encoded_bytes, turned * e->second.row_bytes);
        }
    }
    job->done = calloc(plan->items_count, sizeof *job->done);
    job->crcs = calloc(plan->items_count, sizeof *job->crcs);
    job->tensors = calloc(n, sizeof *job->tensors);
    job->found = calloc(n, sizeof *job->found);
    if (!job->done || !job->crcs || !job->tensors || !job->found ||
        !alloc_finished(&job->finished, n) || !alloc_finished(&job->noting, n))
        return mq_fail_memory(err, "preparing the conversion");
    return MOEQ_OK;
}

/* Chunks of the tensors that are not finished. */
static moeq_status plan_chunks(struct job *job, moeq_error *err)
{
    const struct mq_plan *plan = job->plan;
    uint64_t chunks = 0;
    for (size_t i = 0; i < plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        const uint64_t source_bytes = e->tensor->rows * e->tensor->row_bytes;
        job->bytes_total += source_bytes;
        if (job->done[e->item]) {
            job->bytes_done += source_bytes;
            continue;
        }
        struct tensor_job *t = &job->tensors[job->tensors_count++];
        t->entry = e;
        t->chunk_rows = entry_rows(e);
        t->first_chunk = (uint32_t)chunks;
        t->chunks = (uint32_t)((e->tensor->rows + t->chunk_rows - 1) / t->chunk_rows);
        atomic_init(&t->left, t->chunks);
        chunks += t->chunks;
        if (chunks > UINT32_MAX)
            return mq_fail(err, MOEQ_LIMIT, "the model has too many rows");
    }
    job->chunks = (size_t)chunks;
    job->chunk_crcs = calloc(job->chunks + 1, sizeof *job->chunk_crcs);
    job->chunk_tensor = calloc(job->chunks + 1, sizeof *job->chunk_tensor);
    if (!job->chunk_crcs || !job->chunk_tensor)
        return mq_fail_memory(err, "preparing the conversion");
    for (size_t i = 0; i < job->tensors_count; i++)
        for (uint32_t k = 0; k < job->tensors[i].chunks; k++)
            job->chunk_tensor[job->tensors[i].first_chunk + k] = (uint32_t)i;
    return MOEQ_OK;
}

/* Threads that the memory allows, each with its own scratch. */
static moeq_status choose_threads(const struct job *job, unsigned *threads, moeq_error *err)
{
    const uint64_t memory =
        job->context->memory_bytes ? job->context->memory_bytes : MQ_CONVERT_DEFAULT_MEMORY;
    const uint64_t scratch = job->raw_bytes +
                             (job->weights + job->turned + job->columns) * sizeof(float) +
                             job->encoded_bytes;
    const uint64_t other = 16u << 20; /* the program, its tables and the C library */
    if (memory < other + scratch)
        return mq_fail(err, MOEQ_LIMIT,
                       "one thread needs %.0f MiB for its buffers; --memory gives %.0f MiB",
                       ceil((double)(other + scratch) / 0x1p20), floor((double)memory / 0x1p20));
    *threads = job->context->threads;
    if (*threads > (memory - other) / scratch)
        *threads = (unsigned)((memory - other) / scratch);
    return MOEQ_OK;
}

/* ---- one chunk ---- */

struct scratch {
    uint8_t *raw, *encoded;
    float *weights, *turned, *columns;
};

static moeq_status check_f16_range(const struct mq_plan_entry *e, uint64_t row, const float *w,
                                   uint64_t n, moeq_error *err)
{
    if (strcmp(e->level->name, "f16") != 0)
        return MOEQ_OK;
    for (uint64_t i = 0; i < n; i++)
        if (fabsf(w[i]) >= 65520.0f && isfinite(w[i])) /* what rounds to infinity */
            return mq_fail(err, MOEQ_UNSUPPORTED,
                           "tensor '%s' row %" PRIu64
                           ": weight %g does not fit f16; use bf16 or f32",
                           mq_tensor_shown(e->tensor), row + i / e->tensor->cols, (double)w[i]);
    return MOEQ_OK;
}

/* Rows that go to two tensors, or in another order; those that no run has are not written here. */
static moeq_status write_runs(const struct job *job, const struct mq_plan_entry *e, uint64_t row,
                              uint64_t rows, const uint8_t *bytes, moeq_error *err)
{
    for (size_t i = 0; i < e->form->rows_count; i++) {
        const struct mq_form_run *r = &e->form->rows[i];
        const uint64_t first = mq_max_u64(row, r->first);
        const uint64_t end = mq_min_u64(row + rows, r->first + r->count);
        if (first >= end)
            continue;
        const struct mq_output_file *file =
            &job->output.files[r->target ? e->second.file : e->file];
        const uint64_t at =
            (r->target ? e->second.offset : e->offset) + (r->to + first - r->first) * e->row_bytes;
        MQ_TRY(mq_write_at(file->fd, file->part, at, bytes + (first - row) * e->row_bytes,
                           (size_t)((end - first) * e->row_bytes), err));
    }
    return MOEQ_OK;
}

/* The heads' rows of keys as columns, into the second tensor; s->weights has whole heads. What the
 * importance is of, the matrix's own columns, are rows here. */
static moeq_status write_turned(const struct job *job, const struct mq_plan_entry *e, uint64_t row,
                                uint64_t rows, const struct scratch *s, moeq_error *err)
{
    const struct mq_form *f = e->form;
    const uint64_t each = f->plain + f->values, cols = e->tensor->cols, heads = rows / each;
    const struct mq_output_file *file = &job->output.files[e->second.file];
    for (uint64_t h = 0; h < heads; h++)
        for (uint64_t c = 0; c < cols; c++)
            for (uint64_t i = 0; i < f->plain; i++)
                s->turned[(h * cols + c) * f->plain + i] = s->weights[(h * each + i) * cols + c];
    mq_level_encode_rows(e->second.level, job->context->isa, job->plan->effort, NULL, s->turned,
                         heads * cols, f->plain, s->encoded);
    return mq_write_at(file->fd, file->part,
                       e->second.offset + row / each * cols * e->second.row_bytes, s->encoded,
                       (size_t)(heads * cols * e->second.row_bytes), err);
}

/* Columns in the file's order, in the source's blocks. */
static void order_columns(const struct mq_plan_entry *e, uint64_t rows, const struct scratch *s)
{
    for (uint64_t i = 0; i < rows; i++) {
        uint8_t *at = s->raw + i * e->tensor->row_bytes;
        memcpy(s->weights, at, e->tensor->row_bytes);
        mq_form_columns(e->form, e->source->block_weights, e->source->block_bytes, false,
                        s->weights, at);
    }
}

/* The importance of the columns as the file has them; NULL: none is known. */
static const float *importance_of(const struct job *job, const struct mq_plan_entry *e,
                                  const struct scratch *s)
{
    const float *columns = mq_importance_columns(job->plan->importance, e->tensor);
    if (!columns || !e->form || !e->form->columns)
        return columns;
    mq_form_columns(e->form, 1, sizeof *columns, false, columns, s->columns);
    return s->columns;
}

/* Encoded rows to their places. */
static moeq_status write_rows(const struct job *job, const struct mq_plan_entry *e, uint64_t row,
                              uint64_t rows, const uint8_t *bytes, moeq_error *err)
{
    const struct mq_output_file *file = &job->output.files[e->file];
    if (e->form && e->form->rows)
        return write_runs(job, e, row, rows, bytes, err);
    if (!e->written_interleaved)
        return mq_write_at(file->fd, file->part, e->offset + row * e->row_bytes, bytes,
                           (size_t)(rows * e->row_bytes), err);
    for (uint64_t i = 0; i < rows; i++) {
        const uint64_t to = mq_interleaved_row(e->tensor->rows, e->written_interleaved, row + i);
        MQ_TRY(mq_write_at(file->fd, file->part, e->offset + to * e->row_bytes,
                           bytes + i * e->row_bytes, (size_t)e->row_bytes, err));
    }
    return MOEQ_OK;
}

/* Reads rows [row, row + rows) of a tensor into s->raw and decodes blocks, also those that are to
 * be copied, into s->weights; gives the weights that are NaN or infinite. */
static moeq_status read_rows(const struct job *job, const struct mq_plan_entry *e, uint64_t row,
                             uint64_t rows, const struct scratch *s, struct mq_nonfinite *bad,
                             moeq_error *err)
{
    const struct mq_tensor *t = e->tensor;
    const uint64_t n = rows * t->cols;
    MQ_TRY(mq_view_read_rows(job->plan->view, t, row, rows, s->raw, err));
    if (e->form && e->form->columns)
        order_columns(e, rows, s);
    *bad = (struct mq_nonfinite){0};
    if (!e->source->quantized) {
        *bad = mq_nonfinite_count(e->source->name, s->raw, n);
    } else if (mq_level_can_decode(e->source)) {
        mq_level_decode_rows(e->source, job->context->isa, s->raw, rows, t->cols, s->weights);
        if (mq_first_not_finite(job->context->isa, s->weights, n) < n)
            *bad = mq_nonfinite_count("f32", s->weights, n);
    }
    return MOEQ_OK;
}

/* Notes weights that begin at `at` in their tensor. From the first on that cannot stay, the job
 * only counts. */
static void note_nonfinite(struct job *job, const struct mq_plan_entry *e, uint64_t at,
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

/* What read_rows has read, through the scratch to the output; gives its CRC. `any`: some weights
 * are NaN or infinite. */
static moeq_status convert_rows(const struct job *job, const struct mq_plan_entry *e, uint64_t row,
                                uint64_t rows, bool any, const struct scratch *s, uint32_t *crc,
                                moeq_error *err)
{
    const struct mq_tensor *t = e->tensor;
    const enum mq_isa isa = job->context->isa;
    const uint8_t *out = s->raw;
    const unsigned form = e->form ? e->form->what : 0;
    const unsigned values = form & (MQ_FORM_PLUS_ONE | MQ_FORM_MINUS_EXP);
    if ((e->level != e->source || values || (form & MQ_FORM_KV_B)) && !e->source->quantized)
        mq_level_decode_rows(e->source, isa, s->raw, rows, t->cols, s->weights);
    if (values)
        mq_form_values(values, false, s->weights, (size_t)(rows * t->cols));
    if (e->level != e->source || values) {
        MQ_TRY(check_f16_range(e, row, s->weights, rows * t->cols, err));
        mq_level_encode_rows(e->level, isa, job->plan->effort, importance_of(job, e, s), s->weights,
                             rows, t->cols, s->encoded);
        if (any)
            mq_nonfinite_carry(s->weights, rows * t->cols, e->level->name, s->encoded);
        out = s->encoded;
    }
    const size_t size = (size_t)(rows * e->row_bytes);
    *crc = (uint32_t)crc32_z(0, out, size);
    MQ_TRY(write_rows(job, e, row, rows, out, err));
    return form & MQ_FORM_KV_B ? write_turned(job, e, row, rows, s, err) : MOEQ_OK;
}

/* ---- finished tensors ---- */

/* Hands the finished tensors over to be noted, if it is time and no other thread is noting; under
 * the lock. After a failure there is no second try: a sync that has failed once may report success
 * the next time although the data is lost. */
static bool take_finished(struct job *job, bool at_once)
{
    const bool due =
        at_once || job->finished.bytes >= NOTE_BYTES || time(NULL) - job->noted_at >= NOTE_SECONDS;
    if (!due || !job->finished.count || job->note_busy || job->note_failed)
        return false;
    const struct finished taken = job->finished;
    job->finished = job->noting;
    job->finished.count = 0;
    job->finished.bytes = 0;
    job->noting = taken;
    job->note_busy = true;
    return true;
}

/* Syncs and writes the journal, without the lock, so that the other threads go on. */
static moeq_status note_taken(struct job *job, moeq_error *err)
{
    const moeq_status status =
        mq_output_note(&job->output, job->noting.items, job->noting.crcs, job->noting.count, err);
    omp_set_lock(&job->lock);
    job->note_busy = false;
    job->note_failed = status != MOEQ_OK;
    job->noted_at = time(NULL);
    omp_unset_lock(&job->lock);
    return status;
}

/* The CRC of a tensor from those of its chunks. */
static uint32_t join_crcs(const struct job *job, const struct tensor_job *t)
{
    const uint64_t full = t->chunk_rows * t->entry->row_bytes;
    const uint64_t last = t->entry->size_bytes - (t->chunks - 1) * full;
    const uLong op_full = crc32_combine_gen((z_off_t)full);
    uLong crc = job->chunk_crcs[t->first_chunk];
    for (uint32_t k = 1; k < t->chunks; k++) {
        const uLong next = job->chunk_crcs[t->first_chunk + k];
        crc = k + 1 < t->chunks ? crc32_combine_op(crc, next, op_full)
                                : crc32_combine(crc, next, (z_off_t)last);
    }
    return (uint32_t)crc;
}

/* After each chunk: progress, and if the tensor is written in full its CRC and perhaps the journal.
 * Of a tensor that cannot stay, one chunk at least is not written. */
static moeq_status chunk_done(struct job *job, struct tensor_job *t, uint64_t source_bytes,
                              bool written, moeq_error *err)
{
    const bool complete = written && atomic_fetch_sub(&t->left, 1) == 1;
    const uint32_t crc = complete ? join_crcs(job, t) : 0;
    bool note = false;
    omp_set_lock(&job->lock);
    job->bytes_done += source_bytes;
    if (complete) {
        struct finished *f = &job->finished;
        job->crcs[t->entry->item] = crc;
        f->items[f->count] = (uint32_t)t->entry->item;
        f->crcs[f->count++] = crc;
        f->bytes += t->entry->size_bytes;
        note = take_finished(job, false);
    }
    if (job->context->progress) {
        const struct mq_progress p = {job->phase, job->bytes_done, job->bytes_total, "bytes"};
        job->context->progress(job->context->progress_user, &p);
    }
    omp_unset_lock(&job->lock);
    return note ? note_taken(job, err) : MOEQ_OK;
}

static moeq_status run_chunk(struct job *job, size_t chunk, const struct scratch *s,
                             moeq_error *err)
{
    struct tensor_job *t = &job->tensors[job->chunk_tensor[chunk]];
    const struct mq_plan_entry *e = t->entry;
    const struct mq_tensor *tensor = e->tensor;
    const uint64_t row = (chunk - t->first_chunk) * t->chunk_rows;
    const uint64_t rows = mq_min_u64(t->chunk_rows, tensor->rows - row);
    struct mq_nonfinite bad;
    MQ_TRY(read_rows(job, e, row, rows, s, &bad, err));
    if (bad.count)
        note_nonfinite(job, e, row * tensor->cols, &bad);
    const bool write = !atomic_load(&job->counting);
    if (write)
        MQ_TRY(convert_rows(job, e, row, rows, bad.count > 0, s, &job->chunk_crcs[chunk], err));
    return chunk_done(job, t, rows * tensor->row_bytes, write, err);
}

/* Chunks for each thread that are asked for before they are taken up. */
enum { CHUNKS_AHEAD = 8 };

static void ask_for_chunk(const struct job *job, size_t chunk)
{
    const struct tensor_job *t = &job->tensors[job->chunk_tensor[chunk]];
    const struct mq_tensor *tensor = t->entry->tensor;
    const uint64_t row = (chunk - t->first_chunk) * t->chunk_rows;
    mq_view_prefetch_rows(job->plan->view, tensor, row,
                          mq_min_u64(t->chunk_rows, tensor->rows - row));
}

/* That the disk works while a chunk is encoded, the kernel is asked for the one that lies CHUNKS_AHEAD
 * for each thread behind it; with the first one for all up to there. */
static void ask_ahead(const struct job *job, size_t chunk)
{
    const size_t ahead = CHUNKS_AHEAD * (size_t)omp_get_num_threads();
    const size_t end = mq_min_u64(chunk + ahead + 1, job->chunks);
    for (size_t c = chunk ? chunk + ahead : 0; c < end; c++)
        ask_for_chunk(job, c);
}

static void work(struct job *job)
{
    struct scratch s = {.raw = malloc(job->raw_bytes + 1),
                        .encoded = malloc(job->encoded_bytes + 1),
                        .weights = malloc((job->weights + 1) * sizeof(float)),
                        .turned = malloc((job->turned + 1) * sizeof(float)),
                        .columns = malloc((job->columns + 1) * sizeof(float))};
    moeq_error error = {0};
    moeq_status status = MOEQ_OK;
    if (!s.raw || !s.encoded || !s.weights || !s.turned || !s.columns)
        status = mq_fail_memory(&error, "converting");
    while (status == MOEQ_OK && !mq_first_error_status(&job->failed)) {
        const size_t chunk = atomic_fetch_add(&job->next_chunk, 1);
        if (chunk >= job->chunks)
            break;
        ask_ahead(job, chunk);
        if (mq_cancelled(job->context))
            status = mq_fail(&error, MOEQ_CANCELLED,
                             "interrupted; the same command goes on where this one stopped");
        else
            status = run_chunk(job, chunk, &s, &error);
    }
    mq_first_error_note(&job->failed, status, &error);
    free(s.raw);
    free(s.encoded);
    free(s.weights);
    free(s.turned);
    free(s.columns);
}

/* ---- tensors that come encoded ---- */

struct mq_convert_sink {
    struct job *job;
};

static const struct mq_plan_entry *entry_of(const struct mq_convert_sink *sink,
                                            const struct mq_tensor *tensor)
{
    const struct mq_plan *plan = sink->job->plan;
    return &plan->entries[tensor - plan->view->tensors];
}

bool mq_convert_as_it_is(const struct mq_convert_sink *sink, const struct mq_tensor *tensor)
{
    const struct mq_plan_entry *e = entry_of(sink, tensor);
    const unsigned turned = MQ_FORM_KV_B | MQ_FORM_PLUS_ONE | MQ_FORM_MINUS_EXP;
    return e->level != e->source && (!e->form || (!(e->form->what & turned) && !e->form->columns));
}

bool mq_convert_wants(const struct mq_convert_sink *sink, const struct mq_tensor *tensor)
{
    return mq_convert_as_it_is(sink, tensor) && !sink->job->done[entry_of(sink, tensor)->item];
}

const struct mq_level *mq_convert_level(const struct mq_convert_sink *sink,
                                        const struct mq_tensor *tensor)
{
    return entry_of(sink, tensor)->level;
}

moeq_status mq_convert_put(struct mq_convert_sink *sink, const struct mq_tensor *tensor,
                           const uint8_t *bytes, moeq_error *err)
{
    struct job *job = sink->job;
    const struct mq_plan_entry *e = entry_of(sink, tensor);
    MQ_TRY(write_rows(job, e, 0, tensor->rows, bytes, err));
    job->crcs[e->item] = (uint32_t)crc32_z(0, bytes, (size_t)e->size_bytes);
    job->done[e->item] = true;
    struct finished *f = &job->finished;
    f->items[f->count] = (uint32_t)e->item;
    f->crcs[f->count++] = job->crcs[e->item];
    f->bytes += e->size_bytes;
    return take_finished(job, false) ? note_taken(job, err) : MOEQ_OK;
}

moeq_status mq_convert_note(struct mq_convert_sink *sink, moeq_error *err)
{
    struct job *job = sink->job;
    if (take_finished(job, true))
        MQ_TRY(note_taken(job, err));
    return mq_output_sync_journal(&job->output, err);
}

static uint64_t count_done(const struct job *job)
{
    uint64_t n = 0;
    for (size_t i = 0; i < job->plan->items_count; i++)
        n += job->done[i];
    return n;
}

moeq_status mq_convert_keep(struct mq_convert_sink *sink, const struct mq_convert_point *point,
                            const void *states, moeq_error *err)
{
    const struct mq_kept_states kept = {.identity = mq_output_identity(sink->job->plan),
                                        .finished = count_done(sink->job),
                                        .point = *point};
    const char *path = sink->job->output.states;
    if (!mq_kept_states_may_write(path))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "is where the states of this conversion would be kept, and something "
                            "else: remove it");
    return mq_kept_states_write(path, &kept, states, err);
}

/* The journal is read up to the first line that is torn, so as many tensors as then are the same. */
moeq_status mq_convert_kept(const struct mq_convert_sink *sink, struct mq_convert_point *point,
                            bool *there, moeq_error *err)
{
    const char *path = sink->job->output.states;
    struct mq_kept_states kept = {.identity = mq_output_identity(sink->job->plan), .point = *point};
    *there = false;
    if (!mq_path_exists(path))
        return MOEQ_OK;
    MQ_TRY(mq_kept_states_read(path, &kept, err));
    if (kept.finished > count_done(sink->job))
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "states of an interrupted conversion: expected %" PRIu64
                            " finished tensors, found %" PRIu64,
                            kept.finished, count_done(sink->job));
    *point = kept.point;
    *there = true;
    return MOEQ_OK;
}

moeq_status mq_convert_load_kept(const struct mq_convert_sink *sink, void *states, moeq_error *err)
{
    return mq_kept_states_load(sink->job->output.states, states, err);
}

static moeq_status run_encoder(struct job *job, const struct mq_convert_encoder *encoder,
                               moeq_error *err)
{
    struct mq_convert_sink sink = {job};
    return encoder ? encoder->run(encoder->user, &sink, err) : MOEQ_OK;
}

/* ---- the rest of the file ---- */

/* A moeq file's last tensor; `last` is its last word. */
static moeq_status write_checksums(const struct job *job, size_t file, uint32_t *last,
                                   moeq_error *err)
{
    const struct mq_layout *layout = job->plan->files[file].layout;
    const uint32_t *crcs = job->crcs + job->plan->files[file].first_item;
    const struct mq_output_file *out = &job->output.files[file];
    return mq_layout_write_crcs(layout, crcs, out->fd, out->part, last, err);
}

/* The checksums of each file that has some, and the index of all. */
static moeq_status write_ends(const struct job *job, moeq_error *err)
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

/* Headers, side files, padding, checksums, index. All are small and written anew by every run. */
static moeq_status write_rest(struct job *job, moeq_error *err)
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
            job->crcs[p->item] = (uint32_t)crc32_z(0, bytes, p->size_bytes);
    }
    return write_ends(job, err);
}

/* What was made of a source that changed meanwhile is of no use: an output that is half of one
 * model and half of another would pass every check. */
static moeq_status check_sources(const struct job *job, moeq_error *err)
{
    const struct mq_view *view = job->plan->view;
    moeq_status status = MOEQ_OK;
    for (size_t i = 0; i < view->files_count && status == MOEQ_OK; i++)
        status = mq_file_check_unchanged(&view->files[i].file, err);
    if (status != MOEQ_OK)
        mq_output_discard(&job->output);
    return status;
}

static void job_begin(struct job *job)
{
    job->noted_at = time(NULL);
    job->output.journal_fd = -1;
    omp_init_lock(&job->lock);
    atomic_init(&job->next_chunk, 0);
    atomic_init(&job->counting, job->scan);
}

static void job_end(struct job *job)
{
    mq_output_close(&job->output);
    omp_destroy_lock(&job->lock);
    free(job->tensors);
    free(job->found);
    free(job->chunk_crcs);
    free(job->chunk_tensor);
    free_finished(&job->finished);
    free_finished(&job->noting);
    free(job->done);
    free(job->crcs);
}

/* All chunks by all threads. */
static moeq_status run(struct job *job, unsigned threads, moeq_error *err)
{
    MQ_TRY(plan_chunks(job, err));
#pragma omp parallel num_threads(threads)
    work(job);
    return mq_first_error_status(&job->failed);
}

moeq_status mq_convert_scan(const struct mq_context *context, const struct mq_plan *plan,
                            struct mq_buffer *sentence, uint64_t *weights, moeq_error *err)
{
    struct job job = {.context = context,
                      .plan = plan,
                      .failed = {.err = err},
                      .scan = true,
                      .phase = "look for NaN"};
    moeq_status status = MOEQ_OK;
    unsigned threads = 1;
    job_begin(&job);
    MQ_TRY_OUT(plan_memory(&job, err));
    MQ_TRY_OUT(choose_threads(&job, &threads, err));
    for (size_t i = 0; i < plan->view->tensors_count; i++)
        job.done[plan->entries[i].item] = !mq_nonfinite_fit(&plan->entries[i]);
    MQ_TRY_OUT(run(&job, threads, err));
    *weights = mq_nonfinite_describe(plan, job.found, sentence);
out:
    job_end(&job);
    return status;
}

moeq_status mq_convert_check(const struct mq_context *context, const struct mq_plan *plan,
                             const struct mq_convert_options *options, moeq_error *err)
{
    struct job job = {.context = context, .plan = plan, .failed = {.err = err}, .phase = "convert"};
    moeq_status status;
    unsigned threads = 1;
    MQ_TRY(mq_check_output_place(options->output, err));
    MQ_TRY(mq_output_check(plan, options, err));
    job_begin(&job);
    MQ_TRY_OUT(plan_memory(&job, err));
    MQ_TRY_OUT(choose_threads(&job, &threads, err));
out:
    job_end(&job);
    return status;
}

moeq_status mq_convert(const struct mq_context *context, const struct mq_plan *plan,
                       const struct mq_convert_options *options, struct mq_convert_result *result,
                       moeq_error *err)
{
    MQ_TRY(mq_output_check(plan, options, err));
    struct job job = {.context = context, .plan = plan, .failed = {.err = err}, .phase = "convert"};
    moeq_status status = MOEQ_OK;
    unsigned threads = 1;
    job_begin(&job);
    MQ_TRY_OUT(plan_memory(&job, err));
    MQ_TRY_OUT(choose_threads(&job, &threads, err));
    MQ_TRY_OUT(mq_output_open(plan, options, &job.output, job.done, job.crcs, err));
    for (size_t i = 0; i < plan->view->tensors_count; i++)
        job.resumed += job.done[plan->entries[i].item];
    status = run_encoder(&job, options->encoder, err);
    if (status == MOEQ_OK)
        status = run(&job, threads, err);
    if (status != MOEQ_OK) {
        if (take_finished(&job, true)) /* what is finished need not be done again */
            note_taken(&job, NULL);
        goto out;
    }
    if (job.refused) { /* nothing of this source can ever be finished */
        mq_output_discard(&job.output);
        status = mq_nonfinite_refuse(plan, job.found, err);
        goto out;
    }
    MQ_TRY_OUT(write_rest(&job, err));
    MQ_TRY_OUT(check_sources(&job, err));
    MQ_TRY_OUT(mq_output_finish(&job.output, err));
    *result = (struct mq_convert_result){.tensors = plan->view->tensors_count,
                                         .tensors_resumed = job.resumed};
    for (size_t i = 0; i < plan->files_count; i++)
        result->bytes_written += job.output.files[i].bytes;
out:
    job_end(&job);
    return status;
}
