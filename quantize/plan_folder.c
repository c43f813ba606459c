/*
 * plan_folder.c: every byte count and place of a folder for another runtime.
 *
 *     config.json | side files | model.safetensors.index.json | model-00001-of-00003.safetensors ...
 *
 * What belongs together (the parts of a matrix; of stacked experts those of all) stands in one shard. In a shard tensors stand
 * by the size of their elements, the largest first, so that each begins at a multiple of it without gaps, which safetensors
 * forbids.
 */
#include "folder_int.h"

#include "checked.h"
#include "error.h"
#include "json_tree.h"
#include "st_writer.h"

#include <stdio.h>
#include <string.h>

#define INDEX_NAME "model.safetensors.index.json"
enum { SHARD_GB = 5 };

struct placing {
    struct mq_folder_job job;
    struct mq_folder_tensor *tensors;
    size_t count;
    size_t *tensor_of; /* [view's tensors] -> the first of an entry's */
    uint32_t shards;
    uint32_t first_shard; /* as index into plan.files */
};

/* ---- tensors ---- */

static bool set_size(struct mq_folder_tensor *t)
{
    t->size_bytes = mq_dtype_bytes(t->dtype);
    for (uint32_t d = 0; d < t->dims; d++)
        if (!mq_mul_u64(t->size_bytes, t->shape[d], &t->size_bytes))
            return false;
    return true;
}

static moeq_status add(struct placing *p, struct mq_folder_tensor tensor)
{
    if (!tensor.name)
        return mq_fail_memory(p->job.err, "planning");
    if (!set_size(&tensor))
        return mq_fail(p->job.err, MOEQ_LIMIT, "tensor '%s' is too large", tensor.name);
    p->tensors[p->count++] = tensor;
    return MOEQ_OK;
}

/* In front of a shape, how many experts are behind each other. */
static void stack(const struct placing *p, const struct mq_tensor *t, struct mq_folder_tensor *out)
{
    if (!mq_folder_stacks(&p->job, t))
        return;
    memmove(out->shape + 1, out->shape, 2 * sizeof *out->shape);
    out->shape[0] = p->job.plan->view->hparams.experts;
    out->dims++;
}

/* A convolution's weights have a dimension of input channels, of which each output channel has one. */
static bool is_convolution(const struct mq_tensor *t)
{
    return t->role == MQ_ROLE_MIX_CONV && t->dims == 2;
}

static moeq_status add_plain(struct placing *p, const struct mq_plan_entry *e)
{
    const struct mq_tensor *t = e->tensor;
    struct mq_folder_tensor out = {.name = mq_folder_plain_name(&p->job, t),
                                   .dtype = mq_plan_dtype(e->level),
                                   .dims = t->dims,
                                   .shape = {t->dims == 1 ? t->cols : t->rows, t->cols},
                                   .opens = true};
    if (is_convolution(t)) {
        out.dims = 3;
        out.shape[1] = 1;
        out.shape[2] = t->cols;
    }
    stack(p, t, &out);
    return add(p, out);
}

static moeq_status add_parts(struct placing *p, const struct mq_plan_entry *e)
{
    struct mq_arena *arena = p->job.plan->arena;
    const struct mq_tensor *t = e->tensor;
    const char *module = mq_folder_module(&p->job, t);
    if (!module)
        return mq_fail_memory(p->job.err, "planning");
    for (uint32_t i = 0; i < e->split->parts_count; i++) {
        const struct mq_split_part *part = &e->split->parts[i];
        struct mq_folder_tensor out = {
            .name = mq_arena_printf(arena, "%s%s", module, part->name_end),
            .dtype = part->dtype,
            .dims = 2,
            .shape = {mq_split_rows(e->split, i, t->rows),
                      e->parts[i].row_bytes / mq_dtype_bytes(part->dtype)},
            .opens = i == 0};
        stack(p, t, &out);
        MQ_TRY(add(p, out));
    }
    return MOEQ_OK;
}

/* What compressed-tensors asks for: the shape that was packed. */
static moeq_status add_shape(struct placing *p, const struct mq_plan_entry *e)
{
    enum { BYTES = 16 };
    struct mq_arena *arena = p->job.plan->arena;
    const struct mq_tensor *t = e->tensor;
    uint8_t *bytes = mq_arena_alloc(arena, BYTES, 1);
    const char *module = mq_folder_module(&p->job, t);
    if (!bytes || !module)
        return mq_fail_memory(p->job.err, "planning");
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)((i < 8 ? t->rows : t->cols) >> (8 * (i % 8)));
    return add(p,
               (struct mq_folder_tensor){.name = mq_arena_printf(arena, "%s.weight_shape", module),
                                         .dtype = MQ_I64,
                                         .dims = 1,
                                         .shape = {2},
                                         .bytes = bytes});
}

