/* model_program.c: the programs of a whole model, and that they are sound. */
#include "error.h"
#include "family.h"
#include "family_check.h"

#include <string.h>

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
    mq_family_describe_ends(view->family, hp, &m->ends);
    mq_program_write_ends(&m->begin, &m->end, hp, &m->ends);
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
static const char *missing_of_mixer(const struct mq_layer_attention *a)
{
    const bool heads = a->heads && a->kv_heads && a->head_dim && a->value_dim;
    switch (a->kind) {
    case MQ_MIXER_NONE:
        return NULL;
    case MQ_MIXER_CONVOLUTION:
        return a->taps ? NULL : "taps of a convolution";
    case MQ_MIXER_DELTA:
    case MQ_MIXER_MAMBA:
        return !heads ? "heads" : !a->taps ? "taps of a convolution" : NULL;
    case MQ_MIXER_LATENT:
        return !heads ? "heads" : !a->kv_rank ? "rank of k and v" : !(a->scale > 0) ? "scale" : NULL;
    case MQ_MIXER_GROUPED:
        return !heads ? "heads" : !(a->scale > 0) ? "scale of scores" : NULL;
    }
    return "kind of mixer";
}

static const char *missing_size(const struct mq_layer *l)
{
    const char *missing = missing_of_mixer(&l->attention);
    return missing                                                            ? missing
           : l->ffn.kind == MQ_FFN_NONE && l->attention.kind == MQ_MIXER_NONE ? "layer"
                                                                              : NULL;
}

/* Sizes of which a config may say 0, for models that are without. */
static const char *unsaid_size(const struct mq_layer_ffn *f)
{
    const bool routed = f->kind == MQ_FFN_ROUTED || f->kind == MQ_FFN_BOTH;
    return f->kind == MQ_FFN_NONE                     ? NULL
           : routed && !f->router.experts             ? "experts"
           : routed && !f->router.top_k               ? "experts of a token"
           : routed && !f->rows                       ? "rows of an expert"
           : !f->rows                                 ? "rows of an MLP"
           : f->kind == MQ_FFN_BOTH && !f->dense_rows ? "rows of an MLP"
                                                      : NULL;
}

/* What is wrong with heads of attention, one of which its kernels hold at a time; NULL. */
static const char *wrong_with_heads(const struct mq_layer_attention *a)
{
    if (a->head_dim > MQ_MAX_HEAD_DIM || a->value_dim > MQ_MAX_HEAD_DIM)
        return "heads of more than 1024 numbers";
    if (a->heads % a->kv_heads != 0)
        return "attention whose heads of queries cannot be shared out among those of keys";
    if (a->rotary_dim % 2 || a->rotary_dim > a->head_dim)
        return "positions that turn an odd number of a head's numbers, or more than it has";
    return NULL;
}

/* What is wrong with a mixer of these sizes; NULL. */
static const char *wrong_with_mixer(const struct mq_layer_attention *a)
{
    const bool recurrent = a->kind == MQ_MIXER_DELTA || a->kind == MQ_MIXER_MAMBA;
    if (a->kind == MQ_MIXER_GROUPED || a->kind == MQ_MIXER_LATENT)
        return wrong_with_heads(a);
    if (!recurrent && a->kind != MQ_MIXER_CONVOLUTION)
        return NULL;
    if (a->taps > MQ_MAX_TAPS)
        return "a convolution of more than 64 taps";
    if (recurrent && a->heads % a->kv_heads != 0)
        return "mixers whose heads cannot be shared out among their keys (or groups)";
    if (recurrent && (a->head_dim > MQ_MAX_HEAD_DIM || a->value_dim > MQ_MAX_HEAD_DIM))
        return "mixers with states of more than 1024 rows or columns";
    return NULL;
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
        const char *unsaid = unsaid_size(&m->kinds[i].layer.ffn);
        if (unsaid)
            return mq_fail_file(err, MOEQ_MALFORMED, path,
                                "a %s model's layers need the number of %s, and its key is missing "
                                "or 0",
                                view->family->name, unsaid);
        const char *wrong = wrong_with_mixer(&m->kinds[i].layer.attention);
        if (wrong)
            return mq_fail_file(err, MOEQ_UNSUPPORTED, path, "asks for %s", wrong);
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
