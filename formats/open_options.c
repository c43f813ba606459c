/* open_options.c: choices and notes of a view, and their JSON in a file's metadata. */
#include "open_options.h"

#include "buffer.h"
#include "error.h"
#include "json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NOTE_BYTES = 1024 };

static const char *const window_names[] = {
    [MQ_WINDOW_DEFAULT] = "default", [MQ_WINDOW_APPLY] = "apply", [MQ_WINDOW_IGNORE] = "ignore"};
static const char *const head_names[] = {
    [MQ_HEAD_DEFAULT] = "default", [MQ_HEAD_STORED] = "stored", [MQ_HEAD_TIED] = "tied"};

#define NAMES_COUNT(names) (sizeof(names) / sizeof *(names))

static bool find_name(const char *const *names, size_t count, const char *name, unsigned *found)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) {
            *found = i;
            return true;
        }
    return false;
}

bool mq_window_choice_find(const char *name, enum mq_window_choice *choice)
{
    unsigned i;
    if (!find_name(window_names, NAMES_COUNT(window_names), name, &i))
        return false;
    *choice = (enum mq_window_choice)i;
    return true;
}

bool mq_head_choice_find(const char *name, enum mq_head_choice *choice)
{
    unsigned i;
    if (!find_name(head_names, NAMES_COUNT(head_names), name, &i))
        return false;
    *choice = (enum mq_head_choice)i;
    return true;
}

/* ---- notes ---- */

bool mq_view_has_note(const struct mq_view *view, const char *sentence)
{
    for (size_t i = 0; i < view->notes_count; i++)
        if (strcmp(view->notes[i], sentence) == 0)
            return true;
    return false;
}

/* A name of a file may be any bytes, and a cut may fall into a character; metadata is UTF-8. */
static void clean_sentence(const char *text, char sentence[NOTE_BYTES])
{
    size_t bad = 0;
    snprintf(sentence, NOTE_BYTES, "%s", text);
    while (!mq_utf8_valid(sentence, strlen(sentence), &bad))
        sentence[bad] = bad + 1 < strlen(sentence) ? '?' : '\0';
}

static moeq_status add_note(struct mq_view *view, const char *text, moeq_error *err)
{
    char sentence[NOTE_BYTES];
    clean_sentence(text, sentence);
    if (mq_view_has_note(view, sentence))
        return MOEQ_OK;
    if (!view->notes)
        view->notes = mq_arena_alloc(view->arena, MQ_NOTES_MAX, sizeof *view->notes);
    if (!view->notes)
        return mq_fail_memory(err, "opening a model");
    if (view->notes_count == MQ_NOTES_MAX)
        return MOEQ_OK;
    if (view->notes_count == MQ_NOTES_MAX - 1)
        snprintf(sentence, sizeof sentence, "there is more to note than is listed here");
    view->notes[view->notes_count] = mq_arena_strdup(view->arena, sentence);
    if (!view->notes[view->notes_count])
        return mq_fail_memory(err, "opening a model");
    view->notes_count++;
    return MOEQ_OK;
}

moeq_status mq_view_note(struct mq_view *view, moeq_error *err, const char *format, ...)
{
    char text[NOTE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return add_note(view, text, err);
}

/* ---- choices ---- */

/* Adds keys to those ignored; their strings are copied. */
static moeq_status ignore_key(struct mq_view *view, const char *key, moeq_error *err)
{
    struct mq_open_options *o = &view->options;
    if (mq_view_ignores_key(view, key))
        return MOEQ_OK;
    const char **keys = mq_arena_alloc(view->arena, o->ignored_keys_count + 1, sizeof *keys);
    char *copy = mq_arena_strdup(view->arena, key);
    if (!keys || !copy)
        return mq_fail_memory(err, "opening a model");
    if (o->ignored_keys_count)
        memcpy(keys, o->ignored_keys, o->ignored_keys_count * sizeof *keys);
    keys[o->ignored_keys_count++] = copy;
    o->ignored_keys = keys;
    return MOEQ_OK;
}

bool mq_view_ignores_key(const struct mq_view *view, const char *key)
{
    for (size_t i = 0; i < view->options.ignored_keys_count; i++)
        if (strcmp(view->options.ignored_keys[i], key) == 0)
            return true;
    return false;
}

moeq_status mq_view_set_options(struct mq_view *view, const struct mq_open_options *options,
                                moeq_error *err)
{
    for (size_t i = 0; options && i < options->ignored_keys_count; i++)
        MQ_TRY(ignore_key(view, options->ignored_keys[i], err));
    if (options) {
        view->options.sliding_window = options->sliding_window;
        view->options.lm_head = options->lm_head;
        view->options.no_check = options->no_check;
    }
    return MOEQ_OK;
}

/* ---- metadata ---- */

static const char *take_text(struct mq_buffer *b, struct mq_arena *arena, bool *failed)
{
    const char *text = mq_buffer_ok(b) ? mq_arena_strndup(arena, b->data, b->size) : NULL;
    *failed = !text;
    mq_buffer_free(b);
    return text;
}

/* "a","b" */
static void put_texts(struct mq_buffer *b, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i)
            mq_buffer_putc(b, ',');
        mq_buffer_put_json(b, texts[i], strlen(texts[i]));
    }
}

