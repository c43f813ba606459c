/* config.c: config.json -> hparams. Which keys there are is said in config_keys.c. */
#include "config_keys.h"
#include "family.h"
#include "open_options.h"
#include "quantized_source.h"

#include "error.h"
#include "json.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sizes beyond any model's; products of any three stay far below 2^63. */
enum { MAX_SIZE = 1 << 24, MAX_HEAD_DIM = MQ_MAX_HEAD_DIM };

/* What the readers below share. */
struct reader {
    struct mq_view *view;
    const cJSON *config;
    const char *path;
    moeq_error *err;
};

/* The value as JSON for a message, cut to fit. */
static void print_value(const cJSON *value, char text[80])
{
    char *json = cJSON_PrintUnformatted(value);
    snprintf(text, 80, "%s", json ? json : "?");
    cJSON_free(json);
}

static moeq_status refuse(const char *path, const char *key, const cJSON *value, const char *why,
                          moeq_error *err)
{
    char text[80];
    print_value(value, text);
    return mq_fail_file(err, MOEQ_UNSUPPORTED, path, "\"%.100s\": %s %s", key, text, why);
}

/* "false", "1", "\"silu\" or \"swish\"": the values that a rule allows, for a message. */
static void print_only(const struct mq_config_key *key, char text[120])
{
    size_t n = 0;
    if (!key->only[0])
        n += (size_t)snprintf(text, 120, "null");
    for (const char *word = key->only; *word && n < 100;) {
        const size_t length = strcspn(word, " ");
        n += (size_t)snprintf(text + n, 120 - n, "%s%.*s", n ? " or " : "", (int)length, word);
        word += length + (word[length] == ' ');
    }
}

static const struct mq_config_key *find_key(const struct reader *r, const char *name)
{
    const struct mq_config_key *own = mq_config_key_find(r->view->family->keys, name);
    return own ? own : mq_config_key_find(mq_config_keys, name);
}

/* What is found wrong with the keys, to be told in one error. */
struct refused {
    struct mq_buffer list; /* "\"clip_qkv\": 8, ..." */
    size_t unknown, unimplemented;
    const char *first;
};

static void add_refused(struct refused *f, const cJSON *c, const struct mq_config_key *key)
{
    enum { LISTED = 700 }; /* of a message's 1400 */
    char value[80], only[120];
    print_value(c, value);
    if (f->list.size < LISTED)
        mq_buffer_printf(&f->list, "%s\"%.60s\": %s", f->first ? ", " : "", c->string, value);
    if (key && f->list.size < LISTED) {
        print_only(key, only);
        mq_buffer_printf(&f->list, " (implemented: %s%s)",
                         key->rule == MQ_KEY_ALL ? "lists of " : "", only);
    }
    f->first = f->first ? f->first : c->string;
    f->unknown += !key;
    f->unimplemented += key != NULL;
}

/* All of them, with what to do. */
static moeq_status refuse_keys(const struct reader *r, const struct refused *f)
{
    const bool one = f->unknown + f->unimplemented == 1;
    const char *what = !f->unimplemented ? "that moeq does not know"
                       : !f->unknown     ? "that moeq implements at other values only"
                                         : "that moeq does not know, or not at these values";
    if (!mq_buffer_ok(&f->list))
        return mq_fail_memory(r->err, "reading config.json");
    return mq_fail_file(r->err, MOEQ_UNSUPPORTED, r->path,
                        "%s: %s %s: %s may change the maths. Where %s written by a tool and the "
                        "model does without, --ignore-config %.60s goes on%s",
                        f->list.data, one ? "a key" : "keys", what, one ? "it" : "they",
                        one ? "it was" : "they were", f->first, one ? "" : " (repeat it for each)");
}

static moeq_status note_ignored(const struct reader *r, const char *key, bool known)
{
    return mq_view_note(r->view, r->err, "config.json's \"%.60s\"%s is ignored, as was asked for",
                        key, known ? "" : ", which moeq does not know,");
}

