/* config_values.c: single values of a config.json. */
#include "config_int.h"

#include "error.h"
#include "json.h"

#include <stdio.h>
#include <string.h>

const cJSON *mq_config_get(const cJSON *config, const char *path)
{
    const cJSON *c = mq_json_get(config, path);
    for (const char *dot; !c && (dot = strchr(path, '.')); path = dot + 1) {
        char name[128];
        if ((size_t)(dot - path) >= sizeof name)
            return NULL;
        snprintf(name, sizeof name, "%.*s", (int)(dot - path), path);
        config = mq_json_get(config, name);
        c = mq_json_get(config, dot + 1);
    }
    return c;
}

bool mq_config_absent(const cJSON *config, const char *path)
{
    const cJSON *c = mq_config_get(config, path);
    return !c || cJSON_IsNull(c);
}

void mq_config_print_value(const cJSON *value, char text[80])
{
    char *json = cJSON_PrintUnformatted(value);
    snprintf(text, 80, "%s", json ? json : "?");
    cJSON_free(json);
}

moeq_status mq_config_refuse(const char *path, const char *key, const cJSON *value, const char *why,
                             moeq_error *err)
{
    char text[80];
    mq_config_print_value(value, text);
    return mq_fail_file(err, MOEQ_UNSUPPORTED, path, "\"%.100s\": %s %s", key, text, why);
}

moeq_status mq_config_whole(const cJSON *c, const char *key, uint32_t least, uint32_t *value,
                            const char *path, moeq_error *err)
{
    uint64_t v;
    if (!mq_json_u64(c, &v) || v < least || v > MQ_CONFIG_MAX_SIZE) {
        char text[80];
        mq_config_print_value(c, text);
        return mq_fail_file(err, MOEQ_MALFORMED, path,
                            "\"%s\": expected a whole number from %u to %d, found %s", key, least,
                            MQ_CONFIG_MAX_SIZE, text);
    }
    *value = (uint32_t)v;
    return MOEQ_OK;
}

moeq_status mq_config_read_size(const cJSON *config, const char *key, uint32_t *value,
                                const char *path, moeq_error *err)
{
    if (mq_config_absent(config, key))
        return mq_fail_file(err, MOEQ_MALFORMED, path, "\"%s\" is missing", key);
    return mq_config_whole(mq_config_get(config, key), key, 1, value, path, err);
}

moeq_status mq_config_positive(const cJSON *c, const char *key, double *value, const char *path,
                               moeq_error *err)
{
    if (!cJSON_IsNumber(c) || !(c->valuedouble > 0) || !(c->valuedouble < 1e30))
        return mq_config_refuse(path, key, c, "is no positive number", err);
    *value = c->valuedouble;
    return MOEQ_OK;
}

moeq_status mq_config_read_positive(const cJSON *object, const char *key, double otherwise,
                                    double *value, const char *path, moeq_error *err)
{
    *value = otherwise;
    if (!mq_config_absent(object, key))
        return mq_config_positive(mq_config_get(object, key), key, value, path, err);
    if (otherwise > 0)
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_MALFORMED, path, "rope scaling: \"%s\" is missing", key);
}
