/* gguf_imatrix.c: see gguf_imatrix.h. */
#include "gguf_imatrix.h"

#include "checked.h"
#include "error.h"
#include "family.h"
#include "gguf_arch.h"
#include "gguf_form.h"
#include "gguf_writer.h"
#include "new_file.h"
#include "what_is_it.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

enum { MAX_NAMES = 3 };

/* A tensor's form where it has another in GGUF files; *elsewhere: inputs of its tensors are others than
 * its own. (llama.cpp multiplies latent keys and values with what attention gives.) */
static moeq_status form_of(const struct mq_view *view, const struct mq_tensor *tensor,
                           struct mq_arena *arena, const struct mq_form **form, bool *elsewhere,
                           moeq_error *err)
{
    MQ_TRY(mq_gguf_form(view, tensor, arena, form, err));
    *elsewhere = *form && (*form)->what & MQ_FORM_KV_B;
    return MOEQ_OK;
}

/* Patterns of the names that a file may have it by; NULL where there are fewer. */
static void patterns_of(const struct mq_view *view, const struct mq_tensor *tensor,
                        const struct mq_form *form, bool elsewhere, const char *patterns[MAX_NAMES])
{
    const struct mq_gguf_arch *arch = mq_gguf_arch_find(view->family->gguf_architecture);
    const bool gate_up = tensor->role == MQ_ROLE_EXPERT_GATE || tensor->role == MQ_ROLE_EXPERT_UP;
    patterns[0] = form && form->names[0] && !elsewhere ? form->names[0]
                                                       : mq_gguf_role_name(arch, tensor->role);
    patterns[1] = mq_gguf_role(tensor->role)->split_name;
    patterns[2] = gate_up ? MQ_GGUF_GATE_UP : NULL;
}

/* ---- reading ---- */

moeq_status mq_is_imatrix(const char *path, bool *yes, moeq_error *err)
{
    struct mq_what what;
    MQ_TRY(mq_is_imatrix_dat(path, yes, err));
    if (*yes)
        return MOEQ_OK;
    MQ_TRY(mq_what_is_file(path, &what, err));
    *yes = what.kind == MQ_FILE_GGUF;
    return MOEQ_OK;
}

static moeq_status open_gguf(struct mq_imatrix *m, const char *path, moeq_error *err)
{
    MQ_TRY(mq_gguf_read(path, m->arena, &m->gguf, err));
    if (mq_gguf_text_is(&m->gguf, mq_gguf_find(&m->gguf, MQ_GGUF_KEY_TYPE), MQ_IMATRIX_TYPE))
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                        "is a GGUF file, but no imatrix: its " MQ_GGUF_KEY_TYPE
                        " is not \"" MQ_IMATRIX_TYPE "\"");
}

moeq_status mq_imatrix_open(const char *path, struct mq_imatrix *imatrix, moeq_error *err)
{
    moeq_status status;
    *imatrix = (struct mq_imatrix){
        .gguf = {.file = {.fd = -1}}, .dat = {.file = {.fd = -1}}, .arena = mq_arena_create()};
    if (!imatrix->arena) {
        status = mq_fail_memory(err, "opening an imatrix");
        goto out;
    }
    MQ_TRY_OUT(mq_is_imatrix_dat(path, &imatrix->is_dat, err));
    status = imatrix->is_dat ? mq_imatrix_dat_open(path, imatrix->arena, &imatrix->dat, err)
                             : open_gguf(imatrix, path, err);
out:
    if (status != MOEQ_OK)
        mq_imatrix_close(imatrix);
    return status;
}

void mq_imatrix_close(struct mq_imatrix *imatrix)
{
    mq_gguf_close(&imatrix->gguf);
    mq_imatrix_dat_close(&imatrix->dat);
    mq_arena_destroy(imatrix->arena);
    imatrix->arena = NULL;
}

