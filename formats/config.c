/*
 * config.c: config.json -> family, hparams, program. Which keys there are is said in config_keys.c and
 * the families' descriptors; config_check.c refuses others, config_rules.c reads those that need no
 * more than their row.
 */
#include "config_int.h"
#include "open_options.h"
#include "quantized_source.h"

#include "error.h"
#include "json.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A token id; lists (several end tokens) give the first. */
static int32_t read_token_id(const cJSON *config, const char *key)
{
    const cJSON *c = mq_json_get(config, key);
    if (cJSON_IsArray(c))
        c = c->child;
    uint64_t v;
    return mq_json_u64(c, &v) && v <= INT32_MAX ? (int32_t)v : -1;
}

/* ---- the rest ---- */

/* Whether a key that is read here is one that the family's own rows replace. */
static bool is_replaced(const struct mq_config_reader *r, const char *key)
{
    const struct mq_config_key *row = mq_config_key_find(mq_config_keys, key);
    return mq_config_replaces(r->view->family, row);
}

static moeq_status read_kv_heads(const struct mq_config_reader *r, struct mq_hparams *h)
{
    const struct mq_family *family = r->view->family;
    if (is_replaced(r, "num_key_value_heads"))
        return MOEQ_OK;
    const bool said = mq_json_get(r->config, "num_key_value_heads") != NULL;
    h->kv_heads = !said && family->default_kv_heads ? family->default_kv_heads : h->heads;
    if (mq_config_absent(r->config, "num_key_value_heads"))
        return MOEQ_OK;
    return mq_config_read_size(r->config, "num_key_value_heads", &h->kv_heads, r->path, r->err);
}

static moeq_status read_head_dim(const struct mq_config_reader *r, struct mq_hparams *h)
{
    if (h->plain_dim) { /* latent: the sum of two, whatever head_dim says */
        h->head_dim = h->plain_dim + h->rotary_dim;
        return MOEQ_OK;
    }
    if (is_replaced(r, "head_dim"))
        return MOEQ_OK;
    if (!mq_config_absent(r->config, "head_dim"))
        return mq_config_read_size(r->config, "head_dim", &h->head_dim, r->path, r->err);
    h->head_dim = r->view->family->default_head_dim;
    if (h->head_dim && !mq_json_get(r->config, "head_dim"))
        return MOEQ_OK;
    if (h->hidden % h->heads)
        return mq_fail_file(r->err, MOEQ_MALFORMED, r->path,
                            "hidden_size %u is no multiple of num_attention_heads %u, and there is "
                            "no head_dim",
                            h->hidden, h->heads);
    h->head_dim = h->hidden / h->heads;
    return MOEQ_OK;
}

static moeq_status read_heads(const struct mq_config_reader *r, struct mq_hparams *h)
{
    MQ_TRY(read_kv_heads(r, h));
    if (h->kv_heads > h->heads || (h->kv_heads && h->heads % h->kv_heads))
        return mq_fail_file(r->err, MOEQ_MALFORMED, r->path,
                            "num_attention_heads %u is no multiple of num_key_value_heads %u",
                            h->heads, h->kv_heads);
    MQ_TRY(read_head_dim(r, h));
    if (h->head_dim % 2 || h->head_dim > MQ_MAX_HEAD_DIM)
        return mq_fail_file(r->err, MOEQ_UNSUPPORTED, r->path,
                            "head_dim %u: expected an even number up to %d", h->head_dim,
                            MQ_MAX_HEAD_DIM);
    return MOEQ_OK;
}

/* What layer_types says of the layers: all with full attention, all with a window, or nothing. */
enum layer_kind { LAYERS_UNSAID, LAYERS_FULL, LAYERS_SLIDING };

static moeq_status read_layer_types(const struct mq_config_reader *r, enum layer_kind *kind)
{
    const cJSON *types = mq_json_get(r->config, "layer_types");
    size_t full = 0, sliding = 0, count = 0;
    *kind = LAYERS_UNSAID;
    if (is_replaced(r, "layer_types") || mq_config_value_is_off(types) ||
        mq_view_ignores_key(r->view, "layer_types"))
        return MOEQ_OK;
    for (const cJSON *c = cJSON_IsArray(types) ? types->child : NULL; c; c = c->next, count++) {
        full += cJSON_IsString(c) && strcmp(c->valuestring, "full_attention") == 0;
        sliding += cJSON_IsString(c) && strcmp(c->valuestring, "sliding_attention") == 0;
    }
    if (!count || (full != count && sliding != count))
        return mq_config_refuse(
            r->path, "layer_types", types,
            "is not implemented (only lists of \"full_attention\", or of "
            "\"sliding_attention\"). --ignore-config layer_types goes on without it, at "
            "the risk of wrong results",
            r->err);
    *kind = full ? LAYERS_FULL : LAYERS_SLIDING;
    return MOEQ_OK;
}