/* Every key known, at a value that is implemented or harmless. */
static moeq_status check_keys(const struct reader *r)
{
    struct refused refused = {0};
    moeq_status status = MOEQ_OK;
    for (const cJSON *c = r->config->child; c && status == MOEQ_OK; c = c->next) {
        const struct mq_config_key *key = find_key(r, c->string);
        if (key ? mq_config_key_allows(key, c) : mq_config_value_is_off(c))
            continue;
        if (mq_view_ignores_key(r->view, c->string))
            status = note_ignored(r, c->string, key != NULL);
        else
            add_refused(&refused, c, key);
    }
    if (status == MOEQ_OK && refused.first)
        status = refuse_keys(r, &refused);
    mq_buffer_free(&refused.list);
    return status;
}

/* A key of a GGUF file's metadata, which the model was made of: "llama.clamp_kqv". */
static bool is_metadata_key(const char *name)
{
    for (size_t i = 0; i < mq_families_count; i++) {
        const char *a = mq_families[i]->gguf_architecture;
        const size_t n = a ? strlen(a) : 0;
        if (n && strncmp(name, a, n) == 0 && name[n] == '.')
            return true;
    }
    return false;
}

/* What is to be ignored must be there to be ignored, and nothing that the maths is made of. (The
 * config of a GGUF file is made of other keys.) */
static moeq_status check_ignored(const struct reader *r)
{
    const struct mq_open_options *o = &r->view->options;
    for (size_t i = 0; i < o->ignored_keys_count && r->view->kind != MQ_VIEW_GGUF; i++) {
        const char *name = o->ignored_keys[i];
        const struct mq_config_key *key = find_key(r, name);
        const cJSON *rope = mq_json_get(r->config, "rope_scaling");
        if (!rope || !mq_json_get(rope, name))
            rope = mq_json_get(r->config, "rope_parameters");
        if (key && mq_config_key_is_read(key) && strncmp(name, "quantization", 12) != 0)
            return mq_fail_file(r->err, MOEQ_INVALID_ARGUMENT, r->path,
                                "--ignore-config %.60s: the model cannot be read without it", name);
        if (!mq_json_get(r->config, name) && !mq_json_get(rope, name) && !is_metadata_key(name))
            MQ_TRY(mq_view_note(
                r->view, r->err, "--ignore-config: config.json has no key \"%.60s\"%s", name,
                strchr(name, ',') ? "; the option is given once for each key" : ""));
    }
    return MOEQ_OK;
}

/* A whole number from 1 to MAX_SIZE. */
static moeq_status read_size(const cJSON *config, const char *key, uint32_t *value,
                             const char *path, moeq_error *err)
{
    const cJSON *c = mq_json_get(config, key);
    uint64_t v;
    if (!c || cJSON_IsNull(c))
        return mq_fail_file(err, MOEQ_MALFORMED, path, "\"%s\" is missing", key);
    if (!mq_json_u64(c, &v) || v < 1 || v > MAX_SIZE) {
        char text[80];
        print_value(c, text);
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "\"%s\": expected a whole number from 1 to %d, found %s", key, MAX_SIZE,
                            text);
    }
    *value = (uint32_t)v;
    return MOEQ_OK;
}

static bool absent(const cJSON *config, const char *key)
{
    const cJSON *c = mq_json_get(config, key);
    return !c || cJSON_IsNull(c);
}

/* A positive finite number; `otherwise` where the key is absent, NAN for required. */
static moeq_status read_positive(const cJSON *object, const char *key, double otherwise,
                                 double *value, const char *path, moeq_error *err)
{
    const cJSON *c = mq_json_get(object, key);
    if (!c || cJSON_IsNull(c)) {
        *value = otherwise;
        if (otherwise > 0)
            return MOEQ_OK;
        return mq_fail_file(err, MOEQ_MALFORMED, path, "rope scaling: \"%s\" is missing", key);
    }
    if (!cJSON_IsNumber(c) || !(c->valuedouble > 0) || !(c->valuedouble < 1e30))
        return refuse(path, key, c, "is no positive number", err);
    *value = c->valuedouble;
    return MOEQ_OK;
}

