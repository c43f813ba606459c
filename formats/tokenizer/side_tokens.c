/*
 * side_tokens.c: the tokens that tokenizer_config.json, special_tokens_map.json and
 * added_tokens.json name, in the order and with the flags that side_files.h describes.
 */
#include "side_files_int.h"

#include "error.h"
#include "text_match.h"
#include "tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

const char *const mq_flag_names[MQ_FLAGS] = {"single_word", "lstrip", "rstrip", "normalized",
                                             "special"};

static const char *const attributes[MQ_SIDE_ATTRIBUTES] = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

/* What Transformers 5 saves a dict extra_special_tokens as. */
#define MODEL_SPECIFIC "model_specific_special_tokens"

static moeq_status fail_item(moeq_error *err, const char *where, const char *what,
                             const char *problem)
{
    return mq_fail_file(err, MOEQ_MALFORMED, where, "'%.200s' %s", what, problem);
}

/* ---- one token ---- */

/* As mq_tokenizer_load has it, which would blame tokenizer.json. */
static moeq_status check_length(const char *content, const char *where, moeq_error *err)
{
    const size_t n = strlen(content);
    if (n <= MQ_MAX_CONTENT)
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_LIMIT, where, "token '%.40s...' has %zu bytes, more than %d",
                        content, n, MQ_MAX_CONTENT);
}

moeq_status mq_side_token_object(const cJSON *item, const char *where, const char *what,
                                 struct mq_side_token *token, moeq_error *err)
{
    const cJSON *content = mq_json_get(item, "content");
    if (!cJSON_IsString(content))
        return fail_item(err, where, what, "is a token without a text \"content\"");
    MQ_TRY(check_length(content->valuestring, where, err));
    *token = (struct mq_side_token){.content = content->valuestring};
    for (int f = 0; f < MQ_FLAGS; f++) {
        const cJSON *flag = mq_json_get(item, mq_flag_names[f]);
        if (flag && !cJSON_IsBool(flag) && !cJSON_IsNull(flag))
            return fail_item(err, where, what, "is a token with a flag that is not true or false");
        token->flags[f] = cJSON_IsTrue(flag);
    }
    /* AddedToken's default. */
    if (!cJSON_IsBool(mq_json_get(item, mq_flag_names[MQ_NORMALIZED])))
        token->flags[MQ_NORMALIZED] = !token->flags[MQ_SPECIAL];
    return MOEQ_OK;
}

static struct mq_side_token text_token(const char *content)
{
    return (struct mq_side_token){
        .content = content, .flags = {[MQ_SPECIAL] = true}, .is_text = true, .plain = true};
}

/* A text or an object. An object of special_tokens_map.json is special whatever it says. */
static moeq_status read_token(const cJSON *item, bool of_map, const char *what,
                              struct mq_side_token *token, moeq_error *err)
{
    const char *where = of_map ? MQ_MAP_NAME : MQ_CONFIG_NAME;
    if (cJSON_IsString(item)) {
        *token = text_token(item->valuestring);
        return check_length(item->valuestring, where, err);
    }
    if (!cJSON_IsObject(item))
        return fail_item(err, where, what, "names a token that is neither a text nor an object");
    MQ_TRY(mq_side_token_object(item, where, what, token, err));
    if (!of_map)
        return MOEQ_OK;
    token->plain = true;
    token->flags[MQ_SPECIAL] = true;
    if (!cJSON_IsBool(mq_json_get(item, mq_flag_names[MQ_NORMALIZED])))
        token->flags[MQ_NORMALIZED] = false;
    return MOEQ_OK;
}

/* ---- tokens by key ---- */

static bool is_attribute(const char *key)
{
    for (int i = 0; i < MQ_SIDE_ATTRIBUTES; i++)
        if (strcmp(key, attributes[i]) == 0)
            return true;
    return false;
}

moeq_status mq_side_name(struct mq_side_tokens *t, const char *key,
                         const struct mq_side_token *token)
{
    uint32_t i;
    if (!mq_strmap_get(&t->named_keys, key, strlen(key), &i)) {
        i = (uint32_t)t->named_count;
        if (t->named_count == t->named_room)
            return mq_fail(t->err, MOEQ_LIMIT, "more keys of tokens than were counted");
        if (mq_strmap_add(&t->named_keys, key, strlen(key), i) == MQ_STRMAP_NO_MEMORY)
            return mq_fail_memory(t->err, "reading the tokenizer");
        t->named[t->named_count++].key = key;
    }
    t->named[i].set = token != NULL;
    if (token)
        t->named[i].token = *token;
    return MOEQ_OK;
}

static size_t members(const cJSON *item)
{
    return (size_t)(item ? cJSON_GetArraySize(item) : 0);
}

