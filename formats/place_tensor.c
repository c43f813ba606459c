/*
 * place_tensor.c: where the rows of one tensor of the model stand in the tensors of a folder.
 *
 * Two questions, each with a table: how several matrices share a tensor (struct mq_tensor_alias), and
 * how numbers are stored: plain, or as codes with scales beside them (`forms`). Both together are a
 * struct mq_assembly; where rows stand one after the other as plain numbers, none is needed.
 */
#include "place_int.h"

#include "checked.h"
#include "error.h"

#include <inttypes.h>
#include <string.h>

/* What the ways of storing add to a tensor's name: to that of its codes, and of its scales. */
static const struct form {
    enum mq_assembly_kind kind;
    unsigned methods;                  /* bits of enum mq_source_method */
    enum mq_dtype dtype, scales_dtype; /* of the codes; of scales, MQ_DTYPE_COUNT: numbers */
    const char *codes, *scales[2];
} forms[] = {
    {MQ_ASSEMBLE_F8,
     1 << MQ_SOURCE_F8 | 1 << MQ_SOURCE_COMPRESSED,
     MQ_F8_E4M3,
     MQ_DTYPE_COUNT,
     "",
     {"_scale_inv", "_scale"}},
    {MQ_ASSEMBLE_MXFP4, 1 << MQ_SOURCE_MXFP4, MQ_U8, MQ_U8, "_blocks", {"_scales", NULL}},
};

/* ---- how matrices share a tensor ---- */

/* Of the tensor as plain numbers. */
static struct mq_shape plain_shape(const struct mq_placing *p, const struct mq_part *part)
{
    const uint64_t flat = part->expert_dim ? 1 : part->experts;
    struct mq_shape s = {0};
    if (part->expert_dim)
        s.n[s.dims++] = part->experts;
    if (p->t->dims == 1)
        s.n[s.dims++] = flat * part->total;
    else {
        s.n[s.dims++] = flat * (part->transposed ? p->t->cols : part->total);
        s.n[s.dims++] = part->transposed ? part->total : p->t->cols;
    }
    return s;
}

/* Of the alias's rows with the same name, the one whose shape the tensor has. */
static moeq_status choose_alias(struct mq_placing *p)
{
    const struct mq_st_entry *e = p->at->entry;
    const struct mq_tensor_alias *first = p->alias, *fits = NULL;
    for (const struct mq_tensor_alias *a = first; a && a->name; a++) {
        if (a->role != first->role || strcmp(a->name, first->name) != 0)
            continue;
        const struct mq_part part = mq_part_of(p, a);
        const struct mq_shape shape = plain_shape(p, &part);
        if (!mq_shape_is(e, &shape))
            continue;
        if (fits)
            return mq_fail_tensor(p->err, MOEQ_UNSUPPORTED, mq_tensor_set_path(p->set, p->at),
                                  e->name, e->offset,
                                  "its shape does not tell whether it is transposed: both "
                                  "dimensions are %" PRIu64,
                                  shape.n[shape.dims - 1]);
        fits = a;
    }
    p->alias = fits ? fits : first;
    return MOEQ_OK;
}

/* ---- plain numbers ---- */

static moeq_status place_plain(struct mq_placing *p)
{
    const struct mq_st_entry *e = p->at->entry;
    struct mq_tensor *t = p->t;
    t->storage = mq_dtype_storage(e->dtype);
    if (!t->storage)
        return mq_fail_tensor(p->err, MOEQ_UNSUPPORTED, mq_tensor_set_path(p->set, p->at), e->name,
                              e->offset, "weights of dtype %s are not supported (F32, F16, BF16)",
                              mq_dtype_name(e->dtype));
    MQ_TRY(choose_alias(p));
    const struct mq_part part = mq_part_of(p, p->alias);
    const struct mq_shape shape = plain_shape(p, &part);
    if (!mq_shape_is(e, &shape))
        return mq_place_fail_shape(p, p->at, &shape);
    const uint32_t size = mq_dtype_bytes(e->dtype);
    const uint64_t row =
        t->dims == 1 ? 1 : t->cols; /* numbers in a stored row, if not transposed */
    t->row_bytes = t->cols * size;
    t->offset = e->offset +
                (t->expert < 0 ? 0 : (uint64_t)t->expert % part.experts) * part.total * row * size;
    if (!part.transposed && part.step == 1) {
        t->offset += part.first * row * size;
        return MOEQ_OK;
    }
    struct mq_assembly a = {.weight_bytes = size,
                            .transposed = part.transposed,
                            .stored_row_bytes = (part.transposed ? part.total : row) * size,
                            .first = part.first,
                            .step = part.step,
                            .stored_bytes = t->rows * t->row_bytes};
    if (t->dims == 1) { /* its numbers are the first ones of every step-th column */
        a.transposed = true;
        a.stored_row_bytes = part.step * size;
    }
    return mq_place_set_assembly(p, &a);
}