/* ---- keys that are read by their rows ---- */

static moeq_status read_u32(const struct reader *r, const char *key, void *field)
{
    return read_size(r->config, key, field, r->path, r->err);
}

static moeq_status read_f32(const struct reader *r, const char *key, void *field)
{
    double value;
    if (absent(r->config, key))
        return mq_fail_file(r->err, MOEQ_MALFORMED, r->path, "\"%s\" is missing", key);
    MQ_TRY(read_positive(r->config, key, 0, &value, r->path, r->err));
    *(float *)field = (float)value;
    return MOEQ_OK;
}

static moeq_status read_bool(const struct reader *r, const char *key, void *field)
{
    const cJSON *c = mq_json_get(r->config, key);
    if (!cJSON_IsBool(c))
        return refuse(r->path, key, c, "is neither true nor false", r->err);
    *(bool *)field = cJSON_IsTrue(c);
    return MOEQ_OK;
}

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Numbers beyond the last layer say nothing, as in Transformers. */
static moeq_status read_layers(const struct reader *r, const char *key, void *field)
{
    const cJSON *list = mq_json_get(r->config, key);
    struct mq_layer_set *set = field;
    if (!cJSON_IsArray(list))
        return refuse(r->path, key, list, "is no list of layers", r->err);
    uint32_t *layers =
        mq_arena_alloc(r->view->arena, (size_t)cJSON_GetArraySize(list) + 1, sizeof *layers);
    if (!layers)
        return mq_fail_memory(r->err, "reading config.json");
    for (const cJSON *c = list->child; c; c = c->next) {
        uint64_t v;
        if (!mq_json_u64(c, &v) || v > MAX_SIZE)
            return refuse(r->path, key, c, "is no layer's number", r->err);
        layers[set->count++] = (uint32_t)v;
    }
    qsort(layers, set->count, sizeof *layers, by_number);
    set->layers = layers;
    return MOEQ_OK;
}

/* check_keys has seen a name that the row allows. */
static moeq_status read_name(const struct reader *r, const char *key, void *field)
{
    const cJSON *c = mq_json_get(r->config, key);
    const struct mq_hparam *row = mq_hparam_at((size_t)((char *)field - (char *)&r->view->hparams));
    if (!cJSON_IsString(c) || !mq_hparam_named(row->type, c->valuestring, field))
        return refuse(r->path, key, c, "is not implemented", r->err);
    return MOEQ_OK;
}

static void set_number(const struct mq_config_key *key, void *field)
{
    if (key->rule == MQ_KEY_U32 || key->rule == MQ_KEY_NAME)
        *(uint32_t *)field = (uint32_t)key->when_absent;
    else if (key->rule == MQ_KEY_F32)
        *(float *)field = (float)key->when_absent;
    else if (key->rule == MQ_KEY_BOOL)
        *(bool *)field = key->when_absent != 0;
}

/* The name under which a key stands: its own, or its alias where that one alone does. */
static moeq_status name_of(const struct reader *r, const struct mq_config_key *key,
                           const char **name)
{
    *name = key->key;
    if (!key->alias || absent(r->config, key->alias))
        return MOEQ_OK;
    if (absent(r->config, key->key))
        *name = key->alias;
    else if (!cJSON_Compare(mq_json_get(r->config, key->key), mq_json_get(r->config, key->alias),
                            true))
        return mq_fail_file(r->err, MOEQ_MALFORMED, r->path,
                            "\"%s\" and \"%s\" are two names of one key, and differ", key->key,
                            key->alias);
    return MOEQ_OK;
}

