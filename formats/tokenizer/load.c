/*
 * load.c: tokenizer.json -> tables.
 *
 * `truncation` and `padding` are not looked at: they are what a program last set for its batches,
 * kept when it saved the tokenizer, and Transformers too resets them on every call.
 */
#include "tokenizer_int.h"

#include "error.h"
#include "json_scan.h"
#include "scored.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

static const struct mq_json_limits limits = {.depth = MQ_TOKENIZER_MAX_DEPTH,
                                             .values = MQ_TOKENIZER_MAX_VALUES};

/*
 * Finds the number of ids. An id must be below the size of the file: each token takes more bytes
 * than one there, so that a table by id is never larger than a multiple of the file.
 */
static moeq_status count_ids(struct mq_load *load, const cJSON *vocab, const cJSON *added,
                             size_t file_bytes)
{
    uint64_t largest = cJSON_IsArray(vocab) && vocab->child /* ids are places in the list */
                           ? (uint64_t)cJSON_GetArraySize(vocab) - 1
                           : 0;
    const cJSON *first[] = {cJSON_IsObject(vocab) ? vocab->child : NULL,
                            cJSON_IsArray(added) ? added->child : NULL};
    for (int list = 0; list < 2; list++) {
        for (const cJSON *item = first[list]; item; item = item->next) {
            const cJSON *number = list == 0 ? item : mq_json_get(item, "id");
            const char *name = list == 0 ? item->string : "added token";
            uint64_t id;
            if (!mq_json_u64(number, &id))
                return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                                    "vocabulary: '%.200s' has no id that is a whole number", name);
            if (id >= file_bytes)
                return mq_fail_file(load->err, MOEQ_LIMIT, load->path,
                                    "vocabulary: '%.200s' has the id %llu, which a file of %zu "
                                    "bytes cannot reach",
                                    name, (unsigned long long)id, file_bytes);
            largest = id > largest ? id : largest;
        }
    }
    struct mq_tokenizer *t = load->tokenizer;
    /* Added tokens may be numbered on otherwise than the file says, see added_tokens.c. */
    const uint64_t numbered = (uint64_t)(cJSON_IsObject(vocab) ? cJSON_GetArraySize(vocab) : 0) +
                              (uint64_t)(cJSON_IsArray(added) ? cJSON_GetArraySize(added) : 0);
    t->vocab_size = (uint32_t)(numbered > largest ? numbered : largest + 1);
    t->tokens = mq_arena_alloc(t->arena, t->vocab_size, sizeof *t->tokens);
    return t->tokens ? MOEQ_OK : mq_fail_memory(load->err, "reading the vocabulary");
}

/* Enters the pieces of BPE. `tokenizers` keeps the last of two pieces with one id, or of two ids of
 * one piece; no published file has such, and which one the model was trained with is not known. */
static moeq_status load_vocab(struct mq_load *load, const cJSON *vocab)
{
    struct mq_tokenizer *t = load->tokenizer;
    if (!cJSON_IsObject(vocab) || !vocab->child)
        return mq_load_malformed(load, "model", "'vocab' is missing, empty or no object");
    if (!mq_strmap_init(&t->vocab, (size_t)cJSON_GetArraySize(vocab)))
        return mq_fail_memory(load->err, "reading the vocabulary");
    for (const cJSON *item = vocab->child; item; item = item->next) {
        const uint32_t id = (uint32_t)item->valuedouble; /* count_ids has checked it */
        const size_t size = strlen(item->string);
        struct mq_token *token = &t->tokens[id];
        if (token->text)
            return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                                "vocabulary: '%.200s' and '%.200s' have the same id %u",
                                token->text, item->string, id);
        token->text = mq_arena_strndup(t->arena, item->string, size);
        token->size = (uint32_t)size;
        const enum mq_strmap_result result =
            token->text ? mq_strmap_add(&t->vocab, token->text, size, id) : MQ_STRMAP_NO_MEMORY;
        if (result == MQ_STRMAP_NO_MEMORY)
            return mq_fail_memory(load->err, "reading the vocabulary");
        if (result == MQ_STRMAP_DUPLICATE)
            return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                                "vocabulary: '%.200s' is there twice", item->string);
    }
    return MOEQ_OK;
}