/* Where the sums of a matrix are. */
struct place {
    const char *name; /* of the tensor that has them, for messages */
    uint64_t offset;
    double inputs;   /* by what they are divided */
    uint64_t tokens; /* as mq_importance_add has it */
};

static const struct mq_file *file_of(const struct mq_imatrix *m)
{
    return m->is_dat ? &m->dat.file : &m->gguf.file;
}

moeq_status mq_imatrix_check_unchanged(const struct mq_imatrix *m, moeq_error *err)
{
    return mq_file_check_unchanged(file_of(m), err);
}

static uint64_t elements(const struct mq_gguf_tensor *t)
{
    uint64_t n = 1;
    for (uint32_t d = 0; d < t->dims; d++)
        n *= t->ne[d]; /* checked when the file was opened: its bytes are in it */
    return n;
}

static moeq_status check_values(const struct mq_imatrix *m, const char *name, uint64_t offset,
                                uint64_t found, uint64_t cols, uint64_t matrices, moeq_error *err)
{
    if (found == cols * matrices)
        return MOEQ_OK;
    return mq_fail_tensor(err, MOEQ_INVALID_ARGUMENT, file_of(m)->path, name, offset,
                          "the model has %" PRIu64 " columns in %" PRIu64
                          " matrices, found %" PRIu64
                          " numbers: is it an imatrix of another model?",
                          cols, matrices, found);
}

/* NAME.in_sum2 and NAME.counts. */
static moeq_status check_pair(const struct mq_imatrix *m, const char *name,
                              const struct mq_gguf_tensor *sums,
                              const struct mq_gguf_tensor *counts, uint64_t cols, uint64_t matrices,
                              moeq_error *err)
{
    const char *path = m->gguf.file.path;
    if (!sums || !counts)
        return mq_fail_file(err, MOEQ_MALFORMED, path, "has '%s%s', but no '%s%s'", name,
                            sums ? MQ_IMATRIX_SUMS : MQ_IMATRIX_COUNTS, name,
                            sums ? MQ_IMATRIX_COUNTS : MQ_IMATRIX_SUMS);
    for (int i = 0; i < 2; i++) {
        const struct mq_gguf_tensor *t = i ? counts : sums;
        if (strcmp(t->type->storage, "f32") != 0)
            return mq_fail_tensor(err, MOEQ_MALFORMED, path, t->name, t->offset,
                                  "expected F32, found %s", t->type->name);
    }
    MQ_TRY(check_values(m, sums->name, sums->offset, elements(sums), cols, matrices, err));
    if (elements(counts) != 1 && elements(counts) != matrices)
        return mq_fail_tensor(err, MOEQ_MALFORMED, path, counts->name, counts->offset,
                              "expected %" PRIu64 " counts, found %" PRIu64, matrices,
                              elements(counts));
    return MOEQ_OK;
}

static moeq_status find_gguf(const struct mq_imatrix *m, const char *name, uint64_t cols,
                             uint64_t matrices, uint64_t matrix, struct place *place, bool *found,
                             moeq_error *err)
{
    const char *const of_sums = mq_arena_printf(m->arena, "%s" MQ_IMATRIX_SUMS, name),
                      *const of_counts = mq_arena_printf(m->arena, "%s" MQ_IMATRIX_COUNTS, name);
    float count;
    if (!of_sums || !of_counts)
        return mq_fail_memory(err, "reading an imatrix");
    const struct mq_gguf_tensor *sums = mq_gguf_find_tensor(&m->gguf, of_sums),
                                *counts = mq_gguf_find_tensor(&m->gguf, of_counts);
    *found = sums || counts;
    if (!*found)
        return MOEQ_OK;
    MQ_TRY(check_pair(m, name, sums, counts, cols, matrices, err));
    const uint64_t at = counts->offset + (elements(counts) == 1 ? 0 : matrix) * sizeof count;
    MQ_TRY(mq_file_read_at(&m->gguf.file, at, &count, sizeof count, err));
    if (!(count >= 0.0f && count < 0x1p53f))
        return mq_fail_tensor(err, MOEQ_MALFORMED, m->gguf.file.path, counts->name, at,
                              "expected a number of inputs, found %g", (double)count);
    *place = (struct place){.name = sums->name,
                            .offset = sums->offset + matrix * cols * sizeof(float),
                            .inputs = (double)count,
                            .tokens = (uint64_t)llround((double)count)};
    return MOEQ_OK;
}