static moeq_status read_keys(const struct reader *r, const struct mq_config_key *keys)
{
    static moeq_status (*const read[])(const struct reader *, const char *, void *) = {
        [MQ_KEY_U32] = read_u32,       [MQ_KEY_F32] = read_f32,   [MQ_KEY_BOOL] = read_bool,
        [MQ_KEY_LAYERS] = read_layers, [MQ_KEY_NAME] = read_name, [MQ_KEY_SPECIAL] = NULL,
    };
    for (; keys->key; keys++) {
        const char *name;
        void *field = (char *)&r->view->hparams + keys->field;
        if (!read[keys->rule])
            continue;
        MQ_TRY(name_of(r, keys, &name));
        if (keys->when_absent >= 0 && absent(r->config, name))
            set_number(keys, field);
        else
            MQ_TRY(read[keys->rule](r, name, field));
    }
    return MOEQ_OK;
}

/* ---- rotary embedding ---- */

/* The keys of a rope dictionary that are read, besides the type. */
static const char *const rope_keys[] = {"rope_type",
                                        "type",
                                        "rope_theta",
                                        "factor",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        "original_max_position_embeddings",
                                        "partial_rotary_factor",
                                        NULL};
/* Keys of other types, which the type "default" does not read (in Transformers neither). */
static const char *const unread_rope_keys[] = {
    "beta_fast",    "beta_slow",   "mscale",   "mscale_all_dim", "attention_factor",
    "short_factor", "long_factor", "truncate", "finetuned",      NULL};

