/*
 * gguf_vocab_export.c: a tokenizer.json as the metadata of a GGUF file: its tokens and their types,
 * then what the model's kind, the special tokens and the chat templates add.
 *
 * The keys and their types are those that llama.cpp's converter writes.
 */
#include "config_keys.h"
#include "gguf_vocab_int.h"

#include "error.h"
#include "text_match.h"
#include "tokenizer.h"

#include <string.h>

/* What sentencepiece models converted by llama.cpp have: of tokens that no merge may make. */
#define ADDED_SCORE -1000.0f
#define UNUSED_SCORE -10000.0f

static moeq_status read_id(struct mq_vocab *v, const char *text, const cJSON *number, uint64_t *id)
{
    return mq_json_u64(number, id)
               ? MOEQ_OK
               : mq_fail_file(v->err, MOEQ_MALFORMED, v->path,
                              "token '%.200s' has no id that is a whole number", text);
}

/* Enters a token under its id, which must be one that the model has an embedding for. */
static moeq_status enter(struct mq_vocab *v, const char *text, uint64_t id,
                         enum mq_gguf_token_type type, const char *written)
{
    if (id >= v->count)
        return mq_fail_file(v->err, MOEQ_MALFORMED, v->path,
                            "token '%.200s' has the id %llu, and the model a vocabulary of %u: "
                            "only added tokens can be left out",
                            text, (unsigned long long)id, v->count);
    uint32_t old = (uint32_t)id;
    switch (mq_strmap_add(&v->ids, text, strlen(text), (uint32_t)id)) {
    case MQ_STRMAP_NO_MEMORY:
        return mq_fail_memory(v->err, "exporting the vocabulary");
    case MQ_STRMAP_DUPLICATE: /* a piece of the model that is an added token, too */
        mq_strmap_get(&v->ids, text, strlen(text), &old);
        break;
    case MQ_STRMAP_ADDED:
        if (v->tokens[id].text)
            return mq_fail_file(v->err, MOEQ_MALFORMED, v->path,
                                "tokens '%.200s' and '%.200s' have the same id %u",
                                v->tokens[id].text, text, (uint32_t)id);
    }
    if (old != id)
        return mq_fail_file(v->err, MOEQ_MALFORMED, v->path,
                            "token '%.200s' has two ids, %u and %u", text, old, (uint32_t)id);
    v->tokens[id] = (struct mq_vocab_token){.text = written, .type = type};
    return MOEQ_OK;
}

/*
 * Added tokens that are not marked as special although they are, by their names. llama.cpp finds a
 * user-defined token in any text, a control token only where the caller asks for them, so that a
 * "<|im_start|>" in a user's words stays words.
 */
