/*
 * gguf_vocab.c: a tokenizer.json on its way into a GGUF file: what all who read it share, the kinds
 * of models, the pre-tokenizer, the special tokens and the chat templates.
 */
#include "gguf_vocab_int.h"

#include "error.h"
#include "utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

moeq_status mq_vocab_unsupported(struct mq_vocab *v, const char *what, const char *value)
{
    return mq_fail_file(v->err, MOEQ_UNSUPPORTED, v->path,
                        "%s '%.200s' cannot be expressed in a GGUF file", what, value);
}

static void put_sentence(struct mq_buffer *out, const char *separator, const char *format,
                         va_list args)
{
    char text[640];
    vsnprintf(text, sizeof text, format, args);
    mq_buffer_puts(out, separator);
    mq_buffer_puts(out, text);
}

void mq_vocab_warn(struct mq_vocab *v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_sentence(&v->warnings,
                 v->warnings.size ? "; " : "llama.cpp will tokenize differently: ", format, args);
    va_end(args);
}

void mq_vocab_note(struct mq_vocab *v, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_sentence(&v->notes, v->notes.size ? " " : "", format, args);
    va_end(args);
}

/* The recursion is as deep as the JSON, whose depth gguf_vocab_export.c bounds. */
// NOLINTNEXTLINE(misc-no-recursion): see above
moeq_status mq_vocab_each(struct mq_vocab *v, const cJSON *component, const char *list,
                          const char *what, void *user,
                          moeq_status (*step)(struct mq_vocab *v, const cJSON *component,
                                              const char *type, void *user))
{
    if (!component || cJSON_IsNull(component))
        return MOEQ_OK;
    const cJSON *type = mq_json_get(component, "type");
    if (!cJSON_IsString(type))
        return mq_fail_file(v->err, MOEQ_MALFORMED, v->path, "%s: 'type' is missing or no text",
                            what);
    if (strcmp(type->valuestring, "Sequence") != 0)
        return step(v, component, type->valuestring, user);
    const cJSON *members = mq_json_get(component, list);
    for (const cJSON *m = members ? members->child : NULL; m; m = m->next)
        MQ_TRY(mq_vocab_each(v, m, list, what, user, step));
    return MOEQ_OK;
}

bool mq_vocab_is_unicode_form(struct mq_vocab *v, const char *type)
{
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(type, forms[i]) != 0)
            continue;
        mq_vocab_warn(v, "it does not bring text into the normalization form %s", type);
        return true;
    }
    return false;
}

moeq_status mq_vocab_first_merge(struct mq_vocab *v, const cJSON **first)
{
    const cJSON *merges = mq_json_get(v->model, "merges");
    if (!cJSON_IsArray(merges))
        return mq_fail_file(v->err, MOEQ_MALFORMED, v->path, "'merges' is missing or no list");
    *first = merges->child;
    /* The first line of a merges.txt may have come along. */
    if (cJSON_IsString(*first) && strncmp((*first)->valuestring, "#version", 8) == 0)
        *first = (*first)->next;
    return MOEQ_OK;
}

moeq_status mq_vocab_merge_halves(struct mq_vocab *v, const cJSON *merge,
                                  struct mq_vocab_text *left, struct mq_vocab_text *right)
{
    const cJSON *a = cJSON_IsArray(merge) ? merge->child : NULL, *b = a ? a->next : NULL;
    if (cJSON_IsString(merge)) {
        const char *text = merge->valuestring, *space = strchr(text, ' ');
        if (space && !strchr(space + 1, ' ')) {
            *left = (struct mq_vocab_text){text, (size_t)(space - text)};
            *right = (struct mq_vocab_text){space + 1, strlen(space + 1)};
            return MOEQ_OK;
        }
    } else if (b && !b->next && cJSON_IsString(a) && cJSON_IsString(b)) {
        *left = (struct mq_vocab_text){a->valuestring, strlen(a->valuestring)};
        *right = (struct mq_vocab_text){b->valuestring, strlen(b->valuestring)};
        return MOEQ_OK;
    }
    return mq_fail_file(v->err, MOEQ_MALFORMED, v->path, "a merge that is not a pair of pieces");
}

const char *mq_vocab_with_spaces(struct mq_arena *arena, const char *text)
{
    char *copy = mq_arena_strdup(arena, text), *out = copy;
    for (const char *in = text; copy && *in;) {
        const bool space = strncmp(in, MQ_VISIBLE_SPACE, 3) == 0;
        *out++ = space ? ' ' : *in;
        in += space ? 3 : 1;
    }
    if (copy)
        *out = 0;
    return copy;
}

void mq_vocab_put_tokens(struct mq_gguf_writer *w, struct mq_vocab *v, bool with_scores)
{
    mq_gguf_begin_array(w, MQ_GGUF_KEY_TOKENS, MQ_GGUF_STRING, v->count);
    for (uint32_t i = 0; i < v->count; i++)
        mq_gguf_append_string(w, v->tokens[i].text, strlen(v->tokens[i].text));
    if (with_scores) {
        mq_gguf_begin_array(w, MQ_GGUF_KEY_SCORES, MQ_GGUF_F32, v->count);
        for (uint32_t i = 0; i < v->count; i++)
            mq_gguf_append_f32(w, v->tokens[i].score);
    }
    mq_gguf_begin_array(w, MQ_GGUF_KEY_TOKEN_TYPES, MQ_GGUF_I32, v->count);
    for (uint32_t i = 0; i < v->count; i++)
        mq_gguf_append_i32(w, v->tokens[i].type);
}