/* Whether Transformers 5 uses a config's window. Its code of a family does, or has none; Mistral
 * with layer_types becomes Ministral there (configuration_auto.py), whose window is that of the
 * layers of sliding attention alone. Only some look at use_sliding_window. */
static bool transformers_uses_window(const struct mq_config_reader *r, enum layer_kind layers)
{
    const struct mq_family *family = r->view->family;
    if (family->window_by_use_sliding_window)
        return cJSON_IsTrue(mq_json_get(r->config, "use_sliding_window"));
    return !family->without_sliding_window &&
           !(family->window_by_layer_types && layers == LAYERS_FULL);
}

/* In families that go by it. */
static moeq_status check_use_window(const struct mq_config_reader *r)
{
    const cJSON *use = mq_json_get(r->config, "use_sliding_window");
    if (!r->view->family->window_by_use_sliding_window || !use || cJSON_IsNull(use) ||
        cJSON_IsBool(use))
        return MOEQ_OK;
    return mq_config_refuse(r->path, "use_sliding_window", use, "is neither true nor false",
                            r->err);
}

static moeq_status note_window(const struct mq_config_reader *r, uint32_t window, bool used,
                               bool by_family)
{
    const struct mq_family *family = r->view->family;
    if (used != by_family)
        return mq_view_note(r->view, r->err,
                            "the sliding_window of %u in config.json is %s, as was asked for; "
                            "Transformers %s",
                            window, used ? "used" : "not used", used ? "has none here" : "uses it");
    if (used && cJSON_IsFalse(mq_json_get(r->config, "use_sliding_window")))
        return mq_view_note(
            r->view, r->err,
            "the sliding_window of %u is used though config.json says "
            "use_sliding_window false: Transformers knows no such key in the family "
            "%s. --sliding-window ignore leaves it out",
            window, family->name);
    if (used)
        return MOEQ_OK;
    if (family->window_by_use_sliding_window &&
        cJSON_IsFalse(mq_json_get(r->config, "use_sliding_window")))
        return MOEQ_OK;
    if (family->window_by_use_sliding_window)
        return mq_view_note(r->view, r->err,
                            "config.json has a sliding_window of %u, which is not used: it does "
                            "not say use_sliding_window",
                            window);
    if (!family->without_sliding_window)
        return mq_view_note(r->view, r->err,
                            "config.json has a sliding_window of %u, which is not used: its "
                            "layer_types say full attention",
                            window);
    return mq_view_note(r->view, r->err,
                        "config.json has a sliding_window of %u, which is not used: Transformers "
                        "has none in the family %s. vLLM applies it: --sliding-window apply",
                        window, family->name);
}

/* Where windows are switched by use_sliding_window, Transformers writes 0 for none. */
static bool has_no_window(const struct mq_config_reader *r, const cJSON *window)
{
    uint64_t size;
    return mq_config_value_is_off(window) || (r->view->family->window_by_use_sliding_window &&
                                              mq_json_u64(window, &size) && size == 0);
}

/* A window that holds all positions changes nothing, and nothing is said of it. */
static moeq_status read_window(const struct mq_config_reader *r, struct mq_hparams *h)
{
    const struct mq_family *family = r->view->family;
    const enum mq_window_choice choice = r->view->options.sliding_window;
    const cJSON *said = mq_json_get(r->config, "sliding_window");
    enum layer_kind layers;
    uint32_t window = 0;
    MQ_TRY(read_layer_types(r, &layers));
    MQ_TRY(check_use_window(r));
    if (is_replaced(r, "sliding_window"))
        window = h->sliding_window;
    else if (!said)
        window = family->default_sliding_window;
    else if (!has_no_window(r, said))
        MQ_TRY(mq_config_read_size(r->config, "sliding_window", &window, r->path, r->err));
    const bool by_family = transformers_uses_window(r, layers);
    const bool used = choice == MQ_WINDOW_DEFAULT ? by_family : choice == MQ_WINDOW_APPLY;
    h->sliding_window = used ? window : 0;
    if (!window || window >= h->max_positions)
        return MOEQ_OK;
    return note_window(r, window, used, by_family);
}

static moeq_status read_rms_eps(const struct mq_config_reader *r, struct mq_hparams *h)
{
    double eps;
    if (is_replaced(r, "rms_norm_eps"))
        return MOEQ_OK;
    MQ_TRY(mq_config_read_positive(r->config, "rms_norm_eps", r->view->family->default_rms_eps,
                                   &eps, r->path, r->err));
    h->rms_eps = (float)eps;
    return MOEQ_OK;
}

