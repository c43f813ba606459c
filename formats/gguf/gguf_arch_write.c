/* gguf_arch_write.c: a model's hyper-parameters and layers -> keys of its architecture. */
#include "gguf_arch.h"
#include "gguf_model.h"
#include "gguf_writer.h"

#include "config_int.h"
#include "family.h"
#include "json.h"

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
        const enum mq_mixer kind = l->attention.kind;
        if ((kind == MQ_MIXER_GROUPED || kind == MQ_MIXER_LATENT) &&
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

/* ---- what is for images alone ---- */

/* The length of a list of config.json, 0 where there is none, and its first `room` numbers. */
static size_t config_list(const struct mq_view *view, const char *const *paths, int32_t *numbers,
                          size_t room)
{
    const struct mq_json_limits limits = {.depth = 32, .values = 100000}; /* as config.c has it */
    const struct mq_buffer *text = &view->side[MQ_SIDE_CONFIG];
    moeq_error ignored = {0};
    cJSON *config = NULL;
    size_t n = 0;
    if (mq_json_parse(text->data, text->size, &limits, view->path, 0, &config, &ignored) != MOEQ_OK)
        return 0;
    for (; *paths && n == 0; paths++) {
        const cJSON *list = mq_config_get(config, *paths);
        for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL; item;
             item = item->next) {
            uint64_t number;
            if (n < room)
                numbers[n] =
                    mq_json_u64(item, &number) && number <= INT32_MAX ? (int32_t)number : 0;
            n++;
        }
    }
    cJSON_Delete(config);
    return n;
}

/* Of a model that came from a GGUF file the file's own keys are written. */
static bool from_gguf(const struct mq_view *view)
{
    return view->side[MQ_SIDE_GGUF_METADATA].size != 0;
}

/* Where config.json does not say, as Qwen3.5 cuts them (11, 11, 10 of 32 pairs): a third each, the last
 * what is left. */
static void put_sections(struct mq_gguf_writer *w, const struct mq_gguf_row *row,
                         const struct mq_view *view)
{
    static const char *const paths[] = {
        "text_config.rope_scaling.mrope_section", "text_config.rope_parameters.mrope_section",
        "rope_scaling.mrope_section", "rope_parameters.mrope_section", NULL};
    const struct mq_layer *l = attention_of(view, true);
    const int32_t pairs = l ? (int32_t)l->attention.rotary_dim / 2 : 0, third = (pairs + 2) / 3;
    int32_t sections[4] = {third, third, pairs > 2 * third ? pairs - 2 * third : 0, 0}, own[3];
    if (from_gguf(view))
        return;
    if (config_list(view, paths, own, 3) == 3)
        memcpy(sections, own, sizeof own);
    mq_gguf_begin_array(w, row->pattern, MQ_GGUF_I32, 4);
    for (int i = 0; i < 4; i++)
        mq_gguf_append_i32(w, sections[i]);
}

static void put_deepstack(struct mq_gguf_writer *w, const struct mq_gguf_row *row,
                          const struct mq_view *view)
{
    static const char *const paths[] = {"vision_config.deepstack_visual_indexes", NULL};
    if (!from_gguf(view))
        mq_gguf_put_u32(w, row->pattern, (uint32_t)config_list(view, paths, NULL, 0));
}

/* ---- rows again ---- */

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
    double value;
    switch (row->kind) {
    case MQ_GGUF_FIELD:
    case MQ_GGUF_FIELD_OR_NONE:
        value = row->of_layer ? of_last_layer(view, row) : field_of(&view->hparams, row);
        if (row->kind == MQ_GGUF_FIELD_OR_NONE && value == row->value)
            break;
        if (mq_gguf_config_key(view->family, row->field) && !has(w, row->pattern))
            put_number(w, row, value);
        break;
    case MQ_GGUF_IS:
        if (!has(w, row->pattern))
            put_number(w, row, row->value);
        break;
    case MQ_GGUF_DERIVED:
    case MQ_GGUF_CHECKED:
        value = of_last_layer(view, row);
        if (value != 0)
            put_number(w, row, row->type == MQ_GGUF_BOOL ? value - 1 : value);
        break;
    case MQ_GGUF_LEADING:
        put_number(w, row, leading_layers(view));
        break;
    case MQ_GGUF_KINDS:
        put_kinds(w, row, view);
        break;
    case MQ_GGUF_SECTIONS:
        put_sections(w, row, view);
        break;
    case MQ_GGUF_DEEPSTACK:
        put_deepstack(w, row, view);
        break;
    case MQ_GGUF_FIXED:
    case MQ_GGUF_OTHER_KV:
    case MQ_GGUF_GROUPED:
    case MQ_GGUF_PARTS:
    case MQ_GGUF_LESS_ROPE:
    case MQ_GGUF_STATE_ROWS:
    case MQ_GGUF_PRESENT:
    case MQ_GGUF_LACKING:
    case MQ_GGUF_UNLESS_EXPERTS:
        break;
    }
}

