/* prompt.c: ids of a prompt, ends of an answer, text of tokens. */
#include "prompt.h"

#include "error.h"
#include "folder_tokenizer.h"
#include "json.h"

#include <stdio.h>
#include <string.h>

static const struct mq_json_limits limits = {.depth = 64, .values = 4000000};

/* A side file as JSON; NULL where there is none, or none that can be read: who depends on it says
 * so elsewhere. */
static moeq_status read_side(const struct mq_view *view, enum mq_side side, cJSON **tree,
                             moeq_error *err)
{
    const struct mq_buffer *json = &view->side[side];
    moeq_error ignored = {0};
    *tree = NULL;
    if (json->size && mq_json_parse(json->data, json->size, &limits, view->path, 0, tree,
                                    &ignored) == MOEQ_NO_MEMORY)
        return mq_fail_with(err, &ignored);
    return MOEQ_OK;
}

/* The text of a token in tokenizer_config.json: "</s>", or {"content": "</s>", ...}. */
static const char *token_text(const cJSON *config, const char *key)
{
    const cJSON *item = mq_json_get(config, key);
    return cJSON_GetStringValue(cJSON_IsObject(item) ? mq_json_get(item, "content") : item);
}

static moeq_status append_id(struct mq_ids *ids, int32_t id, moeq_error *err)
{
    return mq_ids_push(ids, id) ? MOEQ_OK : mq_fail_memory(err, "keeping tokens");
}

moeq_status mq_prompt_tokenizer(const struct mq_view *view, struct mq_tokenizer **tokenizer,
                                moeq_error *err)
{
    const struct mq_buffer *json = &view->side[MQ_SIDE_TOKENIZER];
    *tokenizer = NULL;
    if (!json->size)
        return mq_fail(err, MOEQ_NOT_FOUND, "%s: %s, so there is no text to go on from", view->path,
                       mq_view_no_tokenizer(view));
    return mq_tokenizer_load(json->data, json->size, "tokenizer.json", tokenizer, err);
}

/* ---- chats ---- */

/* What a template calls bos_token. */
static void put_bos(const struct mq_view *view, const struct mq_tokenizer *tokenizer,
                    const cJSON *config, struct mq_buffer *bos)
{
    const char *text = token_text(config, "bos_token");
    const int32_t id = view->hparams.bos;
    if (text)
        mq_buffer_puts(bos, text);
    else if (id >= 0)
        mq_tokenizer_decode(tokenizer, &id, 1, false, bos, NULL);
    mq_buffer_putc(bos, '\0');
}

static moeq_status refuse_unknown(const struct mq_view *view, size_t templates, moeq_error *err)
{
    char known[600] = "";
    size_t n = 0;
    for (size_t i = 0; mq_chat_form_at(i) && n < sizeof known; i++)
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "",
                              mq_chat_form_at(i));
    return mq_fail(err, MOEQ_UNSUPPORTED,
                   templates
                       ? "%s: its chat template is of none of the known forms (%s): write the "
                         "whole prompt yourself and give it by --prompt"
                       : "%s: has no chat template: it may be no model for chats; give --prompt "
                         "instead of --chat",
                   view->path, known);
}

