/*
 * place_integers.c: where the integers of one matrix stand, and their scales and zeros: a table of the
 * ways of storing, and shapes that are one of those that config.json speaks of.
 *
 *     compressed-tensors  X.weight_packed I32 [R, C bits / 32], X.weight_scale [R, G], X.weight_zero_point I32
 *                         [R bits / 32, G], X.weight_g_idx I32 [C], X.weight_shape [R, C];
 *                         or X.weight_packed U8 [R, C / 2], X.weight_scale U8 [R, C / 32] (MXFP4), or
 *                         F8_E4M3 [R, C / 16] and X.weight_global_scale (NVFP4);
 *                         or X.weight I8 [R, C], X.weight_scale [R, G], X.weight_zero_point I8 [R, G]
 *     MLX                 X.weight U32 [R, C bits / 32], X.scales, X.biases [R, G]; of experts [E, ...];
 *                         mode mxfp4: X.scales U8 [R, C / 32], no biases
 *     GPTQ                X.qweight I32 [C bits / 32, R], X.qzeros I32 [G, R bits / 32], X.scales [G, R],
 *                         X.g_idx I32 [C]
 *     AWQ (GEMM)          X.qweight I32 [C, R bits / 32], X.qzeros I32 [G, R bits / 32], X.scales [G, R]
 *
 * of a matrix of R rows (outputs) and C columns in G groups.
 */
#include "place_int.h"

#include "checked.h"
#include "error.h"
#include "integer_rows.h"
#include "text_match.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct form {
    enum mq_source_method method;
    enum mq_dtype dtype;
    bool of_module; /* names are those of the module, without ".weight" */
    const char *codes, *scales, *zeros, *places, *shape;
    enum mq_integer_order order;
    enum mq_integer_zeros zeros_are; /* where there are any */
} forms[] = {
    {MQ_SOURCE_COMPRESSED, MQ_I32, false, "_packed", "_scale", "_zero_point", "_g_idx", "_shape",
     MQ_INTEGERS_ALONG, MQ_ZEROS_DOWN},
    {MQ_SOURCE_COMPRESSED, MQ_I8, false, "", "_scale", "_zero_point", "_g_idx", NULL,
     MQ_INTEGERS_ALONG, MQ_ZEROS_BYTES},
    {MQ_SOURCE_COMPRESSED, MQ_U8, false, "_packed", "_scale", NULL, NULL, NULL, MQ_INTEGERS_ALONG,
     MQ_ZEROS_ONE},
    {MQ_SOURCE_MLX, MQ_U32, true, ".weight", ".scales", ".biases", NULL, NULL, MQ_INTEGERS_ALONG,
     MQ_ZEROS_BIASES},
    {MQ_SOURCE_GPTQ, MQ_I32, true, ".qweight", ".scales", ".qzeros", ".g_idx", NULL,
     MQ_INTEGERS_DOWN, MQ_ZEROS_ACROSS},
    {MQ_SOURCE_AWQ, MQ_I32, true, ".qweight", ".scales", ".qzeros", NULL, NULL, MQ_INTEGERS_ACROSS,
     MQ_ZEROS_ACROSS},
};

/* What is known of a matrix on the way. */
struct pieces {
    const struct form *form;
    struct mq_part part;
    const struct mq_located *scales, *zeros, *places, *shape;
    uint64_t rows, cols;
};

static bool base_name(const struct mq_placing *p, const struct form *form, const char *end,
                      char name[1024])
{
    static const char weight[] = ".weight";
    const size_t n = strlen(p->name) - (form->of_module ? sizeof weight - 1 : 0);
    if (form->of_module && !mq_ends_with(p->name, weight))
        return false;
    const int all = end ? snprintf(name, 1024, "%.*s%s", (int)n, p->name, end) : -1;
    return all > 0 && all < 1024;
}

static struct mq_located *find(const struct mq_placing *p, const struct form *form, const char *end)
{
    char name[1024];
    return base_name(p, form, end, name) ? mq_tensor_set_find(p->set, name) : NULL;
}

