/*
 * config.c: config.json -> hparams.
 *
 * Every key must be known: read, harmless, or refused. A model whose config holds a key that we do
 * not understand would be evaluated wrongly without a word, so an unknown key is an error (unless
 * its value is null or false, which is how configs switch things off).
 */
#include "family.h"

#include "error.h"
#include "json.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Keys of every family. */
static const struct mq_config_key common_keys[] = {
    {"hidden_size", MQ_KEY_U32, offsetof(struct mq_hparams, hidden), -1},
    {"intermediate_size", MQ_KEY_U32, offsetof(struct mq_hparams, ffn), -1},
    {"num_hidden_layers", MQ_KEY_U32, offsetof(struct mq_hparams, layers), -1},
    {"num_attention_heads", MQ_KEY_U32, offsetof(struct mq_hparams, heads), -1},
    {"vocab_size", MQ_KEY_U32, offsetof(struct mq_hparams, vocab), -1},
    {"max_position_embeddings", MQ_KEY_U32, offsetof(struct mq_hparams, max_positions), 2048},
    {"num_key_value_heads", MQ_KEY_SPECIAL, 0, 0},
    {"head_dim", MQ_KEY_SPECIAL, 0, 0},
    {"sliding_window", MQ_KEY_SPECIAL, 0, 0},
    {"rms_norm_eps", MQ_KEY_SPECIAL, 0, 0},
    {"rope_theta", MQ_KEY_SPECIAL, 0, 0},
    {"rope_scaling", MQ_KEY_SPECIAL, 0, 0},
    {"rope_parameters", MQ_KEY_SPECIAL, 0, 0},
    {"tie_word_embeddings", MQ_KEY_SPECIAL, 0, 0},
    {"bos_token_id", MQ_KEY_SPECIAL, 0, 0},
    {"eos_token_id", MQ_KEY_SPECIAL, 0, 0},
    {"model_type", MQ_KEY_SPECIAL, 0, 0},
    {"hidden_act", MQ_KEY_SILU, 0, 0},
    {"attention_bias", MQ_KEY_FALSE, 0, 0},
    {"mlp_bias", MQ_KEY_FALSE, 0, 0},
    {"quantization_config", MQ_KEY_FALSE, 0, 0},
    {"partial_rotary_factor", MQ_KEY_ONE, 0, 0},
    {"architectures", MQ_KEY_HARMLESS, 0, 0},
    {"torch_dtype", MQ_KEY_HARMLESS, 0, 0},
    {"dtype", MQ_KEY_HARMLESS, 0, 0},
    {"transformers_version", MQ_KEY_HARMLESS, 0, 0},
    {"_name_or_path", MQ_KEY_HARMLESS, 0, 0},
    {"_attn_implementation_autoset", MQ_KEY_HARMLESS, 0, 0},
    {"attn_implementation", MQ_KEY_HARMLESS, 0, 0},
    {"unsloth_version", MQ_KEY_HARMLESS, 0, 0},
    {"unsloth_fixed", MQ_KEY_HARMLESS, 0, 0},
    {"use_cache", MQ_KEY_HARMLESS, 0, 0},
    {"pad_token_id", MQ_KEY_HARMLESS, 0, 0},
    {"unk_token_id", MQ_KEY_HARMLESS, 0, 0},
    {"initializer_range", MQ_KEY_HARMLESS, 0, 0},
    {"attention_dropout", MQ_KEY_HARMLESS, 0, 0}, /* dropout acts in training only */
    {"hidden_dropout", MQ_KEY_HARMLESS, 0, 0},
    {"id2label", MQ_KEY_HARMLESS, 0, 0},
    {"label2id", MQ_KEY_HARMLESS, 0, 0},
    {"return_dict", MQ_KEY_HARMLESS, 0, 0},
    {"output_attentions", MQ_KEY_HARMLESS, 0, 0},
    {"output_hidden_states", MQ_KEY_HARMLESS, 0, 0},
    {"torchscript", MQ_KEY_HARMLESS, 0, 0},
    {"chunk_size_feed_forward", MQ_KEY_HARMLESS, 0, 0},
    {"is_encoder_decoder", MQ_KEY_FALSE, 0, 0},
    {"problem_type", MQ_KEY_HARMLESS, 0, 0},
    {0},
};

