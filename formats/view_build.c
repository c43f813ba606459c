/* view_build.c: the table of tensors, from the layers' programs. */
#include "view_int.h"

#include "error.h"
#include "open_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mq_pattern_expand(struct mq_arena *arena, const char *pattern, int32_t layer,
                              int32_t expert)
{
    char text[256];
    size_t n = 0;
    while (*pattern && n + 16 < sizeof text) {
        if (strncmp(pattern, "{layer}", 7) == 0) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%d", layer);
            pattern += 7;
        } else if (strncmp(pattern, "{expert}", 8) == 0) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%d", expert);
            pattern += 8;
        } else {
            text[n++] = *pattern++;
        }
    }
    return mq_arena_strndup(arena, text, n);
}

/* What the builder works on. */
struct builder {
    struct mq_view *view;
    const struct mq_view_source *source;
    moeq_error *err;
    size_t capacity;
};

static moeq_status add_tensor(struct builder *b, const struct mq_slot *slot, int32_t layer,
                              int32_t expert)
{
    struct mq_view *v = b->view;
    if (v->tensors_count == MQ_MAX_TENSORS)
        return mq_fail_file(b->err, MOEQ_LIMIT, v->path,
                            "asks for more than %d tensors: no model has so many", MQ_MAX_TENSORS);
    if (v->tensors_count == b->capacity) {
        const size_t capacity = b->capacity ? 2 * b->capacity : 64;
        struct mq_tensor *tensors = realloc(v->tensors, capacity * sizeof *tensors);
        if (!tensors)
            return mq_fail_memory(b->err, "opening a model");
        v->tensors = tensors;
        b->capacity = capacity;
    }
    struct mq_tensor *t = &v->tensors[v->tensors_count];
    *t = (struct mq_tensor){
        .name = mq_pattern_expand(v->arena, mq_family_name(v->family, slot->role), layer, expert),
        .role = slot->role,
        .layer = layer,
        .expert = expert,
        .dims = slot->is_vector ? 1 : 2,
        .rows = slot->rows,
        .cols = slot->cols};
    if (!t->name)
        return mq_fail_memory(b->err, "opening a model");
    MQ_TRY(b->source->place(b->source->user, v, t, b->err));
    v->tensors_count++;
    return MOEQ_OK;
}

moeq_status mq_view_fail_missing(const struct mq_view *view, const char *name, moeq_error *err)
{
    return mq_fail_about(err, name,
                         mq_fail_file(err, MOEQ_NOT_FOUND, view->path,
                        "tensor '%s' is missing: %s %s model of %u layers%s needs it", name,
                        strchr("aeiou", view->family->name[0]) ? "an" : "a", view->family->name,
                        view->hparams.layers, view->hparams.experts ? " with these experts" : ""));
}

/* The slots of a class that are not of experts, in the order of the steps. */
static moeq_status add_class(struct builder *b, const struct mq_program *program,
                             enum mq_role_class group, int32_t layer)
{
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    while ((slot = mq_program_next(program, &at)))
        if (!slot->per_expert && mq_view_class(b->view, slot->role) == group)
            MQ_TRY(add_tensor(b, slot, layer, -1));
    return MOEQ_OK;
}

/* A layer in the order of a moeq file: what stays unquantized, attention, shared
 * experts or an MLP beside experts, then each expert's matrices (or the dense MLP's) side by side. */
static moeq_status add_layer(struct builder *b, int32_t layer)
{
    static const enum mq_role_class order[] = {MQ_CLASS_KEEP, MQ_CLASS_ATTENTION, MQ_CLASS_SHARED,
                                               MQ_CLASS_EXPERTS};
    const struct mq_program *program = b->view->program->layers[layer];
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        MQ_TRY(add_class(b, program, order[i], layer));
    for (uint32_t expert = 0; expert < program->layer.ffn.router.experts; expert++) {
        struct mq_slot_at at = {0};
        const struct mq_slot *slot;
        while ((slot = mq_program_next(program, &at)))
            if (slot->per_expert)
                MQ_TRY(add_tensor(b, slot, layer, (int32_t)expert));
    }
    return MOEQ_OK;
}

/* All tensors were found, so layers x experts is no more than what the files hold. */
static moeq_status build_index(struct mq_view *v, moeq_error *err)
{
    const size_t n = mq_view_index_at(v, 0, (int32_t)v->hparams.layers, 0);
    v->index = mq_arena_alloc(v->arena, n, sizeof *v->index);
    if (!v->index)
        return mq_fail_memory(err, "opening a model");
    for (size_t i = 0; i < n; i++)
        v->index[i] = -1;
    for (size_t i = 0; i < v->tensors_count; i++) {
        const struct mq_tensor *t = &v->tensors[i];
        v->index[mq_view_index_at(v, t->role, t->layer, t->expert)] = (int32_t)i;
    }
    return MOEQ_OK;
}

static moeq_status add_end(struct builder *b, const struct mq_program *program)
{
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    while ((slot = mq_program_next(program, &at)))
        if (!(slot->role == MQ_ROLE_HEAD && b->view->hparams.tied_head))
            MQ_TRY(add_tensor(b, slot, -1, -1));
    return MOEQ_OK;
}

/* Everything in the order of a moeq file. */
static moeq_status add_all(struct builder *b)
{
    const struct mq_view *view = b->view;
    MQ_TRY(add_end(b, &view->program->begin));
    for (uint32_t layer = 0; layer < view->hparams.layers; layer++)
        MQ_TRY(add_layer(b, (int32_t)layer));
    return add_end(b, &view->program->end);
}

moeq_status mq_view_build(struct mq_view *view, const struct mq_view_source *source,
                          moeq_error *err)
{
    struct builder b = {.view = view, .source = source, .err = err};
    MQ_TRY(add_all(&b));
    return build_index(view, err);
}

moeq_status mq_view_note_quantized(struct mq_view *view,
                                   bool (*is_quantized)(const struct mq_tensor *tensor),
                                   moeq_error *err)
{
    size_t count[MQ_ROLE_COUNT] = {0};
    const struct mq_tensor *example[MQ_ROLE_COUNT] = {NULL};
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        if (mq_role_class(t->role) != MQ_CLASS_KEEP || !is_quantized(t))
            continue;
        count[t->role]++;
        example[t->role] = example[t->role] ? example[t->role] : t;
    }
    for (int role = 0; role < MQ_ROLE_COUNT; role++)
        if (count[role])
            MQ_TRY(mq_view_note(view, err,
                                "%zu %s%s quantized, such as %s (%s): what that does to the model "
                                "is in all figures",
                                count[role], mq_role_name((enum mq_role)role),
                                count[role] == 1 ? " tensor is" : " tensors are",
                                mq_tensor_shown(example[role]), example[role]->storage));
    return MOEQ_OK;
}
