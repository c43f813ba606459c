/*
 * fuzz_side_files.c: a tokenizer.json, a tokenizer_config.json, an added_tokens.json and a
 * special_tokens_map.json, with NUL bytes between them.
 *
 * Beyond "no crash": a failure has a message and no texts, and what is made of JSON is JSON.
 */
#include "json.h"
#include "side_files.h"
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_json(const char *text, size_t n)
{
    const struct mq_json_limits limits = {.depth = 64, .values = 1000000};
    moeq_error err = {0};
    cJSON *tree = NULL;
    const bool good = mq_json_parse(text, n, &limits, "fuzz", 0, &tree, &err) == MOEQ_OK;
    cJSON_Delete(tree);
    return good;
}

/* Whether the loader takes it does not matter. */
static void load(const struct mq_buffer *json)
{
    struct mq_tokenizer *tokenizer;
    moeq_error err = {0};
    if (mq_tokenizer_load(json->data, json->size, "fuzz", &tokenizer, &err) == MOEQ_OK)
        mq_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mq_side_text parts[4] = {{0}};
    const char *at = (const char *)data, *end = at + size;
    for (int i = 0; i < 4 && at < end; i++) {
        const char *nul = memchr(at, 0, (size_t)(end - at));
        parts[i] = (struct mq_side_text){at, (size_t)((nul ? nul : end) - at)};
        at = nul ? nul + 1 : end;
    }
    const struct mq_tokenizer_side side = {parts[1], parts[2], parts[3]};
    struct mq_tokenizer_merged merged = {0};
    moeq_error err = {0};
    if (mq_tokenizer_merge(parts[0].data, parts[0].size, &side, &merged, &err) != MOEQ_OK) {
        if (!err.message[0] || merged.tokenizer.size || merged.config.size)
            abort();
        return 0;
    }
    if (merged.tokenizer.size && is_json(parts[0].data, parts[0].size)) {
        if (!is_json(merged.tokenizer.data, merged.tokenizer.size))
            abort();
        load(&merged.tokenizer);
    }
    if (merged.config.size && !is_json(merged.config.data, merged.config.size))
        abort();
    mq_tokenizer_merged_free(&merged);
    return 0;
}