static bool looks_special(const char *text)
{
    static const char *const names[] = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
    static const struct {
        const char *start, *end;
    } shapes[] = {{"<|", "|>"}, {"<\xef\xbd\x9c", "\xef\xbd\x9c>"} /* U+FF5C */, {"<unused", ">"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strncmp(text, shapes[i].start, strlen(shapes[i].start)) == 0 &&
            mq_ends_with(text, shapes[i].end))
            return true;
    return false;
}

/* The id of an added token: that of its text, where there is one, or the next behind the pieces. So
 * `tokenizers` numbers them, whatever the file says. */
static moeq_status id_of_added(struct mq_vocab *v, const char *text, const cJSON *number,
                               uint32_t *next, uint64_t *id)
{
    uint32_t known;
    uint64_t said;
    MQ_TRY(read_id(v, text, number, &said));
    *id = mq_strmap_get(&v->ids, text, strlen(text), &known) ? known : (*next)++;
    if (*id != said && !v->renumbered++)
        mq_vocab_note(v,
                      "Added token '%.60s' has the id %llu in tokenizer.json and is written with "
                      "%llu, the one that the library tokenizers gives it.",
                      text, (unsigned long long)said, (unsigned long long)*id);
    return MOEQ_OK;
}

/* Tokens behind the model's last row (a <pad> that was added for training) are left out, as
 * llama.cpp's converter does: no text of the model can hold them. */
static void note_left_out(struct mq_vocab *v, const char *first)
{
    if (v->left_out)
        mq_vocab_note(v,
                      "%zu added token%s left out, since the model's vocabulary ends at %u: "
                      "'%.60s'%s.",
                      v->left_out, v->left_out == 1 ? " is" : "s are", v->count, first,
                      v->left_out == 1 ? "" : ", ...");
}

/* `scored`: the pieces have types and scores already, which stay. */
static moeq_status load_added(struct mq_vocab *v, uint32_t next, bool scored)
{
    size_t stripping = 0;
    const char *first = NULL;
    uint32_t known;
    uint64_t id;
    for (const cJSON *item = cJSON_IsArray(v->added) ? v->added->child : NULL; item;
         item = item->next) {
        const cJSON *content = mq_json_get(item, "content");
        if (!cJSON_IsString(content))
            return mq_fail_file(v->err, MOEQ_MALFORMED, v->path,
                                "added token: 'content' is missing or no text");
        const char *text = content->valuestring;
        if (!*text) /* `tokenizers` ignores an empty one */
            continue;
        if (scored && mq_strmap_get(&v->ids, text, strlen(text), &known))
            continue;
        const bool control = cJSON_IsTrue(mq_json_get(item, "special")) || looks_special(text);
        const char *written = control ? text : mq_vocab_with_spaces(v->arena, text);
        if (!written)
            return mq_fail_memory(v->err, "exporting the vocabulary");
        MQ_TRY(id_of_added(v, text, mq_json_get(item, "id"), &next, &id));
        if (id >= v->count) {
            if (!v->left_out++)
                first = text;
            continue;
        }
        MQ_TRY(enter(v, text, id, control ? MQ_GGUF_TOKEN_CONTROL : MQ_GGUF_TOKEN_USER_DEFINED,
                     written));
        v->tokens[id].score = control ? 0 : ADDED_SCORE;
        stripping += cJSON_IsTrue(mq_json_get(item, "lstrip")) ||
                     cJSON_IsTrue(mq_json_get(item, "rstrip")) ||
                     cJSON_IsTrue(mq_json_get(item, "single_word"));
    }
    note_left_out(v, first);
    if (stripping)
        mq_vocab_warn(v,
                      "%zu added tokens take the space around them or count only as whole words, "
                      "which it does not know",
                      stripping);
    return MOEQ_OK;
}

/* Ids of the model that the tokenizer does not have are unused tokens. Then no two may have one
 * text: llama.cpp aborts over such a file. */
static moeq_status complete_tokens(struct mq_vocab *v)
{
    struct mq_strmap texts;
    if (!mq_strmap_init(&texts, v->count))
        return mq_fail_memory(v->err, "exporting the vocabulary");
    moeq_status status = MOEQ_OK;
    for (uint32_t id = 0; id < v->count && status == MOEQ_OK; id++) {
        struct mq_vocab_token *token = &v->tokens[id];
        if (!token->text) {
            token->text = mq_arena_printf(v->arena, "[PAD%u]", id);
            token->type = MQ_GGUF_TOKEN_UNUSED;
            token->score = UNUSED_SCORE;
        }
        const enum mq_strmap_result result =
            token->text ? mq_strmap_add(&texts, token->text, strlen(token->text), id)
                        : MQ_STRMAP_NO_MEMORY;
        if (result == MQ_STRMAP_NO_MEMORY)
            status = mq_fail_memory(v->err, "exporting the vocabulary");
        else if (result == MQ_STRMAP_DUPLICATE)
            status =
                mq_fail_file(v->err, MOEQ_UNSUPPORTED, v->path,
                             "two tokens would have the text '%.200s' in a GGUF file", token->text);
    }
    mq_strmap_free(&texts);
    return status;
}

static moeq_status load_tokens(struct mq_vocab *v, bool scored)
{
    const cJSON *vocab = mq_json_get(v->model, "vocab");
    v->tokens = mq_arena_alloc(v->arena, v->count, sizeof *v->tokens);
    if (!v->tokens || !mq_strmap_init(&v->ids, v->count))
        return mq_fail_memory(v->err, "exporting the vocabulary");
    if (!scored && !cJSON_IsObject(vocab))
        return mq_fail_file(v->err, MOEQ_MALFORMED, v->path, "'vocab' is missing or no object");
    if (scored)
        MQ_TRY(mq_vocab_load_scored(v));
    for (const cJSON *item = scored ? NULL : vocab->child; item; item = item->next) {
        uint64_t id;
        MQ_TRY(read_id(v, item->string, item, &id));
        MQ_TRY(enter(v, item->string, id, MQ_GGUF_TOKEN_NORMAL, item->string));
    }
    MQ_TRY(load_added(v, (uint32_t)cJSON_GetArraySize(vocab), scored));
    return complete_tokens(v);
}

/* ---- all of it ---- */

/* Parses a side file; an empty one is NULL. */
static moeq_status parse(const struct mq_view *view, const struct mq_buffer *text, const char *name,
                         struct mq_arena *arena, cJSON **tree, moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = MQ_TOKENIZER_MAX_DEPTH,
                                          .values = MQ_TOKENIZER_MAX_VALUES};
    const char *path = mq_arena_printf(arena, "%s: %s", view->path, name);
    *tree = NULL;
    if (!path)
        return mq_fail_memory(err, "exporting the vocabulary");
    if (!text->size)
        return MOEQ_OK;
    if (text->size > MQ_TOKENIZER_MAX_BYTES)
        return mq_fail_file(err, MOEQ_LIMIT, path, "%zu bytes, more than %d", text->size,
                            MQ_TOKENIZER_MAX_BYTES);
    MQ_TRY(mq_json_parse(text->data, text->size, &limits, path, 0, tree, err));
    return mq_json_refuse_duplicates(*tree, path, err);
}