/* ---- codes with scales ---- */

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* How many weights share a scale: what config.json says, or of FP8 without blocks, what the number of
 * the scales says. */
static void claim_scales(const struct mq_placing *p, const struct form *form,
                         const struct mq_part *part, uint64_t scales, struct mq_assembly_scales *s)
{
    const struct mq_source_claim *c = &p->view->claim;
    const uint64_t of_rows = part->experts * part->total;
    /* of compressed-tensors, blocks may be said of some of its tensors */
    const bool blocks = c->block_rows && (c->method == MQ_SOURCE_F8 ||
                                          (scales != of_rows && scales != part->experts));
    s->rows_each = 1;
    s->cols_each = p->t->cols;
    if (form->kind == MQ_ASSEMBLE_MXFP4)
        s->cols_each = 32;
    else if (blocks) {
        s->rows_each = c->block_rows;
        s->cols_each = c->block_cols;
    } else if (scales == part->experts)
        s->rows_each = part->total;
}

static moeq_status find_scales(const struct mq_placing *p, const struct form *form,
                               const struct mq_located **scales)
{
    *scales = mq_place_find_beside(p, form->scales[0]);
    if (!*scales)
        *scales = mq_place_find_beside(p, form->scales[1]);
    const struct mq_st_entry *e = p->at->entry;
    if (!*scales)
        return mq_fail_tensor(p->err, MOEQ_NOT_FOUND, mq_tensor_set_path(p->set, p->at), e->name,
                              e->offset, "its scales are missing: expected a tensor '%s%s'%s%s%s",
                              p->name, form->scales[0], form->scales[1] ? " or '..." : "",
                              form->scales[1] ? form->scales[1] : "", form->scales[1] ? "'" : "");
    return MOEQ_OK;
}

static moeq_status place_scales(const struct mq_placing *p, const struct form *form,
                                const struct mq_part *part, struct mq_assembly *a)
{
    const struct mq_located *at;
    struct mq_assembly_scales *s = &a->scales;
    MQ_TRY(find_scales(p, form, &at));
    const struct mq_st_entry *e = at->entry;
    const uint32_t size = mq_dtype_bytes(e->dtype);
    const bool e8m0 = form->scales_dtype == MQ_U8;
    if (e8m0 ? e->dtype != MQ_U8 : !mq_dtype_storage(e->dtype))
        return mq_fail_tensor(p->err, MOEQ_MALFORMED, mq_tensor_set_path(p->set, at), e->name,
                              e->offset, "scales of dtype %s: expected %s", mq_dtype_name(e->dtype),
                              e8m0 ? "U8" : "F32, F16 or BF16");
    claim_scales(p, form, part, e->size_bytes / size, s);
    const uint64_t rows = divide_up(part->total, s->rows_each);
    const uint64_t cols = divide_up(p->t->cols, s->cols_each);
    /* one a tensor or a row may stand without the dimensions of 1, also as a number without any */
    struct mq_shape shape = {0};
    if (part->expert_dim)
        shape.n[shape.dims++] = part->experts;
    if (rows > 1 || cols > 1 || e->dims > shape.dims + 1)
        shape.n[shape.dims++] = rows;
    if (cols > 1 || e->dims > shape.dims)
        shape.n[shape.dims++] = cols;
    if (!mq_shape_is(e, &shape))
        return mq_place_fail_shape(p, at, &shape);
    s->name = e->name;
    s->file = at->shard;
    s->dtype = e->dtype;
    s->row_bytes = cols * size;
    s->offset = e->offset + (part->expert_dim ? (uint64_t)p->t->expert * rows * s->row_bytes : 0);
    a->stored_bytes += divide_up(p->t->rows, s->rows_each) * s->row_bytes;
    return MOEQ_OK;
}

