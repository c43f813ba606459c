/* program.c: from what a layer is to its steps and slots. */
#include "layer.h"

#include "error.h"
#include "family.h"
#include "family_check.h"

#include <string.h>

/* ---- steps and slots ---- */

/* What has no room overwrites the last one, and the program is refused (check_kinds). */
static struct mq_step *add_step(struct mq_program *p, enum mq_op op)
{
    p->too_long |= p->steps_count == MQ_PROGRAM_STEPS;
    struct mq_step *step = &p->steps[p->steps_count - (p->steps_count == MQ_PROGRAM_STEPS)];
    p->steps_count += p->steps_count < MQ_PROGRAM_STEPS;
    *step = (struct mq_step){.op = op};
    return step;
}

static struct mq_slot *add_matrix(struct mq_step *step, enum mq_role role, uint64_t rows,
                                  uint64_t cols)
{
    const bool full = step->slots_count == MQ_STEP_SLOTS;
    struct mq_slot *slot = &step->slots[step->slots_count - full];
    step->slots_count += !full;
    step->too_long |= full;
    *slot = (struct mq_slot){.role = role, .rows = rows, .cols = cols};
    return slot;
}

static void add_vector(struct mq_step *step, enum mq_role role, uint64_t cols)
{
    add_matrix(step, role, 1, cols)->is_vector = true;
}

static void add_norm(struct mq_program *p, enum mq_role role, uint64_t hidden)
{
    add_vector(add_step(p, MQ_OP_NORM), role, hidden);
}

static void add_attention(struct mq_program *p, uint64_t hidden)
{
    const struct mq_layer_attention *a = &p->layer.attention;
    const uint64_t q = (uint64_t)a->heads * a->head_dim, kv = (uint64_t)a->kv_heads * a->head_dim;
    struct mq_step *step = add_step(p, MQ_OP_ATTENTION);
    add_matrix(step, MQ_ROLE_ATTN_Q, q, hidden);
    add_matrix(step, MQ_ROLE_ATTN_K, kv, hidden);
    add_matrix(step, MQ_ROLE_ATTN_V, kv, hidden);
    if (a->qk_norm != MQ_QK_NORM_NONE) {
        const bool whole = a->qk_norm == MQ_QK_NORM_WHOLE;
        add_vector(step, MQ_ROLE_ATTN_Q_NORM, whole ? q : a->head_dim);
        add_vector(step, MQ_ROLE_ATTN_K_NORM, whole ? kv : a->head_dim);
    }
    add_matrix(step, MQ_ROLE_ATTN_O, hidden, q);
}

static void add_mlp(struct mq_program *p, uint64_t hidden)
{
    const uint64_t rows = p->layer.ffn.rows;
    struct mq_step *step = add_step(p, MQ_OP_MLP);
    add_matrix(step, MQ_ROLE_MLP_GATE, rows, hidden);
    add_matrix(step, MQ_ROLE_MLP_UP, rows, hidden);
    add_matrix(step, MQ_ROLE_MLP_DOWN, hidden, rows);
}

static void add_experts(struct mq_program *p, uint64_t hidden)
{
    const struct mq_layer_ffn *f = &p->layer.ffn;
    add_matrix(add_step(p, MQ_OP_ROUTE), MQ_ROLE_ROUTER, f->experts, hidden);
    struct mq_step *step = add_step(p, MQ_OP_EXPERTS);
    add_matrix(step, MQ_ROLE_EXPERT_GATE, f->rows, hidden)->per_expert = true;
    add_matrix(step, MQ_ROLE_EXPERT_UP, f->rows, hidden)->per_expert = true;
    add_matrix(step, MQ_ROLE_EXPERT_DOWN, hidden, f->rows)->per_expert = true;
}

/* Pre-norm attention, then a pre-normed feed-forward part. */
void mq_program_write(struct mq_program *p, const struct mq_layer *layer, uint64_t hidden)
{
    memset(p, 0, sizeof *p);
    p->layer = *layer;
    add_norm(p, MQ_ROLE_ATTN_NORM, hidden);
    add_attention(p, hidden);
    add_step(p, MQ_OP_ADD);
    add_norm(p, MQ_ROLE_FFN_NORM, hidden);
    if (layer->ffn.kind == MQ_FFN_ROUTED)
        add_experts(p, hidden);
    else
        add_mlp(p, hidden);
    add_step(p, MQ_OP_ADD);
    for (size_t i = 0; i < p->steps_count; i++)
        p->too_long |= p->steps[i].too_long;
}

static void write_ends(struct mq_model_program *m, const struct mq_hparams *hp)
{
    add_matrix(add_step(&m->begin, MQ_OP_EMBED), MQ_ROLE_EMBEDDING, hp->vocab, hp->hidden);
    struct mq_step *head = add_step(&m->end, MQ_OP_HEAD);
    m->end.layer.norm_eps = hp->rms_eps;
    add_vector(head, MQ_ROLE_OUTPUT_NORM, hp->hidden);
    add_matrix(head, MQ_ROLE_HEAD, hp->vocab, hp->hidden);
}

