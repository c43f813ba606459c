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

static moeq_status no_memory(struct mq_load *load)
{
    return mq_fail_memory(load->err, "reading the vocabulary");
}

/* An id must be below the size of the file: each token takes more bytes than one there, so that a table by id is never
 * larger than a multiple of the file. */
static moeq_status check_id(struct mq_load *load, const struct mq_text *name, bool is_whole,
                            uint64_t id, size_t file_bytes)
{
    const int shown = (int)(name->size < 200 ? name->size : 200);
    if (!is_whole)
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "vocabulary: '%.*s' has no id that is a whole number", shown,
                            name->data);
    if (id >= file_bytes)
        return mq_fail_file(load->err, MOEQ_LIMIT, load->path,
                            "vocabulary: '%.*s' has the id %llu, which a file of %zu bytes cannot "
                            "reach",
                            shown, name->data, (unsigned long long)id, file_bytes);
    return MOEQ_OK;
}

/* The next piece of BPE's vocabulary, and its id; *found: false behind the last. */
static moeq_status next_piece(struct mq_load *load, struct mq_json_walk *walk,
                              struct mq_buffer *decoded, struct mq_text *piece, bool *is_whole,
                              uint64_t *id, bool *found)
{
    double number = 0;
    bool is_number;
    *found = mq_json_walk_next(walk);
    if (!*found)
        return MOEQ_OK;
    MQ_TRY(mq_load_string(load, walk->text, walk->key, walk->key_end, decoded, piece));
    MQ_TRY(mq_load_number(load, walk->text, walk->value, walk->value_end, &number, &is_number));
    *is_whole = is_number && mq_json_whole(number, id);
    return MOEQ_OK;
}

/* Finds the number of pieces, and the largest id among them. */
static moeq_status count_pieces(struct mq_load *load, struct mq_buffer *decoded, size_t file_bytes,
                                uint64_t *largest)
{
    struct mq_json_walk walk = load->vocab;
    bool found = walk.text != NULL, is_whole;
    *largest = 0;
    if (found && walk.text[walk.at] == '[') { /* ids are places in the list */
        while (mq_json_walk_item(&walk))
            load->vocab_count++;
        *largest = load->vocab_count ? load->vocab_count - 1 : 0;
        return MOEQ_OK;
    }
    while (found) {
        struct mq_text piece;
        uint64_t id = 0;
        MQ_TRY(next_piece(load, &walk, decoded, &piece, &is_whole, &id, &found));
        if (!found)
            break;
        MQ_TRY(check_id(load, &piece, is_whole, id, file_bytes));
        *largest = id > *largest ? id : *largest;
        load->vocab_count++;
    }
    return MOEQ_OK;
}

/* Finds the number of ids. */
static moeq_status count_ids(struct mq_load *load, const cJSON *added, size_t file_bytes)
{
    struct mq_tokenizer *t = load->tokenizer;
    struct mq_buffer decoded = {0};
    uint64_t largest, numbered = 0;
    const moeq_status status = count_pieces(load, &decoded, file_bytes, &largest);
    mq_buffer_free(&decoded);
    if (status != MOEQ_OK)
        return status;
    for (const cJSON *item = cJSON_IsArray(added) ? added->child : NULL; item; item = item->next) {
        static const struct mq_text name = {"added token", sizeof "added token" - 1};
        uint64_t id = 0;
        const bool is_whole = mq_json_u64(mq_json_get(item, "id"), &id);
        MQ_TRY(check_id(load, &name, is_whole, id, file_bytes));
        largest = id > largest ? id : largest;
        numbered++;
    }
    /* Added tokens may be numbered on otherwise than the file says, see added_tokens.c. */
    numbered += load->vocab_count;
    t->vocab_size = (uint32_t)(numbered > largest ? numbered : largest + 1);
    t->tokens = mq_arena_alloc(t->arena, t->vocab_size, sizeof *t->tokens);
    return t->tokens ? MOEQ_OK : no_memory(load);
}

static moeq_status enter_piece(struct mq_load *load, const struct mq_text *piece, uint32_t id)
{
    struct mq_tokenizer *t = load->tokenizer;
    struct mq_token *token = &t->tokens[id];
    if (token->text)
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "vocabulary: '%.200s' and '%.*s' have the same id %u", token->text,
                            (int)(piece->size < 200 ? piece->size : 200), piece->data, id);
    token->text = mq_arena_strndup(t->arena, piece->data, piece->size);
    token->size = (uint32_t)piece->size;
    const enum mq_strmap_result result =
        token->text ? mq_strmap_add(&t->vocab, token->text, piece->size, id) : MQ_STRMAP_NO_MEMORY;
    if (result == MQ_STRMAP_NO_MEMORY)
        return no_memory(load);
    if (result == MQ_STRMAP_DUPLICATE)
        return mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                            "vocabulary: '%.200s' is there twice", token->text);
    return MOEQ_OK;
}

/* Enters the pieces of BPE. `tokenizers` keeps the last of two pieces with one id, or of two ids of
 * one piece; no published file has such, and which one the model was trained with is not known. */
