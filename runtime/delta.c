/*
 * delta.c: the step `delta`: gated DeltaNet (Qwen3-Next). Products give q, k, v and a gate z of all
 * heads, and two numbers a and b of each; q, k and v are convolved; heads recur, are normalized and
 * gated.
 *
 *     work  | q, k, v [tokens] | z [tokens] | b [tokens] | a [tokens] | out [tokens] |
 *
 * By key heads, rows are those of one key head after the other, [q | k | its v | its z] and
 * [its b | its a]: then z stands in the rows of q, and a in those of b.
 */
#include "mixers_int.h"

#include "checked.h"
#include "error.h"

/* Where the parts begin in the work area, and the strides of their rows, in floats. */
struct places {
    size_t keys, values; /* numbers of all heads of q or k, and of v */
    size_t per_key;      /* heads of v for one of k */
    size_t z, b, a, out, end;
    size_t ld, ldz, ldb, ldo;
    size_t group, gate_group; /* by key heads: the numbers of one in a row, of q k v z and of b a */
};

static struct places places_of(const struct mq_layer_attention *l, size_t tokens)
{
    struct places p = {.keys = (size_t)l->kv_heads * l->head_dim,
                       .values = (size_t)l->heads * l->value_dim,
                       .per_key = l->heads / l->kv_heads};
    p.ldo = p.values + MQ_ROW_PAD;
    if (l->by_key_head) {
        p.group = 2 * ((size_t)l->head_dim + p.per_key * l->value_dim);
        p.gate_group = 2 * p.per_key;
        p.ld = p.ldz = 2 * (p.keys + p.values) + MQ_ROW_PAD;
        p.ldb = 2 * (size_t)l->heads + MQ_ROW_PAD;
        p.z = 2 * (size_t)l->head_dim + p.per_key * l->value_dim;
        p.b = tokens * p.ld;
        p.a = p.b + p.per_key;
        p.out = p.b + tokens * p.ldb;
    } else {
        p.ld = 2 * p.keys + p.values + MQ_ROW_PAD;
        p.ldz = p.values + MQ_ROW_PAD;
        p.ldb = l->heads + MQ_ROW_PAD;
        p.z = tokens * p.ld;
        p.b = p.z + tokens * p.ldz;
        p.a = p.b + tokens * p.ldb;
        p.out = p.a + tokens * p.ldb;
    }
    p.end = p.out + tokens * p.ldo;
    return p;
}

size_t mq_pass_delta_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return places_of(&layer->attention, sizes->tokens).end;
}

uint64_t mq_pass_delta_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    const struct places p = places_of(&layer->attention, 0);
    return sizes->tokens * mq_linear_int8_bytes(mq_max_u64(sizes->hidden, p.values));
}

/* a and b are small, and what a state keeps hangs on them: never as integers. */
static moeq_status project(struct mq_pass *pass, int32_t layer, const struct places *p,
                           moeq_error *err)
{
    if (pass->layer->attention.by_key_head) {
        MQ_TRY(mq_mixers_project(pass, MQ_ROLE_DELTA_QKVZ, layer, 0, p->ld, false, err));
        return mq_mixers_project(pass, MQ_ROLE_DELTA_BA, layer, p->b, p->ldb, true, err);
    }
    MQ_TRY(mq_mixers_project(pass, MQ_ROLE_DELTA_QKV, layer, 0, p->ld, false, err));
    MQ_TRY(mq_mixers_project(pass, MQ_ROLE_DELTA_Z, layer, p->z, p->ldz, false, err));
    MQ_TRY(mq_mixers_project(pass, MQ_ROLE_DELTA_BETA, layer, p->b, p->ldb, true, err));
    return mq_mixers_project(pass, MQ_ROLE_DELTA_ALPHA, layer, p->a, p->ldb, true, err);
}

/* The convolution's weights are those of all of q, then of all of k and v, in either order of rows;
 * its biases are not asked for by any family by key heads. */