const struct mq_slot *mq_program_next(const struct mq_program *program, struct mq_slot_at *at)
{
    while (at->step < program->steps_count && at->slot == program->steps[at->step].slots_count) {
        at->step++;
        at->slot = 0;
    }
    return at->step < program->steps_count ? &program->steps[at->step].slots[at->slot++] : NULL;
}

const struct mq_slot *mq_program_find(const struct mq_program *program, enum mq_role role)
{
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    while ((slot = mq_program_next(program, &at)))
        if (slot->role == role)
            return slot;
    return NULL;
}

bool mq_program_has(const struct mq_program *program, enum mq_op op)
{
    for (size_t i = 0; i < program->steps_count; i++)
        if (program->steps[i].op == op)
            return true;
    return false;
}

uint64_t mq_layer_kv_numbers(const struct mq_layer *layer)
{
    return (uint64_t)layer->attention.kv_heads * layer->attention.head_dim;
}

uint64_t mq_layer_used_share(const struct mq_layer *layer, uint64_t of_all_experts)
{
    const struct mq_layer_ffn *f = &layer->ffn;
    return f->experts ? of_all_experts / f->experts * f->top_k : 0;
}

/* ---- of a whole model ---- */

/* The program of a layer like this, written if it is the first. */
static const struct mq_program *program_of(struct mq_model_program *m, struct mq_program *kinds,
                                           const struct mq_layer *layer, uint32_t hidden)
{
    for (size_t i = 0; i < m->kinds_count; i++)
        if (memcmp(&kinds[i].layer, layer, sizeof *layer) == 0)
            return &kinds[i];
    if (m->kinds_count == MQ_PROGRAM_KINDS)
        return NULL;
    mq_program_write(&kinds[m->kinds_count], layer, hidden);
    return &kinds[m->kinds_count++];
}

static moeq_status write_model(struct mq_view *view, struct mq_model_program *m, const char *path,
                               moeq_error *err)
{
    const struct mq_hparams *hp = &view->hparams;
    if (hp->layers > MQ_MAX_TENSORS)
        return mq_fail_file(err, MOEQ_LIMIT, path,
                            "asks for more than %d tensors: no model has so many", MQ_MAX_TENSORS);
    struct mq_program *kinds = mq_arena_alloc(view->arena, MQ_PROGRAM_KINDS, sizeof *kinds);
    m->layers = mq_arena_alloc(view->arena, hp->layers, sizeof(struct mq_program *));
    if (!kinds || !m->layers)
        return mq_fail_memory(err, "opening a model");
    write_ends(m, hp);
    m->kinds = kinds;
    for (uint32_t i = 0; i < hp->layers; i++) {
        struct mq_layer layer;
        mq_family_describe(view->family, hp, i, &layer);
        m->layers[i] = program_of(m, kinds, &layer, hp->hidden);
        if (!m->layers[i])
            return mq_fail_file(err, MOEQ_LIMIT, path, "asks for more than %d kinds of layers",
                                MQ_PROGRAM_KINDS);
    }
    return MOEQ_OK;
}

/* Sizes of which a family's code has left one at 0 would give results of no meaning. */
static const char *missing_size(const struct mq_layer *l)
{
    const bool routed = l->ffn.kind == MQ_FFN_ROUTED;
    return !l->attention.heads || !l->attention.kv_heads || !l->attention.head_dim ? "heads"
           : !(l->attention.scale > 0)                    ? "scale of scores"
           : !l->ffn.rows                                 ? "rows of an MLP"
           : routed && (!l->ffn.experts || !l->ffn.top_k) ? "experts"
                                                          : NULL;
}

static moeq_status check_kinds(const struct mq_view *view, const struct mq_model_program *m,
                               const char *path, moeq_error *err)
{
    for (size_t i = 0; i < m->kinds_count; i++) {
        const char *missing = missing_size(&m->kinds[i].layer);
        if (m->kinds[i].too_long)
            return mq_family_wrong(view, path, err, "the program of", "a layer",
                                   "is longer than MQ_PROGRAM_STEPS and MQ_STEP_SLOTS allow");
        if (missing)
            return mq_family_wrong(view, path, err, "the piece", missing, "has no size");
    }
    return MOEQ_OK;
}

moeq_status mq_program_create(struct mq_view *view, const char *path, moeq_error *err)
{
    struct mq_model_program *m = mq_arena_alloc(view->arena, 1, sizeof *m);
    if (!m)
        return mq_fail_memory(err, "opening a model");
    MQ_TRY(write_model(view, m, path, err));
    MQ_TRY(check_kinds(view, m, path, err));
    MQ_TRY(mq_family_check(view, m, path, err));
    view->program = m;
    return MOEQ_OK;
}