static bool is_in(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

static moeq_status check_rope_keys(const struct reader *r, const cJSON *dict, bool is_default)
{
    struct refused refused = {0};
    moeq_status status = MOEQ_OK;
    for (const cJSON *c = dict->child; c && status == MOEQ_OK; c = c->next) {
        if (is_in(rope_keys, c->string) || mq_config_value_is_off(c) ||
            (is_default && is_in(unread_rope_keys, c->string)))
            continue;
        if (mq_view_ignores_key(r->view, c->string))
            status = note_ignored(r, c->string, false);
        else
            add_refused(&refused, c, NULL);
    }
    if (status == MOEQ_OK && refused.first)
        status = refuse_keys(r, &refused);
    mq_buffer_free(&refused.list);
    MQ_TRY(status);
    const cJSON *partial = mq_json_get(dict, "partial_rotary_factor");
    if (partial && !cJSON_IsNull(partial) &&
        !(cJSON_IsNumber(partial) && partial->valuedouble == 1))
        return refuse(r->path, "partial_rotary_factor", partial, "is not implemented (only 1)",
                      r->err);
    return MOEQ_OK;
}

static moeq_status read_rope_linear(const struct reader *r, const cJSON *dict, struct mq_rope *rope)
{
    rope->type = MQ_ROPE_LINEAR;
    return read_positive(dict, "factor", 0, &rope->factor, r->path, r->err);
}

/* Frequencies change only for sequences longer than max_position_embeddings (Transformers'
 * _compute_dynamic_ntk_parameters): up to there this is the default. */
static moeq_status read_rope_dynamic(const struct reader *r, const cJSON *dict,
                                     struct mq_rope *rope)
{
    (void)dict;
    rope->type = MQ_ROPE_DEFAULT;
    rope->exact_positions = r->view->hparams.max_positions;
    return mq_view_note(
        r->view, r->err,
        "RoPE type dynamic: up to %u positions the same as none; longer windows are "
        "refused",
        rope->exact_positions);
}

static moeq_status read_rope_llama3(const struct reader *r, const cJSON *dict, struct mq_rope *rope)
{
    const struct {
        const char *key;
        double *value;
    } numbers[] = {{"factor", &rope->factor},
                   {"low_freq_factor", &rope->low_freq_factor},
                   {"high_freq_factor", &rope->high_freq_factor},
                   {"original_max_position_embeddings", &rope->original_max_positions}};
    rope->type = MQ_ROPE_LLAMA3;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        MQ_TRY(read_positive(dict, numbers[i].key, 0, numbers[i].value, r->path, r->err));
    if (rope->high_freq_factor <= rope->low_freq_factor)
        return mq_fail_file(r->err, MOEQ_MALFORMED, r->path,
                            "rope scaling: high_freq_factor must be greater than low_freq_factor");
    return MOEQ_OK;
}

static moeq_status read_rope_default(const struct reader *r, const cJSON *dict,
                                     struct mq_rope *rope)
{
    (void)r, (void)dict;
    rope->type = MQ_ROPE_DEFAULT;
    return MOEQ_OK;
}

static const struct {
    const char *name;
    moeq_status (*read)(const struct reader *r, const cJSON *dict, struct mq_rope *rope);
} rope_types[] = {
    /* the first is the one that needs no keys */
    {"default", read_rope_default},
    {"linear", read_rope_linear},
    {"dynamic", read_rope_dynamic},
    {"llama3", read_rope_llama3},
};

/* rope_scaling (the published form) or rope_parameters (Transformers 5, which holds theta too). */
static moeq_status read_rope_dict(const struct reader *r, const char *name, double default_theta,
                                  struct mq_rope *rope)
{
    enum { TYPES = sizeof rope_types / sizeof *rope_types };
    const cJSON *dict = mq_json_get(r->config, name);
    char known[80] = "";
    if (!cJSON_IsObject(dict))
        return refuse(r->path, name, dict, "is no object", r->err);
    const cJSON *type = mq_json_get(dict, "rope_type");
    if (!type)
        type = mq_json_get(dict, "type");
    const char *type_name = !type || cJSON_IsNull(type) ? "default"
                            : cJSON_IsString(type)      ? type->valuestring
                                                        : "?";
    size_t i = 0;
    while (i < TYPES && strcmp(rope_types[i].name, type_name) != 0)
        i++;
    if (i == TYPES) {
        for (i = 0; i < TYPES; i++)
            snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                     rope_types[i].name);
        return mq_fail_file(r->err, MOEQ_UNSUPPORTED, r->path,
                            "\"%s\": rope type \"%.40s\" is not implemented (%s)", name, type_name,
                            known);
    }
    MQ_TRY(check_rope_keys(r, dict, i == 0));
    MQ_TRY(read_positive(dict, "rope_theta", default_theta, &rope->theta, r->path, r->err));
    if (!absent(r->config, "rope_theta") && rope->theta != default_theta)
        MQ_TRY(
            mq_view_note(r->view, r->err,
                         "config.json has two values of rope_theta: the %g of %s is taken, as in "
                         "Transformers 5, not the %g beside it",
                         rope->theta, name, default_theta));
    return rope_types[i].read(r, dict, rope);
}

/* Where both forms are given, Transformers 5 takes rope_scaling unless it is empty
 * (convert_rope_params_to_dict). */
static moeq_status read_rope(const struct reader *r, struct mq_rope *rope)
{
    double theta;
    MQ_TRY(read_positive(r->config, "rope_theta", r->view->family->default_rope_theta, &theta,
                         r->path, r->err));
    const bool scaling = !mq_config_value_is_off(mq_json_get(r->config, "rope_scaling"));
    const bool parameters = !mq_config_value_is_off(mq_json_get(r->config, "rope_parameters"));
    rope->type = MQ_ROPE_DEFAULT;
    rope->theta = theta;
    if (scaling && parameters)
        MQ_TRY(mq_view_note(r->view, r->err,
                            "config.json has both rope_scaling and rope_parameters: rope_scaling "
                            "is taken, as in Transformers 5"));
    if (!scaling && !parameters)
        return MOEQ_OK;
    return read_rope_dict(r, scaling ? "rope_scaling" : "rope_parameters", theta, rope);
}

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