/* A tensor beside the codes; it is used then. */
static const struct mq_located *take(const struct mq_placing *p, const struct form *form,
                                     const char *end)
{
    struct mq_located *at = find(p, form, end);
    if (at)
        at->used = true;
    return at;
}

static const struct form *form_of(struct mq_placing *p)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (forms[i].method != p->view->claim.method)
            continue;
        struct mq_located *at = find(p, &forms[i], forms[i].codes);
        if (!at || at->entry->dtype != forms[i].dtype)
            continue;
        at->used = true;
        p->at = at;
        return &forms[i];
    }
    return NULL;
}

bool mq_place_find_integers(struct mq_placing *p)
{
    return form_of(p);
}

/* ---- shapes ---- */

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* [experts,] a[, b], without a b of 1. */
static struct mq_shape shape_of(const struct pieces *x, uint64_t a, uint64_t b)
{
    struct mq_shape s = {0};
    if (x->part.expert_dim)
        s.n[s.dims++] = x->part.experts;
    s.n[s.dims++] = a;
    if (b != 1)
        s.n[s.dims++] = b;
    return s;
}

static uint64_t groups_of(const struct mq_source_scheme *scheme, uint64_t cols)
{
    return scheme->group && scheme->group != MQ_GROUP_TENSOR ? cols / scheme->group : 1;
}

static struct mq_shape code_shape(const struct pieces *x, uint32_t bits)
{
    const uint64_t r = x->rows, c = x->cols;
    if (x->form->dtype == MQ_I8)
        return shape_of(x, r, c);
    return x->form->order == MQ_INTEGERS_ALONG  ? shape_of(x, r, divide_up(c * bits, 32))
           : x->form->order == MQ_INTEGERS_DOWN ? shape_of(x, c * bits / 32, r)
                                                : shape_of(x, c, r * bits / 32);
}

/* Of scales, biases and zeros that are a byte each. */
static struct mq_shape scale_shape(const struct pieces *x, const struct mq_source_scheme *scheme)
{
    const uint64_t groups = groups_of(scheme, x->cols);
    if (scheme->group == MQ_GROUP_TENSOR)
        return (struct mq_shape){0};
    if (x->form->order == MQ_INTEGERS_ALONG)
        return shape_of(x, x->rows, groups);
    return shape_of(x, groups, x->rows);
}

static struct mq_shape zero_shape(const struct pieces *x, const struct mq_source_scheme *scheme)
{
    const uint64_t groups = groups_of(scheme, x->cols);
    const uint64_t words = divide_up(x->rows * scheme->bits, 32);
    return x->form->zeros_are == MQ_ZEROS_DOWN     ? shape_of(x, words, groups)
           : x->form->zeros_are == MQ_ZEROS_ACROSS ? shape_of(x, groups, words)
                                                   : scale_shape(x, scheme);
}

/* Whether a matrix can be stored in a scheme at all. */
static bool can_be(const struct pieces *x, const struct mq_source_scheme *s)
{
    const uint64_t bits = s->bits;
    if (s->group && s->group != MQ_GROUP_TENSOR && x->cols % s->group)
        return false;
    if (x->form->dtype == MQ_I8 || x->form->dtype == MQ_U8)
        return x->form->dtype == MQ_I8 && bits == 8;
    if (s->group == MQ_GROUP_TENSOR)
        return false;
    if (x->form->order == MQ_INTEGERS_DOWN)
        return x->cols * bits % 32 == 0 && x->rows * bits % 32 == 0;
    return x->form->order == MQ_INTEGERS_ALONG || (bits == 4 && x->rows % 8 == 0);
}

static bool is_stored_in(const struct mq_placing *p, const struct pieces *x,
                         const struct mq_source_scheme *s)
{
    if (!can_be(x, s) || s->zeros != (x->zeros != NULL))
        return false;
    const struct mq_shape codes = code_shape(x, s->bits), scales = scale_shape(x, s);
    return mq_shape_is(p->at->entry, &codes) && mq_shape_is(x->scales->entry, &scales);
}