/*
 * Everything, in the order in which one part needs another: ids are counted before tables are made,
 * merges are pairs of pieces, added tokens are checked against the pieces, their tries hold
 * normalized text, and a template's ids must exist.
 */
static moeq_status load_tree(struct mq_load *load, const cJSON *tree, size_t file_bytes)
{
    if (!cJSON_IsObject(tree))
        return mq_load_malformed(load, "tokenizer", "the file is no JSON object");
    const cJSON *version = mq_json_get(tree, "version");
    if (version && !(cJSON_IsString(version) && strcmp(version->valuestring, "1.0") == 0))
        return mq_load_unsupported(load, "version",
                                   cJSON_IsString(version) ? version->valuestring : "");
    const cJSON *model = mq_json_get(tree, "model");
    enum mq_model_kind kind;
    MQ_TRY(mq_model_kind(load, model, &kind));
    const cJSON *vocab = mq_json_get(model, "vocab"), *added = mq_json_get(tree, "added_tokens");
    MQ_TRY(count_ids(load, vocab, added, file_bytes));
    if (kind == MQ_MODEL_BPE) {
        MQ_TRY(load_vocab(load, vocab));
        MQ_TRY(mq_bpe_load(load, model));
    } else {
        MQ_TRY(mq_scored_load(load, model, kind));
    }
    MQ_TRY(mq_added_tokens_load(load, added));
    while (load->tokenizer->vocab_size &&
           !load->tokenizer->tokens[load->tokenizer->vocab_size - 1].text)
        load->tokenizer->vocab_size--;
    MQ_TRY(mq_normalizer_load(load, mq_json_get(tree, "normalizer")));
    MQ_TRY(mq_added_tokens_build(load));
    MQ_TRY(mq_pretokenizer_load(load, mq_json_get(tree, "pre_tokenizer")));
    MQ_TRY(mq_postprocessor_load(load, mq_json_get(tree, "post_processor")));
    return mq_decoder_load(load, mq_json_get(tree, "decoder"));
}

/* The only member of a name, as it is written, in the object that a walk is at; false if there are more, or none. */
static bool find_only(struct mq_json_walk walk, const char *name, struct mq_json_walk *value)
{
    const size_t size = strlen(name);
    size_t found = 0;
    while (mq_json_walk_next(&walk)) {
        if (walk.key_end - walk.key != size + 2 ||
            memcmp(walk.text + walk.key + 1, name, size) != 0)
            continue;
        *value = (struct mq_json_walk){.text = walk.text, .n = walk.value_end, .at = walk.value};
        found++;
    }
    return found == 1;
}

/* The file without its merges, as a tree, and those as text. */
static moeq_status parse(struct mq_load *load, const char *json, size_t n, cJSON **tree)
{
    const char *path = load->path;
    struct mq_json_walk root = {0}, model, merges;
    struct mq_buffer rest = {0};
    uint64_t members;
    *tree = NULL;
    if (n > MQ_TOKENIZER_MAX_BYTES)
        return mq_fail_file(load->err, MOEQ_LIMIT, path, "a tokenizer of %zu bytes, more than %d",
                            n, MQ_TOKENIZER_MAX_BYTES);
    MQ_TRY(mq_json_check(json, n, &limits, path, 0, &root, &members, load->err));
    if (root.value_end == 0 && find_only(root, "model", &model) && model.text[model.at] == '{' &&
        find_only(model, "merges", &merges) && merges.text[merges.at] == '[') {
        load->merges = merges.text + merges.at;
        load->merges_bytes = merges.n - merges.at;
        mq_buffer_append(&rest, root.text, merges.at);
        mq_buffer_puts(&rest, "[]");
        mq_buffer_append(&rest, root.text + merges.n, root.n - merges.n);
        json = rest.data;
        n = rest.size;
    }
    moeq_status status = mq_buffer_ok(&rest)
                             ? mq_json_parse(json, n, &limits, path, 0, tree, load->err)
                             : mq_fail_memory(load->err, "reading the tokenizer");
    mq_buffer_free(&rest);
    return status == MOEQ_OK ? mq_json_refuse_duplicates(*tree, path, load->err) : status;
}

