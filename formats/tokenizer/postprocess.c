/* postprocess.c: the ids that a template puts around a text. */
#include "tokenizer_int.h"

#include "error.h"

#include <stdlib.h>
#include <string.h>

/* Of a template; published ones have below ten. Each item is looked for among the special tokens,
 * and may stand for many ids. */
enum { MOST_ITEMS = 256, MOST_IDS = 4096 };

/* Appends the ids of the special token `name` of a template. */
static moeq_status add_special(struct mq_load *load, const cJSON *specials, const char *name,
                               struct mq_ids *ids)
{
    static const char what[] = "post-processor TemplateProcessing";
    const cJSON *list = mq_json_get(mq_json_get(specials, name), "ids");
    if (!cJSON_IsArray(list))
        return mq_load_malformed(load, what, "a special token without ids");
    for (const cJSON *item = list->child; item; item = item->next) {
        uint64_t id;
        if (!mq_json_u64(item, &id) || id >= load->tokenizer->vocab_size ||
            !load->tokenizer->tokens[id].text)
            return mq_load_malformed(load, what, "a special token's id is not in the vocabulary");
        if (ids->size == MOST_IDS)
            return mq_load_malformed(load, what, "a template of more than 4096 ids");
        if (!mq_ids_push(ids, (int32_t)id))
            return mq_fail_memory(load->err, "reading the tokenizer's template");
    }
    return MOEQ_OK;
}

/*
 * A template for one text is special tokens with the text, "A", once among them: what stands before
 * and behind it is all that encoding needs. A second template `tokenizers` itself does not take.
 */
static moeq_status load_template(struct mq_load *load, const cJSON *json)
{
    static const char what[] = "post-processor TemplateProcessing";
    const cJSON *single = mq_json_get(json, "single");
    const cJSON *specials = mq_json_get(json, "special_tokens");
    if (!cJSON_IsArray(single))
        return mq_load_malformed(load, what, "'single' is missing or no list");
    struct mq_tokenizer *t = load->tokenizer;
    if (t->has_template)
        return mq_load_unsupported(load, what, "a second template");
    t->has_template = true;
    unsigned texts = 0;
    if (cJSON_GetArraySize(single) > MOST_ITEMS)
        return mq_load_malformed(load, what, "a template of more than 256 items");
    for (const cJSON *item = single->child; item; item = item->next) {
        const cJSON *sequence = mq_json_get(item, "Sequence");
        const cJSON *special = mq_json_get(item, "SpecialToken");
        const cJSON *id = mq_json_get(sequence ? sequence : special, "id");
        if (!cJSON_IsString(id))
            return mq_load_malformed(load, what, "an item that is no Sequence or SpecialToken");
        if (!sequence)
            MQ_TRY(add_special(load, specials, id->valuestring, texts ? &t->suffix : &t->prefix));
        else if (strcmp(id->valuestring, "A") != 0 || ++texts > 1)
            return mq_load_unsupported(load, what, "a template other than one text A");
    }
    return texts ? MOEQ_OK : mq_load_unsupported(load, what, "a template without the text A");
}

static moeq_status load_step(struct mq_load *load, const cJSON *json, const char *type)
{
    /* ByteLevel only trims the offsets of tokens in the text, which are not kept here. */
    if (strcmp(type, "ByteLevel") == 0)
        return MOEQ_OK;
    if (strcmp(type, "TemplateProcessing") == 0)
        return load_template(load, json);
    return mq_load_unsupported(load, "post-processor", type);
}

moeq_status mq_postprocessor_load(struct mq_load *load, const cJSON *json)
{
    return mq_load_sequence(load, json, "processors", "post-processor", load_step);
}