/* Of a model whose text is one part of several, with the tokens of the text. */
static moeq_status parse_config(const struct mq_view *view, struct mq_arena *arena, cJSON **config,
                                moeq_error *err)
{
    cJSON *outer = NULL;
    MQ_TRY(parse(view, &view->side[MQ_SIDE_CONFIG], "config.json", arena, config, err));
    const moeq_status status = mq_config_flatten(config, &outer, err);
    cJSON_Delete(outer);
    return status;
}

static moeq_status parse_all(const struct mq_view *view, struct mq_arena *arena,
                             struct mq_vocab_files *files, moeq_error *err)
{
    MQ_TRY(parse(view, &view->side[MQ_SIDE_TOKENIZER], "tokenizer.json", arena, &files->tokenizer,
                 err));
    MQ_TRY(parse(view, &view->side[MQ_SIDE_TOKENIZER_CONFIG], "tokenizer_config.json", arena,
                 &files->tokenizer_config, err));
    MQ_TRY(parse_config(view, arena, &files->config, err));
    return parse(view, &view->side[MQ_SIDE_GENERATION_CONFIG], "generation_config.json", arena,
                 &files->generation_config, err);
}

/* add_space_prefix, where llama.cpp's converter has it or its default, true for "llama", is wrong.
 * For "gpt2" it does nothing in tokenizing and drops a space in decoding: it is written where the
 * tokenizer itself puts one in front, whatever tokenizer_config.json says. */
static void put_space_prefix(struct mq_gguf_writer *w, const struct mq_vocab *v, bool is_spm,
                             const cJSON *configured)
{
    if (is_spm ? cJSON_IsBool(configured) || !v->space_prefix : v->space_prefix)
        mq_gguf_put_bool(w, MQ_GGUF_KEY_ADD_PREFIX, v->space_prefix);
}

