/* folder_tokenizer.c: merging a folder's tokenizer files and chat templates into a view. */
#include "folder_tokenizer.h"

#include "error.h"
#include "moeq_profile.h"
#include "open_options.h"
#include "side_files.h"
#include "text_match.h"
#include "tokenizer.h"
#include "what_is_it.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATES_FOLDER "additional_chat_templates"
#define TEMPLATE_FILE "chat_template.jinja"
#define CONFIG_FILE "tokenizer_config.json"
#define DEFAULT_NAME "default"

enum { MAX_TEMPLATES = 256 };

static const struct mq_json_limits side_limits = {.depth = 64, .values = 4 * 1000 * 1000};

/* ---- tokens ---- */

static moeq_status note_each(struct mq_view *view, const struct mq_buffer *notes, moeq_error *err)
{
    for (const char *at = notes->data, *end; at && (end = strchr(at, '\n')); at = end + 1)
        MQ_TRY(mq_view_note(view, err, "%.*s", (int)(end - at), at));
    return MOEQ_OK;
}

/* The new text, if there is one, for the old. */
static void replace(struct mq_buffer *old, struct mq_buffer *merged)
{
    if (!merged->size)
        return;
    mq_buffer_free(old);
    *old = *merged;
    memset(merged, 0, sizeof *merged);
}

static struct mq_side_text side_text(const struct mq_buffer *b)
{
    return (struct mq_side_text){b->data, b->size};
}

static moeq_status leave_out(struct mq_view *view, const char *why, moeq_error *err)
{
    mq_buffer_free(&view->side[MQ_SIDE_TOKENIZER]);
    view->tokenizer_problem = mq_arena_strdup(view->arena, why);
    if (!view->tokenizer_problem)
        return mq_fail_memory(err, "opening a model");
    return mq_view_note(view, err, MQ_NOTE_NO_TOKENIZER "%s", why);
}

void mq_recall_tokenizer_problem(struct mq_view *view)
{
    static const char start[] = MQ_NOTE_NO_TOKENIZER;
    for (size_t i = 0; i < view->notes_count && !view->side[MQ_SIDE_TOKENIZER].size; i++)
        if (strncmp(view->notes[i], start, sizeof start - 1) == 0)
            view->tokenizer_problem = view->notes[i] + sizeof start - 1;
}

/* A damaged one would be found when a text is tokenized, which may be on another machine. */
static moeq_status check_tokenizer(struct mq_view *view, moeq_error *err)
{
    const struct mq_buffer *json = &view->side[MQ_SIDE_TOKENIZER];
    moeq_error why = {0};
    if (!json->data || view->tokenizer_source) /* there is none, or it was made here */
        return MOEQ_OK;
    switch (mq_tokenizer_check(json->data, json->size, "tokenizer.json", &why)) {
    case MOEQ_OK:
        return MOEQ_OK;
    case MOEQ_NO_MEMORY:
        return mq_fail_memory(err, "opening a model");
    case MOEQ_UNSUPPORTED:
    case MOEQ_LIMIT:
        return mq_view_note(view, err,
                            "the tokenizer is kept, but no text can be tokenized by it: "
                            "%s",
                            why.message);
    default:
        return leave_out(view, why.message, err);
    }
}

static moeq_status merge_tokens(struct mq_view *view, moeq_error *err)
{
    const struct mq_tokenizer_side side = {
        .config = side_text(&view->side[MQ_SIDE_TOKENIZER_CONFIG]),
        .added_tokens = side_text(&view->side[MQ_SIDE_ADDED_TOKENS]),
        .special_tokens_map = side_text(&view->side[MQ_SIDE_SPECIAL_TOKENS_MAP]),
    };
    struct mq_tokenizer_merged merged = {0};
    moeq_error why = {0};
    if (!view->side[MQ_SIDE_TOKENIZER].size)
        return MOEQ_OK;
    moeq_status status =
        mq_tokenizer_merge(view->side[MQ_SIDE_TOKENIZER].data, view->side[MQ_SIDE_TOKENIZER].size,
                           &side, &merged, &why);
    if (status == MOEQ_NO_MEMORY)
        return mq_fail_memory(err, "opening a model");
    if (status != MOEQ_OK)
        return leave_out(view, why.message, err);
    replace(&view->side[MQ_SIDE_TOKENIZER], &merged.tokenizer);
    replace(&view->side[MQ_SIDE_TOKENIZER_CONFIG], &merged.config);
    status = note_each(view, &merged.notes, err);
    mq_tokenizer_merged_free(&merged);
    return status;
}

