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

/* A norm's weights, and its biases where the layer's norms have them. */
static struct mq_step *add_norm_as(struct mq_program *p, enum mq_op op, enum mq_role role,
                                   enum mq_role bias, uint64_t hidden)
{
    struct mq_step *step = add_step(p, op);
    add_vector(step, role, hidden);
    if (p->layer.norm_bias)
        add_vector(step, bias, hidden);
    return step;
}

/* Norms that no family has with biases: MQ_ROLE_COUNT is no role, and refused if one asks for it. */
static void add_plain_norm(struct mq_program *p, enum mq_op op, enum mq_role role, uint64_t hidden)
{
    add_norm_as(p, op, role, MQ_ROLE_COUNT, hidden);
}

/* ---- mixers ---- */

static void add_qk_norms(struct mq_step *step, const struct mq_layer_attention *a, uint64_t q,
                         uint64_t kv)
{
    const bool whole = a->qk_norm == MQ_QK_NORM_WHOLE;
    if (a->qk_norm == MQ_QK_NORM_NONE || a->qk_norm == MQ_QK_NORM_PLAIN_AFTER)
        return;
    add_vector(step, MQ_ROLE_ATTN_Q_NORM, whole ? q : a->head_dim);
    add_vector(step, MQ_ROLE_ATTN_K_NORM, whole ? kv : a->head_dim);
}

static void add_grouped(struct mq_program *p, uint64_t hidden)
{
    const struct mq_layer_attention *a = &p->layer.attention;
    const uint64_t q = (uint64_t)a->heads * a->head_dim, kv = (uint64_t)a->kv_heads * a->head_dim;
    const uint64_t v = (uint64_t)a->kv_heads * a->value_dim;
    const uint64_t out = (uint64_t)a->heads * a->value_dim;
    const uint64_t q_rows = a->gate == MQ_GATE_IN_Q ? 2 * q : q;
    struct mq_step *step = add_step(p, MQ_OP_ATTENTION);
    add_matrix(step, MQ_ROLE_ATTN_Q, q_rows, hidden);
    add_matrix(step, MQ_ROLE_ATTN_K, kv, hidden);
    if (!a->value_is_key)
        add_matrix(step, MQ_ROLE_ATTN_V, v, hidden);
    if (a->qkv_bias) {
        add_vector(step, MQ_ROLE_ATTN_Q_BIAS, q_rows);
        add_vector(step, MQ_ROLE_ATTN_K_BIAS, kv);
        if (!a->value_is_key)
            add_vector(step, MQ_ROLE_ATTN_V_BIAS, v);
    }
    add_qk_norms(step, a, q, kv);
    if (a->sinks)
        add_vector(step, MQ_ROLE_ATTN_SINKS, a->heads);
    if (a->gate == MQ_GATE_MATRIX)
        add_matrix(step, MQ_ROLE_ATTN_GATE, out, hidden);
    add_matrix(step, MQ_ROLE_ATTN_O, hidden, out);
    if (a->o_bias)
        add_vector(step, MQ_ROLE_ATTN_O_BIAS, hidden);
}

static void add_latent(struct mq_program *p, uint64_t hidden)
{
    const struct mq_layer_attention *a = &p->layer.attention;
    const uint64_t q = (uint64_t)a->heads * a->head_dim, plain = a->head_dim - a->rotary_dim;
    struct mq_step *step = add_step(p, MQ_OP_LATENT);
    if (a->q_rank) {
        add_matrix(step, MQ_ROLE_ATTN_Q_A, a->q_rank, hidden);
        add_vector(step, MQ_ROLE_ATTN_Q_A_NORM, a->q_rank);
        add_matrix(step, MQ_ROLE_ATTN_Q_B, q, a->q_rank);
    } else {
        add_matrix(step, MQ_ROLE_ATTN_Q, q, hidden);
    }
    add_matrix(step, MQ_ROLE_ATTN_KV_A, (uint64_t)a->kv_rank + a->rotary_dim, hidden);
    add_vector(step, MQ_ROLE_ATTN_KV_A_NORM, a->kv_rank);
    add_matrix(step, MQ_ROLE_ATTN_KV_B, a->heads * (plain + a->value_dim), a->kv_rank);
    add_matrix(step, MQ_ROLE_ATTN_O, hidden, (uint64_t)a->heads * a->value_dim);
    if (!a->indexer_heads)
        return;
    add_matrix(step, MQ_ROLE_INDEXER_Q, (uint64_t)a->indexer_heads * a->indexer_dim, a->q_rank);
    add_matrix(step, MQ_ROLE_INDEXER_K, a->indexer_dim, hidden);
    add_vector(step, MQ_ROLE_INDEXER_K_NORM, a->indexer_dim);
    add_vector(step, MQ_ROLE_INDEXER_K_NORM_BIAS, a->indexer_dim);
    add_matrix(step, MQ_ROLE_INDEXER_WEIGHTS, a->indexer_heads, hidden);
}

