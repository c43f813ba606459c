/*
 * config_rope.c: rotary embeddings: rope_scaling, rope_parameters, rope_theta and their kin.
 *
 * Source: Transformers' modeling_rope_utils.py, and the configuration classes of the families that differ.
 */
#include "config_int.h"

#include "error.h"
#include "json.h"
#include "open_options.h"
#include "portable_math.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* One dictionary that is being read. */
struct rope_reader {
    const struct mq_config_reader *config;
    const char *name; /* "rope_scaling" */
    const cJSON *dict;
    struct mq_rope *rope;
};

/* The keys of a rope dictionary that are read in all types, besides the type. */
static const char *const common_keys[] = {
    "rope_type",
    "type",
    "rope_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "mrope_section", /* of text, all three positions are equal */
    "mrope_interleaved",
    NULL};
/* Keys of other types, which the type "default" does not read (in Transformers neither). */
static const char *const unread_keys[] = {
    "beta_fast",    "beta_slow",   "mscale",   "mscale_all_dim", "attention_factor",
    "short_factor", "long_factor", "truncate", "finetuned",      NULL};
static const char *const yarn_keys[] = {
    "beta_fast",        "beta_slow", "mscale",    "mscale_all_dim",
    "attention_factor", "truncate",  "finetuned", NULL};
static const char *const longrope_keys[] = {"short_factor", "long_factor",      "short_mscale",
                                            "long_mscale",  "attention_factor", NULL};
/* Types of layers that may have a dictionary each. */
static const char *const layer_types[] = {"full_attention", "sliding_attention", NULL};
/* What Hunyuan writes beside alpha, and nobody reads. */
static const char *const alpha_keys[] = {"alpha",  "beta_fast",      "beta_slow",
                                         "mscale", "mscale_all_dim", NULL};

