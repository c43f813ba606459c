/* gguf_arch_write.c: a model's hyper-parameters and layers -> keys of its architecture. */
#include "gguf_arch.h"
#include "gguf_model.h"
#include "gguf_writer.h"

#include "family.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct mq_layer *layer_of(const struct mq_view *view, uint32_t number)
{
    return &view->program->layers[number]->layer;
}

/* The first layer with attention (that turns its heads, if `turned`); NULL. */
static const struct mq_layer *attention_of(const struct mq_view *view, bool turned)
{
    for (uint32_t i = 0; i < view->hparams.layers; i++) {
        const struct mq_layer *l = layer_of(view, i);
        if (l->attention.kind == MQ_MIXER_GROUPED &&
            (!turned || l->attention.rope == MQ_ROPE_OF_MAIN))
            return l;
    }
    return NULL;
}

/* ---- rows ---- */

static double of_last_layer(const struct mq_view *view, const struct mq_gguf_row *row)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < view->hparams.layers; i++) {
        const uint64_t of_layer = row->of_layer(layer_of(view, i));
        value = of_layer ? of_layer : value;
    }
    return (double)value;
}

static double field_of(const struct mq_hparams *h, const struct mq_gguf_row *row)
{
    const void *field = (const char *)h + row->field;
    switch (mq_hparam_at(row->field)->type) {
    case MQ_HPARAM_F32:
        return (double)*(const float *)field;
    case MQ_HPARAM_BOOL:
        return *(const bool *)field;
    case MQ_HPARAM_VALUES:
        return mq_layer_value(field, 0, isnan(row->value) ? 0 : (uint32_t)row->value);
    default:
        return *(const uint32_t *)field;
    }
}

static void put_number(struct mq_gguf_writer *w, const struct mq_gguf_row *row, double value)
{
    if (row->type == MQ_GGUF_F32)
        mq_gguf_put_f32(w, row->pattern, (float)value);
    else if (row->type == MQ_GGUF_BOOL)
        mq_gguf_put_bool(w, row->pattern, value != 0);
    else
        mq_gguf_put_u32(w, row->pattern, (uint32_t)value);
}

static uint32_t leading_layers(const struct mq_view *view)
{
    uint32_t n = 0;
    while (n < view->hparams.layers && !layer_of(view, n)->ffn.router.experts)
        n++;
    return n;
}

/* Whether the layers are what is taken for granted where the key is absent. */
static bool is_periodic(const struct mq_view *view, const struct mq_gguf_row *row)
{
    bool any = false;
    for (uint32_t i = 0; i < view->hparams.layers; i++) {
        const bool yes = row->of_layer(layer_of(view, i)) != 0;
        any = any || yes;
        if (row->period == 0 || yes != ((i + 1) % row->period != 0))
            return false;
    }
    return any;
}

static void put_kinds(struct mq_gguf_writer *w, const struct mq_gguf_row *row,
                      const struct mq_view *view)
{
    if (!row->pattern || (is_periodic(view, row) && !row->always) ||
        of_last_layer(view, row) == 0)
        return;
    mq_gguf_begin_array(w, row->pattern, MQ_GGUF_BOOL, view->hparams.layers);
    for (uint32_t i = 0; i < view->hparams.layers; i++)
        mq_gguf_append_bool(w, row->of_layer(layer_of(view, i)) != 0);
}

/* Several fields may be said by one key. */
static bool has(const struct mq_gguf_writer *w, const char *pattern)
{
    char name[200];
    snprintf(name, sizeof name, pattern, w->architecture);
    return mq_gguf_writer_has(w, name);
}

static void put_row(struct mq_gguf_writer *w, const struct mq_gguf_row *row,
                    const struct mq_view *view)
{
    switch (row->kind) {
    case MQ_GGUF_FIELD:
        if (mq_gguf_config_key(view->family, row->field) && !has(w, row->pattern))
            put_number(w, row, row->of_layer ? of_last_layer(view, row)
                                             : field_of(&view->hparams, row));
        break;
    case MQ_GGUF_IS:
        put_number(w, row, row->value);
        break;
    case MQ_GGUF_DERIVED:
    case MQ_GGUF_CHECKED:
        if (of_last_layer(view, row) != 0)
            put_number(w, row, of_last_layer(view, row));
        break;
    case MQ_GGUF_LEADING:
        put_number(w, row, leading_layers(view));
        break;
    case MQ_GGUF_KINDS:
        put_kinds(w, row, view);
        break;
    case MQ_GGUF_FIXED:
    case MQ_GGUF_OTHER_KV:
    case MQ_GGUF_PRESENT:
    case MQ_GGUF_LACKING:
        break;
    }
}

/* ---- what all architectures have ---- */

/* One number, or one for each layer: 0 of those without keys. */
static void put_kv_heads(struct mq_gguf_writer *w, const struct mq_view *view)
{
    const uint32_t n = view->hparams.layers;
    const struct mq_layer *first = attention_of(view, false);
    bool same = true;
    for (uint32_t i = 0; first && i < n; i++)
        same = same && layer_of(view, i)->attention.kind == MQ_MIXER_GROUPED &&
               layer_of(view, i)->attention.kv_heads == first->attention.kv_heads;
    if (same) {
        mq_gguf_put_u32(w, MQ_GGUF_KEY_KV_HEADS, view->hparams.kv_heads);
        return;
    }
    mq_gguf_begin_array(w, MQ_GGUF_KEY_KV_HEADS, MQ_GGUF_I32, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct mq_layer_attention *a = &layer_of(view, i)->attention;
        mq_gguf_append_i32(w, a->kind == MQ_MIXER_GROUPED ? (int32_t)a->kv_heads : 0);
    }
}