/* The convolution's channels: q, k and v of a DeltaNet; x, B and C of a Mamba. */
static uint64_t channels_of(const struct mq_layer_attention *a, uint64_t hidden)
{
    const uint64_t keys = (uint64_t)a->kv_heads * a->head_dim;
    const uint64_t values = (uint64_t)a->heads * a->value_dim;
    return a->kind == MQ_MIXER_CONVOLUTION ? hidden : 2 * keys + values;
}

static void add_convolution_slots(struct mq_step *step, const struct mq_layer_attention *a,
                                  uint64_t hidden)
{
    const uint64_t channels = channels_of(a, hidden);
    add_matrix(step, MQ_ROLE_MIX_CONV, channels, a->taps);
    if (a->conv_bias)
        add_vector(step, MQ_ROLE_MIX_CONV_BIAS, channels);
}

static void add_delta(struct mq_program *p, uint64_t hidden)
{
    const struct mq_layer_attention *a = &p->layer.attention;
    const uint64_t values = (uint64_t)a->heads * a->value_dim, channels = channels_of(a, hidden);
    struct mq_step *step = add_step(p, MQ_OP_DELTA);
    if (a->by_key_head) {
        add_matrix(step, MQ_ROLE_DELTA_QKVZ, channels + values, hidden);
        add_matrix(step, MQ_ROLE_DELTA_BA, 2 * (uint64_t)a->heads, hidden);
    } else {
        add_matrix(step, MQ_ROLE_DELTA_QKV, channels, hidden);
        add_matrix(step, MQ_ROLE_DELTA_Z, values, hidden);
        add_matrix(step, MQ_ROLE_DELTA_BETA, a->heads, hidden);
        add_matrix(step, MQ_ROLE_DELTA_ALPHA, a->heads, hidden);
    }
    add_convolution_slots(step, a, hidden);
    add_vector(step, MQ_ROLE_MIX_DECAY, a->heads);
    add_vector(step, MQ_ROLE_MIX_STEP_BIAS, a->heads);
    add_vector(step, MQ_ROLE_MIX_NORM, a->value_dim);
    add_matrix(step, MQ_ROLE_MIX_OUT, hidden, values);
}

bool mq_mixer_products_have_biases(const struct mq_layer_attention *a)
{
    return (a->kind == MQ_MIXER_CONVOLUTION && a->conv_bias) ||
           (a->kind == MQ_MIXER_MAMBA && a->o_bias);
}

static void add_convolution(struct mq_program *p, uint64_t hidden)
{
    const struct mq_layer_attention *a = &p->layer.attention;
    struct mq_step *step = add_step(p, MQ_OP_CONVOLUTION);
    add_matrix(step, MQ_ROLE_MIX_IN, 3 * hidden, hidden);
    if (a->conv_bias)
        add_vector(step, MQ_ROLE_MIX_IN_BIAS, 3 * hidden);
    add_convolution_slots(step, a, hidden);
    add_matrix(step, MQ_ROLE_MIX_OUT, hidden, hidden);
    if (a->conv_bias)
        add_vector(step, MQ_ROLE_MIX_OUT_BIAS, hidden);
}

static void add_mamba(struct mq_program *p, uint64_t hidden)
{
    const struct mq_layer_attention *a = &p->layer.attention;
    const uint64_t values = (uint64_t)a->heads * a->value_dim;
    struct mq_step *step = add_step(p, MQ_OP_MAMBA);
    const uint64_t rows = values + channels_of(a, hidden) + a->heads;
    add_matrix(step, MQ_ROLE_MIX_IN, rows, hidden);
    if (mq_mixer_products_have_biases(a))
        add_vector(step, MQ_ROLE_MIX_IN_BIAS, rows);
    add_convolution_slots(step, a, hidden);
    add_vector(step, MQ_ROLE_MIX_DECAY, a->heads);
    add_vector(step, MQ_ROLE_MIX_STEP_BIAS, a->heads);
    add_vector(step, MQ_ROLE_MIX_SKIP, a->heads);
    add_vector(step, MQ_ROLE_MIX_NORM, values);
    add_matrix(step, MQ_ROLE_MIX_OUT, hidden, values);
    if (mq_mixer_products_have_biases(a))
        add_vector(step, MQ_ROLE_MIX_OUT_BIAS, hidden);
}