static bool is_in(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

/* Whether a row of the family reads a key of the dictionary. */
static bool family_reads(const struct rope_reader *r, const char *key)
{
    char path[160];
    snprintf(path, sizeof path, "%.40s.%.100s", r->name, key);
    return mq_config_key_find(r->config->view->family->keys, path) != NULL;
}

/* own: keys of the type besides those of all; NULL: none. */
static moeq_status check_keys(const struct rope_reader *r, const char *const *all,
                              const char *const *own)
{
    const struct mq_config_reader *c = r->config;
    struct mq_config_refused refused = {0};
    for (const cJSON *item = r->dict->child; item; item = item->next) {
        if (is_in(all, item->string) || mq_config_value_is_off(item) ||
            (own && is_in(own, item->string)) || family_reads(r, item->string))
            continue;
        if (!mq_view_ignores_key(c->view, item->string))
            mq_config_add_refused(&refused, item->string, item, NULL);
        else
            MQ_TRY(mq_config_note_ignored(c, item->string, false));
    }
    return mq_config_refuse_keys(c, &refused);
}

/* ---- types ---- */

static moeq_status positive(const struct rope_reader *r, const char *key, double otherwise,
                            double *value)
{
    return mq_config_read_positive(r->dict, key, otherwise, value, r->config->path, r->config->err);
}

static moeq_status read_linear(const struct rope_reader *r)
{
    r->rope->type = MQ_ROPE_LINEAR;
    return positive(r, "factor", 0, &r->rope->factor);
}

static moeq_status fail_rope(const struct rope_reader *r, const char *key, double value,
                             const char *why)
{
    return mq_fail_file(r->config->err, MOEQ_UNSUPPORTED, r->config->path, "\"%s\": %s %g %s",
                        r->name, key, value, why);
}

/* Frequencies change only for sequences longer than max_position_embeddings (Transformers'
 * _compute_dynamic_ntk_parameters): up to there this is the default. With alpha (Hunyuan) theta is
 * another, whatever the length (modeling_hunyuan_v1_moe.py). */
static moeq_status read_dynamic(const struct rope_reader *r)
{
    struct mq_rope *rope = r->rope;
    const struct mq_hparams *h = &r->config->view->hparams;
    double alpha;
    rope->type = MQ_ROPE_DEFAULT;
    if (!mq_config_absent(r->dict, "alpha")) {
        const double dim = h->head_dim;
        if (h->head_dim <= 2)
            return fail_rope(r, "head_dim", dim, "is too small for alpha: expected more than 2");
        MQ_TRY(positive(r, "alpha", 0, &alpha));
        rope->theta *= mq_exp(mq_log(alpha) * dim / (dim - 2));
        return MOEQ_OK;
    }
    rope->exact_positions = h->max_positions;
    return mq_view_note(
        r->config->view, r->config->err,
        "RoPE type dynamic: up to %u positions the same as none; longer windows are "
        "refused",
        rope->exact_positions);
}

static moeq_status read_llama3(const struct rope_reader *r)
{
    struct mq_rope *rope = r->rope;
    rope->type = MQ_ROPE_LLAMA3;
    MQ_TRY(positive(r, "factor", 0, &rope->factor));
    MQ_TRY(positive(r, "low_freq_factor", 0, &rope->low_freq_factor));
    MQ_TRY(positive(r, "high_freq_factor", 0, &rope->high_freq_factor));
    MQ_TRY(positive(r, "original_max_position_embeddings", 0, &rope->original_max_positions));
    if (rope->high_freq_factor < rope->low_freq_factor)
        return mq_fail_file(r->config->err, MOEQ_MALFORMED, r->config->path,
                            "rope scaling: high_freq_factor must not be less than low_freq_factor");
    return MOEQ_OK;
}

/* Transformers' get_mscale. */
static double yarn_magnitude(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * mq_log(factor) + 1;
}

/* A number that Transformers takes for absent where it is 0 ("or 32", "if mscale"). */
static moeq_status positive_or_0(const struct rope_reader *r, const char *key, double otherwise,
                                 double *value)
{
    const cJSON *c = mq_json_get(r->dict, key);
    *value = otherwise;
    if (mq_config_absent(r->dict, key) || (cJSON_IsNumber(c) && c->valuedouble == 0))
        return MOEQ_OK;
    return positive(r, key, otherwise, value);
}

/* Null, unlike no factor at all: by how much longer windows became. */
static moeq_status read_yarn_factor(const struct rope_reader *r)
{
    struct mq_rope *rope = r->rope;
    const double longer = r->config->view->hparams.max_positions / rope->original_max_positions;
    return positive(r, "factor", mq_json_get(r->dict, "factor") ? longer : 0, &rope->factor);
}

/* The ramp lies where log(theta) says. */
static moeq_status check_yarn(const struct rope_reader *r)
{
    return r->rope->theta == 1 ? fail_rope(r, "rope_theta", 1, "is not possible with yarn")
                               : MOEQ_OK;
}

static bool is_falsy(const cJSON *value)
{
    return mq_config_value_is_off(value) || (cJSON_IsNumber(value) && value->valuedouble == 0);
}

static moeq_status read_yarn(const struct rope_reader *r)
{
    struct mq_rope *rope = r->rope;
    double mscale, all;
    rope->type = MQ_ROPE_YARN;
    MQ_TRY(check_yarn(r));
    MQ_TRY(positive(r, "original_max_position_embeddings", r->config->view->hparams.max_positions,
                    &rope->original_max_positions));
    MQ_TRY(read_yarn_factor(r));
    MQ_TRY(positive_or_0(r, "beta_fast", 32, &rope->beta_fast));
    MQ_TRY(positive_or_0(r, "beta_slow", 1, &rope->beta_slow));
    MQ_TRY(positive_or_0(r, "mscale", 0, &mscale));
    MQ_TRY(positive_or_0(r, "mscale_all_dim", 0, &all));
    rope->truncate =
        !mq_json_get(r->dict, "truncate") || !is_falsy(mq_json_get(r->dict, "truncate"));
    rope->score_factor = all != 0 ? yarn_magnitude(rope->factor, all) : 1;
    const double magnitude = mscale != 0 && all != 0
                                 ? yarn_magnitude(rope->factor, mscale) / rope->score_factor
                                 : yarn_magnitude(rope->factor, 1);
    return positive(r, "attention_factor", magnitude, &rope->magnitude);
}

static moeq_status read_list(const struct rope_reader *r, const char *key,
                             const char *magnitude_key, double magnitude, struct mq_rope_list *list)
{
    const struct mq_config_reader *c = r->config;
    const cJSON *array = mq_json_get(r->dict, key);
    const size_t wanted = (size_t)(c->view->hparams.head_dim * r->rope->part) / 2;
    if (!cJSON_IsArray(array) || (size_t)cJSON_GetArraySize(array) != wanted)
        return mq_fail_file(c->err, MOEQ_MALFORMED, c->path,
                            "\"%s\": expected a list of %zu numbers, one for each pair of a head "
                            "that is turned, found %d",
                            key, wanted, cJSON_IsArray(array) ? cJSON_GetArraySize(array) : 0);
    double *divisors = mq_arena_alloc(c->view->arena, wanted + 1, sizeof *divisors);
    if (!divisors)
        return mq_fail_memory(c->err, "reading config.json");
    for (const cJSON *item = array->child; item; item = item->next)
        MQ_TRY(mq_config_positive(item, key, &divisors[list->count++], c->path, c->err));
    list->divisors = divisors;
    return positive(r, magnitude_key, magnitude, &list->magnitude);
}

/* Phi-3.5-MoE says what to multiply by; others leave it to Transformers' formula, by how much longer
 * windows became. */
static moeq_status read_longrope(const struct rope_reader *r)
{
    struct mq_rope *rope = r->rope;
    const struct mq_config_reader *c = r->config;
    const double most = c->view->hparams.max_positions;
    double factor, magnitude, original;
    rope->type = MQ_ROPE_LONGROPE;
    MQ_TRY(mq_config_read_positive(c->config, "original_max_position_embeddings", most, &original,
                                   c->path, c->err));
    MQ_TRY(
        positive(r, "original_max_position_embeddings", original, &rope->original_max_positions));
    if (!mq_config_absent(c->config, "original_max_position_embeddings") &&
        original != rope->original_max_positions) /* Transformers' order of the two changed */
        return mq_fail_file(c->err, MOEQ_MALFORMED, c->path,
                            "\"original_max_position_embeddings\" is %g, and %g in \"%s\": expected "
                            "the same",
                            original, rope->original_max_positions, r->name);
    if (rope->original_max_positions <= 1) /* the formula divides by its logarithm */
        return fail_rope(r, "original_max_position_embeddings", rope->original_max_positions,
                         "is too small for longrope: expected more than 1");
    MQ_TRY(positive(r, "factor", most / rope->original_max_positions, &factor));
    magnitude = factor <= 1 ? 1 : sqrt(1 + mq_log(factor) / mq_log(rope->original_max_positions));
    MQ_TRY(positive(r, "attention_factor", magnitude, &magnitude));
    MQ_TRY(read_list(r, "short_factor", "short_mscale", magnitude, &rope->near));
    return read_list(r, "long_factor", "long_mscale", magnitude, &rope->far);
}

static moeq_status read_default(const struct rope_reader *r)
{
    r->rope->type = MQ_ROPE_DEFAULT;
    return MOEQ_OK;
}

static moeq_status read_partly(const struct rope_reader *r)
{
    r->rope->type = MQ_ROPE_PARTLY;
    return positive(r, "factor", 1, &r->rope->factor);
}

static const struct {
    const char *name;
    moeq_status (*read)(const struct rope_reader *r);
    const char *const *keys; /* besides common_keys */
} types[] = {
    /* the first is the one that needs no keys */
    {"default", read_default, unread_keys},
    {"linear", read_linear, NULL},
    {"dynamic", read_dynamic, alpha_keys},
    {"llama3", read_llama3, NULL},
    {"yarn", read_yarn, yarn_keys},
    {"longrope", read_longrope, longrope_keys},
    {"proportional", read_partly, NULL},
    {"mrope", read_default, NULL}, /* of text the same */
};
enum { TYPES = sizeof types / sizeof *types };

/* ---- dictionaries ---- */

/* What part of a head is turned: a family that knows of whole heads alone refuses others. */
static moeq_status read_part(const struct rope_reader *r)
{
    const struct mq_config_reader *c = r->config;
    const double otherwise = c->view->family->default_rotary_part;
    const cJSON *here = mq_json_get(r->dict, "partial_rotary_factor");
    const cJSON *top = mq_json_get(c->config, "partial_rotary_factor");
    const cJSON *said = here && !cJSON_IsNull(here) ? here : top;
    r->rope->part = otherwise > 0 ? otherwise : 1;
    if (!said || cJSON_IsNull(said))
        return MOEQ_OK;
    if (!cJSON_IsNumber(said) || !(said->valuedouble > 0 && said->valuedouble <= 1))
        return mq_config_refuse(c->path, "partial_rotary_factor", said,
                                "is no part: expected more than 0, at most 1", c->err);
    if (otherwise == 0 && said->valuedouble != 1)
        return mq_config_refuse(c->path, "partial_rotary_factor", said,
                                "is not implemented (only 1)", c->err);
    r->rope->part = said->valuedouble;
    return MOEQ_OK;
}

static moeq_status fail_type(const struct rope_reader *r, const char *type)
{
    char known[120] = "";
    for (size_t i = 0; i < TYPES; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                 types[i].name);
    return mq_fail_file(r->config->err, MOEQ_UNSUPPORTED, r->config->path,
                        "\"%s\": rope type \"%.40s\" is not implemented (%s)", r->name, type,
                        known);
}

/* A factor without a type that has one says nothing, in Transformers neither. */
static moeq_status note_unused_factor(const struct rope_reader *r)
{
    const cJSON *factor = mq_json_get(r->dict, "factor");
    if (!cJSON_IsNumber(factor) || factor->valuedouble == 1)
        return MOEQ_OK;
    return mq_view_note(r->config->view, r->config->err,
                        "config.json's %s has a factor of %g, and no rope_type that has one: it is "
                        "not used, as in Transformers",
                        r->name, factor->valuedouble);
}

/* One dictionary; NULL: there is none. rope->theta is what stands beside it. */
static moeq_status read_dict(const struct mq_config_reader *c, const char *name, const cJSON *dict,
                             struct mq_rope *rope)
{
    const struct rope_reader r = {c, name, dict, rope};
    const double beside = rope->theta;
    size_t i = 0;
    MQ_TRY(read_part(&r));
    if (!dict)
        return MOEQ_OK;
    if (!cJSON_IsObject(dict))
        return mq_config_refuse(c->path, name, dict, "is no object", c->err);
    const cJSON *type = mq_json_get(dict, "rope_type");
    if (!type)
        type = mq_json_get(dict, "type");
    const char *type_name = !type || cJSON_IsNull(type) ? "default"
                            : cJSON_IsString(type)      ? type->valuestring
                                                        : "?";
    while (i < TYPES && strcmp(types[i].name, type_name) != 0)
        i++;
    if (i == TYPES)
        return fail_type(&r, type_name);
    MQ_TRY(check_keys(&r, common_keys, types[i].keys));
    if (types[i].read == read_default)
        MQ_TRY(note_unused_factor(&r));
    MQ_TRY(positive(&r, "rope_theta", beside, &rope->theta));
    if (!mq_config_absent(c->config, "rope_theta") && rope->theta != beside)
        MQ_TRY(
            mq_view_note(c->view, c->err,
                         "config.json has two values of rope_theta: the %g of %s is taken, as in "
                         "Transformers 5, not the %g beside it",
                         rope->theta, name, beside));
    return types[i].read(&r);
}

/* Where both forms are given, Transformers 5 takes rope_scaling unless it is empty
 * (convert_rope_params_to_dict). NULL: neither is. */
static moeq_status find_dict(const struct mq_config_reader *r, const char **name,
                             const cJSON **dict)
{
    const bool scaling = !mq_config_value_is_off(mq_json_get(r->config, "rope_scaling"));
    const bool parameters = !mq_config_value_is_off(mq_json_get(r->config, "rope_parameters"));
    *name = scaling ? "rope_scaling" : "rope_parameters";
    *dict = scaling || parameters ? mq_json_get(r->config, *name) : NULL;
    if (scaling && parameters)
        return mq_view_note(r->view, r->err,
                            "config.json has both rope_scaling and rope_parameters: rope_scaling "
                            "is taken, as in Transformers 5");
    return MOEQ_OK;
}

/* Mistral's own form: yarn {alpha, beta, factor, original_max_position_embeddings, apply_scale}. vLLM's
 * transformers_utils/configs/mistral.py makes of it beta_slow, beta_fast, the two of the same names and
 * apply_yarn_scaling, with mscale_all_dim 1: its deepseek_v2.py then multiplies scores by the square of
 * get_mscale(factor, 1), unless apply_yarn_scaling is false; cosines and sines (DeepseekScalingRotaryEmbedding)
 * by get_mscale(factor, 1) / get_mscale(factor, 1). */
static moeq_status read_native(const struct mq_config_reader *c, const cJSON *dict,
                               struct mq_rope *rope)
{
    const struct rope_reader r = {c, "yarn", dict, rope};
    rope->type = MQ_ROPE_YARN;
    rope->part = rope->magnitude = rope->score_factor = 1;
    rope->truncate = true;
    MQ_TRY(check_yarn(&r));
    MQ_TRY(positive(&r, "factor", 0, &rope->factor));
    MQ_TRY(positive(&r, "original_max_position_embeddings", 0, &rope->original_max_positions));
    MQ_TRY(positive(&r, "beta", 32, &rope->beta_fast));
    MQ_TRY(positive(&r, "alpha", 1, &rope->beta_slow));
    if (!cJSON_IsFalse(mq_json_get(dict, "apply_scale")))
        rope->score_factor = yarn_magnitude(rope->factor, 1);
    return MOEQ_OK;
}

/* Whether a dictionary has others in it, one for each type of layers. */
static bool is_by_layer_type(const cJSON *dict)
{
    for (const cJSON *item = dict ? dict->child : NULL; item; item = item->next)
        if (cJSON_IsObject(item) || is_in(layer_types, item->string))
            return true;
    return false;
}

/* A family whose layers all have the same positions: so dictionaries must all say the same. */
static moeq_status only_one(const struct rope_reader *r, const cJSON **dict)
{
    const cJSON *first = NULL;
    for (const cJSON *item = r->dict->child; item; item = item->next) {
        if (mq_config_value_is_off(item) || !is_in(layer_types, item->string))
            continue;
        if (first && !mq_json_same(first, item))
            return mq_fail_file(r->config->err, MOEQ_UNSUPPORTED, r->config->path,
                                "\"%s\": \"%.40s\" and \"%.40s\" differ: in %s all layers have the "
                                "same positions",
                                r->name, first->string, item->string,
                                r->config->view->family->name);
        first = item;
    }
    *dict = first;
    return MOEQ_OK;
}

/* One dictionary for all layers, or one for each type of layers; NULL: there is none. */
static moeq_status read_dicts(const struct mq_config_reader *c, const char *name, const cJSON *dict,
                              struct mq_hparams *h)
{
    const struct rope_reader all = {c, name, dict, NULL};
    const bool two = c->view->family->local_rope;
    const cJSON *local = NULL;
    if (cJSON_IsObject(dict) && is_by_layer_type(dict)) {
        MQ_TRY(check_keys(&all, layer_types, NULL));
        local = mq_json_get(dict, "sliding_attention");
        if (two)
            dict = mq_json_get(dict, "full_attention");
        else
            MQ_TRY(only_one(&all, &dict));
    }
    MQ_TRY(read_dict(c, name, dict, &h->rope));
    return two ? read_dict(c, name, local, &h->rope_local) : MOEQ_OK;
}

moeq_status mq_config_read_ropes(const struct mq_config_reader *r, struct mq_hparams *h)
{
    const struct mq_family *f = r->view->family;
    const cJSON *dict, *native = mq_json_get(r->config, "yarn");
    const char *name;
    h->rope.type = h->rope_local.type = MQ_ROPE_DEFAULT;
    MQ_TRY(mq_config_read_positive(r->config, "rope_theta", f->default_rope_theta, &h->rope.theta,
                                   r->path, r->err));
    if (f->theta_key)
        MQ_TRY(mq_config_read_positive(r->config, f->theta_key, h->rope.theta, &h->rope.theta,
                                       r->path, r->err));
    MQ_TRY(find_dict(r, &name, &dict));
    if (!dict && native && mq_config_key_find(f->keys, "yarn.factor"))
        return read_native(r, native, &h->rope);
    h->rope_local.theta = f->default_local_theta;
    if (f->local_rope && f->local_theta_key)
        MQ_TRY(mq_config_read_positive(r->config, f->local_theta_key, f->default_local_theta,
                                       &h->rope_local.theta, r->path, r->err));
    return read_dicts(r, name, dict, h);
}