/* Sizes beyond any model's; products of any three stay far below 2^63. */
enum { MAX_SIZE = 1 << 24, MAX_HEAD_DIM = 1024 };

static const struct mq_config_key *find_key(const struct mq_config_key *keys, const char *name)
{
    for (; keys->key; keys++)
        if (strcmp(keys->key, name) == 0)
            return keys;
    return NULL;
}

static bool is_off(const cJSON *value)
{
    return !value || cJSON_IsNull(value) || cJSON_IsFalse(value);
}

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

static moeq_status check_key(const struct mq_family *family, const cJSON *c, const char *path,
                             moeq_error *err)
{
    const struct mq_config_key *k = find_key(common_keys, c->string);
    if (!k)
        k = find_key(family->keys, c->string);
    if (!k)
        return is_off(c) ? MOEQ_OK
                         : refuse(path, c->string, c,
                                  "is a key that moeq does not know: it may change the maths", err);
    switch (k->rule) {
    case MQ_KEY_FALSE:
        if (!is_off(c))
            return refuse(path, c->string, c, "is not implemented (only false or null)", err);
        break;
    case MQ_KEY_ONE:
        if (!cJSON_IsNull(c) && !(cJSON_IsNumber(c) && c->valuedouble == 1))
            return refuse(path, c->string, c, "is not implemented (only 1)", err);
        break;
    case MQ_KEY_SILU:
        if (!cJSON_IsString(c) || strcmp(c->valuestring, "silu") != 0)
            return refuse(path, c->string, c, "is not implemented (only \"silu\")", err);
        break;
    case MQ_KEY_HARMLESS:
    case MQ_KEY_U32:
    case MQ_KEY_SPECIAL:
        break;
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

/* rope_scaling (the published form) or rope_parameters (Transformers 5, which holds theta too). */
static moeq_status read_rope_dict(const cJSON *dict, const char *name, double default_theta,
                                  struct mq_rope *rope, const char *path, moeq_error *err)
{
    static const char *const known[] = {"rope_type",
                                        "type",
                                        "rope_theta",
                                        "factor",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        "original_max_position_embeddings",
                                        "partial_rotary_factor"};
    if (!cJSON_IsObject(dict))
        return refuse(path, name, dict, "is no object", err);
    for (const cJSON *c = dict->child; c; c = c->next) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found |= strcmp(known[i], c->string) == 0;
        if (!found && !is_off(c))
            return refuse(path, c->string, c, "is a rope key that moeq does not know", err);
    }
    const cJSON *partial = mq_json_get(dict, "partial_rotary_factor");
    if (partial && !cJSON_IsNull(partial) &&
        !(cJSON_IsNumber(partial) && partial->valuedouble == 1))
        return refuse(path, "partial_rotary_factor", partial, "is not implemented (only 1)", err);
    MQ_TRY(read_positive(dict, "rope_theta", default_theta, &rope->theta, path, err));
    const cJSON *type = mq_json_get(dict, "rope_type");
    if (!type)
        type = mq_json_get(dict, "type");
    const char *type_name = !type || cJSON_IsNull(type) ? "default"
                            : cJSON_IsString(type)      ? type->valuestring
                                                        : "?";
    if (strcmp(type_name, "default") == 0) {
        rope->type = MQ_ROPE_DEFAULT;
        return MOEQ_OK;
    }
    if (strcmp(type_name, "linear") == 0) {
        rope->type = MQ_ROPE_LINEAR;
        return read_positive(dict, "factor", 0, &rope->factor, path, err);
    }
    if (strcmp(type_name, "llama3") != 0)
        return mq_fail_file(
            err, MOEQ_UNSUPPORTED, path,
            "\"%s\": rope type \"%.40s\" is not implemented (default, linear, llama3)", name,
            type_name);
    rope->type = MQ_ROPE_LLAMA3;
    MQ_TRY(read_positive(dict, "factor", 0, &rope->factor, path, err));
    MQ_TRY(read_positive(dict, "low_freq_factor", 0, &rope->low_freq_factor, path, err));
    MQ_TRY(read_positive(dict, "high_freq_factor", 0, &rope->high_freq_factor, path, err));
    MQ_TRY(read_positive(dict, "original_max_position_embeddings", 0, &rope->original_max_positions,
                         path, err));
    if (rope->high_freq_factor <= rope->low_freq_factor)
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "\"%s\": high_freq_factor must be greater than low_freq_factor", name);
    return MOEQ_OK;
}

