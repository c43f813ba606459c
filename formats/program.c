/*
 * program.c: from what a layer is to its steps and slots; and that a family's descriptor says
 * nothing that no step takes.
 */
#include "layer.h"

#include "error.h"
#include "family.h"

#include <stdio.h>
#include <string.h>

/* ---- steps and slots ---- */

static struct mq_step *add_step(struct mq_program *p, enum mq_op op)
{
    struct mq_step *step = &p->steps[p->steps_count++];
    step->op = op;
    return step;
}

static struct mq_slot *add_matrix(struct mq_step *step, enum mq_role role, uint64_t rows,
                                  uint64_t cols)
{
    struct mq_slot *slot = &step->slots[step->slots_count++];
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
static void write_layer(struct mq_program *p, const struct mq_layer *layer, uint64_t hidden)
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
}

static void write_ends(struct mq_model_program *m, const struct mq_hparams *hp)
{
    add_matrix(add_step(&m->begin, MQ_OP_EMBED), MQ_ROLE_EMBEDDING, hp->vocab, hp->hidden);
    struct mq_step *head = add_step(&m->end, MQ_OP_HEAD);
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

static void describe(const struct mq_family *family, const struct mq_hparams *hp, uint32_t number,
                     struct mq_layer *layer)
{
    memset(layer, 0, sizeof *layer);
    family->layer(hp, number, layer);
}

/* The program of a layer like this, written if it is the first. */
static const struct mq_program *program_of(struct mq_model_program *m, struct mq_program *kinds,
                                           const struct mq_layer *layer, uint32_t hidden)
{
    for (size_t i = 0; i < m->kinds_count; i++)
        if (memcmp(&kinds[i].layer, layer, sizeof *layer) == 0)
            return &kinds[i];
    if (m->kinds_count == MQ_PROGRAM_KINDS)
        return NULL;
    write_layer(&kinds[m->kinds_count], layer, hidden);
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
        describe(view->family, hp, i, &layer);
        m->layers[i] = program_of(m, kinds, &layer, hp->hidden);
        if (!m->layers[i])
            return mq_fail_file(err, MOEQ_LIMIT, path, "asks for more than %d kinds of layers",
                                MQ_PROGRAM_KINDS);
    }
    return MOEQ_OK;
}

/* ---- whether the descriptor holds together ---- */

static moeq_status wrong(const struct mq_view *view, const char *path, moeq_error *err,
                         const char *what, const char *name, const char *why)
{
    return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                        "moeq's own description of the family %s is wrong: %s '%s' %s",
                        view->family->name, what, name, why);
}

static void collect_roles(const struct mq_program *p, bool roles[MQ_ROLE_COUNT])
{
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    while ((slot = mq_program_next(p, &at)))
        roles[slot->role] = true;
}

/* The roles that any layer could have. */
static void collect_known(bool known[MQ_ROLE_COUNT])
{
    static const enum mq_ffn_kind kinds[] = {MQ_FFN_DENSE, MQ_FFN_ROUTED};
    struct mq_program p;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct mq_layer layer = {.attention.qk_norm = MQ_QK_NORM_WHOLE, .ffn.kind = kinds[i]};
        write_layer(&p, &layer, 1);
        collect_roles(&p, known);
    }
}

static moeq_status check_roles(const struct mq_view *view, const struct mq_model_program *m,
                               const char *path, moeq_error *err)
{
    bool taken[MQ_ROLE_COUNT] = {false}, known[MQ_ROLE_COUNT] = {false};
    collect_roles(&m->begin, taken);
    collect_roles(&m->end, taken);
    for (size_t i = 0; i < m->kinds_count; i++)
        collect_roles(&m->kinds[i], taken);
    collect_known(known);
    for (const struct mq_tensor_name *n = view->family->names; n->name; n++)
        if (!taken[n->role] && !(n->in_some && known[n->role]))
            return wrong(view, path, err, "the tensor", n->name,
                         known[n->role] ? "has a role that no layer of this model takes"
                                        : "has a role that no step of the evaluator takes");
    for (int role = 0; role < MQ_ROLE_COUNT; role++)
        if (taken[role] && !mq_family_name(view->family, (enum mq_role)role))
            return wrong(view, path, err, "the role", mq_role_name((enum mq_role)role),
                         "is taken by a layer, and no tensor is named for it");
    return MOEQ_OK;
}

/* Another value of the field that a key fills; false if the type has none to try. */
static bool change(const struct mq_config_key *key, struct mq_hparams *hp)
{
    static const uint32_t first = 0;
    void *field = (char *)hp + key->field;
    struct mq_layer_set *set = field;
    switch (mq_hparam_at(key->field)->type) {
    case MQ_HPARAM_U32:
    case MQ_HPARAM_WINDOW:
        *(uint32_t *)field += 1;
        return true;
    case MQ_HPARAM_F32:
        *(float *)field = 2 * *(float *)field + 1;
        return true;
    case MQ_HPARAM_BOOL:
        *(bool *)field = !*(bool *)field;
        return true;
    case MQ_HPARAM_LAYERS:
        *set =
            mq_layer_set_has(set, 0) ? (struct mq_layer_set){0} : (struct mq_layer_set){&first, 1};
        return true;
    default:
        return false;
    }
}

/* Whether two sets of values make a different layer. */
static bool differ(const struct mq_family *family, const struct mq_hparams *a,
                   const struct mq_hparams *b)
{
    enum { PROBED = 8 };
    struct mq_layer one, other;
    for (uint32_t i = 0; i < PROBED; i++) {
        describe(family, a, i, &one);
        describe(family, b, i, &other);
        if (memcmp(&one, &other, sizeof one) != 0)
            return true;
    }
    return false;
}

static bool is_typed(const struct mq_config_key *key)
{
    return mq_config_key_is_read(key) && key->rule != MQ_KEY_SPECIAL;
}

/* Whether a key's value tells: with the model's values, or with those and one other key changed. */
static bool is_taken(const struct mq_family *family, const struct mq_hparams *hp,
                     const struct mq_config_key *key)
{
    struct mq_hparams changed = *hp;
    if (!change(key, &changed) || differ(family, hp, &changed))
        return true;
    for (const struct mq_config_key *other = family->keys; other->key; other++) {
        struct mq_hparams base = *hp;
        if (other == key || !is_typed(other) || !change(other, &base))
            continue;
        changed = base;
        change(key, &changed);
        if (differ(family, &base, &changed))
            return true;
    }
    return false;
}

static moeq_status check_keys(const struct mq_view *view, const char *path, moeq_error *err)
{
    for (const struct mq_config_key *key = view->family->keys; key->key; key++)
        if (is_typed(key) && !is_taken(view->family, &view->hparams, key))
            return wrong(view, path, err, "the key", key->key, "is read, and changes no layer");
    return MOEQ_OK;
}

moeq_status mq_program_create(struct mq_view *view, const char *path, moeq_error *err)
{
    struct mq_model_program *m = mq_arena_alloc(view->arena, 1, sizeof *m);
    if (!m)
        return mq_fail_memory(err, "opening a model");
    MQ_TRY(write_model(view, m, path, err));
    MQ_TRY(check_roles(view, m, path, err));
    MQ_TRY(check_keys(view, path, err));
    view->program = m;
    return MOEQ_OK;
}
