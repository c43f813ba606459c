/*
 * mamba.c: the step `mamba` (Mamba2: Nemotron-H, Granite 4): a product gives the gate z, the values
 * x, B, C and a step dt of each token; x, B and C are convolved; heads recur, are gated, and
 * normalized within each group.
 *
 *     work  | z, x, B, C, dt [tokens] | out [tokens] |
 */
#include "mixers_int.h"

#include "checked.h"
#include "error.h"

/* Where the parts begin, and the strides of their rows, in floats. */
struct places {
    size_t values, states;  /* numbers of x, and of B or C */
    size_t x, b, c, dt;     /* in a row */
    size_t ld, ldo;
    size_t out, end; /* in the work area */
};

static struct places places_of(const struct mq_layer_attention *l, size_t tokens)
{
    struct places p = {.values = (size_t)l->heads * l->value_dim,
                       .states = (size_t)l->kv_heads * l->head_dim};
    p.x = p.values;
    p.b = p.x + p.values;
    p.c = p.b + p.states;
    p.dt = p.c + p.states;
    p.ld = p.dt + l->heads + MQ_ROW_PAD;
    p.ldo = p.values + MQ_ROW_PAD;
    p.out = tokens * p.ld;
    p.end = p.out + tokens * p.ldo;
    return p;
}

size_t mq_pass_mamba_work(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    return places_of(&layer->attention, sizes->tokens).end;
}

uint64_t mq_pass_mamba_int8(const struct mq_pass_sizes *sizes, const struct mq_layer *layer)
{
    const struct places p = places_of(&layer->attention, 0);
    return sizes->tokens * mq_linear_int8_bytes(mq_max_u64(sizes->hidden, p.values));
}

static void recur(struct mq_pass *pass, const struct mq_pass_arm *arm, int32_t layer,
                  const struct places *p)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    float *rows = arm->work;
    const struct mq_recurrence_job job = {
        .heads = l->heads,
        .heads_per_key = l->heads / l->kv_heads,
        .key_dim = l->head_dim,
        .value_dim = l->value_dim,
        .q = mq_mixers_heads(rows + p->c, p->ld, l->kv_heads, l->head_dim),
        .k = mq_mixers_heads(rows + p->b, p->ld, l->kv_heads, l->head_dim),
        .v = mq_mixers_heads(rows + p->x, p->ld, l->heads, l->value_dim),
        .out = mq_mixers_heads(rows + p->out, p->ldo, l->heads, l->value_dim),
        .a = mq_mixers_heads(rows + p->dt, p->ld, l->heads, 1),
        .decay = pass->mixers->vectors[MQ_MIXER_DECAY],
        .step_bias = pass->mixers->vectors[MQ_MIXER_STEP_BIAS],
        .skip = pass->mixers->vectors[MQ_MIXER_SKIP],
        .least_step = l->least_step,
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
    const size_t n = p->values / l->kv_heads;
    const struct mq_gated_norm_job job = {
        .x = mq_mixers_heads(arm->work + p->out, p->ldo, l->kv_heads, n),
        .gate = mq_mixers_heads(arm->work, p->ld, l->kv_heads, n),
        .heads = l->kv_heads,
        .n = n,
        .weight = pass->mixers->vectors[MQ_MIXER_NORM],
        .weight_stride = n,
        .eps = pass->layer->norm_eps,
        .gate_first = true,
        .tokens = pass->tokens,
    };
    mq_gated_norm(pass->context, &job);
    mq_pass_round(pass, arm, job.x.rows, p->values, p->ldo);
}

moeq_status mq_pass_mamba(struct mq_pass *pass, const struct mq_step *step, int32_t layer,
                          moeq_error *err)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    const struct places p = places_of(l, pass->tokens);
    const size_t channels = p.dt - p.x;
    (void)step;
    MQ_TRY(mq_mixers_project(pass, MQ_ROLE_MIX_IN, layer, 0, p.ld, false, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        const struct mq_pass_arm *arm = &pass->arms[a];
        if (!mq_pass_runs(pass, a))
            continue;
        MQ_TRY(mq_mixers_load_convolution(pass, arm, layer, err));
        MQ_TRY(mq_mixers_load_vectors(pass, arm, true, layer, err));
        mq_convolution_weights(pass->mixers->stored, channels, l->taps, pass->mixers->weights, 0,
                               channels);
        const struct mq_convolution_job job =
            mq_mixers_convolution(pass, arm, layer, arm->work + p.x, p.ld, channels);
        mq_convolve(pass->context, &job);
        recur(pass, arm, layer, &p);
        gate(pass, arm, &p);
        MQ_TRY(mq_pass_check_cancelled(pass, err));
    }
    return mq_mixers_out(pass, layer, p.out, p.ldo, err);
}
