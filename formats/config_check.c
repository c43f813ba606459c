/*
 * config_check.c: which keys a config.json may have: those of config_keys.c and of the family's
 * descriptor. All that are wrong are told in one error.
 */
#include "config_int.h"

#include "error.h"
#include "json.h"
#include "open_options.h"
#include "text_match.h"

#include <stdio.h>
#include <string.h>

/* ---- rows ---- */

bool mq_config_replaces(const struct mq_family *family, const struct mq_config_key *row)
{
    const bool fills = mq_config_key_is_read(row) && (row->rule != MQ_KEY_SPECIAL || row->field);
    for (const struct mq_config_key *own = family->keys; own->key; own++)
        if (mq_config_key_is(own, row->key) ||
            (fills && mq_config_key_is_read(own) && own->field == row->field))
            return true;
    return false;
}

const struct mq_config_key *mq_config_row(const struct mq_config_reader *r, const char *name)
{
    const struct mq_family *family = r->view->family;
    const struct mq_config_key *row = mq_config_key_find(family->keys, name);
    if (row)
        return row;
    row = mq_config_key_find(mq_config_keys, name);
    return row && mq_config_replaces(family, row) ? NULL : row;
}

/* Of a key in an object: the family's row, or, as objects are configurations of their own in
 * Transformers (PretrainedConfig), what all families have and nobody reads. */
static const struct mq_config_key *find_nested(const struct mq_config_reader *r, const char *path,
                                               const char *name)
{
    const struct mq_config_key *row = mq_config_key_find(r->view->family->keys, path);
    if (row)
        return row;
    row = mq_config_key_find(mq_config_keys, name);
    return row && !mq_config_key_is_read(row) ? row : NULL;
}

/* The length of a path's first `parts` parts without the last dot; 0 if it has no more. */
static size_t first_parts(const char *path, size_t parts)
{
    const char *at = path;
    while (parts && (at = strchr(at, '.'))) {
        parts--;
        at++;
    }
    return at ? (size_t)(at - path) - 1 : 0;
}

/* Whether the family has rows for keys in the object of this path; '*' in a row is any key. */
static bool is_entered(const struct mq_family *family, const char *path)
{
    char begin[128];
    size_t parts = 1;
    for (const char *at = path; (at = strchr(at, '.')); at++)
        parts++;
    for (const struct mq_config_key *row = family->keys; row->key; row++) {
        const size_t n = first_parts(row->key, parts);
        snprintf(begin, sizeof begin, "%.*s", (int)n, row->key);
        if (n && mq_text_matches(begin, path))
            return true;
    }
    return false;
}

/* ---- what is refused ---- */

void mq_config_print_only(const struct mq_config_key *key, char text[120])
{
    size_t n = 0;
    if (!key->only[0])
        n += (size_t)snprintf(text, 120, "null");
    for (const char *word = key->only; *word && n < 100;) {
        const size_t length = strcspn(word, " |");
        n += (size_t)snprintf(text + n, 120 - n, "%s%.*s", n ? " or " : "", (int)length, word);
        word += length + (word[length] != '\0');
    }
}

void mq_config_add_refused(struct mq_config_refused *f, const char *name, const cJSON *value,
                           const struct mq_config_key *key)
{
    enum { LISTED = 700 }; /* of a message's 1400 */
    char text[80], only[120];
    mq_config_print_value(value, text);
    if (f->list.size < LISTED)
        mq_buffer_printf(&f->list, "%s\"%.60s\": %s", f->first[0] ? ", " : "", name, text);
    if (key && f->list.size < LISTED) {
        mq_config_print_only(key, only);
        mq_buffer_printf(&f->list, " (implemented: %s%s)",
                         key->rule == MQ_KEY_ALL ? "lists of " : "", only);
    }
    if (!f->unknown && !f->unimplemented)
        snprintf(f->first, sizeof f->first, "%.60s", name);
    f->unknown += !key;
    f->unimplemented += key != NULL;
}

static moeq_status refuse_keys(const struct mq_config_reader *r, const struct mq_config_refused *f)
{
    const bool one = f->unknown + f->unimplemented == 1;
    const char *what = !f->unimplemented ? "that moeq does not know"
                       : !f->unknown     ? "that moeq implements at other values only"
                                         : "that moeq does not know, or not at these values";
    if (!mq_buffer_ok(&f->list))
        return mq_fail_memory(r->err, "reading config.json");
    return mq_fail_file(r->err, MOEQ_UNSUPPORTED, r->path,
                        "%s: %s %s: %s may change the maths. Where %s written by a tool and the "
                        "model does without, --ignore-config %.60s goes on%s",
                        f->list.data, one ? "a key" : "keys", what, one ? "it" : "they",
                        one ? "it was" : "they were", f->first, one ? "" : " (repeat it for each)");
}