static moeq_status read_heads(const struct reader *r, struct mq_hparams *h)
{
    const struct mq_family *family = r->view->family;
    h->kv_heads = family->default_kv_heads ? family->default_kv_heads : h->heads;
    if (!absent(r->config, "num_key_value_heads"))
        MQ_TRY(read_size(r->config, "num_key_value_heads", &h->kv_heads, r->path, r->err));
    if (h->kv_heads > h->heads || h->heads % h->kv_heads)
        return mq_fail_file(r->err, MOEQ_MALFORMED, r->path,
                            "num_attention_heads %u is no multiple of num_key_value_heads %u",
                            h->heads, h->kv_heads);
    if (!absent(r->config, "head_dim")) {
        MQ_TRY(read_size(r->config, "head_dim", &h->head_dim, r->path, r->err));
    } else if (h->hidden % h->heads) {
        return mq_fail_file(r->err, MOEQ_MALFORMED, r->path,
                            "hidden_size %u is no multiple of num_attention_heads %u, and there is "
                            "no head_dim",
                            h->hidden, h->heads);
    } else {
        h->head_dim = h->hidden / h->heads;
    }
    if (h->head_dim % 2 || h->head_dim > MAX_HEAD_DIM)
        return mq_fail_file(r->err, MOEQ_UNSUPPORTED, r->path,
                            "head_dim %u: expected an even number up to %d", h->head_dim,
                            MAX_HEAD_DIM);
    return MOEQ_OK;
}

/* What layer_types says of the layers: all with full attention, all with a window, or nothing. */
enum layer_kind { LAYERS_UNSAID, LAYERS_FULL, LAYERS_SLIDING };

