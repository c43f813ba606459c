/* convert_rows.c: see job_int.h: a chunk's rows: read, decoded, encoded, put in their places. */
#include "job_int.h"

#include "checked.h"
#include "checksums.h"
#include "error.h"
#include "gguf_form.h"
#include "places.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DECODED = 4096 }; /* floats: what is encoded is decoded again by so many, or a row */

/* ---- setting up ---- */

/* Whether a tensor's rows go through an encoder. */
static bool encodes(const struct mq_plan_entry *e)
{
    return e->level != e->source ||
           (e->form && (e->form->what & (MQ_FORM_PLUS_ONE | MQ_FORM_MINUS_EXP)));
}

moeq_status mq_job_plan_memory(struct mq_job *job, moeq_error *err)
{
    const struct mq_plan *plan = job->plan;
    const size_t n = plan->view->tensors_count;
    for (size_t i = 0; i < n; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        const uint64_t rows = mq_chunk_rows(e);
        job->raw_bytes = mq_max_u64(job->raw_bytes, rows * e->tensor->row_bytes);
        job->weights = mq_max_u64(job->weights, rows * e->tensor->cols);
        job->encoded_bytes = mq_max_u64(job->encoded_bytes, rows * e->row_bytes);
        job->room = mq_max_u64(job->room, mq_place_room(e, rows));
        if (encodes(e))
            job->decoded = mq_max_u64(mq_max_u64(job->decoded, DECODED), e->tensor->cols);
        if (e->form && e->form->columns)
            job->columns = mq_max_u64(job->columns, e->tensor->cols);
        if (e->form && (e->form->what & MQ_FORM_KV_B)) {
            const uint64_t turned = rows / (e->form->plain + e->form->values) * e->tensor->cols;
            job->turned = mq_max_u64(job->turned, turned * e->form->plain);
            job->encoded_bytes = mq_max_u64(job->encoded_bytes, turned * e->second.row_bytes);
        }
    }
    job->found = calloc(n, sizeof *job->found);
    if (!job->found)
        return mq_fail_memory(err, "preparing the conversion");
    return mq_chunks_create(&job->table, plan, &job->output, err);
}

