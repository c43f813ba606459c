/*
 * config_outer.c: config.json files whose model of text is one part of several: the keys of the maths
 * then stand in an object "text_config", and those around it speak of images, sound, or of the whole.
 *
 * Sources: Transformers' configuration classes with sub_configs (Gemma4Config, Mistral3Config,
 * Llama4Config, Qwen3VLMoeConfig, Qwen3_5MoeConfig), and published files.
 */
#include "config_keys.h"

#include "error.h"
#include "json.h"

#include <string.h>

#define TEXT "text_config"

#define HARMLESS(name)                       \
    {                                        \
        .key = name, .rule = MQ_KEY_HARMLESS \
    }

const struct mq_config_key mq_config_outer_keys[] = {
    HARMLESS("vision_config"),
    HARMLESS("audio_config"),
    HARMLESS("*_token_id"), /* of images, and where they begin and end */
    HARMLESS("*_token_index"),
    HARMLESS("vision_*"),
    HARMLESS("video_*"),
    HARMLESS("image_*"),
    HARMLESS("audio_*"),
    HARMLESS("vt_*"), /* Kimi: the vision tower */
    HARMLESS("mm_*"),
    HARMLESS("projector_*"),
    HARMLESS("multimodal_projector_bias"),
    HARMLESS("spatial_merge_size"),
    HARMLESS("use_unified_vision_chunk"),
    HARMLESS("language_model_only"),
    HARMLESS("ignore_index"), /* of a loss */
    {0},
};

/* Keys that count wherever they stand. */
static const struct carried {
    const char *key;
    bool outer_first;
} carried[] = {
    {"tie_word_embeddings", true}, /* of the whole model in Transformers: its own config */
    {"quantization_config", true},
    {"compression_config", true},
    {"quantization", true},
    {"dtype", true}, /* of the inner one Transformers 5 writes float32 */
    {"torch_dtype", true},
    {"_name_or_path", true},
    {"architectures", true},
    {"model_type", false},
    {"bos_token_id", false},
    {"eos_token_id", false},
    {"pad_token_id", false},
};

bool mq_config_is_carried(const char *key)
{
    for (size_t i = 0; i < sizeof carried / sizeof *carried; i++)
        if (strcmp(carried[i].key, key) == 0)
            return true;
    return false;
}

static bool carry(const struct carried *c, const cJSON *outer, cJSON *text)
{
    const cJSON *theirs = mq_json_get(outer, c->key), *own = mq_json_get(text, c->key);
    if (!theirs || cJSON_IsNull(theirs) || (own && !cJSON_IsNull(own) && !c->outer_first))
        return true;
    cJSON *copy = cJSON_Duplicate(theirs, true);
    if (!copy)
        return false;
    cJSON_DeleteItemFromObjectCaseSensitive(text, c->key);
    if (cJSON_AddItemToObject(text, c->key, copy))
        return true;
    cJSON_Delete(copy);
    return false;
}

moeq_status mq_config_flatten(cJSON **config, cJSON **outer, moeq_error *err)
{
    *outer = NULL;
    if (!cJSON_IsObject(mq_json_get(*config, TEXT)))
        return MOEQ_OK;
    *outer = *config;
    *config = cJSON_DetachItemFromObjectCaseSensitive(*outer, TEXT);
    for (size_t i = 0; i < sizeof carried / sizeof *carried; i++)
        if (!carry(&carried[i], *outer, *config))
            return mq_fail_memory(err, "reading config.json");
    return MOEQ_OK;
}
