/*
 * place_parts.c: what finding a tensor's place asks of every way of storing: how matrices share a tensor
 * (struct mq_tensor_alias), shapes, and what stands beside.
 */
#include "place_int.h"

#include "error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- how matrices share a tensor ---- */

/* Rows of a role in a layer; 0 if it has none. */
static uint64_t rows_of(const struct mq_view *view, enum mq_role role, int32_t layer)
{
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    while (layer >= 0 && (slot = mq_program_next(view->program->layers[layer], &at)))
        if (slot->role == role)
            return slot->is_vector ? slot->cols : slot->rows;
    return 0;
}

struct mq_part mq_part_of(const struct mq_placing *p, const struct mq_tensor_alias *alias)
{
    const struct mq_tensor *t = p->t;
    const uint64_t rows = t->dims == 1 ? t->cols : t->rows;
    struct mq_part part = {.experts = 1, .total = rows, .step = 1};
    if (!alias || !alias->parts)
        return part;
    const uint32_t number = alias->part & MQ_PARTS_NUMBER;
    if (t->expert >= 0)
        part.experts = p->view->hparams.experts;
    part.expert_dim = t->expert >= 0 && !(alias->part & MQ_PARTS_FLAT_EXPERTS);
    part.transposed = alias->part & MQ_PARTS_TRANSPOSED;
    part.total = alias->parts * rows;
    part.first = number * rows;
    if (alias->part & MQ_PARTS_ALTERNATE) {
        part.first = number;
        part.step = alias->parts;
    }
    if (alias->part & MQ_PARTS_QKV) {
        static const enum mq_role qkv[] = {MQ_ROLE_ATTN_Q, MQ_ROLE_ATTN_K, MQ_ROLE_ATTN_V};
        part.total = part.first = 0;
        for (uint32_t i = 0; i < sizeof qkv / sizeof *qkv; i++) {
            const uint64_t n = rows_of(p->view, qkv[i], t->layer);
            part.total += n;
            part.first += i < number ? n : 0;
        }
    }
    return part;
}

bool mq_shape_is(const struct mq_st_entry *e, const struct mq_shape *s)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < e->dims; i++)
        if (k < s->dims && e->shape[i] == s->n[k])
            k++;
        else if (e->shape[i] != 1 || e->dims - i <= s->dims - k)
            return false;
    return k == s->dims;
}

static void write_shape(uint32_t dims, const uint64_t *n, char *text, size_t room)
{
    text[0] = '\0';
    for (uint32_t i = 0; i < dims; i++)
        snprintf(text + strlen(text), room - strlen(text), "%s%" PRIu64, i ? ", " : "", n[i]);
}

moeq_status mq_place_fail_shape(const struct mq_placing *p, const struct mq_located *at,
                                const struct mq_shape *expected)
{
    const struct mq_st_entry *e = at->entry;
    char want[200], have[200];
    write_shape(expected->dims, expected->n, want, sizeof want);
    write_shape(e->dims, e->shape, have, sizeof have);
    return mq_fail_tensor(p->err, MOEQ_MALFORMED, mq_tensor_set_path(p->set, at), e->name,
                          e->offset, "expected shape [%s] from config.json, found [%s]", want,
                          have);
}

/* ---- what is found ---- */

const struct mq_located *mq_place_find_beside(const struct mq_placing *p, const char *end)
{
    char name[1024];
    const int n = end ? snprintf(name, sizeof name, "%s%s", p->name, end) : -1;
    struct mq_located *at =
        n > 0 && (size_t)n < sizeof name ? mq_tensor_set_find(p->set, name) : NULL;
    if (at)
        at->used = true;
    return at;
}

moeq_status mq_place_check_part(const struct mq_placing *p, const struct mq_part *part)
{
    const struct mq_st_entry *e = p->at->entry;
    if (part->transposed || p->t->dims == 1 || (part->experts > 1 && !part->expert_dim))
        return mq_fail_tensor(p->err, MOEQ_UNSUPPORTED, mq_tensor_set_path(p->set, p->at), e->name,
                              e->offset, "is quantized, and %s: this is not implemented",
                              part->transposed  ? "transposed"
                              : p->t->dims == 1 ? "a vector"
                                                : "flat");
    return MOEQ_OK;
}

moeq_status mq_place_set_assembly(const struct mq_placing *p, const struct mq_assembly *a)
{
    struct mq_assembly *copy = mq_arena_alloc(p->view->arena, 1, sizeof *copy);
    if (!copy)
        return mq_fail_memory(p->err, "opening a model");
    *copy = *a;
    p->t->assembly = copy;
    return MOEQ_OK;
}