static moeq_status list_tensors(struct placing *p)
{
    struct mq_plan *plan = p->job.plan;
    const struct mq_view *view = plan->view;
    const size_t n = view->tensors_count;
    p->tensors = mq_arena_alloc(plan->arena, (MQ_SPLIT_MOST + 1) * n, sizeof *p->tensors);
    p->tensor_of = mq_arena_alloc(plan->arena, n, sizeof *p->tensor_of);
    if (!p->tensors || !p->tensor_of)
        return mq_fail_memory(p->job.err, "planning");
    for (size_t i = 0; i < n; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        const struct mq_tensor *t = e->tensor;
        p->tensor_of[i] = p->count;
        if (mq_folder_stacks(&p->job, t) && t->expert > 0) {
            const struct mq_tensor *first = mq_view_find(view, t->role, t->layer, 0);
            p->tensor_of[i] = p->tensor_of[first - view->tensors];
            continue;
        }
        MQ_TRY(e->split ? add_parts(p, e) : add_plain(p, e));
        if (e->split && e->split->format == MQ_FOLDER_PACKED)
            MQ_TRY(add_shape(p, e));
    }
    return MOEQ_OK;
}

/* ---- shards ---- */

/* Begins a shard where what belongs together would make one too large. */
static moeq_status cut_shards(struct placing *p)
{
    const uint64_t given = p->job.options->shard_bytes;
    const uint64_t most = given ? given : SHARD_GB * UINT64_C(1000000000);
    uint64_t at = 0, sum;
    p->shards = 1;
    for (size_t i = 0, end; i < p->count; i = end) {
        sum = 0;
        for (end = i; end < p->count && (end == i || !p->tensors[end].opens); end++)
            if (!mq_add_u64(sum, p->tensors[end].size_bytes, &sum) || sum > INT64_MAX / 2)
                return mq_fail(p->job.err, MOEQ_LIMIT, "tensor '%s' is too large",
                               p->tensors[i].name);
        if (at && at + sum > most) {
            p->shards++;
            at = 0;
        }
        at += sum;
        for (size_t k = i; k < end; k++)
            p->tensors[k].shard = p->shards - 1;
    }
    return p->shards <= 99999
               ? MOEQ_OK
               : mq_fail(p->job.err, MOEQ_INVALID_ARGUMENT,
                         "shards of %llu bytes would be %u files: give a larger size",
                         (unsigned long long)most, p->shards);
}

/* The header of a shard, whose tensors begin at *begin; their places. *begin moves behind them. */
static moeq_status plan_shard(struct placing *p, uint32_t shard, size_t *begin)
{
    static const uint32_t sizes[] = {8, 4, 2, 1};
    struct mq_plan *plan = p->job.plan;
    struct mq_plan_file *f = &plan->files[p->first_shard + shard];
    const char *const metadata[] = {"format",
                                    p->job.options->format == MQ_FOLDER_MLX ? "mlx" : "pt", NULL};
    struct mq_buffer header = {0};
    uint64_t at = 0;
    size_t end = *begin;
    while (end < p->count && p->tensors[end].shard == shard)
        end++;
    mq_st_header_begin(&header, metadata);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t i = *begin; i < end; i++) {
            struct mq_folder_tensor *t = &p->tensors[i];
            if (mq_dtype_bytes(t->dtype) != sizes[s])
                continue;
            t->offset = at;
            at += t->size_bytes;
            mq_st_header_tensor(&header, t->name, t->dtype, t->shape, t->dims, t->offset,
                                t->size_bytes);
        }
    mq_st_header_end(&header, sizes[0]);
    *begin = end;
    f->name = p->shards == 1 ? "model.safetensors"
                             : mq_arena_printf(plan->arena, "model-%05u-of-%05u.safetensors",
                                               shard + 1, p->shards);
    f->header =
        mq_buffer_ok(&header) ? mq_arena_strndup(plan->arena, header.data, header.size) : NULL;
    f->header_bytes = header.size;
    f->file_bytes = header.size + at;
    mq_buffer_free(&header);
    return f->header && f->name ? MOEQ_OK : mq_fail_memory(p->job.err, "planning");
}

/* Which shard has which tensor; mlx-lm writes it for one shard too, Transformers does not. */
static moeq_status plan_index(struct placing *p, struct mq_plan_file *f)
{
    struct mq_buffer text = {0};
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->count; i++)
        bytes += p->tensors[i].size_bytes;
    mq_buffer_printf(&text, "{\n  \"metadata\": {\"total_size\": %llu},\n  \"weight_map\": {",
                     (unsigned long long)bytes);
    for (size_t i = 0; i < p->count; i++) {
        const struct mq_folder_tensor *t = &p->tensors[i];
        mq_buffer_puts(&text, i ? ",\n    " : "\n    ");
        mq_buffer_put_json(&text, t->name, strlen(t->name));
        mq_buffer_printf(&text, ": \"%s\"", p->job.plan->files[p->first_shard + t->shard].name);
    }
    mq_buffer_puts(&text, "\n  }\n}\n");
    return mq_folder_text_file(&p->job, INDEX_NAME, &text, f);
}

