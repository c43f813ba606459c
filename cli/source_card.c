/* source_card.c: "source_card" of a result. */
#include "source_card.h"

#include "json.h"
#include "model_card.h"

#include <stdlib.h>
#include <string.h>

bool mq_source_card_check(const char *command, const struct mq_options *options)
{
    const char *name = options->base_model, *slash = name ? strchr(name, '/') : NULL;
    if (!name || (slash && slash != name && slash[1] && !strchr(slash + 1, '/')))
        return true;
    mq_usage(command, "--base-model '%s': expected OWNER/NAME, as on the Hugging Face Hub", name);
    return false;
}

static void put(cJSON *card, const char *key, const char *text)
{
    if (text && *text)
        cJSON_AddStringToObject(card, key, text);
}

cJSON *mq_put_source_card(cJSON *document, const struct mq_options *options, const char *folder)
{
    struct mq_model_card *read = document ? malloc(sizeof *read) : NULL;
    const cJSON *before = document ? mq_json_get(document, "source_card") : NULL;
    if (!read)
        return document;
    moeq_error err = {0};
    if (mq_model_card_read(folder, read, &err) != MOEQ_OK) {
        mq_report(&err);
        free(read);
        cJSON_Delete(document);
        return NULL;
    }
    if (before && !options->base_model) { /* a saved result knows its own */
        free(read);
        return document;
    }
    cJSON *card = before ? (cJSON *)before : cJSON_AddObjectToObject(document, "source_card");
    if (options->base_model) {
        cJSON_DeleteItemFromObjectCaseSensitive(card, "base_model");
        cJSON_DeleteItemFromObjectCaseSensitive(card, "base_model_from");
        put(card, "base_model", options->base_model);
        put(card, "base_model_from", "--base-model");
    } else if (read->repository[0]) {
        put(card, "base_model", read->repository);
        put(card, "base_model_from", read->repository_from);
    }
    if (!before) {
        put(card, "license", read->license);
        put(card, "license_name", read->license_name);
        put(card, "license_link", read->license_link);
        put(card, "pipeline_tag", read->pipeline_tag);
        cJSON *languages = read->languages_count ? cJSON_AddArrayToObject(card, "language") : NULL;
        for (size_t i = 0; languages && i < read->languages_count; i++)
            cJSON_AddItemToArray(languages, cJSON_CreateString(read->languages[i]));
    }
    free(read);
    return document;
}