static moeq_status find_dat(const struct mq_imatrix *m, const char *name, uint64_t cols,
                            uint64_t matrices, uint64_t matrix, struct place *place, bool *found,
                            moeq_error *err)
{
    const struct mq_imatrix_dat_entry *e = mq_imatrix_dat_find(&m->dat, name);
    *found = e != NULL;
    if (!e)
        return MOEQ_OK;
    MQ_TRY(check_values(m, name, e->offset, e->values, cols, matrices, err));
    *place = (struct place){.name = e->name,
                            .offset = e->offset + matrix * cols * sizeof(float),
                            .inputs = e->calls > 0 ? (double)e->calls : 1,
                            .tokens = UINT64_MAX};
    return MOEQ_OK;
}

static moeq_status find_place(const struct mq_imatrix *m, const struct mq_view *view,
                              const struct mq_tensor *t, const char *const patterns[MAX_NAMES],
                              struct place *place, bool *found, moeq_error *err)
{
    *found = false;
    for (int i = 0; i < MAX_NAMES && !*found; i++) {
        const bool stacked = t->expert >= 0 && i != 1; /* the second: a tensor for each expert */
        const uint64_t matrix = stacked ? (uint64_t)t->expert : 0;
        const uint64_t matrices =
            stacked ? view->program->layers[t->layer]->layer.ffn.router.experts : 1;
        if (!patterns[i])
            continue;
        const char *name = mq_pattern_expand(m->arena, patterns[i], t->layer, t->expert);
        if (!name)
            return mq_fail_memory(err, "reading an imatrix");
        MQ_TRY((m->is_dat ? find_dat : find_gguf)(m, name, t->cols, matrices, matrix, place, found,
                                                  err));
    }
    return MOEQ_OK;
}

/* Means in place of sums, in the model's order. */
static moeq_status finish_means(const struct mq_imatrix *m, const struct place *place,
                                const struct mq_form *form, uint64_t cols, float *means,
                                moeq_error *err)
{
    for (uint64_t c = 0; c < cols; c++) {
        if (!(means[c] >= 0.0f) || isinf(means[c]))
            return mq_fail_tensor(err, MOEQ_MALFORMED, file_of(m)->path, place->name,
                                  place->offset + c * sizeof(float),
                                  "expected a sum of squares, found %g", (double)means[c]);
        means[c] = place->inputs > 0 ? (float)((double)means[c] / place->inputs) : 0.0f;
    }
    if (!form || !form->columns)
        return MOEQ_OK;
    float *file = malloc(cols * sizeof *file);
    if (!file)
        return mq_fail_memory(err, "reading an imatrix");
    memcpy(file, means, cols * sizeof *file);
    mq_form_columns(form, 1, sizeof(float), true, file, means);
    free(file);
    return MOEQ_OK;
}

moeq_status mq_imatrix_read(const struct mq_imatrix *m, const struct mq_view *view,
                            const struct mq_tensor *t, bool *found, float *means, uint64_t *inputs,
                            moeq_error *err)
{
    const struct mq_form *form;
    const char *patterns[MAX_NAMES];
    struct place place = {0};
    bool elsewhere;
    MQ_TRY(form_of(view, t, m->arena, &form, &elsewhere, err));
    patterns_of(view, t, form, elsewhere, patterns);
    MQ_TRY(find_place(m, view, t, patterns, &place, found, err));
    if (!*found)
        return MOEQ_OK;
    *inputs = place.tokens;
    MQ_TRY(mq_file_read_at(file_of(m), place.offset, means, t->cols * sizeof *means, err));
    return finish_means(m, &place, elsewhere ? NULL : form, t->cols, means, err);
}