static void convolve(struct mq_pass *pass, const struct mq_pass_arm *arm, int32_t layer,
                     const struct places *p)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const struct mq_mixers *m = pass->mixers;
    const size_t parts = l->by_key_head ? l->kv_heads : 1, channels = 2 * p->keys + p->values;
    const size_t of_part[] = {p->keys / parts, p->keys / parts, p->values / parts};
    const size_t first[] = {0, p->keys, 2 * p->keys};
    size_t to = 0;
    for (size_t part = 0; part < parts; part++)
        for (size_t i = 0; i < 3; i++) {
            const float *stored = m->stored + (first[i] + part * of_part[i]) * l->taps;
            mq_convolution_weights(stored, of_part[i], l->taps, m->weights, to, channels);
            to += of_part[i];
        }
    struct mq_convolution_job job =
        mq_mixers_convolution(pass, arm, layer, arm->work, p->ld, channels / parts);
    job.groups = parts;
    job.group_stride = p->group;
    mq_convolve(pass->context, &job);
}

/* Rows of the heads of v, or of what there is beside it: head by head, or by key heads. */
static struct mq_head_rows value_heads(const struct mq_layer_attention *l, float *rows, size_t ld,
                                       size_t per_key, size_t group, size_t n)
{
    return l->by_key_head ? (struct mq_head_rows){rows, ld, per_key, group, n}
                          : mq_mixers_heads(rows, ld, l->heads, n);
}

static void recur(struct mq_pass *pass, const struct mq_pass_arm *arm, int32_t layer,
                  const struct places *p)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const size_t of_k = l->by_key_head ? l->head_dim : p->keys;
    const size_t key_stride = l->by_key_head ? p->group : l->head_dim;
    const struct mq_recurrence_job job = {
        .delta = true,
        .heads = l->heads,
        .heads_per_key = p->per_key,
        .key_dim = l->head_dim,
        .value_dim = l->value_dim,
        .q = mq_mixers_heads(arm->work, p->ld, l->kv_heads, key_stride),
        .k = mq_mixers_heads(arm->work + of_k, p->ld, l->kv_heads, key_stride),
        .v = value_heads(l, arm->work + 2 * of_k, p->ld, p->per_key, p->group, l->value_dim),
        .out = mq_mixers_heads(arm->work + p->out, p->ldo, l->heads, l->value_dim),
        .a = value_heads(l, arm->work + p->a, p->ldb, p->per_key, p->gate_group, 1),
        .b = value_heads(l, arm->work + p->b, p->ldb, p->per_key, p->gate_group, 1),
        .decay = pass->mixers->vectors[MQ_MIXER_DECAY],
        .step_bias = pass->mixers->vectors[MQ_MIXER_STEP_BIAS],
        .scratch = pass->mixers->scratch,
        .length = pass->windows->length,
        .windows = pass->windows_count,
        .states = arm->cache ? arm->cache->layers[layer].states : NULL,
    };
    mq_recur(pass->context, &job);
    mq_pass_round(pass, arm, job.out.rows, p->values, p->ldo);
}

static void gate(struct mq_pass *pass, const struct mq_pass_arm *arm, const struct places *p)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const struct mq_gated_norm_job job = {
        .x = mq_mixers_heads(arm->work + p->out, p->ldo, l->heads, l->value_dim),
        .gate = value_heads(l, arm->work + p->z, p->ldz, p->per_key, p->group, l->value_dim),
        .heads = l->heads,
        .n = l->value_dim,
        .weight = pass->mixers->vectors[MQ_MIXER_NORM],
        .eps = pass->layer->norm_eps,
        .tokens = pass->tokens,
    };
    mq_gated_norm(pass->context, &job);
    mq_pass_round(pass, arm, job.x.rows, p->values, p->ldo);
}

moeq_status mq_pass_delta(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                          moeq_error *err)
{
    const struct places p = places_of(&pass->layer->attention, pass->tokens);
    (void)step;
    MQ_TRY(project(pass, layer, &p, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (!mq_pass_runs(pass, a))
            continue;
        MQ_TRY(mq_mixers_load_convolution(pass, arm, layer, err));
        MQ_TRY(mq_mixers_load_vectors(pass, arm, false, layer, err));
        convolve(pass, arm, layer, &p);
        recur(pass, arm, layer, &p);
        gate(pass, arm, &p);
        MQ_TRY(mq_pass_check_cancelled(pass, err));
    }
    return mq_mixers_out(pass, layer, p.out, p.ldo, err);
}