/* ---- files and places ---- */

static moeq_status plan_files(struct placing *p)
{
    struct mq_plan *plan = p->job.plan;
    const bool index = p->shards > 1 || p->job.options->format == MQ_FOLDER_MLX;
    size_t begin = 0;
    plan->files =
        mq_arena_alloc(plan->arena, (size_t)p->shards + 2 + MQ_FOLDER_SIDES, sizeof *plan->files);
    if (!plan->files)
        return mq_fail_memory(p->job.err, "planning");
    MQ_TRY(mq_folder_config(&p->job, &plan->files[plan->files_count++]));
    MQ_TRY(mq_folder_sides(&p->job, plan->files, &plan->files_count));
    struct mq_plan_file *const at_index = &plan->files[plan->files_count];
    plan->files_count += index;
    p->first_shard = (uint32_t)plan->files_count;
    plan->files_count += p->shards;
    for (uint32_t shard = 0; shard < p->shards; shard++)
        MQ_TRY(plan_shard(p, shard, &begin));
    if (index)
        MQ_TRY(plan_index(p, at_index));
    for (size_t i = 0; i < plan->files_count; i++)
        plan->output_bytes += plan->files[i].file_bytes;
    return MOEQ_OK;
}

static uint64_t place_of(const struct placing *p, const struct mq_folder_tensor *t, uint32_t *file)
{
    *file = p->first_shard + t->shard;
    return p->job.plan->files[*file].header_bytes + t->offset;
}

static void place_entry(const struct placing *p, size_t i)
{
    struct mq_plan_entry *e = &p->job.plan->entries[i];
    const struct mq_folder_tensor *t = &p->tensors[p->tensor_of[i]];
    const uint64_t before = mq_folder_stacks(&p->job, e->tensor) ? (uint64_t)e->tensor->expert : 0;
    e->item = i;
    e->offset = place_of(p, t, &e->file) + before * e->size_bytes;
    for (uint32_t part = 0; e->split && part < e->split->parts_count; part++) {
        const uint64_t bytes =
            mq_split_rows(e->split, part, e->tensor->rows) * e->parts[part].row_bytes;
        e->parts[part].offset = place_of(p, &t[part], &e->parts[part].file) + before * bytes;
    }
    if (e->split) /* what is shown of it */
        e->offset = e->parts[0].offset;
}

static moeq_status place(const struct placing *p)
{
    struct mq_plan *plan = p->job.plan;
    for (size_t i = 0; i < plan->view->tensors_count; i++)
        place_entry(p, i);
    plan->items_count = plan->view->tensors_count;
    plan->pieces = mq_arena_alloc(plan->arena, p->count, sizeof *plan->pieces);
    if (!plan->pieces)
        return mq_fail_memory(p->job.err, "planning");
    for (size_t i = 0; i < p->count; i++) {
        const struct mq_folder_tensor *t = &p->tensors[i];
        struct mq_plan_piece piece = {
            .bytes = t->bytes, .size_bytes = t->size_bytes, .item = SIZE_MAX};
        if (!t->bytes)
            continue;
        piece.offset = place_of(p, t, &piece.file);
        plan->pieces[plan->pieces_count++] = piece;
    }
    return MOEQ_OK;
}

moeq_status mq_plan_create_folder(const struct mq_view *view, const struct mq_policy *policy,
                                  const struct mq_folder_options *options, struct mq_plan **out,
                                  moeq_error *err)
{
    moeq_status status = MOEQ_OK;
    *out = NULL;
    struct mq_plan *plan = mq_plan_new(view, policy);
    if (!plan)
        return mq_fail_memory(err, "planning");
    struct placing p = {.job = {.plan = plan, .policy = policy, .options = options, .err = err}};
    plan->is_folder = true;
    plan->folder_format = mq_folder_format_name(options->format);
    MQ_TRY_OUT(mq_folder_find_family(&p.job));
    MQ_TRY_OUT(mq_folder_levels(&p.job));
    MQ_TRY_OUT(list_tensors(&p));
    MQ_TRY_OUT(cut_shards(&p));
    MQ_TRY_OUT(plan_files(&p));
    MQ_TRY_OUT(place(&p));
    *out = plan;
    return MOEQ_OK;
out:
    mq_plan_free(plan);
    return status;
}