static moeq_status start_named(struct mq_side_tokens *t)
{
    t->named_room = 2 * MQ_SIDE_ATTRIBUTES + members(t->config) + members(t->map) +
                    members(mq_json_get(t->config, "extra_special_tokens")) +
                    members(mq_json_get(t->config, MODEL_SPECIFIC)) +
                    members(mq_json_get(t->config, "additional_special_tokens")) +
                    members(mq_json_get(t->map, "extra_special_tokens"));
    t->named = mq_arena_alloc(t->arena, t->named_room, sizeof *t->named);
    if (!t->named || !mq_strmap_init(&t->named_keys, t->named_room))
        return mq_fail_memory(t->err, "reading the tokenizer");
    for (int i = 0; i < MQ_SIDE_ATTRIBUTES; i++)
        MQ_TRY(mq_side_name(t, attributes[i], NULL));
    return MOEQ_OK;
}

/* bos to mask of one file. null takes the token away again. */
static moeq_status name_attributes(struct mq_side_tokens *t, const cJSON *tree, bool of_map)
{
    for (int i = 0; i < MQ_SIDE_ATTRIBUTES; i++) {
        const cJSON *item = mq_json_get(tree, attributes[i]);
        struct mq_side_token token;
        if (!item)
            continue;
        if (!cJSON_IsNull(item))
            MQ_TRY(read_token(item, of_map, attributes[i], &token, t->err));
        MQ_TRY(mq_side_name(t, attributes[i], cJSON_IsNull(item) ? NULL : &token));
    }
    return MOEQ_OK;
}

enum { TEXTS = 1, OBJECTS = 2 };

/* Other keys that end with _token, if of these kinds. In tokenizer_config.json an object must say
 * that it is a token. */
static moeq_status name_keys(struct mq_side_tokens *t, const cJSON *tree, bool of_map, int kinds)
{
    for (const cJSON *item = tree ? tree->child : NULL; item; item = item->next) {
        struct mq_side_token token;
        if (!mq_ends_with(item->string, "_token") || is_attribute(item->string))
            continue;
        const bool object = cJSON_IsObject(item) && (of_map || mq_json_get(item, "__type"));
        if (!(object ? kinds & OBJECTS : cJSON_IsString(item) && (kinds & TEXTS)))
            continue;
        MQ_TRY(read_token(item, of_map, item->string, &token, t->err));
        MQ_TRY(mq_side_name(t, item->string, &token));
    }
    return MOEQ_OK;
}

static moeq_status name_members(struct mq_side_tokens *t, const cJSON *dict, bool of_map)
{
    for (const cJSON *item = cJSON_IsObject(dict) ? dict->child : NULL; item; item = item->next) {
        struct mq_side_token token;
        MQ_TRY(read_token(item, of_map, item->string, &token, t->err));
        MQ_TRY(mq_side_name(t, item->string, &token));
    }
    return MOEQ_OK;
}

static bool has_text_keys(const cJSON *tree)
{
    for (const cJSON *item = tree ? tree->child : NULL; item; item = item->next)
        if (cJSON_IsString(item) && mq_ends_with(item->string, "_token") &&
            !is_attribute(item->string))
            return true;
    return false;
}

/* The object that names tokens in tokenizer_config.json: extra_special_tokens where that is one.
 * MODEL_SPECIFIC is replaced by it and by texts of other keys, if there are any. */
static moeq_status dict_of_config(struct mq_side_tokens *t, const cJSON *extra, const cJSON **dict)
{
    const cJSON *specific = mq_json_get(t->config, MODEL_SPECIFIC);
    *dict = extra;
    if ((cJSON_IsObject(extra) && extra->child) || !specific || cJSON_IsNull(specific) ||
        has_text_keys(t->config))
        return MOEQ_OK;
    *dict = specific;
    return cJSON_IsObject(specific)
               ? MOEQ_OK
               : fail_item(t->err, MQ_CONFIG_NAME, MODEL_SPECIFIC, "is no object of tokens");
}

/* ---- lists ---- */

/* null, and what is empty, is as if it were not there. */
static const cJSON *filled(const cJSON *item)
{
    const bool empty = !item || cJSON_IsNull(item) ||
                       ((cJSON_IsArray(item) || cJSON_IsObject(item)) && !item->child);
    return empty ? NULL : item;
}

static moeq_status append_extra(struct mq_side_tokens *t, const cJSON *list, bool of_map,
                                const char *what)
{
    if (!cJSON_IsArray(list))
        return fail_item(t->err, of_map ? MQ_MAP_NAME : MQ_CONFIG_NAME, what,
                         "is neither a list of tokens nor an object of them");
    for (const cJSON *item = list->child; item; item = item->next)
        MQ_TRY(read_token(item, of_map, what, &t->extra[t->extra_count++], t->err));
    return MOEQ_OK;
}