/* Of the models that are read here, what they cannot be without. */
static moeq_status check_model(struct mq_load *load, const cJSON *tree)
{
    if (!cJSON_IsObject(tree))
        return mq_load_malformed(load, "tokenizer", "the file is no JSON object");
    const cJSON *model = mq_json_get(tree, "model"), *vocab = mq_json_get(model, "vocab");
    /* As old as the first release of `tokenizers`, which guesses it. */
    if (vocab && !mq_json_get(model, "type"))
        return mq_load_unsupported(load, "model", "without a type");
    enum mq_model_kind kind;
    MQ_TRY(mq_model_kind(load, model, &kind));
    const bool bpe = kind == MQ_MODEL_BPE;
    if (!vocab || !(bpe ? cJSON_IsObject(vocab) : cJSON_IsArray(vocab)) || !vocab->child)
        return mq_load_malformed(load, "model",
                                 bpe ? "'vocab' is missing, empty or no object"
                                     : "'vocab' is missing, empty or no list");
    if (bpe && !cJSON_IsArray(mq_json_get(model, "merges")))
        return mq_load_malformed(load, "model", "'merges' is missing or no list");
    return MOEQ_OK;
}

moeq_status mq_tokenizer_check(const char *json, size_t n, const char *path, moeq_error *err)
{
    struct mq_load load = {.path = path, .err = err};
    cJSON *tree;
    moeq_status status = parse(&load, json, n, &tree);
    if (status == MOEQ_OK)
        status = check_model(&load, tree);
    cJSON_Delete(tree);
    return status;
}

moeq_status mq_tokenizer_load(const char *json, size_t n, const char *path,
                              struct mq_tokenizer **tokenizer, moeq_error *err)
{
    struct mq_load load = {.path = path, .err = err};
    cJSON *tree;
    *tokenizer = NULL;
    moeq_status status = parse(&load, json, n, &tree);
    if (status != MOEQ_OK)
        goto out;
    load.tokenizer = calloc(1, sizeof *load.tokenizer);
    if (load.tokenizer)
        load.tokenizer->arena = mq_arena_create();
    if (!load.tokenizer || !load.tokenizer->arena)
        status = mq_fail_memory(err, "reading the tokenizer");
    else
        status = load_tree(&load, tree, n);
out:
    cJSON_Delete(tree);
    if (status != MOEQ_OK)
        mq_tokenizer_free(load.tokenizer);
    else
        *tokenizer = load.tokenizer;
    return status;
}

moeq_status mq_tokenizer_replace_pre(struct mq_tokenizer *tokenizer, const char *json, size_t n,
                                     bool ignore_merges, const char *path, moeq_error *err)
{
    struct mq_load load = {.tokenizer = tokenizer, .path = path, .err = err};
    cJSON *tree;
    MQ_TRY(mq_json_parse(json, n, &limits, path, 0, &tree, err));
    mq_pretokenizer_free(tokenizer);
    tokenizer->pretokenizer_count = 0;
    tokenizer->ignore_merges = ignore_merges;
    const moeq_status status = mq_pretokenizer_load(&load, tree);
    cJSON_Delete(tree);
    return status;
}

void mq_tokenizer_free(struct mq_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    mq_strmap_free(&tokenizer->vocab);
    mq_pair_map_free(&tokenizer->merges);
    mq_scored_free(tokenizer->scored);
    mq_normalizer_free(tokenizer);
    mq_added_tokens_free(tokenizer);
    mq_pretokenizer_free(tokenizer);
    mq_ids_free(&tokenizer->prefix);
    mq_ids_free(&tokenizer->suffix);
    mq_arena_destroy(tokenizer->arena);
    free(tokenizer);
}

uint32_t mq_tokenizer_vocab_size(const struct mq_tokenizer *tokenizer)
{
    return tokenizer->vocab_size;
}

int32_t mq_tokenizer_token_id(const struct mq_tokenizer *tokenizer, const char *content)
{
    uint32_t id;
    const size_t n = strlen(content);
    if (mq_strmap_get(&tokenizer->added_ids, content, n, &id))
        return (int32_t)tokenizer->added[id].id;
    return mq_strmap_get(&tokenizer->vocab, content, n, &id) ? (int32_t)id : -1;
}

const char *mq_tokenizer_note(const struct mq_tokenizer *tokenizer)
{
    return tokenizer->renumbered ? tokenizer->note : NULL;
}
