/* mixers.c: what the steps `delta`, `convolution` and `mamba` share. */
#include "mixers_int.h"

#include "checked.h"
#include "error.h"
#include "pages.h"

#include <stdlib.h>

/* ---- room ---- */

static const struct mq_slot *slot_of(const struct mq_program *program, enum mq_role role)
{
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    while ((slot = mq_program_next(program, &at)) && slot->role != role)
        ;
    return slot;
}

static void add_kind(struct mq_mixers *m, const struct mq_program *program)
{
    static const enum mq_role vectors[] = {MQ_ROLE_MIX_DECAY, MQ_ROLE_MIX_NORM};
    const struct mq_layer_attention *l = &program->layer.attention;
    const struct mq_slot *convolution = slot_of(program, MQ_ROLE_MIX_CONV);
    if (!convolution)
        return;
    m->channels = mq_max_u64(m->channels, convolution->rows);
    m->taps = mq_max_u64(m->taps, convolution->cols);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct mq_slot *slot = slot_of(program, vectors[i]);
        m->vector = mq_max_u64(m->vector, slot ? slot->cols : 0);
    }
    if (l->kind != MQ_MIXER_CONVOLUTION)
        m->thread_floats =
            mq_max_u64(m->thread_floats, mq_recurrence_scratch(l->head_dim, l->value_dim));
}

static struct mq_mixers sizes_of(const struct mq_model_program *program)
{
    struct mq_mixers m = {0};
    for (size_t i = 0; i < program->kinds_count; i++)
        add_kind(&m, &program->kinds[i]);
    m.taps_bytes = 4 * m.taps + 64; /* a weight takes at most 4 bytes in any storage */
    return m;
}

uint64_t mq_mixers_bytes(const struct mq_context *context, const struct mq_model_program *program)
{
    const struct mq_mixers m = sizes_of(program);
    return m.channels * (m.taps_bytes + 4 * (2 * m.taps + 1)) + 4 * 4 * m.vector +
           4 * m.thread_floats * (uint64_t)context->threads;
}

moeq_status mq_mixers_create(const struct mq_context *context,
                             const struct mq_model_program *program, struct mq_mixers **mixers,
                             moeq_error *err)
{
    struct mq_mixers *m = malloc(sizeof *m);
    if (!m)
        return mq_fail_memory(err, "preparing the mixers");
    *m = sizes_of(program);
    m->bytes = malloc(m->channels * m->taps_bytes + 1);
    m->stored = malloc(m->channels * m->taps * sizeof(float) + 1);
    m->weights = malloc(m->channels * m->taps * sizeof(float) + 1);
    m->bias = malloc(m->channels * sizeof(float) + 1);
    m->scratch = mq_pages_alloc(m->thread_floats * context->threads * sizeof(float) + 64);
    bool ok = m->bytes && m->stored && m->weights && m->bias && m->scratch;
    for (size_t i = 0; i < 4; i++) {
        m->vectors[i] = malloc(m->vector * sizeof(float) + 1);
        ok = ok && m->vectors[i];
    }
    if (!ok) {
        mq_mixers_destroy(m);
        return mq_fail_memory(err, "preparing the mixers");
    }
    *mixers = m;
    return MOEQ_OK;
}

void mq_mixers_destroy(struct mq_mixers *m)
{
    if (!m)
        return;
    free(m->bytes);
    free(m->stored);
    free(m->weights);
    free(m->bias);
    free(m->scratch);
    for (size_t i = 0; i < 4; i++)
        free(m->vectors[i]);
    free(m);
}

/* ---- small weights ---- */

moeq_status mq_mixers_load_convolution(struct mq_pass *pass, const struct mq_pass_arm *arm,
                                       int32_t layer, moeq_error *err)
{
    struct mq_mixers *m = pass->mixers;
    const struct mq_weights w = mq_arm_weights(arm->arm, MQ_ROLE_MIX_CONV, layer, -1);
    MQ_TRY(mq_weights_load(&w, pass->context->isa, 0, w.tensor->rows, m->bytes, m->stored, err));
    return pass->layer->attention.conv_bias ? mq_pass_load_vector(pass, arm, MQ_ROLE_MIX_CONV_BIAS,
                                                                  layer, -1, m->bias, err)
                                            : MOEQ_OK;
}