/*
 * All special tokens but bos to mask. extra_special_tokens may be a list or an object; in
 * tokenizer_config.json additional_special_tokens stands for it where it is empty, in
 * special_tokens_map.json where there is none at all, and so for the config's beside an object. The
 * map's list goes behind the config's. *listed: how many tokens of the lists count as special in
 * added_tokens.json.
 */
static moeq_status name_others(struct mq_side_tokens *t, size_t *listed)
{
    const cJSON *map = t->has_decoder ? NULL : t->map;
    const char *what = "extra_special_tokens", *other = "additional_special_tokens";
    const cJSON *extra = mq_json_get(t->config, what), *of_map = mq_json_get(map, what);
    const cJSON *additional = mq_json_get(map, other), *dict;
    const bool of_config = !additional && cJSON_IsObject(extra) && filled(extra);
    if (of_config)
        additional = mq_json_get(t->config, other);
    if (!filled(extra) && mq_json_get(t->config, other)) {
        extra = mq_json_get(t->config, other);
        what = other;
    }
    MQ_TRY(dict_of_config(t, extra, &dict));
    t->extra = mq_arena_alloc(t->arena, members(extra) + members(of_map) + members(additional) + 1,
                              sizeof *t->extra);
    if (!t->extra)
        return mq_fail_memory(t->err, "reading the tokenizer");
    MQ_TRY(name_keys(t, t->config, false, OBJECTS));
    MQ_TRY(name_keys(t, map, true, TEXTS | OBJECTS));
    MQ_TRY(name_keys(t, t->config, false, TEXTS)); /* the last to be named, the first to count */
    MQ_TRY(name_members(t, dict, false));
    MQ_TRY(name_members(t, of_map, true));
    const bool has_list = extra && !cJSON_IsObject(extra) && !cJSON_IsObject(of_map);
    if (filled(extra) && has_list)
        MQ_TRY(append_extra(t, extra, false, what));
    if (filled(of_map) && !cJSON_IsObject(of_map))
        MQ_TRY(append_extra(t, of_map, true, "extra_special_tokens"));
    *listed = t->extra_count;
    if (filled(additional) && !has_list && !cJSON_IsArray(of_map))
        MQ_TRY(append_extra(t, additional, !of_config, other));
    return MOEQ_OK;
}

/* ---- tokens by id ---- */