/* ---- generation_config.json ---- */

/* It only names special tokens that config.json names, too. */
static moeq_status drop_unless_object(struct mq_view *view, struct mq_buffer *json,
                                      const char *name, moeq_error *err)
{
    moeq_error why = {0};
    cJSON *tree = NULL;
    if (!json->size)
        return MOEQ_OK;
    moeq_status status = mq_json_parse(json->data, json->size, &side_limits, name, 0, &tree, &why);
    if (status == MOEQ_OK)
        status = cJSON_IsObject(tree)
                     ? mq_json_refuse_duplicates(tree, name, &why)
                     : mq_fail_file(&why, MOEQ_MALFORMED, name, "is no JSON object");
    cJSON_Delete(tree);
    if (status == MOEQ_OK)
        return MOEQ_OK;
    if (status == MOEQ_NO_MEMORY)
        return mq_fail_memory(err, "opening a model");
    mq_buffer_free(json);
    return mq_view_note(view, err, "a side file is left out: %s", why.message);
}

/* ---- chat templates in files of their own ---- */

/* "\r\n" and "\r" as "\n", as Python reads a text file, and so Transformers a template. */
static void unify_newlines(struct mq_buffer *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->size; i++) {
        const bool carriage = b->data[i] == '\r';
        b->data[n++] = carriage ? '\n' : b->data[i];
        i += carriage && i + 1 < b->size && b->data[i + 1] == '\n';
    }
    if (n < b->size)
        b->data[n] = 0;
    b->size = n;
}

/* JSON, and a GGUF file's readers, want text. */
static bool is_text(const struct mq_buffer *b)
{
    return !b->size || (mq_utf8_valid(b->data, b->size, NULL) && !memchr(b->data, 0, b->size));
}

static moeq_status drop_unless_text(struct mq_view *view, struct mq_buffer *b, const char *name,
                                    moeq_error *err)
{
    if (is_text(b)) {
        unify_newlines(b);
        return MOEQ_OK;
    }
    mq_buffer_free(b);
    return mq_view_note(view, err, "%s is left out: it is no UTF-8 text", name);
}

static int is_template_file(const struct dirent *entry)
{
    const char *name = entry->d_name;
    return mq_ends_with(name, ".jinja") && strcmp(name, ".jinja") != 0 &&
           mq_utf8_valid(name, strlen(name), NULL);
}