static moeq_status read_layer_types(const struct reader *r, enum layer_kind *kind)
{
    const cJSON *types = mq_json_get(r->config, "layer_types");
    size_t full = 0, sliding = 0, count = 0;
    *kind = LAYERS_UNSAID;
    if (mq_config_value_is_off(types) || mq_view_ignores_key(r->view, "layer_types"))
        return MOEQ_OK;
    for (const cJSON *c = cJSON_IsArray(types) ? types->child : NULL; c; c = c->next, count++) {
        full += cJSON_IsString(c) && strcmp(c->valuestring, "full_attention") == 0;
        sliding += cJSON_IsString(c) && strcmp(c->valuestring, "sliding_attention") == 0;
    }
    if (!count || (full != count && sliding != count))
        return refuse(r->path, "layer_types", types,
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
static bool transformers_uses_window(const struct reader *r, enum layer_kind layers)
{
    const struct mq_family *family = r->view->family;
    if (family->window_by_use_sliding_window)
        return cJSON_IsTrue(mq_json_get(r->config, "use_sliding_window"));
    return !family->without_sliding_window &&
           !(family->window_by_layer_types && layers == LAYERS_FULL);
}

/* In families that go by it. */
static moeq_status check_use_window(const struct reader *r)
{
    const cJSON *use = mq_json_get(r->config, "use_sliding_window");
    if (!r->view->family->window_by_use_sliding_window || !use || cJSON_IsNull(use) ||
        cJSON_IsBool(use))
        return MOEQ_OK;
    return refuse(r->path, "use_sliding_window", use, "is neither true nor false", r->err);
}

static moeq_status note_window(const struct reader *r, uint32_t window, bool used, bool by_family)
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

/* A window that holds all positions changes nothing, and nothing is said of it. */
static moeq_status read_window(const struct reader *r, struct mq_hparams *h)
{
    const struct mq_family *family = r->view->family;
    const enum mq_window_choice choice = r->view->options.sliding_window;
    enum layer_kind layers;
    uint32_t window = 0;
    MQ_TRY(read_layer_types(r, &layers));
    MQ_TRY(check_use_window(r));
    if (!mq_json_get(r->config, "sliding_window"))
        window = family->default_sliding_window;
    else if (!mq_config_value_is_off(mq_json_get(r->config, "sliding_window")))
        MQ_TRY(read_size(r->config, "sliding_window", &window, r->path, r->err));
    const bool by_family = transformers_uses_window(r, layers);
    const bool used = choice == MQ_WINDOW_DEFAULT ? by_family : choice == MQ_WINDOW_APPLY;
    h->sliding_window = used ? window : 0;
    if (!window || window >= h->max_positions)
        return MOEQ_OK;
    return note_window(r, window, used, by_family);
}

static moeq_status read_special(const struct reader *r, struct mq_hparams *h)
{
    double eps;
    if (absent(r->config, "max_position_embeddings"))
        h->max_positions = r->view->family->default_max_positions;
    else
        MQ_TRY(read_size(r->config, "max_position_embeddings", &h->max_positions, r->path, r->err));
    MQ_TRY(read_heads(r, h));
    MQ_TRY(read_window(r, h));
    MQ_TRY(read_positive(r->config, "rms_norm_eps", r->view->family->default_rms_eps, &eps, r->path,
                         r->err));
    h->rms_eps = (float)eps;
    const cJSON *tied = mq_json_get(r->config, "tie_word_embeddings");
    if (tied && !cJSON_IsBool(tied) && !cJSON_IsNull(tied))
        return refuse(r->path, "tie_word_embeddings", tied, "is neither true nor false", r->err);
    h->tied_head = cJSON_IsTrue(tied);
    h->bos = read_token_id(r->config, "bos_token_id");
    h->eos = read_token_id(r->config, "eos_token_id");
    if (h->top_k > h->experts)
        return mq_fail_file(r->err, MOEQ_MALFORMED, r->path,
                            "num_experts_per_tok %u is more than the %u experts", h->top_k,
                            h->experts);
    return read_rope(r, &h->rope);
}

static moeq_status find_family(const cJSON *config, const char *path,
                               const struct mq_family **family, moeq_error *err)
{
    const cJSON *type = mq_json_get(config, "model_type");
    if (!cJSON_IsString(type))
        return mq_fail_file(err, MOEQ_MALFORMED, path, "\"model_type\" is missing");
    *family = mq_family_find(type->valuestring);
    if (*family)
        return MOEQ_OK;
    char list[700];
    size_t n = 0;
    list[0] = '\0';
    for (size_t i = 0; i < mq_families_count && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "",
                              mq_families[i]->name);
    return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                        "model_type \"%.60s\" is not supported (supported: %s)", type->valuestring,
                        list);
}

moeq_status mq_config_parse(struct mq_view *view, const char *path, moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = 32, .values = 100000};
    cJSON *config = NULL;
    memset(&view->hparams, 0, sizeof view->hparams);
    MQ_TRY(mq_json_parse(view->side[MQ_SIDE_CONFIG].data, view->side[MQ_SIDE_CONFIG].size, &limits,
                         path, 0, &config, err));
    const struct reader r = {.view = view, .config = config, .path = path, .err = err};
    moeq_status status = MOEQ_OK;
    if (!cJSON_IsObject(config)) {
        status = mq_fail_file(err, MOEQ_MALFORMED, path, "expected a JSON object");
        goto out;
    }
    MQ_TRY_OUT(mq_json_refuse_duplicates(config, path, err));
    MQ_TRY_OUT(find_family(config, path, &view->family, err));
    MQ_TRY_OUT(mq_refuse_quantized_config(view, config, path, err));
    MQ_TRY_OUT(check_keys(&r));
    MQ_TRY_OUT(check_ignored(&r));
    MQ_TRY_OUT(read_keys(&r, mq_config_keys));
    MQ_TRY_OUT(read_keys(&r, view->family->keys));
    MQ_TRY_OUT(read_special(&r, &view->hparams));
    MQ_TRY_OUT(mq_program_create(view, path, err));
out:
    cJSON_Delete(config);
    return status;
}