static moeq_status put_vocab(struct mq_gguf_writer *w, struct mq_vocab *v,
                             const struct mq_view *view, const struct mq_vocab_files *files)
{
    v->model = mq_json_get(files->tokenizer, "model");
    v->normalizer = mq_json_get(files->tokenizer, "normalizer");
    v->pre_tokenizer = mq_json_get(files->tokenizer, "pre_tokenizer");
    v->added = mq_json_get(files->tokenizer, "added_tokens");
    const cJSON *type = mq_json_get(v->model, "type");
    if (!cJSON_IsString(type))
        return mq_fail_file(v->err, MOEQ_MALFORMED, v->path,
                            "the model is missing, or its 'type' is no text");
    const bool scored = strcmp(type->valuestring, "SentencePiece") == 0;
    if (!scored && strcmp(type->valuestring, "BPE") != 0)
        return mq_vocab_unsupported(v, "model", type->valuestring);
    MQ_TRY(load_tokens(v, scored));
    const bool is_spm = cJSON_IsTrue(mq_json_get(v->model, "byte_fallback"));
    if (scored) {
        MQ_TRY(mq_vocab_put_scored(w, v));
    } else {
        MQ_TRY(is_spm ? mq_vocab_put_spm(w, v) : mq_vocab_put_bpe(w, v));
        put_space_prefix(w, v, is_spm, mq_json_get(files->tokenizer_config, "add_prefix_space"));
    }
    MQ_TRY(mq_vocab_put_specials(w, v, files, &view->hparams));
    return mq_vocab_put_chat_templates(w, v, view, files->tokenizer_config);
}

/* All that there is to say, as one text; NULL: nothing. */
static moeq_status join_warnings(struct mq_vocab *v, const char **text)
{
    struct mq_buffer *all = &v->warnings;
    if (all->size)
        mq_buffer_puts(all, v->notes.size ? ". " : ".");
    if (v->notes.size)
        mq_buffer_append(all, v->notes.data, v->notes.size);
    if (mq_buffer_ok(all) && mq_buffer_ok(&v->notes) && !all->size)
        return MOEQ_OK;
    *text = mq_buffer_ok(all) && mq_buffer_ok(&v->notes)
                ? mq_arena_strndup(v->arena, all->data, all->size)
                : NULL;
    return *text ? MOEQ_OK : mq_fail_memory(v->err, "exporting the vocabulary");
}

moeq_status mq_gguf_put_vocab(struct mq_gguf_writer *w, const struct mq_view *view,
                              struct mq_arena *arena, const char **warning, moeq_error *err)
{
    *warning = NULL;
    if (!view->side[MQ_SIDE_TOKENIZER].size)
        return mq_fail_file(err, view->tokenizer_problem ? MOEQ_UNSUPPORTED : MOEQ_NOT_FOUND,
                            view->path, "%s; llama.cpp loads no model without a tokenizer",
                            mq_view_no_tokenizer(view));
    struct mq_vocab_files files = {0};
    struct mq_vocab v = {.err = err,
                         .arena = arena,
                         .count = view->hparams.vocab,
                         .text = &view->side[MQ_SIDE_TOKENIZER]};
    v.path = mq_arena_printf(arena, "%s: tokenizer.json", view->path);
    moeq_status status = v.path ? parse_all(view, arena, &files, err)
                                : mq_fail_memory(err, "exporting the vocabulary");
    if (status == MOEQ_OK)
        status = put_vocab(w, &v, view, &files);
    if (status == MOEQ_OK)
        status = join_warnings(&v, warning);
    mq_buffer_free(&v.warnings);
    mq_buffer_free(&v.notes);
    mq_strmap_free(&v.ids);
    cJSON_Delete(files.tokenizer);
    cJSON_Delete(files.tokenizer_config);
    cJSON_Delete(files.config);
    cJSON_Delete(files.generation_config);
    return status;
}