static moeq_status read_tied_head(const struct mq_config_reader *r, struct mq_hparams *h)
{
    const cJSON *tied = mq_json_get(r->config, "tie_word_embeddings");
    if (is_replaced(r, "tie_word_embeddings"))
        return MOEQ_OK;
    if (tied && !cJSON_IsBool(tied) && !cJSON_IsNull(tied))
        return mq_config_refuse(r->path, "tie_word_embeddings", tied, "is neither true nor false",
                                r->err);
    h->tied_head = tied && !cJSON_IsNull(tied) ? cJSON_IsTrue(tied) : r->view->family->default_tied;
    return MOEQ_OK;
}

static moeq_status read_max_positions(const struct mq_config_reader *r, struct mq_hparams *h)
{
    if (is_replaced(r, "max_position_embeddings"))
        return MOEQ_OK;
    h->max_positions = r->view->family->default_max_positions;
    if (mq_config_absent(r->config, "max_position_embeddings"))
        return MOEQ_OK;
    return mq_config_read_size(r->config, "max_position_embeddings", &h->max_positions, r->path,
                               r->err);
}

static moeq_status read_special(const struct mq_config_reader *r, struct mq_hparams *h)
{
    MQ_TRY(read_max_positions(r, h));
    MQ_TRY(read_heads(r, h));
    MQ_TRY(read_window(r, h));
    MQ_TRY(read_rms_eps(r, h));
    MQ_TRY(read_tied_head(r, h));
    h->bos = read_token_id(r->config, "bos_token_id");
    h->eos = read_token_id(r->config, "eos_token_id");
    if (h->experts && h->top_k > h->experts) /* (of none, a config may say any number) */
        return mq_fail_file(r->err, MOEQ_MALFORMED, r->path,
                            "num_experts_per_tok %u is more than the %u experts", h->top_k,
                            h->experts);
    return mq_config_read_ropes(r, h);
}

/* What the family's configuration class assumes where nothing is said of positions. */
static moeq_status add_default_rope(const struct mq_config_reader *r, cJSON *config)
{
    const char *rope = r->view->family->default_rope;
    if (!rope || !mq_config_value_is_off(mq_json_get(config, "rope_parameters")) ||
        !mq_config_value_is_off(mq_json_get(config, "rope_scaling")))
        return MOEQ_OK;
    cJSON *parsed = cJSON_Parse(rope);
    cJSON_DeleteItemFromObjectCaseSensitive(config, "rope_parameters");
    if (parsed && cJSON_AddItemToObject(config, "rope_parameters", parsed))
        return MOEQ_OK;
    cJSON_Delete(parsed);
    return mq_fail_memory(r->err, "reading config.json");
}

static moeq_status parse(struct mq_config_reader *r, cJSON *config, const struct mq_family *family)
{
    struct mq_view *view = r->view;
    if (!cJSON_IsObject(r->config))
        return mq_fail_file(r->err, MOEQ_MALFORMED, r->path, "expected a JSON object");
    view->family = family;
    if (!family)
        MQ_TRY(mq_config_find_family(r, &view->family));
    MQ_TRY(add_default_rope(r, config));
    MQ_TRY(mq_refuse_quantized_config(view, r->config, r->path, r->err));
    MQ_TRY(mq_config_check(r));
    MQ_TRY(mq_config_read_keys(r));
    MQ_TRY(read_special(r, &view->hparams));
    return mq_program_create(view, r->path, r->err);
}

moeq_status mq_config_parse_as(struct mq_view *view, const struct mq_family *family,
                               const char *path, moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = 32, .values = 100000};
    const struct mq_buffer *text = &view->side[MQ_SIDE_CONFIG];
    cJSON *config = NULL, *outer = NULL;
    memset(&view->hparams, 0, sizeof view->hparams);
    MQ_TRY(mq_json_parse(text->data, text->size, &limits, path, 0, &config, err));
    moeq_status status = mq_json_refuse_duplicates(config, path, err);
    if (status == MOEQ_OK)
        status = mq_config_flatten(&config, &outer, err);
    struct mq_config_reader r = {view, config, outer, path, err};
    if (status == MOEQ_OK)
        status = parse(&r, config, family);
    cJSON_Delete(config);
    cJSON_Delete(outer);
    return status;
}

moeq_status mq_config_parse(struct mq_view *view, const char *path, moeq_error *err)
{
    return mq_config_parse_as(view, NULL, path, err);
}
