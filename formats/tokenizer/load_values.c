/*
 * load_values.c: values of the vocabulary and the merges, one at a time from the file's text.
 *
 * They are nearly all of a file, and would be ten times their bytes as a tree.
 */
#include "tokenizer_int.h"

#include "error.h"
#include "json_string.h"

#include <string.h>

const struct mq_json_limits mq_tokenizer_limits = {.depth = MQ_TOKENIZER_MAX_DEPTH,
                                                   .values = MQ_TOKENIZER_MAX_VALUES};

moeq_status mq_load_string(struct mq_load *load, const char *json, size_t from, size_t end,
                           struct mq_buffer *decoded, struct mq_text *text)
{
    const size_t inside = end - from - 2; /* without the quotes */
    *text = (struct mq_text){json + from + 1, inside};
    if (!memchr(text->data, '\\', inside))
        return MOEQ_OK;
    mq_buffer_clear(decoded);
    mq_json_decode_string(json, from, end, decoded);
    if (!mq_buffer_ok(decoded))
        return mq_fail_memory(load->err, "reading the tokenizer");
    *text = (struct mq_text){decoded->data, decoded->size};
    return MOEQ_OK;
}

/* Up to 15 digits are below 2^53, and most ids and types. */
static bool read_digits(const char *text, size_t n, double *value)
{
    uint64_t whole = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || i == 15)
            return false;
        whole = whole * 10 + (uint64_t)(text[i] - '0');
    }
    *value = (double)whole;
    return true;
}

moeq_status mq_load_number(struct mq_load *load, const char *json, size_t from, size_t end,
                           double *value, bool *is_number)
{
    const char c = json[from];
    cJSON *item;
    *is_number = c == '-' || (c >= '0' && c <= '9');
    if (!*is_number || read_digits(json + from, end - from, value))
        return MOEQ_OK;
    MQ_TRY(mq_json_parse(json + from, end - from, &mq_tokenizer_limits, load->path, from, &item,
                         load->err));
    *is_number = cJSON_IsNumber(item); /* -Infinity is none */
    *value = item->valuedouble;
    cJSON_Delete(item);
    return MOEQ_OK;
}

/* The only member of a name in the object that a walk is at; *value without a text if there are more, or none. */
static moeq_status find_only(struct mq_load *load, struct mq_json_walk walk, const char *name,
                             struct mq_buffer *decoded, struct mq_json_walk *value)
{
    const size_t size = strlen(name);
    size_t found = 0;
    while (mq_json_walk_next(&walk)) {
        struct mq_text key;
        MQ_TRY(mq_load_string(load, walk.text, walk.key, walk.key_end, decoded, &key));
        if (key.size != size || memcmp(key.data, name, size) != 0)
            continue;
        *value = (struct mq_json_walk){.text = walk.text, .n = walk.value_end, .at = walk.value};
        found++;
    }
    if (found != 1)
        *value = (struct mq_json_walk){0};
    return MOEQ_OK;
}

static moeq_status find_lists(struct mq_load *load, struct mq_json_walk root,
                              struct mq_buffer *decoded)
{
    struct mq_json_walk model;
    if (root.value_end) /* no object */
        return MOEQ_OK;
    MQ_TRY(find_only(load, root, "model", decoded, &model));
    if (!model.text || model.text[model.at] != '{')
        return MOEQ_OK;
    MQ_TRY(find_only(load, model, "vocab", decoded, &load->vocab));
    if (load->vocab.text && !strchr("[{", load->vocab.text[load->vocab.at]))
        load->vocab = (struct mq_json_walk){0};
    MQ_TRY(find_only(load, model, "merges", decoded, &load->merges));
    if (load->merges.text && load->merges.text[load->merges.at] != '[')
        load->merges = (struct mq_json_walk){0};
    return MOEQ_OK;
}

/* Appends what stands from *from to a list, which is empty then. */
static void leave_out(const struct mq_json_walk *list, size_t *from, struct mq_buffer *rest)
{
    mq_buffer_append(rest, list->text + *from, list->at + 1 - *from);
    *from = list->n - 1; /* its closing bracket */
}

moeq_status mq_load_rest(struct mq_load *load, const struct mq_json_walk *root,
                         struct mq_buffer *rest)
{
    struct mq_buffer decoded = {0};
    size_t from = 0;
    const moeq_status status = find_lists(load, *root, &decoded);
    mq_buffer_free(&decoded);
    if (status != MOEQ_OK)
        return status;
    const struct mq_json_walk *vocab = load->vocab.text ? &load->vocab : NULL;
    const struct mq_json_walk *merges = load->merges.text ? &load->merges : NULL;
    const bool vocab_first = vocab && merges && vocab->at < merges->at;
    if (merges && !vocab_first)
        leave_out(merges, &from, rest);
    if (vocab)
        leave_out(vocab, &from, rest);
    if (merges && vocab_first)
        leave_out(merges, &from, rest);
    mq_buffer_append(rest, root->text + from, root->n - from);
    return mq_buffer_ok(rest) ? MOEQ_OK : mq_fail_memory(load->err, "reading the tokenizer");
}