static void describe(const struct mq_source_scheme *s, char *text, size_t room)
{
    const size_t n = strlen(text);
    snprintf(text + n, room - n, "%s%" PRIu32 " bits", n ? " or " : "", s->bits);
    if (s->group && s->group != MQ_GROUP_TENSOR)
        snprintf(text + strlen(text), room - strlen(text), " in groups of %" PRIu32, s->group);
}

/* Of one scheme, what does not fit; of several, all. */
static moeq_status fail_scheme(const struct mq_placing *p, const struct pieces *x)
{
    const struct mq_source_claim *claim = &p->view->claim;
    const struct mq_source_scheme *one = &claim->schemes[0];
    const struct mq_st_entry *e = p->at->entry;
    const char *path = mq_tensor_set_path(p->set, p->at);
    char wanted[600] = "";
    for (uint32_t i = 0; i < claim->schemes_count; i++)
        describe(&claim->schemes[i], wanted, sizeof wanted);
    if (claim->schemes_count == 1 && one->zeros && !x->zeros)
        return mq_fail_tensor(p->err, MOEQ_NOT_FOUND, path, e->name, e->offset,
                              "its zeros are missing: expected a tensor '...%s'", x->form->zeros);
    if (claim->schemes_count == 1 && !one->zeros && x->zeros)
        return mq_fail_tensor(p->err, MOEQ_MALFORMED, path, e->name, e->offset,
                              "there is '%s': config.json says that codes are symmetric",
                              x->zeros->entry->name);
    if (claim->schemes_count == 1 && can_be(x, one)) {
        const struct mq_shape codes = code_shape(x, one->bits), scales = scale_shape(x, one);
        return mq_shape_is(e, &codes) ? mq_place_fail_shape(p, x->scales, &scales)
                                      : mq_place_fail_shape(p, p->at, &codes);
    }
    return mq_fail_tensor(
        p->err, MOEQ_MALFORMED, path, e->name, e->offset,
        "its shape and that of '%s' are not those of %s, which config.json speaks "
        "of, for %" PRIu64 " rows of %" PRIu64 " weights",
        x->scales->entry->name, wanted[0] ? wanted : "any integers", x->rows, x->cols);
}

static const struct mq_source_scheme *scheme_of(const struct mq_placing *p, const struct pieces *x)
{
    const struct mq_source_claim *claim = &p->view->claim;
    for (uint32_t i = 0; i < claim->schemes_count; i++)
        if (is_stored_in(p, x, &claim->schemes[i]))
            return &claim->schemes[i];
    return NULL;
}

/* ---- one matrix ---- */

static moeq_status check_dtype(const struct mq_placing *p, const struct mq_located *at,
                               const char *what, enum mq_dtype dtype)
{
    const struct mq_st_entry *e = at->entry;
    const bool numbers = dtype == MQ_DTYPE_COUNT;
    if (numbers ? mq_dtype_storage(e->dtype) != NULL : e->dtype == dtype)
        return MOEQ_OK;
    return mq_fail_tensor(p->err, MOEQ_MALFORMED, mq_tensor_set_path(p->set, at), e->name,
                          e->offset, "%s of dtype %s: expected %s", what, mq_dtype_name(e->dtype),
                          numbers ? "F32, F16 or BF16" : mq_dtype_name(dtype));
}

static moeq_status find_pieces(const struct mq_placing *p, struct pieces *x)
{
    const struct mq_st_entry *e = p->at->entry;
    const struct form *form = x->form;
    char name[1024] = "";
    x->scales = take(p, form, form->scales);
    x->zeros = take(p, form, form->zeros);
    x->places = take(p, form, form->places);
    x->shape = take(p, form, form->shape);
    if (x->scales)
        return MOEQ_OK;
    base_name(p, form, form->scales, name);
    return mq_fail_tensor(p->err, MOEQ_NOT_FOUND, mq_tensor_set_path(p->set, p->at), e->name,
                          e->offset, "its scales are missing: expected a tensor '%.300s'", name);
}