static moeq_status load_vocab(struct mq_load *load)
{
    struct mq_json_walk walk = load->vocab;
    struct mq_buffer decoded = {0};
    moeq_status status = MOEQ_OK;
    if (!load->vocab_count || walk.text[walk.at] != '{')
        return mq_load_malformed(load, "model", "'vocab' is missing, empty or no object");
    if (!mq_strmap_init(&load->tokenizer->vocab, load->vocab_count))
        return no_memory(load);
    for (bool found = true; found;) {
        struct mq_text piece;
        uint64_t id = 0; /* count_ids has checked it */
        bool is_whole;
        MQ_TRY_OUT(next_piece(load, &walk, &decoded, &piece, &is_whole, &id, &found));
        if (found)
            MQ_TRY_OUT(enter_piece(load, &piece, (uint32_t)id));
    }
out:
    mq_buffer_free(&decoded);
    return status;
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
    const cJSON *added = mq_json_get(tree, "added_tokens");
    MQ_TRY(count_ids(load, added, file_bytes));
    if (kind == MQ_MODEL_BPE) {
        MQ_TRY(load_vocab(load));
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

/* The file without its vocabulary and merges, as a tree; those stay text. */
static moeq_status parse(struct mq_load *load, const char *json, size_t n, cJSON **tree)
{
    const char *path = load->path;
    struct mq_json_walk root = {0};
    struct mq_buffer rest = {0};
    uint64_t members;
    moeq_status status = MOEQ_OK;
    *tree = NULL;
    if (n > MQ_TOKENIZER_MAX_BYTES)
        return mq_fail_file(load->err, MOEQ_LIMIT, path, "a tokenizer of %zu bytes, more than %d",
                            n, MQ_TOKENIZER_MAX_BYTES);
    MQ_TRY(mq_json_check(json, n, &mq_tokenizer_limits, path, 0, &root, &members, load->err));
    MQ_TRY_OUT(mq_load_rest(load, &root, &rest));
    MQ_TRY_OUT(mq_json_parse(rest.data, rest.size, &mq_tokenizer_limits, path, 0, tree, load->err));
    MQ_TRY_OUT(mq_json_refuse_duplicates(*tree, path, load->err));
out:
    mq_buffer_free(&rest);
    return status;
}

/* As mq_json_refuse_duplicates, of the vocabulary. */
static moeq_status check_vocab(struct mq_load *load)
{
    struct mq_json_walk walk = load->vocab;
    struct mq_buffer decoded = {0};
    struct mq_strmap pieces = {0};
    struct mq_arena *arena =
        mq_arena_create(); /* of those with escapes; of others the text is the key */
    moeq_status status = arena ? MOEQ_OK : no_memory(load);
    while (status == MOEQ_OK && mq_json_walk_next(&walk)) {
        struct mq_text piece;
        MQ_TRY_OUT(mq_load_string(load, walk.text, walk.key, walk.key_end, &decoded, &piece));
        if (piece.data == decoded.data)
            piece.data = mq_arena_strndup(arena, decoded.data, decoded.size);
        const enum mq_strmap_result result =
            piece.data ? mq_strmap_add(&pieces, piece.data, piece.size, 0) : MQ_STRMAP_NO_MEMORY;
        if (result == MQ_STRMAP_NO_MEMORY)
            status = no_memory(load);
        if (result == MQ_STRMAP_DUPLICATE)
            status = mq_fail_file(load->err, MOEQ_MALFORMED, load->path,
                                  "vocabulary: '%.*s' is there twice",
                                  (int)(piece.size < 200 ? piece.size : 200), piece.data);
    }
out:
    mq_strmap_free(&pieces);
    mq_buffer_free(&decoded);
    mq_arena_destroy(arena);
    return status;
}

/* Of the models that are read here, what they cannot be without. */
static moeq_status check_model(struct mq_load *load, const cJSON *tree)
{
    if (!cJSON_IsObject(tree))
        return mq_load_malformed(load, "tokenizer", "the file is no JSON object");
    const cJSON *model = mq_json_get(tree, "model");
    struct mq_json_walk vocab = load->vocab;
    /* As old as the first release of `tokenizers`, which guesses it. */
    if (mq_json_get(model, "vocab") && !mq_json_get(model, "type"))
        return mq_load_unsupported(load, "model", "without a type");
    enum mq_model_kind kind;
    MQ_TRY(mq_model_kind(load, model, &kind));
    const bool bpe = kind == MQ_MODEL_BPE;
    if (!vocab.text || vocab.text[vocab.at] != (bpe ? '{' : '[') ||
        !(bpe ? mq_json_walk_next(&vocab) : mq_json_walk_item(&vocab)))
        return mq_load_malformed(load, "model",
                                 bpe ? "'vocab' is missing, empty or no object"
                                     : "'vocab' is missing, empty or no list");
    if (bpe && !load->merges.text)
        return mq_load_malformed(load, "model", "'merges' is missing or no list");
    return bpe ? check_vocab(load) : MOEQ_OK;
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
    MQ_TRY(mq_json_parse(json, n, &mq_tokenizer_limits, path, 0, &tree, err));
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