/* One file of the folder: a member of the object chat_templates, or the default. */
static moeq_status read_template(struct mq_view *view, const char *path, const char *file_name,
                                 moeq_error *err)
{
    const size_t n = strlen(file_name) - strlen(".jinja");
    const bool is_default = n == strlen(DEFAULT_NAME) && memcmp(file_name, DEFAULT_NAME, n) == 0;
    struct mq_buffer text = {0}, *out = &view->side[MQ_SIDE_CHAT_TEMPLATES];
    const size_t used = out->size < MQ_CHAT_TEMPLATES_CAP ? out->size : MQ_CHAT_TEMPLATES_CAP;
    struct mq_what what;
    moeq_error why = {0};
    if (mq_path_exists(path))
        MQ_TRY(mq_view_remember(view, path, err));
    moeq_status status = mq_file_read_all(path, MQ_CHAT_TEMPLATES_CAP - used, &text, &why);
    if (status == MOEQ_LIMIT)
        return mq_view_note(view, err, "a chat template is left out: %s", why.message);
    if (status != MOEQ_OK) {
        status = mq_fail_with(err, &why);
    } else {
        mq_what_is(text.data, text.size, text.size, &what);
        status = mq_refuse_what(path, &what, MQ_FILE_JSON | MQ_FILE_TEXT | MQ_FILE_BLANK, err);
    }
    if (status == MOEQ_OK)
        status = drop_unless_text(view, &text, path, err);
    if (status == MOEQ_OK && is_default && text.data) {
        if (view->side[MQ_SIDE_CHAT_TEMPLATE].size &&
            (view->side[MQ_SIDE_CHAT_TEMPLATE].size != text.size ||
             memcmp(view->side[MQ_SIDE_CHAT_TEMPLATE].data, text.data, text.size) != 0))
            status = mq_view_note(view, err,
                                  "the chat template is that of " TEMPLATES_FOLDER
                                  "/default.jinja, not the other one in " TEMPLATE_FILE);
        replace(&view->side[MQ_SIDE_CHAT_TEMPLATE], &text);
    } else if (status == MOEQ_OK && text.data) {
        mq_buffer_putc(out, out->size ? ',' : '{');
        mq_buffer_put_json(out, file_name, n);
        mq_buffer_putc(out, ':');
        mq_buffer_put_json(out, text.data, text.size);
    }
    mq_buffer_free(&text);
    return status;
}

/* The files of additional_chat_templates, by name. */
static moeq_status read_templates(const char *folder, struct mq_view *view, moeq_error *err)
{
    const char *path = mq_arena_printf(view->arena, "%s/" TEMPLATES_FOLDER, folder);
    struct dirent **entries = NULL;
    moeq_status status = MOEQ_OK;
    if (!path)
        return mq_fail_memory(err, "opening a model");
    const int count =
        mq_path_is_folder(path) ? scandir(path, &entries, is_template_file, alphasort) : 0;
    if (count < 0)
        status = mq_fail_errno(err, path, "cannot list the folder");
    else if (count > MAX_TEMPLATES)
        status = mq_fail_file(err, MOEQ_LIMIT, path, "holds %d chat templates, more than %d", count,
                              MAX_TEMPLATES);
    for (int i = 0; i < count; i++) {
        char *file = status == MOEQ_OK
                         ? mq_arena_printf(view->arena, "%s/%s", path, entries[i]->d_name)
                         : NULL;
        if (status == MOEQ_OK)
            status = file ? read_template(view, file, entries[i]->d_name, err)
                          : mq_fail_memory(err, "opening a model");
        free(entries[i]);
    }
    free(entries);
    if (view->side[MQ_SIDE_CHAT_TEMPLATES].size)
        mq_buffer_putc(&view->side[MQ_SIDE_CHAT_TEMPLATES], '}');
    if (status == MOEQ_OK && !mq_buffer_ok(&view->side[MQ_SIDE_CHAT_TEMPLATES]))
        status = mq_fail_memory(err, "opening a model");
    return status;
}

/* ---- which of them count ---- */

/* The default template of tokenizer_config.json's "chat_template". */
static const cJSON *default_of(const cJSON *item)
{
    if (cJSON_IsObject(item))
        return mq_json_get(item, DEFAULT_NAME);
    if (!cJSON_IsArray(item))
        return item;
    const cJSON *found = NULL;
    for (const cJSON *m = item->child; m; m = m->next) {
        const cJSON *name = mq_json_get(m, "name");
        if (cJSON_IsString(name) && strcmp(name->valuestring, DEFAULT_NAME) == 0)
            found = mq_json_get(m, "template");
    }
    return found;
}

static bool is_same(const cJSON *text, const struct mq_buffer *b)
{
    return cJSON_IsString(text) && strlen(text->valuestring) == b->size &&
           memcmp(text->valuestring, b->data, b->size) == 0;
}