static moeq_status read_rope(const struct mq_family *family, const cJSON *config,
                             struct mq_rope *rope, const char *path, moeq_error *err)
{
    double theta;
    MQ_TRY(read_positive(config, "rope_theta", family->default_rope_theta, &theta, path, err));
    rope->type = MQ_ROPE_DEFAULT;
    rope->theta = theta;
    if (!absent(config, "rope_parameters") && !absent(config, "rope_scaling"))
        return mq_fail_file(
            err, MOEQ_UNSUPPORTED, path,
            "both \"rope_parameters\" and \"rope_scaling\" are given: expected one");
    if (!absent(config, "rope_parameters"))
        return read_rope_dict(mq_json_get(config, "rope_parameters"), "rope_parameters", theta,
                              rope, path, err);
    if (!absent(config, "rope_scaling"))
        return read_rope_dict(mq_json_get(config, "rope_scaling"), "rope_scaling", theta, rope,
                              path, err);
    return MOEQ_OK;
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

static moeq_status read_special(const struct mq_family *family, const cJSON *config,
                                struct mq_hparams *h, const char *path, moeq_error *err)
{
    h->kv_heads = family->default_kv_heads ? family->default_kv_heads : h->heads;
    if (!absent(config, "num_key_value_heads"))
        MQ_TRY(read_size(config, "num_key_value_heads", &h->kv_heads, path, err));
    if (h->kv_heads > h->heads || h->heads % h->kv_heads)
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "num_attention_heads %u is no multiple of num_key_value_heads %u",
                            h->heads, h->kv_heads);
    if (!absent(config, "head_dim")) {
        MQ_TRY(read_size(config, "head_dim", &h->head_dim, path, err));
    } else if (h->hidden % h->heads) {
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "hidden_size %u is no multiple of num_attention_heads %u, and there is "
                            "no head_dim",
                            h->hidden, h->heads);
    } else {
        h->head_dim = h->hidden / h->heads;
    }
    if (h->head_dim % 2 || h->head_dim > MAX_HEAD_DIM)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                            "head_dim %u: expected an even number up to %d", h->head_dim,
                            MAX_HEAD_DIM);
    if (!mq_json_get(config, "sliding_window"))
        h->sliding_window = family->default_sliding_window;
    else if (!absent(config, "sliding_window"))
        MQ_TRY(read_size(config, "sliding_window", &h->sliding_window, path, err));
    double eps;
    MQ_TRY(read_positive(config, "rms_norm_eps", family->default_rms_eps, &eps, path, err));
    h->rms_eps = (float)eps;
    const cJSON *tied = mq_json_get(config, "tie_word_embeddings");
    if (tied && !cJSON_IsBool(tied))
        return refuse(path, "tie_word_embeddings", tied, "is neither true nor false", err);
    h->tied_head = cJSON_IsTrue(tied);
    h->bos = read_token_id(config, "bos_token_id");
    h->eos = read_token_id(config, "eos_token_id");
    if (h->top_k > h->experts)
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "num_experts_per_tok %u is more than the %u experts", h->top_k,
                            h->experts);
    return read_rope(family, config, &h->rope, path, err);
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

moeq_status mq_config_parse(const char *json, size_t n, const char *path,
                            const struct mq_family **family, struct mq_hparams *h, moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = 32, .values = 100000};
    cJSON *config = NULL;
    memset(h, 0, sizeof *h);
    MQ_TRY(mq_json_parse(json, n, &limits, path, 0, &config, err));
    moeq_status status = MOEQ_OK;
    if (!cJSON_IsObject(config)) {
        status = mq_fail_file(err, MOEQ_MALFORMED, path, "expected a JSON object");
        goto out;
    }
    MQ_TRY_OUT(mq_json_refuse_duplicates(config, path, err));
    MQ_TRY_OUT(find_family(config, path, family, err));
    for (const cJSON *c = config->child; c; c = c->next)
        MQ_TRY_OUT(check_key(*family, c, path, err));
    MQ_TRY_OUT(read_sizes(common_keys, config, h, path, err));
    MQ_TRY_OUT(read_sizes((*family)->keys, config, h, path, err));
    MQ_TRY_OUT(read_special(*family, config, h, path, err));
out:
    cJSON_Delete(config);
    return status;
}