/* ---- writing ---- */

moeq_status mq_imatrix_entry(const struct mq_view *view, const struct mq_tensor *tensor,
                             uint32_t matrices, struct mq_arena *arena,
                             struct mq_imatrix_entry *entry, moeq_error *err)
{
    const struct mq_form *form;
    const char *patterns[MAX_NAMES];
    bool elsewhere;
    *entry = (struct mq_imatrix_entry){.tensor = tensor, .matrices = matrices};
    MQ_TRY(form_of(view, tensor, arena, &form, &elsewhere, err));
    if (elsewhere)
        return MOEQ_OK;
    patterns_of(view, tensor, form, elsewhere, patterns);
    entry->names[0] = mq_pattern_expand(arena, patterns[0], tensor->layer, -1);
    if (form && form->names[1])
        entry->names[1] = mq_pattern_expand(arena, form->names[1], tensor->layer, -1);
    return entry->names[0] ? MOEQ_OK : mq_fail_memory(err, "writing an imatrix");
}

struct writer {
    struct mq_new_file file;
    struct mq_buffer header;
    struct mq_arena *arena;
    uint64_t *offset; /* [entries][2 names][sums, counts], behind the header */
    uint64_t size;
};

static moeq_status put_tensor(struct writer *w, struct mq_gguf_writer *g, const char *name,
                              const char *suffix, uint64_t cols, uint64_t matrices,
                              uint64_t *offset, moeq_error *err)
{
    const uint64_t ne[2] = {cols, matrices};
    const char *full = mq_arena_printf(w->arena, "%s%s", name, suffix);
    uint64_t bytes;
    if (!full)
        return mq_fail_memory(err, "writing an imatrix");
    if (!mq_mul_u64(cols * sizeof(float), matrices, &bytes))
        return mq_fail(err, MOEQ_LIMIT, "tensor '%s' is too large", full);
    mq_gguf_put_tensor(g, full, 2, ne, mq_gguf_type_by_storage("f32")->id, w->size);
    *offset = w->size;
    w->size += mq_round_up(bytes, MQ_GGUF_ALIGNMENT);
    return MOEQ_OK;
}

static moeq_status lay_out(struct writer *w, const struct mq_imatrix_entry *entries, size_t count,
                           const struct mq_imatrix_source *source, moeq_error *err)
{
    struct mq_gguf_writer g = {.architecture = ""};
    moeq_status status = MOEQ_OK;
    mq_gguf_put_string(&g, MQ_GGUF_KEY_TYPE, MQ_IMATRIX_TYPE, strlen(MQ_IMATRIX_TYPE));
    mq_gguf_begin_array(&g, MQ_IMATRIX_KEY_DATASETS, MQ_GGUF_STRING, source->datasets_count);
    for (size_t i = 0; i < source->datasets_count; i++)
        mq_gguf_append_string(&g, source->datasets[i], strlen(source->datasets[i]));
    mq_gguf_put_u32(&g, MQ_IMATRIX_KEY_CHUNKS, source->chunks);
    mq_gguf_put_u32(&g, MQ_IMATRIX_KEY_CHUNK_SIZE, source->chunk_size);
    for (size_t i = 0; i < 2 * count; i++) {
        const struct mq_imatrix_entry *e = &entries[i / 2];
        const char *name = e->names[i % 2];
        if (!name)
            continue;
        MQ_TRY_OUT(put_tensor(w, &g, name, MQ_IMATRIX_SUMS, e->tensor->cols, e->matrices,
                              &w->offset[2 * i], err));
        MQ_TRY_OUT(
            put_tensor(w, &g, name, MQ_IMATRIX_COUNTS, 1, e->matrices, &w->offset[2 * i + 1], err));
    }
    status = mq_gguf_writer_finish(&g, &w->header, err);
out:
    mq_gguf_writer_free(&g);
    return status;
}