/* A list of {"name", "template"}; of two with one name the last counts. */
static moeq_status take_list(struct mq_view *view, const cJSON *list, moeq_error *err)
{
    const char *text = cJSON_GetStringValue(default_of(list));
    cJSON *named = cJSON_CreateObject();
    bool ok = named != NULL;
    for (const cJSON *m = list->child; ok && m; m = m->next) {
        const char *name = cJSON_GetStringValue(mq_json_get(m, "name"));
        const char *template = cJSON_GetStringValue(mq_json_get(m, "template"));
        if (!name || !template || strcmp(name, DEFAULT_NAME) == 0)
            continue;
        cJSON_DeleteItemFromObjectCaseSensitive(named, name);
        ok = cJSON_AddStringToObject(named, name, template) != NULL;
    }
    char *json = ok && named->child ? cJSON_PrintUnformatted(named) : NULL;
    ok = ok && (json || !named->child);
    if (text)
        mq_buffer_puts(&view->side[MQ_SIDE_CHAT_TEMPLATE], text);
    if (json)
        mq_buffer_puts(&view->side[MQ_SIDE_CHAT_TEMPLATES], json);
    cJSON_free(json);
    cJSON_Delete(named);
    return ok && mq_buffer_ok(&view->side[MQ_SIDE_CHAT_TEMPLATE]) &&
                   mq_buffer_ok(&view->side[MQ_SIDE_CHAT_TEMPLATES])
               ? MOEQ_OK
               : mq_fail_memory(err, "opening a model");
}

/* chat_template.json: {"chat_template": a text or a list}. */
static moeq_status take_legacy(struct mq_view *view, bool has_other, moeq_error *err)
{
    static const char name[] = "chat_template.json";
    const struct mq_buffer *json = &view->side[MQ_SIDE_CHAT_TEMPLATE_JSON];
    cJSON *tree = NULL;
    moeq_error why = {0};
    if (!json->size)
        return MOEQ_OK;
    moeq_status status = mq_json_parse(json->data, json->size, &side_limits, name, 0, &tree, &why);
    const cJSON *item = mq_json_get(tree, "chat_template");
    const bool is_list = cJSON_IsArray(item) && cJSON_GetArraySize(item) <= MAX_TEMPLATES;
    if (status != MOEQ_OK || !(cJSON_IsString(item) || is_list)) {
        status =
            mq_view_note(view, err,
                         "%s is left out: it is no object whose \"chat_template\" is a text, or "
                         "a list of at most %d of them",
                         name, MAX_TEMPLATES);
    } else if (!has_other && is_list) {
        status = take_list(view, item, err);
    } else if (!has_other) {
        mq_buffer_puts(&view->side[MQ_SIDE_CHAT_TEMPLATE], item->valuestring);
        if (!mq_buffer_ok(&view->side[MQ_SIDE_CHAT_TEMPLATE]))
            status = mq_fail_memory(err, "opening a model");
    } else if (view->side[MQ_SIDE_CHAT_TEMPLATE].size &&
               !is_same(default_of(item), &view->side[MQ_SIDE_CHAT_TEMPLATE])) {
        status =
            mq_view_note(view, err,
                         "the chat template is not that of %s, which differs from the one in a "
                         "file of its own",
                         name);
    }
    cJSON_Delete(tree);
    return status;
}

static moeq_status choose_templates(struct mq_view *view, moeq_error *err)
{
    const struct mq_buffer *json = &view->side[MQ_SIDE_TOKENIZER_CONFIG];
    const bool own_files =
        view->side[MQ_SIDE_CHAT_TEMPLATE].size || view->side[MQ_SIDE_CHAT_TEMPLATES].size;
    cJSON *tree = NULL;
    moeq_error ignored = {0}; /* what is wrong there is said where tokens are read */
    if (json->size)
        mq_json_parse(json->data, json->size, &side_limits, CONFIG_FILE, 0, &tree, &ignored);
    const cJSON *item = mq_json_get(tree, "chat_template");
    const bool in_config = item && !cJSON_IsNull(item);
    moeq_status status = MOEQ_OK;
    if (own_files && in_config &&
        (!cJSON_IsString(item) || !is_same(default_of(item), &view->side[MQ_SIDE_CHAT_TEMPLATE])))
        status =
            mq_view_note(view, err,
                         "chat templates: those in files of their own (%s), not those of "
                         "tokenizer_config.json, which differ",
                         view->side[MQ_SIDE_CHAT_TEMPLATE].size ? TEMPLATE_FILE : TEMPLATES_FOLDER);
    cJSON_Delete(tree);
    return status == MOEQ_OK ? take_legacy(view, own_files || in_config, err) : status;
}

