/* config.c: config.json -> hparams. Which keys there are is said in config_keys.c. */
#include "config_keys.h"
#include "family.h"
#include "open_options.h"
#include "quantized_source.h"

#include "error.h"
#include "json.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Sizes beyond any model's; products of any three stay far below 2^63. */
enum { MAX_SIZE = 1 << 24, MAX_HEAD_DIM = 1024 };

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

/* A key that is known at other values. */
static moeq_status check_value(const struct reader *r, const struct mq_config_key *key,
                               const cJSON *value)
{
    char only[120], why[300];
    if (mq_config_key_allows(key, value))
        return MOEQ_OK;
    if (mq_view_ignores_key(r->view, value->string))
        return mq_view_note(r->view, r->err, "config.json's \"%.60s\" is ignored, as was asked for",
                            value->string);
    print_only(key, only);
    snprintf(
        why, sizeof why,
        "is not implemented (only %s%s). --ignore-config %.60s goes on without it, at the risk "
        "of wrong results",
        key->rule == MQ_KEY_ALL ? "lists of " : "", only, value->string);
    return refuse(r->path, value->string, value, why, r->err);
}

/* All keys that nobody knows, in one error. */
static moeq_status refuse_unknown(const struct reader *r, const struct mq_buffer *keys,
                                  size_t count, const char *first)
{
    if (!mq_buffer_ok(keys))
        return mq_fail_memory(r->err, "reading config.json");
    return mq_fail_file(r->err, MOEQ_UNSUPPORTED, r->path,
                        "%s: %s that moeq does not know: %s may change the maths. Where %s written "
                        "by a tool and the "
                        "model does without, --ignore-config %.60s goes on%s",
                        keys->data, count == 1 ? "a key" : "keys", count == 1 ? "it" : "they",
                        count == 1 ? "it was" : "they were", first,
                        count == 1 ? "" : " (repeat it for each)");
}

/* Every key known, at a value that is implemented or harmless. */
static moeq_status check_keys(const struct reader *r)
{
    enum { LISTED = 800 };
    struct mq_buffer unknown = {0};
    const char *first = NULL;
    size_t count = 0;
    moeq_status status = MOEQ_OK;
    for (const cJSON *c = r->config->child; c && status == MOEQ_OK; c = c->next) {
        const struct mq_config_key *key = find_key(r, c->string);
        char value[80];
        if (key) {
            status = check_value(r, key, c);
        } else if (mq_view_ignores_key(r->view, c->string)) {
            status = mq_view_note(r->view, r->err,
                                  "config.json's \"%.60s\", which moeq does not know, is ignored, "
                                  "as was asked for",
                                  c->string);
        } else if (!mq_config_value_is_off(c)) {
            print_value(c, value);
            if (unknown.size < LISTED)
                mq_buffer_printf(&unknown, "%s\"%.60s\": %s", count ? ", " : "", c->string, value);
            first = first ? first : c->string;
            count++;
        }
    }
    if (status == MOEQ_OK && count)
        status = refuse_unknown(r, &unknown, count, first);
    mq_buffer_free(&unknown);
    return status;
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

static moeq_status read_sizes(const struct mq_config_key *keys, const cJSON *config,
                              struct mq_hparams *h, const char *path, moeq_error *err)
{
    for (; keys->key; keys++) {
        if (keys->rule != MQ_KEY_U32)
            continue;
        uint32_t *field = (uint32_t *)((char *)h + keys->field);
        if (keys->when_absent >= 0 && absent(config, keys->key))
            *field = (uint32_t)keys->when_absent;
        else
            MQ_TRY(read_size(config, keys->key, field, path, err));
    }
    return MOEQ_OK;
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

/* ---- rotary embedding ---- */

/* The keys of a rope dictionary that are read, besides the type. */
static const char *const rope_keys[] = {"rope_type",
                                        "type",
                                        "rope_theta",
                                        "factor",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        "original_max_position_embeddings",
                                        "partial_rotary_factor"};

static moeq_status check_rope_keys(const struct reader *r, const cJSON *dict)
{
    for (const cJSON *c = dict->child; c; c = c->next) {
        bool found = mq_view_ignores_key(r->view, c->string);
        for (size_t i = 0; i < sizeof rope_keys / sizeof *rope_keys; i++)
            found |= strcmp(rope_keys[i], c->string) == 0;
        if (!found && !mq_config_value_is_off(c))
            return refuse(r->path, c->string, c, "is a rope key that moeq does not know", r->err);
    }
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
    MQ_TRY(check_rope_keys(r, dict));
    MQ_TRY(read_positive(dict, "rope_theta", default_theta, &rope->theta, r->path, r->err));
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

/* Of the families without one in Transformers the config may still name a window, which other
 * runtimes apply. A window that holds all positions changes nothing. */
static moeq_status read_window(const struct reader *r, struct mq_hparams *h)
{
    const struct mq_family *family = r->view->family;
    const enum mq_window_choice choice = r->view->options.sliding_window;
    uint32_t window = 0;
    if (!mq_json_get(r->config, "sliding_window"))
        window = family->default_sliding_window;
    else if (!mq_config_value_is_off(mq_json_get(r->config, "sliding_window")))
        MQ_TRY(read_size(r->config, "sliding_window", &window, r->path, r->err));
    const bool by_family = !family->without_sliding_window;
    const bool used = choice == MQ_WINDOW_DEFAULT ? by_family : choice == MQ_WINDOW_APPLY;
    h->sliding_window = used ? window : 0;
    if (!window || window >= h->max_positions || (used == by_family && by_family))
        return MOEQ_OK;
    if (used == by_family)
        return mq_view_note(
            r->view, r->err,
            "config.json has a sliding_window of %u, which is not used: Transformers "
            "has none in the family %s. vLLM applies it: --sliding-window apply",
            window, family->name);
    return mq_view_note(r->view, r->err,
                        "the sliding_window of %u in config.json is %s, as was asked for; "
                        "Transformers %s",
                        window, used ? "used" : "not used", used ? "has none here" : "uses it");
}

static moeq_status read_special(const struct reader *r, struct mq_hparams *h)
{
    double eps;
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
    char list[200];
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
    MQ_TRY(mq_json_parse(view->config_json.data, view->config_json.size, &limits, path, 0, &config,
                         err));
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
    MQ_TRY_OUT(read_sizes(mq_config_keys, config, &view->hparams, path, err));
    MQ_TRY_OUT(read_sizes(view->family->keys, config, &view->hparams, path, err));
    MQ_TRY_OUT(read_special(&r, &view->hparams));
out:
    cJSON_Delete(config);
    return status;
}
