/*
 * fuzz_hf_shards.c: a whole Hugging Face folder: its index, two shards, and the files beside them. Parts: those of the
 * table, an empty one is not there; of a shard its header, whose length and data (zeros) are added.
 *
 * Beyond "no crash": every row that an accepted view promises can be read, from the file that has it; notes and what is
 * carried of the tokenizer are whole; a failure names the folder.
 */
#include "fuzz_support.h"

#include "chat.h"
#include "json.h"
#include "stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fuzz_entry entries[] = {
    {.name = "config.json"},
    {.name = "model.safetensors.index.json"},
    {.name = "model-00001-of-00002.safetensors"},
    {.name = "model-00002-of-00002.safetensors"},
    {.name = "tokenizer.json"},
    {.name = "tokenizer_config.json"},
    {.name = "generation_config.json"},
    {.name = "chat_template.jinja"},
    {.name = "added_tokens.json"},
    {.name = "special_tokens_map.json"},
    {.name = "chat_template.json"},
    {.name = "adapter_config.json"},
};
enum { FILES = sizeof entries / sizeof *entries, FIRST_SHARD = 2, LAST_SHARD = 3 };

static void check(const struct mq_view *view)
{
    const struct mq_json_limits limits = {.depth = 64, .values = 1000000, .nul_in_texts = true};
    const struct mq_buffer *config = &view->side[MQ_SIDE_GENERATION_CONFIG];
    moeq_error err = {0};
    cJSON *tree = NULL;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        fuzz_expect(t->assembly || t->file < view->files_count);
        fuzz_read_rows(view, t, view->claim.method != MQ_SOURCE_PLAIN); /* zeros are no scales */
    }
    for (size_t i = 0; i < view->notes_count; i++)
        fuzz_expect(view->notes[i][0] && !strchr(view->notes[i], '\n'));
    if (config->size)
        fuzz_expect(mq_json_parse(config->data, config->size, &limits, "fuzz", 0, &tree, &err) ==
                    MOEQ_OK);
    cJSON_Delete(tree);
}

static void put(size_t i, struct fuzz_part part)
{
    size_t n;
    uint32_t last;
    if (i < FIRST_SHARD || i > LAST_SHARD) {
        fuzz_put_entry(&entries[i], part.data, part.size);
        return;
    }
    uint8_t *bytes = fuzz_safetensors(part, (struct fuzz_part){part.data, 0}, true, &n, &last);
    fuzz_put_entry(&entries[i], bytes, n);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part parts[FILES];
    struct mq_view *view;
    moeq_error err = {0};
    fuzz_parts(data, size, parts, FILES);
    for (size_t i = 0; i < FILES; i++)
        if (parts[i].size)
            put(i, parts[i]);
        else
            fuzz_no_entry(&entries[i]);
    const moeq_status status = mq_model_open(fuzz_folder(), &view, &err);
    if (status == MOEQ_OK) {
        check(view);
        mq_view_close(view);
    } else {
        fuzz_refused(status, &err, fuzz_folder());
    }
    return 0;
}