/* One entry under both of its names. rows: two of tensor->cols */
static moeq_status write_entry(struct writer *w, const struct mq_view *view,
                               const struct mq_imatrix_entry *entry, const uint64_t *offset,
                               const struct mq_imatrix_source *source, float *rows, moeq_error *err)
{
    const size_t cols = entry->tensor->cols;
    const struct mq_form *form;
    bool elsewhere;
    float count;
    MQ_TRY(form_of(view, entry->tensor, w->arena, &form, &elsewhere, err));
    for (uint32_t m = 0; m < entry->matrices; m++) {
        MQ_TRY(source->read(source->user, entry, m, rows, &count, err));
        const float *sums = rows;
        if (form && form->columns) {
            sums = rows + cols;
            mq_form_columns(form, 1, sizeof(float), false, rows, rows + cols);
        }
        for (int n = 0; n < 2 && entry->names[n]; n++) {
            const uint64_t base = w->header.size;
            MQ_TRY(mq_write_at(w->file.fd, w->file.part,
                               base + offset[2 * n] + m * cols * sizeof(float), sums,
                               cols * sizeof(float), err));
            MQ_TRY(mq_write_at(w->file.fd, w->file.part,
                               base + offset[2 * n + 1] + m * sizeof count, &count, sizeof count,
                               err));
        }
    }
    return MOEQ_OK;
}

static moeq_status write_all(struct writer *w, const struct mq_view *view,
                             const struct mq_imatrix_entry *entries, size_t count,
                             const struct mq_imatrix_source *source, moeq_error *err)
{
    static const char zeros[MQ_GGUF_ALIGNMENT];
    uint64_t widest = 1;
    moeq_status status;
    for (size_t i = 0; i < count; i++)
        widest = mq_max_u64(widest, entries[i].tensor->cols);
    float *rows = calloc(2 * widest, sizeof *rows);
    if (!rows)
        return mq_fail_memory(err, "writing an imatrix");
    MQ_TRY_OUT(mq_write_at(w->file.fd, w->file.part, 0, w->header.data, w->header.size, err));
    if (w->size) /* the end of the file; what lies between is written over, or stays zero */
        MQ_TRY_OUT(mq_write_at(w->file.fd, w->file.part,
                               w->header.size + w->size - MQ_GGUF_ALIGNMENT, zeros,
                               MQ_GGUF_ALIGNMENT, err));
    for (size_t i = 0; i < count && status == MOEQ_OK; i++)
        status = write_entry(w, view, &entries[i], &w->offset[4 * i], source, rows, err);
out:
    free(rows);
    return status;
}

moeq_status mq_imatrix_write(const struct mq_view *view, const char *path,
                             const struct mq_imatrix_entry *entries, size_t count,
                             const struct mq_imatrix_source *source, moeq_error *err)
{
    struct writer w = {.file = {.fd = -1}, .arena = mq_arena_create()};
    moeq_status status;
    w.offset = w.arena ? mq_arena_alloc(w.arena, 4 * count + 1, sizeof *w.offset) : NULL;
    if (!w.offset) {
        status = mq_fail_memory(err, "writing an imatrix");
        goto out;
    }
    MQ_TRY_OUT(lay_out(&w, entries, count, source, err));
    MQ_TRY_OUT(mq_new_file_open(&w.file, path, err));
    MQ_TRY_OUT(write_all(&w, view, entries, count, source, err));
    MQ_TRY_OUT(mq_new_file_finish(&w.file, err));
out:
    mq_new_file_abort(&w.file);
    mq_buffer_free(&w.header);
    mq_arena_destroy(w.arena);
    return status;
}