/* The shape of the codes: of MXFP4 each block is a dimension. */
static struct mq_shape code_shape(const struct mq_placing *p, const struct form *form,
                                  const struct mq_part *part, uint64_t code_bytes)
{
    struct mq_shape s = plain_shape(p, part);
    if (form->kind == MQ_ASSEMBLE_MXFP4) {
        s.n[s.dims - 1] = code_bytes / 16;
        s.n[s.dims++] = 16;
    }
    return s;
}

static moeq_status place_codes(struct mq_placing *p, const struct form *form)
{
    const struct mq_st_entry *e = p->at->entry;
    const char *path = mq_tensor_set_path(p->set, p->at);
    struct mq_tensor *t = p->t;
    struct mq_assembly a = {.kind = form->kind};
    if (e->dtype != form->dtype)
        return mq_fail_tensor(p->err, MOEQ_MALFORMED, path, e->name, e->offset,
                              "codes of dtype %s: expected %s", mq_dtype_name(e->dtype),
                              mq_dtype_name(form->dtype));
    if (form->kind == MQ_ASSEMBLE_F8)
        MQ_TRY(choose_alias(p));
    struct mq_part part = mq_part_of(p, p->alias);
    if (form->kind == MQ_ASSEMBLE_MXFP4)
        part.transposed = false; /* its blocks run along the inputs, however plain numbers stand */
    MQ_TRY(mq_place_check_part(p, &part));
    if (t->cols % mq_assembly_weights(a.kind))
        return mq_fail_tensor(p->err, MOEQ_UNSUPPORTED, path, e->name, e->offset,
                              "rows of %" PRIu64 " weights: expected a multiple of %" PRIu32,
                              t->cols, mq_assembly_weights(a.kind));
    a.stored_row_bytes = mq_assembly_code_bytes(a.kind, t->cols);
    a.first = part.first;
    a.step = part.step;
    a.stored_bytes = t->rows * a.stored_row_bytes;
    const struct mq_shape shape = code_shape(p, form, &part, a.stored_row_bytes);
    if (!mq_shape_is(e, &shape))
        return mq_place_fail_shape(p, p->at, &shape);
    MQ_TRY(place_scales(p, form, &part, &a));
    t->storage = mq_assembly_storage(a.kind);
    t->row_bytes = mq_assembly_row_bytes(a.kind, t->cols);
    t->offset =
        e->offset + (part.expert_dim ? (uint64_t)t->expert * part.total * a.stored_row_bytes : 0);
    return mq_place_set_assembly(p, &a);
}

/* ---- finding it ---- */

moeq_status mq_place_tensor(struct mq_view *view, const struct mq_tensor_set *set, const char *name,
                            const struct mq_tensor_alias *alias, struct mq_tensor *t, bool *found,
                            moeq_error *err)
{
    struct mq_placing p = {
        .view = view, .set = set, .name = name, .alias = alias, .t = t, .err = err};
    const struct form *form = NULL;
    if (view->claim.method && mq_place_find_integers(&p)) {
        *found = true;
        t->file = p.at->shard;
        return mq_place_integers(&p);
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i].methods & 1u << view->claim.method)
            form = &forms[i];
    p.at = mq_place_find_beside(&p, "");
    if (!p.at && form)
        p.at = mq_place_find_beside(&p, form->codes);
    else if (p.at && !(form && !form->codes[0] && p.at->entry->dtype == form->dtype))
        form = NULL; /* one of those that stayed plain */
    *found = p.at;
    if (!p.at)
        return MOEQ_OK;
    t->file = p.at->shard;
    return form ? place_codes(&p, form) : place_plain(&p);
}