moeq_status mq_mixers_load_vectors(struct mq_pass *pass, const struct mq_pass_arm *arm, bool skip,
                                   int32_t layer, moeq_error *err)
{
    static const enum mq_role roles[] = {
        [MQ_MIXER_DECAY] = MQ_ROLE_MIX_DECAY,
        [MQ_MIXER_STEP_BIAS] = MQ_ROLE_MIX_STEP_BIAS,
        [MQ_MIXER_SKIP] = MQ_ROLE_MIX_SKIP,
        [MQ_MIXER_NORM] = MQ_ROLE_MIX_NORM,
    };
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (i != MQ_MIXER_SKIP || skip)
            MQ_TRY(mq_pass_load_vector(pass, arm, roles[i], layer, -1, pass->mixers->vectors[i],
                                       err));
    return MOEQ_OK;
}

/* ---- jobs and products ---- */

struct mq_convolution_job mq_mixers_convolution(const struct mq_pass *pass,
                                                const struct mq_pass_arm *arm, int32_t layer,
                                                float *x, size_t ld, size_t channels)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    return (struct mq_convolution_job){
        .x = x,
        .ld = ld,
        .groups = 1,
        .channels = channels,
        .weights = pass->mixers->weights,
        .bias = l->conv_bias ? pass->mixers->bias : NULL,
        .taps = l->taps,
        .silu = l->kind != MQ_MIXER_CONVOLUTION,
        .bf16 = arm->arm->bf16_activations,
        .length = pass->windows->length,
        .windows = pass->windows_count,
        .past = arm->cache ? arm->cache->layers[layer].before : NULL,
        .position = arm->cache ? arm->cache->tokens : 0,
    };
}

struct mq_head_rows mq_mixers_heads(float *rows, size_t ld, size_t heads, size_t n)
{
    return (struct mq_head_rows){.rows = rows, .ld = ld, .per_group = heads, .head_stride = n};
}

moeq_status mq_mixers_project(struct mq_pass *pass, enum mq_role role, int32_t layer, size_t at,
                              size_t ld, bool f32, moeq_error *err)
{
    mq_pass_weights(pass, role, layer, -1);
    if (role == MQ_ROLE_MIX_IN && mq_mixer_products_have_biases(&pass->layer->attention))
        MQ_TRY(mq_pass_bias(pass, MQ_ROLE_MIX_IN_BIAS, layer, -1, err));
    for (size_t a = 0; a < pass->arms_count; a++) {
        pass->products[a].x = pass->arms[a].x;
        pass->products[a].ldx = pass->sizes.ldh;
        pass->products[a].y = pass->arms[a].work + at;
        pass->products[a].ldy = ld;
        if (f32)
            pass->products[a].compute = MQ_COMPUTE_F32;
    }
    return mq_pass_apply(pass, MQ_LINEAR_STORE, err);
}

moeq_status mq_mixers_out(struct mq_pass *pass, int32_t layer, size_t at, size_t ld,
                          moeq_error *err)
{
    const struct mq_layer_attention *l = &pass->layer->attention;
    mq_pass_weights(pass, MQ_ROLE_MIX_OUT, layer, -1);
    if (mq_mixer_products_have_biases(l))
        MQ_TRY(mq_pass_bias(pass, MQ_ROLE_MIX_OUT_BIAS, layer, -1, err));
    for (size_t a = 0; a < pass->arms_count; a++) { /* the normalized states have served */
        pass->products[a].x = pass->arms[a].work + at;
        pass->products[a].ldx = ld;
        pass->products[a].y = pass->arms[a].x;
        pass->products[a].ldy = pass->sizes.ldh;
    }
    MQ_TRY(mq_pass_apply(pass, MQ_LINEAR_STORE, err));
    mq_pass_branch_is_x(pass);
    return MOEQ_OK;
}