/* The part of one expert's matrix of a tensor whose rows have row_bytes. */
static struct mq_integer_tensor piece(const struct mq_placing *p, const struct pieces *x,
                                      const struct mq_located *at, uint64_t row_bytes)
{
    const uint64_t expert = x->part.expert_dim ? (uint64_t)p->t->expert : 0;
    const struct mq_st_entry *e = at->entry;
    return (struct mq_integer_tensor){.name = e->name,
                                      .file = at->shard,
                                      .dtype = e->dtype,
                                      .offset =
                                          e->offset + expert * (e->size_bytes / x->part.experts),
                                      .row_bytes = row_bytes};
}

static moeq_status place_zeros(const struct mq_placing *p, const struct pieces *x,
                               const struct mq_source_scheme *scheme, struct mq_integers *in)
{
    const struct form *form = x->form;
    in->zero = 1 << (scheme->bits - 1);
    if (!x->zeros)
        return MOEQ_OK;
    const bool biases = form->zeros_are == MQ_ZEROS_BIASES;
    const enum mq_dtype dtype = biases                              ? MQ_DTYPE_COUNT
                                : form->zeros_are == MQ_ZEROS_BYTES ? MQ_I8
                                                                    : MQ_I32;
    MQ_TRY(check_dtype(p, x->zeros, biases ? "biases" : "zeros", dtype));
    const struct mq_shape shape = zero_shape(x, scheme);
    if (!mq_shape_is(x->zeros->entry, &shape))
        return mq_place_fail_shape(p, x->zeros, &shape);
    in->zeros_are = form->zeros_are;
    in->zeros_plus = p->view->claim.zeros_less_one;
    in->zeros = piece(p, x, x->zeros,
                      biases ? in->groups * mq_dtype_bytes(x->zeros->entry->dtype)
                             : divide_up(x->rows * scheme->bits, 32) * 4);
    return MOEQ_OK;
}

/* GPTQ's g_idx, and what compressed-tensors calls actorder. */
static moeq_status place_places(const struct mq_placing *p, const struct pieces *x,
                                struct mq_integers *in)
{
    const struct mq_source_claim *claim = &p->view->claim;
    const bool gptq = claim->method == MQ_SOURCE_GPTQ;
    const struct mq_st_entry *e = p->at->entry;
    if (!x->places && gptq && claim->reordered && in->groups > 1)
        return mq_fail_tensor(
            p->err, MOEQ_NOT_FOUND, mq_tensor_set_path(p->set, p->at), e->name, e->offset,
            "the groups of its columns are missing: expected a tensor '...%s', as "
            "config.json does not say that \"desc_act\" is false",
            x->form->places);
    if (!x->places)
        return MOEQ_OK;
    MQ_TRY(check_dtype(p, x->places, "groups", MQ_I32));
    const struct mq_shape shape = {.dims = 1, .n = {x->cols}};
    if (!mq_shape_is(x->places->entry, &shape))
        return mq_place_fail_shape(p, x->places, &shape);
    in->places = piece(p, x, x->places, 0);
    in->in_order = gptq && (!claim->reordered || in->groups == 1);
    return MOEQ_OK;
}

/* Its two numbers are compared when rows are read. */
static moeq_status place_shape(const struct mq_placing *p, const struct pieces *x,
                               struct mq_integers *in)
{
    if (!x->shape)
        return MOEQ_OK;
    const struct mq_st_entry *e = x->shape->entry;
    if ((e->dtype != MQ_I64 && e->dtype != MQ_I32) || e->dims != 1 || e->shape[0] != 2)
        return mq_fail_tensor(p->err, MOEQ_MALFORMED, mq_tensor_set_path(p->set, x->shape), e->name,
                              e->offset, "expected two numbers of dtype I64 or I32");
    in->shape = piece(p, x, x->shape, 0);
    return MOEQ_OK;
}