moeq_status mq_config_refuse_keys(const struct mq_config_reader *r, struct mq_config_refused *f)
{
    const moeq_status status = f->unknown || f->unimplemented ? refuse_keys(r, f) : MOEQ_OK;
    mq_buffer_free(&f->list);
    return status;
}

moeq_status mq_config_note_ignored(const struct mq_config_reader *r, const char *key, bool known)
{
    return mq_view_note(r->view, r->err, "config.json's \"%.60s\"%s is ignored, as was asked for",
                        key, known ? "" : ", which moeq does not know,");
}

/* ---- checking ---- */

/* The keys of config.json (path NULL), or of an object in it that the family has rows for: as deep
 * as its rows are. */
// NOLINTNEXTLINE(misc-no-recursion): as deep as the family's rows
static moeq_status check_object(const struct mq_config_reader *r, const cJSON *object,
                                const char *path, struct mq_config_refused *refused)
{
    for (const cJSON *c = object->child; c; c = c->next) {
        const char *name =
            path ? mq_arena_printf(r->view->arena, "%s.%.100s", path, c->string) : c->string;
        if (!name)
            return mq_fail_memory(r->err, "reading config.json");
        const struct mq_config_key *key =
            path ? find_nested(r, name, c->string) : mq_config_row(r, name);
        const bool special = key && key->rule == MQ_KEY_SPECIAL; /* its reader checks it */
        if (cJSON_IsObject(c) && !special && is_entered(r->view->family, name)) {
            MQ_TRY(check_object(r, c, name, refused));
            continue;
        }
        if (key ? mq_config_key_allows(key, c) : mq_config_value_is_off(c))
            continue;
        if (mq_view_ignores_key(r->view, name))
            MQ_TRY(mq_config_note_ignored(r, name, key != NULL));
        else
            mq_config_add_refused(refused, name, c, key);
    }
    return MOEQ_OK;
}

/* What stands around a text_config. What it has too must say the same there. */
static moeq_status check_outer(const struct mq_config_reader *r, struct mq_config_refused *refused)
{
    for (const cJSON *c = r->outer ? r->outer->child : NULL; c; c = c->next) {
        const struct mq_config_key *row = mq_config_key_find(mq_config_outer_keys, c->string);
        const cJSON *inner = mq_json_get(r->config, c->string);
        if (!row)
            row = mq_config_key_find(mq_config_keys, c->string);
        if (row && mq_config_key_is_read(row))
            row = NULL; /* of the text_config's */
        if (mq_config_is_carried(c->string) || mq_config_value_is_off(c) ||
            (row && mq_config_key_allows(row, c)) || (inner && mq_json_same(inner, c)))
            continue;
        if (mq_view_ignores_key(r->view, c->string))
            MQ_TRY(mq_config_note_ignored(r, c->string, row != NULL));
        else
            mq_config_add_refused(refused, c->string, c, row);
    }
    return MOEQ_OK;
}

/* A key of a GGUF file's metadata, which the model was made of: "llama.clamp_kqv". */
static bool is_metadata_key(const char *name)
{
    for (size_t i = 0; i < mq_families_count; i++) {
        const char *a = mq_families[i]->gguf_architecture;
        const size_t n = a ? strlen(a) : 0;
        if (n && strncmp(name, a, n) == 0 && name[n] == '.')
            return true;
    }
    return false;
}

/* (The config of a GGUF file is made of other keys.) */
static moeq_status check_ignored(const struct mq_config_reader *r)
{
    const struct mq_open_options *o = &r->view->options;
    for (size_t i = 0; i < o->ignored_keys_count && r->view->kind != MQ_VIEW_GGUF; i++) {
        const char *name = o->ignored_keys[i];
        const struct mq_config_key *key = mq_config_row(r, name);
        const cJSON *rope = mq_json_get(r->config, "rope_scaling");
        if (!rope || !mq_json_get(rope, name))
            rope = mq_json_get(r->config, "rope_parameters");
        if (key && mq_config_key_is_read(key) && strncmp(name, "quantization", 12) != 0)
            return mq_fail_file(r->err, MOEQ_INVALID_ARGUMENT, r->path,
                                "--ignore-config %.60s: the model cannot be read without it", name);
        if (!mq_config_get(r->config, name) && !mq_json_get(rope, name) &&
            !mq_json_get(r->outer, name) && !is_metadata_key(name))
            MQ_TRY(mq_view_note(
                r->view, r->err, "--ignore-config: config.json has no key \"%.60s\"%s", name,
                strchr(name, ',') ? "; the option is given once for each key" : ""));
    }
    return MOEQ_OK;
}

moeq_status mq_config_check(const struct mq_config_reader *r)
{
    struct mq_config_refused refused = {0};
    moeq_status status = check_outer(r, &refused);
    if (status == MOEQ_OK)
        status = check_object(r, r->config, NULL, &refused);
    const moeq_status told = mq_config_refuse_keys(r, &refused);
    MQ_TRY(status);
    MQ_TRY(told);
    return check_ignored(r);
}
