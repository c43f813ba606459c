/* program.c: from what a layer is to its steps and slots. */
#include "layer.h"

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

const struct mq_slot *mq_program_next(const struct mq_program *program, struct mq_slot_at *at)
{
    while (at->step < program->steps_count && at->slot == program->steps[at->step].slots_count) {
        at->step++;
        at->slot = 0;
    }
    return at->step < program->steps_count ? &program->steps[at->step].slots[at->slot++] : NULL;
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

void mq_program_write_ends(struct mq_program *begin, struct mq_program *end,
                           const struct mq_hparams *hp)
{
    add_matrix(add_step(begin, MQ_OP_EMBED), MQ_ROLE_EMBEDDING, hp->vocab, hp->hidden);
    struct mq_step *head = add_step(end, MQ_OP_HEAD);
    end->layer.norm_eps = hp->rms_eps;
    add_vector(head, MQ_ROLE_OUTPUT_NORM, hp->hidden);
    add_matrix(head, MQ_ROLE_HEAD, hp->vocab, hp->hidden);
}