const char *mq_view_options_json(const struct mq_view *view, struct mq_arena *arena, bool *failed)
{
    const struct mq_open_options *o = &view->options;
    struct mq_buffer b = {0};
    const char *comma = "";
    *failed = false;
    if (!o->ignored_keys_count && !o->sliding_window && !o->lm_head)
        return NULL;
    mq_buffer_putc(&b, '{');
    if (o->ignored_keys_count) {
        mq_buffer_puts(&b, "\"ignore_config\":[");
        put_texts(&b, o->ignored_keys, o->ignored_keys_count);
        mq_buffer_putc(&b, ']');
        comma = ",";
    }
    if (o->sliding_window) {
        mq_buffer_printf(&b, "%s\"sliding_window\":\"%s\"", comma, window_names[o->sliding_window]);
        comma = ",";
    }
    if (o->lm_head)
        mq_buffer_printf(&b, "%s\"lm_head\":\"%s\"", comma, head_names[o->lm_head]);
    mq_buffer_putc(&b, '}');
    return take_text(&b, arena, failed);
}

const char *mq_view_notes_text(const struct mq_view *view, const char *more, struct mq_arena *arena,
                               bool *failed)
{
    struct mq_buffer b = {0};
    char sentence[NOTE_BYTES] = "";
    const char *const last = sentence;
    *failed = false;
    if (more)
        clean_sentence(more, sentence);
    const bool adds = sentence[0] && !mq_view_has_note(view, sentence);
    if (!view->notes_count && !adds)
        return NULL;
    mq_buffer_putc(&b, '[');
    put_texts(&b, view->notes, view->notes_count);
    if (adds && view->notes_count)
        mq_buffer_putc(&b, ',');
    put_texts(&b, &last, adds);
    mq_buffer_putc(&b, ']');
    return take_text(&b, arena, failed);
}

/* Of either the user's choices win; `chosen` is what the user said of the window. */
static moeq_status read_options(struct mq_view *view, const cJSON *tree,
                                enum mq_window_choice chosen, moeq_error *err)
{
    const cJSON *window = mq_json_get(tree, "sliding_window"), *head = mq_json_get(tree, "lm_head");
    const cJSON *ignored = mq_json_get(tree, "ignore_config");
    if (cJSON_IsString(window) && chosen == MQ_WINDOW_DEFAULT)
        mq_window_choice_find(window->valuestring, &view->options.sliding_window);
    if (cJSON_IsString(head) && view->options.lm_head == MQ_HEAD_DEFAULT)
        mq_head_choice_find(head->valuestring, &view->options.lm_head);
    for (const cJSON *c = cJSON_IsArray(ignored) ? ignored->child : NULL; c; c = c->next)
        if (cJSON_IsString(c))
            MQ_TRY(ignore_key(view, c->valuestring, err));
    return MOEQ_OK;
}

static moeq_status read_notes(struct mq_view *view, const cJSON *tree, enum mq_window_choice chosen,
                              moeq_error *err)
{
    for (const cJSON *c = cJSON_IsArray(tree) ? tree->child : NULL; c; c = c->next)
        /* What is said of the window is said again when config.json is read, of another choice. */
        if (cJSON_IsString(c) &&
            (chosen == MQ_WINDOW_DEFAULT || !strstr(c->valuestring, "sliding_window")))
            MQ_TRY(add_note(view, c->valuestring, err));
    return MOEQ_OK;
}

moeq_status mq_view_read_choices(struct mq_view *view, const char *const *metadata,
                                 const char *path, moeq_error *err)
{
    static const struct {
        const char *key;
        moeq_status (*read)(struct mq_view *view, const cJSON *tree, enum mq_window_choice chosen,
                            moeq_error *err);
    } kinds[] = {{MQ_META_OPTIONS, read_options}, {MQ_META_NOTES, read_notes}};
    const struct mq_json_limits limits = {.depth = 4, .values = 4096};
    const enum mq_window_choice chosen = view->options.sliding_window;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (const char *const *m = metadata; m && m[0]; m += 2) {
            cJSON *tree;
            if (strcmp(m[0], kinds[i].key) != 0)
                continue;
            MQ_TRY(mq_json_parse(m[1], strlen(m[1]), &limits, path, 0, &tree, err));
            const moeq_status status = kinds[i].read(view, tree, chosen, err);
            cJSON_Delete(tree);
            MQ_TRY(status);
        }
    return MOEQ_OK;
}
