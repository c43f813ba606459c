/* config_family.c: which family a config.json is of. */
#include "config_int.h"

#include "error.h"
#include "json.h"
#include "open_options.h"
#include "text_match.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(const cJSON *config, const char *key)
{
    const cJSON *c = mq_json_get(config, key);
    return cJSON_IsString(c) ? c->valuestring : NULL;
}

static const struct mq_family *find_by_type(const cJSON *config)
{
    const char *type = text_of(config, "model_type");
    return type ? mq_family_find(type) : NULL;
}

static bool is_class_of(const struct mq_family *family, const cJSON *config)
{
    const cJSON *list = mq_json_get(config, "architectures");
    const char *name =
        cJSON_IsArray(list) && cJSON_IsString(list->child) ? list->child->valuestring : "";
    return strcmp(family->architecture, name) == 0 || mq_text_has_word(family->architectures, name);
}

/* (Grok-1 is published without a model_type.) */
static const struct mq_family *find_by_architecture(const cJSON *config)
{
    for (size_t i = 0; i < mq_families_count; i++)
        if (is_class_of(mq_families[i], config))
            return mq_families[i];
    return NULL;
}

static bool has_all(const cJSON *config, const char *keys)
{
    while (*keys) {
        char key[64];
        const size_t n = strcspn(keys, " ");
        snprintf(key, sizeof key, "%.*s", (int)n, keys);
        if (mq_config_absent(config, key))
            return false;
        keys += n + (keys[n] == ' ');
    }
    return true;
}

static const struct mq_family *find_by_keys(const cJSON *config)
{
    for (size_t i = 0; i < mq_families_count; i++)
        if (mq_families[i]->native_keys && has_all(config, mq_families[i]->native_keys))
            return mq_families[i];
    return NULL;
}

bool mq_config_is_native(const char *text, size_t n)
{
    const struct mq_json_limits limits = {.depth = 32, .values = 100000};
    cJSON *config = NULL;
    const bool native =
        mq_json_parse(text, n, &limits, "params.json", 0, &config, NULL) == MOEQ_OK &&
        find_by_keys(config);
    cJSON_Delete(config);
    return native;
}

static moeq_status refuse_type(const struct mq_config_reader *r, const char *type)
{
    char list[1200];
    size_t n = 0;
    list[0] = '\0';
    for (size_t i = 0; i < mq_families_count && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "",
                              mq_families[i]->name);
    return mq_fail_file(r->err, MOEQ_UNSUPPORTED, r->path,
                        "model_type \"%.60s\" is not supported (supported: %s)", type, list);
}

/* Transformers goes by model_type; other programs go by the name of the class. */
static moeq_status note_architecture(const struct mq_config_reader *r,
                                     const struct mq_family *family)
{
    const struct mq_family *other = find_by_architecture(r->config);
    if (!other || is_class_of(family, r->config))
        return MOEQ_OK;
    return mq_view_note(r->view, r->err,
                        "config.json's architectures say %s, its model_type says %s: it is read as "
                        "the latter, as in Transformers",
                        other->architecture, family->name);
}

moeq_status mq_config_find_family(const struct mq_config_reader *r, const struct mq_family **family)
{
    const char *type = text_of(r->config, "model_type");
    *family = find_by_type(r->config);
    if (!*family)
        *family = find_by_type(r->outer);
    if (!*family && !type)
        *family = find_by_architecture(r->config);
    if (!*family && !type)
        *family = find_by_keys(r->config);
    if (*family)
        return note_architecture(r, *family);
    if (type)
        return refuse_type(r, type);
    return mq_fail_file(r->err, MOEQ_MALFORMED, r->path, "\"model_type\" is missing");
}
