/* load_members.c: members of a component's JSON, and what is said where they are wrong. */
#include "tokenizer_int.h"

#include "error.h"

#include <string.h>

moeq_status mq_load_malformed(struct mq_load *load, const char *what, const char *problem)
{
    return mq_fail_file(load->err, MOEQ_MALFORMED, load->path, "%s: %s", what, problem);
}

moeq_status mq_load_unsupported(struct mq_load *load, const char *what, const char *value)
{
    return mq_fail_file(load->err, MOEQ_UNSUPPORTED, load->path, "%s '%.200s' is not supported",
                        what, value);
}

moeq_status mq_load_text(struct mq_load *load, const cJSON *object, const char *key,
                         const char *what, struct mq_text *text)
{
    const cJSON *item = mq_json_get(object, key);
    if (!cJSON_IsString(item))
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path, "%s: '%s' is missing or no text",
                            what, key);
    text->size = strlen(item->valuestring);
    if (text->size > MQ_MAX_CONTENT)
        return mq_fail_file(load->err, MOEQ_LIMIT, load->path,
                            "%s: '%s' has %zu bytes, more than %d", what, key, text->size,
                            MQ_MAX_CONTENT);
    text->data = mq_arena_strndup(load->tokenizer->arena, item->valuestring, text->size);
    return text->data ? MOEQ_OK : mq_fail_memory(load->err, "reading the tokenizer");
}

moeq_status mq_load_flag(struct mq_load *load, const cJSON *object, const char *key,
                         const char *what, int fallback, bool *flag)
{
    const cJSON *item = mq_json_get(object, key);
    if (cJSON_IsBool(item)) {
        *flag = cJSON_IsTrue(item);
        return MOEQ_OK;
    }
    if (fallback < 0 || (item && !cJSON_IsNull(item)))
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "%s: '%s' is missing or neither true nor false", what, key);
    *flag = fallback;
    return MOEQ_OK;
}

/* The recursion is as deep as the JSON, whose depth load.c bounds. */
// NOLINTNEXTLINE(misc-no-recursion): see above
moeq_status mq_load_sequence(struct mq_load *load, const cJSON *component, const char *list,
                             const char *what,
                             moeq_status (*step)(struct mq_load *load, const cJSON *component,
                                                 const char *type))
{
    if (!component || cJSON_IsNull(component))
        return MOEQ_OK;
    const cJSON *type = mq_json_get(component, "type");
    if (!cJSON_IsString(type))
        return mq_load_malformed(load, what, "'type' is missing or no text");
    if (strcmp(type->valuestring, "Sequence") != 0)
        return step(load, component, type->valuestring);
    const cJSON *members = mq_json_get(component, list);
    if (!cJSON_IsArray(members))
        return mq_load_malformed(load, what, "a Sequence without its list");
    for (const cJSON *member = members->child; member; member = member->next)
        MQ_TRY(mq_load_sequence(load, member, list, what, step));
    return MOEQ_OK;
}