static uint64_t bytes_of(const struct pieces *x, const struct mq_located *at)
{
    return at ? at->entry->size_bytes / x->part.experts : 0;
}

static moeq_status place_scheme(const struct mq_placing *p, const struct pieces *x,
                                const struct mq_source_scheme *scheme)
{
    struct mq_integers *in = mq_arena_alloc(p->view->arena, 1, sizeof *in);
    struct mq_tensor *t = p->t;
    if (!in)
        return mq_fail_memory(p->err, "opening a model");
    const struct form *form = x->form;
    const uint64_t groups = groups_of(scheme, x->cols), bits = scheme->bits;
    const bool along = form->order == MQ_INTEGERS_ALONG;
    *in = (struct mq_integers){.bits = scheme->bits,
                               .order = form->order,
                               .is_signed = form->dtype == MQ_I8,
                               .scales_across = !along,
                               .one_scale = scheme->group == MQ_GROUP_TENSOR,
                               .zero_scales = form->method == MQ_SOURCE_MLX,
                               .group = x->cols / groups,
                               .groups = groups};
    in->codes = piece(p, x, p->at,
                      form->dtype == MQ_I8              ? x->cols
                      : along                           ? divide_up(x->cols * bits, 32) * 4
                      : form->order == MQ_INTEGERS_DOWN ? x->rows * 4
                                                        : x->rows * bits / 8);
    in->scales = piece(p, x, x->scales,
                       (along ? groups : x->rows) * mq_dtype_bytes(x->scales->entry->dtype));
    MQ_TRY(place_zeros(p, x, scheme, in));
    MQ_TRY(place_places(p, x, in));
    MQ_TRY(place_shape(p, x, in));
    mq_integers_choose(in, t);
    t->offset = in->codes.offset;
    const struct mq_assembly a = {.integers = in,
                                  .stored_bytes = bytes_of(x, p->at) + bytes_of(x, x->scales) +
                                                  bytes_of(x, x->zeros) + bytes_of(x, x->places)};
    return mq_place_set_assembly(p, &a);
}

/* MLX's mode mxfp4, and compressed-tensors' mxfp4-pack-quantized: the codes of gpt-oss' blocks, in words or
 * bytes, and the same scales. */
static moeq_status place_mxfp4(const struct mq_placing *p, const struct pieces *x)
{
    struct mq_tensor *t = p->t;
    const uint64_t blocks = x->cols / 32;
    const struct mq_shape codes =
        shape_of(x, x->rows, x->cols / (2 * mq_dtype_bytes(x->form->dtype)));
    const struct mq_shape scales = shape_of(x, x->rows, blocks);
    if (x->cols % 32 || !mq_shape_is(p->at->entry, &codes))
        return mq_place_fail_shape(p, p->at, &codes);
    if (!mq_shape_is(x->scales->entry, &scales))
        return mq_place_fail_shape(p, x->scales, &scales);
    const struct mq_integer_tensor at = piece(p, x, p->at, x->cols / 2);
    const struct mq_integer_tensor scale = piece(p, x, x->scales, blocks);
    const struct mq_assembly a = {.kind = MQ_ASSEMBLE_MXFP4,
                                  .stored_row_bytes = at.row_bytes,
                                  .step = 1,
                                  .scales = {.name = scale.name,
                                             .file = scale.file,
                                             .dtype = MQ_U8,
                                             .offset = scale.offset,
                                             .row_bytes = blocks,
                                             .rows_each = 1,
                                             .cols_each = 32},
                                  .stored_bytes = bytes_of(x, p->at) + bytes_of(x, x->scales)};
    t->storage = mq_assembly_storage(a.kind);
    t->row_bytes = mq_assembly_row_bytes(a.kind, t->cols);
    t->offset = at.offset;
    return mq_place_set_assembly(p, &a);
}