static moeq_status write_chat(const struct mq_view *view, const struct mq_tokenizer *tokenizer,
                              const cJSON *config, struct mq_arena *arena,
                              const struct mq_prompt *prompt, struct mq_buffer *text,
                              const char **end_token, moeq_error *err)
{
    const struct mq_chat_turn turn = {.system = prompt->system,
                                      .system_size = prompt->system_size,
                                      .earlier = prompt->earlier,
                                      .earlier_count = prompt->earlier_count,
                                      .eos = token_text(config, "eos_token"),
                                      .user = prompt->text,
                                      .user_size = prompt->size,
                                      .date = prompt->date};
    struct mq_chat_template *templates;
    struct mq_buffer bos = {0};
    size_t count;
    cJSON *tree = NULL;
    moeq_status status;
    MQ_TRY_OUT(mq_chat_templates(view, config, arena, &templates, &count, &tree, err));
    const struct mq_chat_template *t = count == 1 ? templates : NULL;
    for (size_t i = 0; i < count; i++) /* of one name the last counts */
        if (strcmp(templates[i].name, "default") == 0)
            t = &templates[i];
    const struct mq_chat_form *form = t ? mq_chat_find(t->text, t->size) : NULL;
    if (!form) {
        status = refuse_unknown(view, count, err);
        goto out;
    }
    put_bos(view, tokenizer, config, &bos);
    *end_token = mq_chat_form_end(form);
    MQ_TRY_OUT(mq_chat_write(form, t->text, t->size, bos.data ? bos.data : "", &turn, text, err));
out:
    mq_buffer_free(&bos);
    cJSON_Delete(tree);
    return status;
}

/* The template has written the special tokens, BOS among them. */
static moeq_status chat_ids(const struct mq_view *view, const struct mq_tokenizer *tokenizer,
                            const struct mq_prompt *prompt, struct mq_ids *ids,
                            const char **end_token, moeq_error *err)
{
    cJSON *config;
    MQ_TRY(read_side(view, MQ_SIDE_TOKENIZER_CONFIG, &config, err));
    struct mq_arena *arena = mq_arena_create();
    struct mq_buffer text = {0};
    moeq_status status =
        arena ? write_chat(view, tokenizer, config, arena, prompt, &text, end_token, err)
              : mq_fail_memory(err, "writing a chat");
    if (status == MOEQ_OK)
        status =
            mq_tokenizer_encode(tokenizer, text.data ? text.data : "", text.size, false, ids, err);
    mq_buffer_free(&text);
    mq_arena_destroy(arena);
    cJSON_Delete(config);
    return status;
}

moeq_status mq_prompt_ids(const struct mq_view *view, const struct mq_tokenizer *tokenizer,
                          const struct mq_prompt *prompt, struct mq_ids *ids,
                          const char **end_token, moeq_error *err)
{
    *end_token = NULL;
    if (prompt->chat)
        return chat_ids(view, tokenizer, prompt, ids, end_token, err);
    MQ_TRY(mq_tokenizer_encode(tokenizer, prompt->text, prompt->size, true, ids, err));
    if (ids->size)
        return MOEQ_OK;
    if (view->hparams.bos < 0)
        return mq_fail(err, MOEQ_INVALID_ARGUMENT,
                       "%s: the prompt is empty, and the model has no BOS token (bos_token_id) to "
                       "begin with: give it some text",
                       view->path);
    return append_id(ids, view->hparams.bos, err);
}

/* ---- ends ---- */

static moeq_status add_end(const struct mq_view *view, struct mq_ids *ends, int64_t id,
                           moeq_error *err)
{
    if (id < 0 || id >= (int64_t)view->hparams.vocab)
        return MOEQ_OK;
    for (size_t i = 0; i < ends->size; i++)
        if (ends->data[i] == (int32_t)id)
            return MOEQ_OK;
    return append_id(ends, (int32_t)id, err);
}

/* "eos_token_id": a number, or a list of them. */
static moeq_status add_config_ends(const struct mq_view *view, const cJSON *config,
                                   struct mq_ids *ends, moeq_error *err)
{
    const cJSON *item = mq_json_get(config, "eos_token_id");
    uint64_t id;
    if (mq_json_u64(item, &id))
        return add_end(view, ends, (int64_t)id, err);
    for (item = cJSON_IsArray(item) ? item->child : NULL; item; item = item->next)
        if (mq_json_u64(item, &id))
            MQ_TRY(add_end(view, ends, (int64_t)id, err));
    return MOEQ_OK;
}

