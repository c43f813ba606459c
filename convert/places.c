/* places.c: see places.h. */
#include "places.h"

#include "checked.h"
#include "error.h"
#include "file.h"
#include "gguf_form.h"

#include <zlib.h>

moeq_status mq_place_write(const struct mq_output_file *file, uint64_t at, uint8_t *bytes,
                           uint64_t n, moeq_error *err)
{
    return mq_write_at(file->fd, file->part, at, bytes, (size_t)n, err);
}

moeq_status mq_place_read(const struct mq_output_file *file, uint64_t at, uint8_t *bytes,
                          uint64_t n, moeq_error *err)
{
    const struct mq_file part = {
        .fd = file->fd, .size_bytes = file->bytes, .path = (char *)file->part};
    return mq_file_read_at(&part, at, bytes, (size_t)n, err);
}

/* One place, and the CRC-32 of all so far. */
static moeq_status visit(mq_place_fn *fn, const struct mq_output_file *file, uint64_t at,
                         uint8_t *bytes, uint64_t n, uint32_t *crc, moeq_error *err)
{
    MQ_TRY(fn(file, at, bytes, n, err));
    *crc = (uint32_t)crc32_z(*crc, bytes, (size_t)n);
    return MOEQ_OK;
}

/* Rows that go to two tensors, or in another order; those that no run has have no place here. */
static moeq_status visit_runs(const struct mq_output *output, const struct mq_plan_entry *e,
                              uint64_t row, uint64_t rows, uint8_t *bytes, mq_place_fn *fn,
                              uint32_t *crc, moeq_error *err)
{
    for (size_t i = 0; i < e->form->rows_count; i++) {
        const struct mq_form_run *r = &e->form->rows[i];
        const uint64_t first = mq_max_u64(row, r->first);
        const uint64_t end = mq_min_u64(row + rows, r->first + r->count);
        if (first >= end)
            continue;
        const struct mq_output_file *file = &output->files[r->target ? e->second.file : e->file];
        const uint64_t at =
            (r->target ? e->second.offset : e->offset) + (r->to + first - r->first) * e->row_bytes;
        MQ_TRY(visit(fn, file, at, bytes + (first - row) * e->row_bytes,
                     (end - first) * e->row_bytes, crc, err));
    }
    return MOEQ_OK;
}

moeq_status mq_place_rows(const struct mq_output *output, const struct mq_plan_entry *e,
                          uint64_t row, uint64_t rows, uint8_t *bytes, mq_place_fn *fn,
                          uint32_t *crc, moeq_error *err)
{
    const struct mq_output_file *file = &output->files[e->file];
    if (e->form && e->form->rows)
        return visit_runs(output, e, row, rows, bytes, fn, crc, err);
    if (!e->written_interleaved)
        return visit(fn, file, e->offset + row * e->row_bytes, bytes, rows * e->row_bytes, crc,
                     err);
    for (uint64_t i = 0; i < rows; i++) {
        const uint64_t to = mq_interleaved_row(e->tensor->rows, e->written_interleaved, row + i);
        MQ_TRY(visit(fn, file, e->offset + to * e->row_bytes, bytes + i * e->row_bytes,
                     e->row_bytes, crc, err));
    }
    return MOEQ_OK;
}

/* One row of blocks in parts, and all rows of the largest part. */
uint64_t mq_place_room(const struct mq_plan_entry *e, uint64_t rows)
{
    uint64_t row = 0, most = 0;
    for (uint32_t i = 0; e->split && i < e->split->parts_count; i++) {
        row += mq_split_scratch_bytes(e->split, i, e->tensor->cols);
        most = mq_max_u64(most, mq_split_rows(e->split, i, rows) * e->parts[i].row_bytes);
    }
    return row + most;
}

moeq_status mq_place_parts(const struct mq_output *output, const struct mq_plan_entry *e,
                           uint64_t row, uint64_t rows, const uint8_t *blocks, uint8_t *room,
                           mq_place_fn *fn, uint32_t *crc, moeq_error *err)
{
    const struct mq_split *s = e->split;
    uint64_t scratch = 0;
    for (uint32_t i = 0; i < s->parts_count; i++)
        scratch += mq_split_scratch_bytes(s, i, e->tensor->cols);
    for (uint32_t i = 0; i < s->parts_count; i++) {
        /* rows of the part before those that these rows have */
        const uint64_t before = mq_split_rows(s, i, row);
        const uint64_t n = mq_split_rows(s, i, row + rows) - before;
        if (blocks)
            mq_split_rows_of(s, i, row, rows, e->tensor->cols, blocks, room, room + scratch);
        MQ_TRY(visit(fn, &output->files[e->parts[i].file],
                     e->parts[i].offset + before * e->parts[i].row_bytes, room + scratch,
                     n * e->parts[i].row_bytes, crc, err));
    }
    return MOEQ_OK;
}

moeq_status mq_place_turned(const struct mq_output *output, const struct mq_plan_entry *e,
                            uint64_t row, uint64_t rows, uint8_t *bytes, mq_place_fn *fn,
                            uint32_t *crc, moeq_error *err)
{
    const uint64_t each = e->form->plain + e->form->values, cols = e->tensor->cols;
    return visit(fn, &output->files[e->second.file],
                 e->second.offset + row / each * cols * e->second.row_bytes, bytes,
                 rows / each * cols * e->second.row_bytes, crc, err);
}