moeq_status mq_job_choose_threads(const struct mq_job *job, unsigned *threads, moeq_error *err)
{
    const uint64_t memory =
        job->context->memory_bytes ? job->context->memory_bytes : MQ_CONVERT_DEFAULT_MEMORY;
    const uint64_t scratch =
        job->raw_bytes +
        (job->weights + job->turned + job->columns + job->decoded) * sizeof(float) +
        job->encoded_bytes + job->room;
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
/* ---- scratch ---- */

bool mq_scratch_allocate(const struct mq_job *job, struct mq_scratch *s)
{
    *s = (struct mq_scratch){.raw = malloc(job->raw_bytes + 1),
                          .encoded = malloc(job->encoded_bytes + 1),
                          .room = malloc(job->room + 1),
                          .weights = malloc((job->weights + 1) * sizeof(float)),
                          .turned = malloc((job->turned + 1) * sizeof(float)),
                          .columns = malloc((job->columns + 1) * sizeof(float)),
                          .decoded = malloc((job->decoded + 1) * sizeof(float))};
    return s->raw && s->encoded && s->room && s->weights && s->turned && s->columns && s->decoded;
}

void mq_scratch_free(struct mq_scratch *s)
{
    free(s->raw);
    free(s->encoded);
    free(s->room);
    free(s->weights);
    free(s->turned);
    free(s->columns);
    free(s->decoded);
}
/* ---- rows ---- */

static moeq_status check_f16_range(const struct mq_view *view, const struct mq_plan_entry *e,
                                   uint64_t row, const float *w, uint64_t n, moeq_error *err)
{
    const struct mq_tensor *t = e->tensor;
    if (strcmp(e->level->name, "f16") != 0)
        return MOEQ_OK;
    for (uint64_t i = 0; i < n; i++)
        if (fabsf(w[i]) >= 65520.0f && isfinite(w[i])) /* what rounds to infinity */
            return mq_fail_file(err, MOEQ_UNSUPPORTED, view->path,
                                "tensor '%s' row %" PRIu64
                                ": weight %g does not fit f16; use bf16 or f32",
                                mq_tensor_shown(t), row + i / t->cols, (double)w[i]);
    return MOEQ_OK;
}

/* The heads' rows of keys as columns, for the second tensor; s->weights has whole heads. What the
 * importance is of, the matrix's own columns, are rows here. */
static void encode_turned(const struct mq_job *job, const struct mq_plan_entry *e, uint64_t rows,
                          const struct mq_scratch *s)
{
    const struct mq_form *f = e->form;
    const uint64_t each = f->plain + f->values, cols = e->tensor->cols, heads = rows / each;
    for (uint64_t h = 0; h < heads; h++)
        for (uint64_t c = 0; c < cols; c++)
            for (uint64_t i = 0; i < f->plain; i++)
                s->turned[(h * cols + c) * f->plain + i] = s->weights[(h * each + i) * cols + c];
    mq_level_encode_rows(e->second.level, job->context->isa, job->plan->effort, NULL, s->turned,
                         heads * cols, f->plain, s->encoded);
}

/* Columns in the file's order, in the source's blocks. */
static void order_columns(const struct mq_plan_entry *e, uint64_t rows, const struct mq_scratch *s)
{
    for (uint64_t i = 0; i < rows; i++) {
        uint8_t *at = s->raw + i * e->tensor->row_bytes;
        memcpy(s->weights, at, e->tensor->row_bytes);
        mq_form_columns(e->form, e->source->block_weights, e->source->block_bytes, false,
                        s->weights, at);
    }
}

/* The importance of the columns as the file has them; NULL: none is known. */
static const float *importance_of(const struct mq_job *job, const struct mq_plan_entry *e,
                                  const struct mq_scratch *s)
{
    const float *columns = mq_importance_columns(job->plan->importance, e->tensor);
    if (!columns || !e->form || !e->form->columns)
        return columns;
    mq_form_columns(e->form, 1, sizeof *columns, false, columns, s->columns);
    return s->columns;
}

/* Whether what is written is what is read, in that order: one CRC-32 serves both. */
static bool is_plain_copy(const struct mq_plan_entry *e)
{
    return !encodes(e) && !e->form && !e->written_interleaved && !e->split;
}

moeq_status mq_job_read_rows(struct mq_job *job, size_t turn, const struct mq_chunk_place *p,
                             const struct mq_scratch *s, struct mq_nonfinite *bad, moeq_error *err)
{
    const struct mq_plan_entry *e = p->tensor->entry;
    const struct mq_tensor *t = e->tensor;
    const uint64_t row = p->row, rows = p->rows, n = rows * t->cols;
    const bool copy = !job->scan && is_plain_copy(e);
    MQ_TRY((copy ? mq_view_read_rows_unchecked : mq_view_read_rows)(job->plan->view, t, row, rows,
                                                                    s->raw, err));
    MQ_TRY(mq_source_sums_add(&job->sums, turn, p, s->raw, err));
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

struct mq_loss mq_job_loss(const struct mq_job *job, const struct mq_plan_entry *e,
                              const uint8_t *encoded, uint64_t rows, const struct mq_scratch *s)
{
    struct mq_square_sums sums = {0};
    mq_level_add_error(e->level, job->context->isa, job->plan->effort, importance_of(job, e, s),
                       s->weights, encoded, rows, e->tensor->cols, s->decoded, job->decoded, &sums);
    return mq_loss_of(&sums, rows * e->tensor->cols);
}

moeq_status mq_job_place_rows(const struct mq_job *job, const struct mq_plan_entry *e, uint64_t row,
                              uint64_t rows, uint8_t *bytes, const struct mq_scratch *s, uint32_t *crc,
                              moeq_error *err)
{
    return e->split
               ? mq_place_parts(&job->output, e, row, rows, bytes, s->room, job->place, crc, err)
               : mq_place_rows(&job->output, e, row, rows, bytes, job->place, crc, err);
}

moeq_status mq_job_convert_rows(const struct mq_job *job, const struct mq_plan_entry *e, uint64_t row,
                                uint64_t rows, bool any, const struct mq_scratch *s, uint32_t *crc,
                                struct mq_loss *loss, moeq_error *err)
{
    const struct mq_tensor *t = e->tensor;
    const enum mq_isa isa = job->context->isa;
    uint8_t *out = s->raw;
    const unsigned form = e->form ? e->form->what : 0;
    const unsigned values = form & (MQ_FORM_PLUS_ONE | MQ_FORM_MINUS_EXP);
    if ((e->level != e->source || values || (form & MQ_FORM_KV_B)) && !e->source->quantized)
        mq_level_decode_rows(e->source, isa, s->raw, rows, t->cols, s->weights);
    if (values)
        mq_form_values(values, false, s->weights, (size_t)(rows * t->cols));
    *loss = (struct mq_loss){0};
    if (encodes(e)) {
        MQ_TRY(check_f16_range(job->plan->view, e, row, s->weights, rows * t->cols, err));
        mq_level_encode_rows(e->level, isa, job->plan->effort, importance_of(job, e, s), s->weights,
                             rows, t->cols, s->encoded);
        if (any)
            mq_nonfinite_carry(s->weights, rows * t->cols, e->level->name, s->encoded);
        else
            *loss = mq_job_loss(job, e, s->encoded, rows, s);
        out = s->encoded;
    }
    *crc = 0;
    MQ_TRY(mq_job_place_rows(job, e, row, rows, out, s, crc, err));
    if (is_plain_copy(e))
        MQ_TRY(mq_checksums_know(job->plan->view, t, row, rows, *crc, err));
    if (!(form & MQ_FORM_KV_B))
        return MOEQ_OK;
    encode_turned(job, e, rows, s);
    return mq_place_turned(&job->output, e, row, rows, s->encoded, job->place, crc, err);
}