/* compressed-tensors' nvfp4-pack-quantized: the same codes, scales of E4M3 of 16 weights, and one of the matrix. */
static moeq_status place_nvfp4(const struct mq_placing *p, const struct pieces *x)
{
    enum { GROUP = 16 };
    const struct mq_located *whole = take(p, x->form, "_global_scale");
    const struct mq_st_entry *e = p->at->entry;
    const struct mq_shape one = {0}, codes = shape_of(x, x->rows, x->cols / 2);
    const struct mq_shape scales = shape_of(x, x->rows, x->cols / GROUP);
    struct mq_integers *in = mq_arena_alloc(p->view->arena, 1, sizeof *in);
    if (!in)
        return mq_fail_memory(p->err, "opening a model");
    if (!whole)
        return mq_fail_tensor(p->err, MOEQ_NOT_FOUND, mq_tensor_set_path(p->set, p->at), e->name,
                              e->offset,
                              "its scale is missing: expected a tensor '%s_global_scale'", p->name);
    MQ_TRY(check_dtype(p, whole, "the scale of a matrix", MQ_F32));
    if (x->cols % GROUP || !mq_shape_is(e, &codes))
        return mq_place_fail_shape(p, p->at, &codes);
    if (!mq_shape_is(x->scales->entry, &scales))
        return mq_place_fail_shape(p, x->scales, &scales);
    if (!mq_shape_is(whole->entry, &one))
        return mq_place_fail_shape(p, whole, &one);
    *in = (struct mq_integers){.bits = 4,
                               .is_fp4 = true,
                               .as_floats = true,
                               .zero_scales = true,
                               .group = GROUP,
                               .groups = x->cols / GROUP,
                               .codes = piece(p, x, p->at, x->cols / 2),
                               .scales = piece(p, x, x->scales, x->cols / GROUP),
                               .whole = piece(p, x, whole, 0)};
    const struct mq_assembly a = {.integers = in,
                                  .stored_bytes =
                                      bytes_of(x, p->at) + bytes_of(x, x->scales) + sizeof(float)};
    mq_integers_choose(in, p->t);
    p->t->offset = in->codes.offset;
    return mq_place_set_assembly(p, &a);
}

moeq_status mq_place_integers(struct mq_placing *p)
{
    const struct mq_source_claim *claim = &p->view->claim;
    const struct mq_st_entry *e = p->at->entry;
    struct pieces x = {.form = form_of(p),
                       .part = mq_part_of(p, p->alias),
                       .rows = p->t->rows,
                       .cols = p->t->cols};
    if (p->t->dims == 1 && !(p->alias && p->alias->parts)) /* [1, C]: a gate of shared experts */
        x.part.total = 1;
    else
        MQ_TRY(mq_place_check_part(p, &x.part));
    if (x.part.total != p->t->rows || (x.form->order != MQ_INTEGERS_ALONG && x.part.expert_dim))
        return mq_fail_tensor(p->err, MOEQ_UNSUPPORTED, mq_tensor_set_path(p->set, p->at), e->name,
                              e->offset,
                              "is quantized, and holds several matrices: this is not implemented");
    MQ_TRY(find_pieces(p, &x));
    if (x.form->dtype == MQ_U8 && claim->nvfp4 && x.scales->entry->dtype == MQ_F8_E4M3)
        return place_nvfp4(p, &x);
    if (x.form->dtype == MQ_U8)
        MQ_TRY(check_dtype(p, x.scales, "scales", MQ_U8));
    if (claim->mxfp4 && !x.zeros && x.scales->entry->dtype == MQ_U8)
        return place_mxfp4(p, &x);
    MQ_TRY(check_dtype(p, x.scales, "scales", MQ_DTYPE_COUNT));
    const struct mq_source_scheme *scheme = scheme_of(p, &x);
    return scheme ? place_scheme(p, &x, scheme) : fail_scheme(p, &x);
}