/* ---- what all architectures have ---- */

/* Whether layers without heads of keys are known by that. */
static bool counts_by_layer(const struct mq_gguf_arch *arch)
{
    for (const struct mq_gguf_row *row = arch->rows; row && (row->pattern || row->kind); row++)
        if (row->by_kv_heads)
            return true;
    return arch->by_parts;
}

/* One number, or one for each layer: 0 of those without keys. */
static void put_kv_heads(struct mq_gguf_writer *w, const struct mq_gguf_arch *arch,
                         const struct mq_view *view)
{
    const uint32_t n = view->hparams.layers;
    const struct mq_layer *first = attention_of(view, false);
    bool list = counts_by_layer(arch);
    if (first && first->attention.kind == MQ_MIXER_LATENT) { /* one, which all heads share */
        mq_gguf_put_u32(w, MQ_GGUF_KEY_KV_HEADS, 1);
        return;
    }
    for (uint32_t i = 0; first && i < n; i++)
        list = list || (layer_of(view, i)->attention.kind == MQ_MIXER_GROUPED &&
                        layer_of(view, i)->attention.kv_heads != first->attention.kv_heads);
    if (!list) {
        mq_gguf_put_u32(w, MQ_GGUF_KEY_KV_HEADS, view->hparams.kv_heads);
        return;
    }
    mq_gguf_begin_array(w, MQ_GGUF_KEY_KV_HEADS, MQ_GGUF_I32, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct mq_layer_attention *a = &layer_of(view, i)->attention;
        mq_gguf_append_i32(w, a->kind == MQ_MIXER_GROUPED ? (int32_t)a->kv_heads : 0);
    }
}

static void put_ffn(struct mq_gguf_writer *w, const struct mq_gguf_arch *arch,
                    const struct mq_view *view)
{
    const uint32_t n = view->hparams.layers;
    if (!arch->by_parts) {
        mq_gguf_put_u32(w, MQ_GGUF_KEY_FFN, view->hparams.ffn);
        return;
    }
    mq_gguf_begin_array(w, MQ_GGUF_KEY_FFN, MQ_GGUF_I32, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct mq_layer_ffn *f = &layer_of(view, i)->ffn;
        mq_gguf_append_i32(w, f->kind == MQ_FFN_NONE ? 0 : (int32_t)f->rows);
    }
}

/* What scores are multiplied by twice, by YaRN. Of latent attention it is in the layer's scale. */
static double yarn_score(const struct mq_view *view)
{
    const struct mq_layer *l = attention_of(view, true);
    if (!l || l->attention.kind != MQ_MIXER_LATENT)
        return view->hparams.rope.score_factor;
    const double factor = (double)l->attention.scale * sqrt((double)l->attention.head_dim);
    return fabs(factor - 1) < 1e-6 ? 1 : view->hparams.rope.score_factor;
}

static void put_yarn(struct mq_gguf_writer *w, const struct mq_gguf_arch *arch,
                     const struct mq_view *view)
{
    const struct mq_rope *rope = &view->hparams.rope;
    const double all = arch->yarn_log_unit > 0 ? mq_gguf_yarn_log(rope, yarn_score(view)) : 0;
    const double own = mq_gguf_yarn_magnitude(arch, rope->factor, all);
    mq_gguf_put_u32(w, MQ_GGUF_KEY_ROPE_ORIGINAL, (uint32_t)rope->original_max_positions);
    mq_gguf_put_f32(w, MQ_GGUF_KEY_YARN_FAST, (float)rope->beta_fast);
    mq_gguf_put_f32(w, MQ_GGUF_KEY_YARN_SLOW, (float)rope->beta_slow);
    if (fabs(rope->magnitude / own - 1) > 1e-6)
        mq_gguf_put_f32(w, MQ_GGUF_KEY_ROPE_MAGNITUDE, (float)(rope->magnitude / own));
    if (all > 0)
        mq_gguf_put_f32(w, MQ_GGUF_KEY_YARN_LOG, (float)(all * (double)arch->yarn_log_unit));
}

static void put_rope(struct mq_gguf_writer *w, const struct mq_gguf_arch *arch,
                     const struct mq_view *view)
{
    const struct mq_hparams *h = &view->hparams;
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
        put_yarn(w, arch, view);
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
    put_ffn(w, arch, view);
    mq_gguf_put_u32(w, MQ_GGUF_KEY_HEADS, h->heads);
    put_kv_heads(w, arch, view);
    put_rope(w, arch, view);
    if (arch->by_parts) /* whose norms are of one kind under both names */
        mq_gguf_put_f32(w, MQ_GGUF_KEY_RMS_EPS, h->rms_eps);
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