moeq_status mq_folder_tokenizer(const char *folder, struct mq_view *view, moeq_error *err)
{
    MQ_TRY(check_tokenizer(view, err));
    MQ_TRY(merge_tokens(view, err));
    MQ_TRY(drop_unless_object(view, &view->side[MQ_SIDE_GENERATION_CONFIG],
                              "generation_config.json", err));
    MQ_TRY(drop_unless_text(view, &view->side[MQ_SIDE_CHAT_TEMPLATE], TEMPLATE_FILE, err));
    MQ_TRY(read_templates(folder, view, err));
    return choose_templates(view, err);
}

/* ---- all that count ---- */

struct gathering {
    struct mq_chat_template *templates;
    size_t count;
};

static void gather(struct gathering *g, const char *name, const char *text, size_t size)
{
    g->templates[g->count++] = (struct mq_chat_template){name, text, size};
}

static void gather_text(struct gathering *g, const char *name, const cJSON *text)
{
    if (cJSON_IsString(text))
        gather(g, name, text->valuestring, strlen(text->valuestring));
}

/* A text, a list of {"name", "template"}, or an object of names. */
static void gather_config(struct gathering *g, const cJSON *item)
{
    gather_text(g, DEFAULT_NAME, item);
    for (const cJSON *m = cJSON_IsArray(item) || cJSON_IsObject(item) ? item->child : NULL; m;
         m = m->next) {
        const cJSON *name = mq_json_get(m, "name");
        if (cJSON_IsObject(item))
            gather_text(g, m->string, m);
        else if (cJSON_IsString(name))
            gather_text(g, name->valuestring, mq_json_get(m, "template"));
    }
}

moeq_status mq_chat_templates(const struct mq_view *view, const cJSON *tokenizer_config,
                              struct mq_arena *arena, struct mq_chat_template **templates,
                              size_t *count, cJSON **tree, moeq_error *err)
{
    const struct mq_buffer *one = &view->side[MQ_SIDE_CHAT_TEMPLATE],
                           *others = &view->side[MQ_SIDE_CHAT_TEMPLATES];
    const cJSON *item = mq_json_get(tokenizer_config, "chat_template");
    *tree = NULL;
    *count = 0;
    if (others->size) {
        const char *path = mq_arena_printf(arena, "%s: chat templates", view->path);
        if (!path)
            return mq_fail_memory(err, "reading chat templates");
        MQ_TRY(mq_json_parse(others->data, others->size, &side_limits, path, 0, tree, err));
        MQ_TRY(mq_json_refuse_duplicates(*tree, path, err));
        if (!cJSON_IsObject(*tree))
            return mq_fail_file(err, MOEQ_MALFORMED, path, "are no JSON object");
    }
    const size_t room = 2 + (size_t)(*tree ? cJSON_GetArraySize(*tree) : 0) +
                        (size_t)(item ? cJSON_GetArraySize(item) : 0);
    struct gathering g = {.templates = mq_arena_alloc(arena, room, sizeof *g.templates)};
    if (!g.templates)
        return mq_fail_memory(err, "reading chat templates");
    if (one->size && mq_utf8_valid(one->data, one->size, NULL))
        gather(&g, DEFAULT_NAME, one->data, one->size);
    for (const cJSON *m = *tree ? (*tree)->child : NULL; m; m = m->next)
        gather_text(&g, m->string, m);
    if (!one->size && !others->size)
        gather_config(&g, item);
    *templates = g.templates;
    *count = g.count;
    return MOEQ_OK;
}