static int by_id(const void *left, const void *right)
{
    const struct mq_side_numbered *a = left, *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

void mq_side_sort(struct mq_side_tokens *t)
{
    if (t->numbered_count)
        qsort(t->numbered, t->numbered_count, sizeof *t->numbered, by_id);
}

static moeq_status sort_numbered(struct mq_side_tokens *t, const char *where)
{
    mq_side_sort(t);
    for (size_t i = 1; i < t->numbered_count; i++)
        if (t->numbered[i].id == t->numbered[i - 1].id)
            return mq_fail_file(t->err, MOEQ_MALFORMED, where,
                                "tokens '%.200s' and '%.200s' have the same id %llu",
                                t->numbered[i - 1].token.content, t->numbered[i].token.content,
                                (unsigned long long)t->numbered[i].id);
    return MOEQ_OK;
}

static moeq_status start_numbered(struct mq_side_tokens *t, const cJSON *tree)
{
    t->numbered = mq_arena_alloc(t->arena, members(tree) + 1, sizeof *t->numbered);
    return t->numbered ? MOEQ_OK : mq_fail_memory(t->err, "reading the tokenizer");
}

/* A key of digits. */
static bool read_id(const char *key, uint64_t *id)
{
    const size_t n = strspn(key, "0123456789");
    if (!n || n > 10 || key[n])
        return false;
    *id = strtoull(key, NULL, 10);
    return true;
}

/* added_tokens_decoder: {"320": {"content": ..., flags}, ...} */
static moeq_status read_decoder(struct mq_side_tokens *t, const cJSON *decoder)
{
    if (!cJSON_IsObject(decoder))
        return fail_item(t->err, MQ_CONFIG_NAME, "added_tokens_decoder", "is no object");
    MQ_TRY(start_numbered(t, decoder));
    for (const cJSON *item = decoder->child; item; item = item->next) {
        struct mq_side_numbered *n = &t->numbered[t->numbered_count++];
        if (!read_id(item->string, &n->id))
            return fail_item(t->err, MQ_CONFIG_NAME, item->string,
                             "in added_tokens_decoder is no id");
        if (!cJSON_IsObject(item))
            return fail_item(t->err, MQ_CONFIG_NAME, item->string,
                             "in added_tokens_decoder is no object");
        MQ_TRY(mq_side_token_object(item, MQ_CONFIG_NAME, item->string, &n->token, t->err));
    }
    return sort_numbered(t, MQ_CONFIG_NAME);
}

/* added_tokens.json: {"<|im_start|>": 320, ...}. Special are those that are named so, too. */
static moeq_status read_added(struct mq_side_tokens *t, size_t listed)
{
    struct mq_strmap special;
    moeq_status status = MOEQ_OK;
    if (!t->added)
        return MOEQ_OK;
    if (!cJSON_IsObject(t->added))
        return mq_fail_file(t->err, MOEQ_MALFORMED, MQ_ADDED_NAME, "is no JSON object");
    MQ_TRY(start_numbered(t, t->added));
    bool ok = mq_strmap_init(&special, MQ_SIDE_ATTRIBUTES + listed);
    for (size_t i = 0; ok && i < MQ_SIDE_ATTRIBUTES + listed; i++) {
        const bool is_named = i < MQ_SIDE_ATTRIBUTES;
        const struct mq_side_token *token =
            is_named ? &t->named[i].token : &t->extra[i - MQ_SIDE_ATTRIBUTES];
        if (token->plain && (!is_named || t->named[i].set))
            ok = mq_strmap_add(&special, token->content, strlen(token->content), 0) !=
                 MQ_STRMAP_NO_MEMORY;
    }
    if (!ok)
        status = mq_fail_memory(t->err, "reading the tokenizer");
    for (const cJSON *item = t->added->child; status == MOEQ_OK && item; item = item->next) {
        struct mq_side_numbered *n = &t->numbered[t->numbered_count++];
        uint32_t unused;
        const bool is_special =
            mq_strmap_get(&special, item->string, strlen(item->string), &unused);
        n->token = (struct mq_side_token){
            .content = item->string,
            .flags = {[MQ_NORMALIZED] = !is_special, [MQ_SPECIAL] = is_special}};
        if (!mq_json_u64(item, &n->id) || n->id > UINT32_MAX)
            status = mq_fail_file(t->err, MOEQ_MALFORMED, MQ_ADDED_NAME,
                                  "token '%.200s' has no id that is a whole number", item->string);
        if (status == MOEQ_OK)
            status = check_length(item->string, MQ_ADDED_NAME, t->err);
    }
    mq_strmap_free(&special);
    return status == MOEQ_OK ? sort_numbered(t, MQ_ADDED_NAME) : status;
}

/* ---- all of it ---- */

static moeq_status parse(const struct mq_side_text *text, const char *name, cJSON **tree,
                         moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = MQ_SIDE_DEPTH, .values = MQ_SIDE_VALUES};
    *tree = NULL;
    if (!text->size)
        return MOEQ_OK;
    MQ_TRY(mq_json_parse(text->data, text->size, &limits, name, 0, tree, err));
    if (!cJSON_IsObject(*tree))
        return mq_fail_file(err, MOEQ_MALFORMED, name, "is no JSON object");
    return mq_json_refuse_duplicates(*tree, name, err);
}

moeq_status mq_side_tokens_read(struct mq_side_tokens *t, const struct mq_tokenizer_side *side)
{
    size_t listed = 0;
    MQ_TRY(parse(&side->config, MQ_CONFIG_NAME, &t->config, t->err));
    const cJSON *decoder = mq_json_get(t->config, "added_tokens_decoder");
    t->has_decoder = decoder && !cJSON_IsNull(decoder);
    t->names_pad = mq_json_get(t->config, "pad_token") != NULL;
    t->splits_special = cJSON_IsTrue(mq_json_get(t->config, "split_special_tokens"));
    MQ_TRY(parse(&side->added_tokens, MQ_ADDED_NAME, &t->added, t->err));
    if (!t->has_decoder)
        MQ_TRY(parse(&side->special_tokens_map, MQ_MAP_NAME, &t->map, t->err));
    t->names_pad = t->names_pad || mq_json_get(t->map, "pad_token");
    MQ_TRY(start_named(t));
    MQ_TRY(name_attributes(t, t->config, false));
    MQ_TRY(name_attributes(t, t->map, true));
    MQ_TRY(name_others(t, &listed));
    return t->has_decoder ? read_decoder(t, decoder) : read_added(t, listed);
}

void mq_side_tokens_free(struct mq_side_tokens *t)
{
    mq_strmap_free(&t->named_keys);
    cJSON_Delete(t->config);
    cJSON_Delete(t->added);
    cJSON_Delete(t->map);
}