static void add_mixer(struct mq_program *p, uint64_t hidden)
{
    static void (*const add[])(struct mq_program *, uint64_t) = {
        [MQ_MIXER_GROUPED] = add_grouped,         [MQ_MIXER_LATENT] = add_latent,
        [MQ_MIXER_DELTA] = add_delta,             [MQ_MIXER_MAMBA] = add_mamba,
        [MQ_MIXER_CONVOLUTION] = add_convolution,
    };
    if (p->layer.attention.kind == MQ_MIXER_NONE)
        return;
    add_norm_as(p, MQ_OP_NORM, MQ_ROLE_ATTN_NORM, MQ_ROLE_ATTN_NORM_BIAS, hidden);
    add[p->layer.attention.kind](p, hidden);
    if (p->layer.norm_mixed)
        add_plain_norm(p, MQ_OP_NORM_OUT, MQ_ROLE_ATTN_OUT_NORM, hidden);
    add_step(p, MQ_OP_ADD);
}

/* ---- feed-forward parts ---- */

/* The roles of an MLP's matrices and of their biases, one after the other in MQ_ROLE_LIST. */
static void add_mlp_slots(struct mq_step *step, enum mq_role gate, const struct mq_layer_ffn *f,
                          uint64_t rows, uint64_t hidden)
{
    const bool experts = gate == MQ_ROLE_EXPERT_GATE, bias = experts ? f->expert_bias : f->bias;
    const bool gated = mq_activation_is_gated(f->activation);
    const uint64_t out[] = {rows, rows, hidden};
    for (int i = gated ? 0 : 1; i < 3; i++) {
        const enum mq_role role = mq_role_of_matrix(gate, i);
        add_matrix(step, role, out[i], i == 2 ? rows : hidden)->per_expert = experts;
        if (bias) {
            add_vector(step, role + 1, out[i]);
            step->slots[step->slots_count - 1].per_expert = experts;
        }
    }
}

static void add_mlp(struct mq_program *p, uint64_t rows, uint64_t hidden)
{
    add_mlp_slots(add_step(p, MQ_OP_MLP), MQ_ROLE_MLP_GATE, &p->layer.ffn, rows, hidden);
}

static void add_route(struct mq_program *p, uint64_t hidden)
{
    const struct mq_layer_router *r = &p->layer.ffn.router;
    struct mq_step *step = add_step(p, MQ_OP_ROUTE);
    add_matrix(step, MQ_ROLE_ROUTER, r->experts, hidden);
    if (r->logit_bias)
        add_vector(step, MQ_ROLE_ROUTER_BIAS, r->experts);
    if (r->choice_bias)
        add_vector(step, MQ_ROLE_ROUTER_CHOICE_BIAS, r->experts);
    if (r->expert_scale)
        add_vector(step, MQ_ROLE_ROUTER_EXPERT_SCALE, r->experts);
}

static void add_experts(struct mq_program *p, uint64_t hidden)
{
    const struct mq_layer_ffn *f = &p->layer.ffn;
    add_mlp_slots(add_step(p, MQ_OP_EXPERTS), MQ_ROLE_EXPERT_GATE, f, f->rows, hidden);
    if (!f->shared_rows)
        return;
    struct mq_step *step = add_step(p, MQ_OP_SHARED);
    add_mlp_slots(step, MQ_ROLE_SHARED_GATE, f, f->shared_rows, hidden);
    if (f->shared_gate)
        add_matrix(step, MQ_ROLE_SHARED_SCALE, 1, hidden);
}