static void put_yarn(struct mq_gguf_writer *w, const struct mq_gguf_arch *arch,
                     const struct mq_rope *rope)
{
    const double all = mq_gguf_yarn_log(rope);
    mq_gguf_put_u32(w, MQ_GGUF_KEY_ROPE_ORIGINAL, (uint32_t)rope->original_max_positions);
    mq_gguf_put_f32(w, MQ_GGUF_KEY_YARN_FAST, (float)rope->beta_fast);
    mq_gguf_put_f32(w, MQ_GGUF_KEY_YARN_SLOW, (float)rope->beta_slow);
    if (arch->yarn_log_unit > 0 && all > 0)
        mq_gguf_put_f32(w, MQ_GGUF_KEY_YARN_LOG, (float)all * arch->yarn_log_unit);
}

static void put_rope(struct mq_gguf_writer *w, const struct mq_gguf_arch *arch,
                     const struct mq_hparams *h)
{
    const struct mq_rope *rope = &h->rope;
    const char *scaling = mq_gguf_rope_word(rope->type);
    if (scaling)
        mq_gguf_put_string(w, MQ_GGUF_KEY_ROPE_SCALING, scaling, strlen(scaling));
    if (rope->type == MQ_ROPE_LONGROPE) {
        mq_gguf_put_u32(w, MQ_GGUF_KEY_ROPE_ORIGINAL, (uint32_t)rope->original_max_positions);
        mq_gguf_put_f32(w, MQ_GGUF_KEY_ROPE_MAGNITUDE, (float)rope->far.magnitude);
    } else if (scaling) {
        mq_gguf_put_f32(w, MQ_GGUF_KEY_ROPE_FACTOR, (float)rope->factor);
    }
    if (rope->type == MQ_ROPE_YARN)
        put_yarn(w, arch, rope);
    mq_gguf_put_f32(w, MQ_GGUF_KEY_ROPE_THETA, (float)rope->theta);
    if (h->rope_local.theta > 0)
        mq_gguf_put_f32(w, MQ_GGUF_KEY_ROPE_THETA_LOCAL, (float)h->rope_local.theta);
}

static void put_heads(struct mq_gguf_writer *w, const struct mq_gguf_arch *arch,
                      const struct mq_view *view)
{
    const struct mq_hparams *h = &view->hparams;
    const struct mq_layer *l = attention_of(view, false), *turned = attention_of(view, true);
    if (!arch->two_head_dims &&
        (arch->head_dims || (uint64_t)h->head_dim * h->heads != h->hidden)) {
        /* what readers assume otherwise */
        mq_gguf_put_u32(w, MQ_GGUF_KEY_KEY_LENGTH, l ? l->attention.head_dim : h->head_dim);
        mq_gguf_put_u32(w, MQ_GGUF_KEY_VALUE_LENGTH, l ? l->attention.value_dim : h->head_dim);
    }
    mq_gguf_put_u32(w, MQ_GGUF_KEY_VOCAB, h->vocab);
    mq_gguf_put_u32(w, MQ_GGUF_KEY_ROPE_DIMS, turned ? turned->attention.rotary_dim : h->head_dim);
}

static uint32_t window_of(const struct mq_view *view)
{
    uint32_t window = 0;
    for (uint32_t i = 0; i < view->hparams.layers && !window; i++)
        window = layer_of(view, i)->attention.window;
    return window;
}

void mq_gguf_put_model(struct mq_gguf_writer *w, const struct mq_gguf_arch *arch,
                       const struct mq_view *view)
{
    const struct mq_hparams *h = &view->hparams;
    mq_gguf_put_u32(w, MQ_GGUF_KEY_LAYERS, h->layers);
    mq_gguf_put_u32(w, MQ_GGUF_KEY_CONTEXT, h->max_positions);
    mq_gguf_put_u32(w, MQ_GGUF_KEY_HIDDEN, h->hidden);
    mq_gguf_put_u32(w, MQ_GGUF_KEY_FFN, h->ffn);
    mq_gguf_put_u32(w, MQ_GGUF_KEY_HEADS, h->heads);
    put_kv_heads(w, view);
    put_rope(w, arch, h);
    mq_gguf_put_f32(w, arch->layer_norm ? MQ_GGUF_KEY_EPS : MQ_GGUF_KEY_RMS_EPS, h->rms_eps);
    if (h->experts) {
        mq_gguf_put_u32(w, MQ_GGUF_KEY_EXPERTS, h->experts);
        if (h->top_k)
            mq_gguf_put_u32(w, MQ_GGUF_KEY_TOP_K, h->top_k);
    }
    put_heads(w, arch, view);
    const uint32_t window = window_of(view);
    if (mq_gguf_arch_has_window(arch) && window)
        mq_gguf_put_u32(w, MQ_GGUF_KEY_SLIDING_WINDOW, window);
    for (const struct mq_gguf_row *row = arch->rows; row && (row->pattern || row->kind); row++)
        put_row(w, row, view);
}
