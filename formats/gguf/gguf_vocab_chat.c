/*
 * gguf_vocab_chat.c: chat templates. Keys, and what becomes of a name, as in the `gguf` package
 * (gguf_writer.py, add_chat_template).
 */
#include "gguf_vocab_int.h"

#include "error.h"
#include "folder_tokenizer.h"

#include <string.h>

/* The name as a part of a key: other characters than ASCII letters and digits become '_', one for
 * each character. */
static const char *key_name(struct mq_arena *arena, const char *name)
{
    char *key = mq_arena_strdup(arena, name), *out = key;
    for (const char *in = name; key && *in; in++) {
        const unsigned char c = (unsigned char)*in;
        const bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if ((c & 0xc0) != 0x80)
            *out++ = plain ? (char)c : '_';
    }
    if (key)
        *out = 0;
    return key;
}

/* A template that has the key of templates[other]: of one name the last counts, as in Transformers,
 * where it overwrites the first; of two names the first. */
static void join_templates(struct mq_vocab *v, struct mq_chat_template *templates,
                           const char *const *names, uint32_t other,
                           const struct mq_chat_template *t)
{
    if (strcmp(names[other], t->name) == 0) {
        templates[other].text = t->text;
        templates[other].size = t->size;
    } else {
        mq_vocab_note(v, "Chat template '%.60s' is left out: another one has the name '%.60s'.",
                      t->name, templates[other].name);
    }
}

/* Each gets its key for a name; those stay that have one of their own. */
static moeq_status name_templates(struct mq_vocab *v, struct mq_chat_template *templates,
                                  size_t *count)
{
    struct mq_strmap keys;
    const char **names = mq_arena_alloc(v->arena, *count + 1, sizeof *names);
    bool ok = mq_strmap_init(&keys, *count) && names;
    uint32_t kept = 0, other;
    for (size_t i = 0; ok && i < *count; i++) {
        const struct mq_chat_template t = templates[i];
        const char *key = key_name(v->arena, t.name);
        ok = key != NULL;
        if (!ok || !*key)
            continue;
        if (mq_strmap_get(&keys, key, strlen(key), &other)) {
            join_templates(v, templates, names, other, &t);
            continue;
        }
        ok = mq_strmap_add(&keys, key, strlen(key), kept) != MQ_STRMAP_NO_MEMORY;
        names[kept] = t.name;
        templates[kept] = t;
        templates[kept++].name = key;
    }
    *count = kept;
    mq_strmap_free(&keys);
    return ok ? MOEQ_OK : mq_fail_memory(v->err, "exporting chat templates");
}

static bool is_default(const struct mq_chat_template *t)
{
    return strcmp(t->name, "default") == 0;
}

static moeq_status put_templates(struct mq_gguf_writer *w, struct mq_vocab *v,
                                 struct mq_chat_template *templates, size_t count)
{
    size_t named = 0;
    MQ_TRY(name_templates(v, templates, &count));
    for (size_t i = 0; i < count; i++) {
        if (is_default(&templates[i]))
            continue;
        const char *key =
            mq_arena_printf(v->arena, MQ_GGUF_KEY_CHAT_TEMPLATE ".%s", templates[i].name);
        if (!key)
            return mq_fail_memory(v->err, "exporting chat templates");
        mq_gguf_put_string(w, key, templates[i].text, templates[i].size);
        named++;
    }
    if (named)
        mq_gguf_begin_array(w, MQ_GGUF_KEY_CHAT_TEMPLATES, MQ_GGUF_STRING, named);
    for (size_t i = 0; i < count; i++)
        if (!is_default(&templates[i]))
            mq_gguf_append_string(w, templates[i].name, strlen(templates[i].name));
    for (size_t i = 0; i < count; i++)
        if (is_default(&templates[i]))
            mq_gguf_put_string(w, MQ_GGUF_KEY_CHAT_TEMPLATE, templates[i].text, templates[i].size);
    return MOEQ_OK;
}

moeq_status mq_vocab_put_chat_templates(struct mq_gguf_writer *w, struct mq_vocab *v,
                                        const struct mq_view *view, const cJSON *tokenizer_config)
{
    struct mq_chat_template *templates;
    size_t count;
    cJSON *tree;
    moeq_status status =
        mq_chat_templates(view, tokenizer_config, v->arena, &templates, &count, &tree, v->err);
    if (status == MOEQ_OK)
        status = put_templates(w, v, templates, count);
    cJSON_Delete(tree);
    return status;
}