/* An MLP and experts side by side, each between norms of its own, and added. */
static void add_both(struct mq_program *p, uint64_t hidden)
{
    add_mlp(p, p->layer.ffn.dense_rows, hidden);
    add_plain_norm(p, MQ_OP_NORM_OUT, MQ_ROLE_MLP_OUT_NORM, hidden);
    add_step(p, MQ_OP_KEEP);
    if (p->layer.ffn.router.own_norm != 0)
        add_vector(add_step(p, MQ_OP_ROUTER_NORM), MQ_ROLE_ROUTER_NORM, hidden);
    add_route(p, hidden);
    add_plain_norm(p, MQ_OP_NORM, MQ_ROLE_EXPERTS_NORM, hidden);
    add_experts(p, hidden);
    add_plain_norm(p, MQ_OP_NORM_OUT, MQ_ROLE_EXPERTS_OUT_NORM, hidden);
    add_step(p, MQ_OP_ADD_KEPT);
}

static void add_ffn(struct mq_program *p, uint64_t hidden)
{
    const struct mq_layer_ffn *f = &p->layer.ffn;
    if (f->kind == MQ_FFN_NONE)
        return;
    add_norm_as(p, MQ_OP_NORM, MQ_ROLE_FFN_NORM, MQ_ROLE_FFN_NORM_BIAS, hidden);
    if (f->kind == MQ_FFN_BOTH) {
        add_both(p, hidden);
    } else if (f->kind == MQ_FFN_ROUTED) {
        add_route(p, hidden);
        add_experts(p, hidden);
    } else {
        add_mlp(p, f->rows, hidden);
    }
    if (p->layer.norm_ffn_out)
        add_plain_norm(p, MQ_OP_NORM_OUT, MQ_ROLE_FFN_OUT_NORM, hidden);
    add_step(p, MQ_OP_ADD);
}

void mq_program_write(struct mq_program *p, const struct mq_layer *layer, uint64_t hidden)
{
    memset(p, 0, sizeof *p);
    p->layer = *layer;
    add_mixer(p, hidden);
    add_ffn(p, hidden);
    if (layer->layer_scale)
        add_vector(add_step(p, MQ_OP_RESCALE), MQ_ROLE_LAYER_SCALE, 1);
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

uint64_t mq_layer_key_numbers(const struct mq_layer *layer)
{
    const struct mq_layer_attention *a = &layer->attention;
    return a->kind == MQ_MIXER_LATENT    ? (uint64_t)a->kv_rank + a->rotary_dim
           : a->kind == MQ_MIXER_GROUPED ? (uint64_t)a->kv_heads * a->head_dim
                                         : 0;
}

uint64_t mq_layer_value_numbers(const struct mq_layer *layer)
{
    const struct mq_layer_attention *a = &layer->attention;
    return a->kind == MQ_MIXER_GROUPED ? (uint64_t)a->kv_heads * a->value_dim : 0;
}

uint64_t mq_layer_state_numbers(const struct mq_layer *layer, uint64_t hidden)
{
    const struct mq_layer_attention *a = &layer->attention;
    const bool recurrent = a->kind == MQ_MIXER_DELTA || a->kind == MQ_MIXER_MAMBA;
    if (!recurrent && a->kind != MQ_MIXER_CONVOLUTION)
        return 0;
    return (recurrent ? (uint64_t)a->heads * a->head_dim * a->value_dim : 0) +
           (a->taps - 1) * channels_of(a, hidden);
}

uint64_t mq_layer_used_share(const struct mq_layer *layer, uint64_t of_all_experts)
{
    const struct mq_layer_router *r = &layer->ffn.router;
    return r->experts ? of_all_experts / r->experts * r->top_k : 0;
}

void mq_program_write_ends(struct mq_program *begin, struct mq_program *end,
                           const struct mq_hparams *hp, const struct mq_ends *ends)
{
    add_matrix(add_step(begin, MQ_OP_EMBED), MQ_ROLE_EMBEDDING, hp->vocab, hp->hidden);
    struct mq_step *head = add_step(end, MQ_OP_HEAD);
    end->layer.norm = ends->norm;
    end->layer.norm_bias = ends->norm_bias;
    end->layer.norm_eps = ends->norm_eps;
    add_vector(head, MQ_ROLE_OUTPUT_NORM, hp->hidden);
    if (ends->norm_bias)
        add_vector(head, MQ_ROLE_OUTPUT_NORM_BIAS, hp->hidden);
    add_matrix(head, MQ_ROLE_HEAD, hp->vocab, hp->hidden);
    if (ends->head_bias)
        add_vector(head, MQ_ROLE_HEAD_BIAS, hp->vocab);
}