moeq_status mq_end_tokens(const struct mq_view *view, const struct mq_tokenizer *tokenizer,
                          const char *end_token, struct mq_ids *ends, moeq_error *err)
{
    cJSON *generation = NULL, *config = NULL, *tokens = NULL;
    moeq_status status;
    MQ_TRY_OUT(read_side(view, MQ_SIDE_GENERATION_CONFIG, &generation, err));
    MQ_TRY_OUT(read_side(view, MQ_SIDE_CONFIG, &config, err));
    MQ_TRY_OUT(read_side(view, MQ_SIDE_TOKENIZER_CONFIG, &tokens, err));
    const char *eos = token_text(tokens, "eos_token");
    MQ_TRY_OUT(add_config_ends(view, generation, ends, err));
    MQ_TRY_OUT(add_config_ends(view, config, ends, err));
    MQ_TRY_OUT(add_config_ends(view, mq_json_get(config, "text_config"), ends, err));
    MQ_TRY_OUT(add_end(view, ends, view->hparams.eos, err));
    if (eos)
        MQ_TRY_OUT(add_end(view, ends, mq_tokenizer_token_id(tokenizer, eos), err));
    if (end_token)
        MQ_TRY_OUT(add_end(view, ends, mq_tokenizer_token_id(tokenizer, end_token), err));
out:
    cJSON_Delete(generation);
    cJSON_Delete(config);
    cJSON_Delete(tokens);
    return status;
}

/* ---- text of tokens ---- */

/* Tokens before those that are decoded, and tokens that wait for the end of a character at most
 * (one of four bytes is up to four tokens). */
enum { CONTEXT = 6, MOST_WAITING = 8 };

moeq_status mq_text_stream_begin(const struct mq_tokenizer *tokenizer, const int32_t *prompt,
                                 size_t count, struct mq_text_stream *stream, moeq_error *err)
{
    const size_t first = count > CONTEXT ? count - CONTEXT : 0;
    *stream = (struct mq_text_stream){.tokenizer = tokenizer};
    for (size_t i = first; i < count; i++)
        MQ_TRY(append_id(&stream->ids, prompt[i], err));
    stream->told = stream->ids.size;
    return MOEQ_OK;
}

void mq_text_stream_end(struct mq_text_stream *stream)
{
    mq_ids_free(&stream->ids);
}

static bool ends_open(const struct mq_buffer *text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    return text->size >= 3 && memcmp(text->data + text->size - 3, replacement, 3) == 0;
}

/* What the ids from `told` on add to the text of those from `context` on. */
static moeq_status tell(struct mq_text_stream *s, bool all, struct mq_buffer *text, moeq_error *err)
{
    struct mq_buffer before = {0}, now = {0};
    const int32_t *ids = s->ids.data + s->context;
    moeq_status status;
    MQ_TRY_OUT(mq_tokenizer_decode(s->tokenizer, ids, s->told - s->context, true, &before, err));
    MQ_TRY_OUT(mq_tokenizer_decode(s->tokenizer, ids, s->ids.size - s->context, true, &now, err));
    const bool open = ends_open(&now) && s->ids.size - s->told < MOST_WAITING;
    if (open && !all)
        goto out;
    if (now.size > before.size && !text->failed)
        mq_buffer_append(text, now.data + before.size, now.size - before.size);
    s->told = s->ids.size;
    s->context = s->told > s->context + CONTEXT ? s->told - CONTEXT : s->context;
    if (text->failed)
        status = mq_fail_memory(err, "keeping text");
out:
    mq_buffer_free(&before);
    mq_buffer_free(&now);
    return status;
}

moeq_status mq_text_stream_push(struct mq_text_stream *stream, int32_t id, struct mq_buffer *text,
                                moeq_error *err)
{
    MQ_TRY(append_id(&stream->ids, id, err));
    return tell(stream, false, text, err);
}

moeq_status mq_text_stream_flush(struct mq_text_stream *stream, struct mq_buffer *text,
                                 moeq_error *err)
{
    return stream->told < stream->ids.size ? tell(stream, true, text, err) : MOEQ_OK;
}
