/* gguf_arch_read.c: keys of an architecture -> keys of a config.json. */
#include "gguf_saying.h"

#include "error.h"
#include "text_match.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- what config.json is to say ---- */

void mq_gguf_say(struct mq_gguf_saying *s, const char *key, const char *format, ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    mq_gguf_say_text(s, key, mq_arena_strdup(s->arena, text));
}

void mq_gguf_say_text(struct mq_gguf_saying *s, const char *key, const char *value)
{
    size_t i = 0;
    while (i < s->count && strcmp(s->pairs[i].key, key) != 0)
        i++;
    s->failed = s->failed || !value || i == MQ_GGUF_SAYINGS;
    if (s->failed)
        return;
    s->pairs[i].key = key;
    s->pairs[i].value = value;
    s->count += i == s->count;
}

static const char *number_text(struct mq_arena *arena, double value)
{
    struct mq_buffer text = {0};
    mq_buffer_put_number(&text, value);
    const char *copy = mq_buffer_ok(&text) ? mq_arena_strndup(arena, text.data, text.size) : NULL;
    mq_buffer_free(&text);
    return copy;
}

/* The word at a place among those in `only`, without the others of its place. */
static const char *word_text(struct mq_arena *arena, const char *only, uint32_t place)
{
    const char *at = only;
    for (; at && place; place--) {
        at = strchr(at, ' ');
        at += at != NULL;
    }
    return at ? mq_arena_strndup(arena, at, strcspn(at, " |")) : NULL;
}

/* The first name in `only` that stands for a value. */
static const char *name_text(struct mq_arena *arena, const struct mq_config_key *key,
                             uint32_t value)
{
    const enum mq_hparam_type type = mq_hparam_at(key->field)->type;
    for (const char *at = key->only; at && *at; at += strcspn(at, " "), at += *at == ' ') {
        char name[40];
        uint32_t named;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 1, "\""), at + 1);
        if (mq_hparam_named(type, name, &named) && named == value)
            return mq_arena_printf(arena, "\"%s\"", name);
    }
    return NULL;
}

static const char *value_text(struct mq_arena *arena, const struct mq_config_key *key, double value)
{
    if (key->rule == MQ_KEY_CHOICE)
        return word_text(arena, key->only, (uint32_t)value);
    if (key->rule == MQ_KEY_NAME)
        return name_text(arena, key, (uint32_t)value);
    switch (mq_hparam_at(key->field)->type) {
    case MQ_HPARAM_BOOL:
        return value != 0 ? "true" : "false";
    case MQ_HPARAM_F32:
        return number_text(arena, value);
    default:
        return mq_arena_printf(arena, "%.0f", value);
    }
}

bool mq_gguf_say_field(struct mq_gguf_saying *s, size_t field, double value)
{
    const struct mq_config_key *key = mq_gguf_config_key(s->family, field);
    if (!key)
        return false;
    mq_gguf_say_text(s, key->key, value_text(s->arena, key, value));
    return true;
}

/* The pair of this name; NULL. */
static const char *said(const struct mq_gguf_saying *s, const char *name, size_t n)
{
    for (size_t i = 0; i < s->count; i++)
        if (strncmp(s->pairs[i].key, name, n) == 0 && s->pairs[i].key[n] == '\0')
            return s->pairs[i].value;
    return NULL;
}

/* Whether pairs are in an object of this name: their keys begin with it and a dot. */
static bool is_object(const struct mq_gguf_saying *s, const char *name, size_t n, size_t end)
{
    for (size_t i = 0; i < end; i++)
        if (strncmp(s->pairs[i].key, name, n) == 0 && s->pairs[i].key[n] == '.')
            return true;
    return false;
}

/* An object: what is said of it as a whole, and the pairs in it. */
static void print_object(const struct mq_gguf_saying *s, struct mq_buffer *json, const char *name,
                         size_t n)
{
    const char *whole = said(s, name, n);
    bool any = whole && whole[0] == '{';
    mq_buffer_printf(json, "  \"%.*s\": {", (int)n, name);
    if (any)
        mq_buffer_append(json, whole + 1, strlen(whole) - 2);
    for (size_t i = 0; i < s->count; i++) {
        if (strncmp(s->pairs[i].key, name, n) != 0 || s->pairs[i].key[n] != '.')
            continue;
        mq_buffer_printf(json, "%s\"%s\": ", any ? ", " : "", s->pairs[i].key + n + 1);
        mq_buffer_puts(json, s->pairs[i].value);
        any = true;
    }
    mq_buffer_puts(json, "}");
}

moeq_status mq_gguf_print(const struct mq_gguf_saying *s, struct mq_buffer *json, moeq_error *err)
{
    if (s->failed)
        return mq_fail_memory(err, "opening a model");
    mq_buffer_puts(json, "{\n");
    for (size_t i = 0; i < s->count; i++) {
        const char *key = s->pairs[i].key;
        const size_t n = strcspn(key, ".");
        if (key[n] ? is_object(s, key, n, i) : is_object(s, key, n, s->count))
            continue; /* printed with another of it */
        mq_buffer_puts(json, json->size > 2 ? ",\n" : "");
        if (key[n]) {
            print_object(s, json, key, n);
            continue;
        }
        mq_buffer_printf(json, "  \"%s\": ", key);
        mq_buffer_puts(json, s->pairs[i].value);
    }
    mq_buffer_puts(json, "\n}\n");
    return mq_buffer_ok(json) ? MOEQ_OK : mq_fail_memory(err, "opening a model");
}

/* ---- rows ---- */

/* A number or a truth value. */
bool mq_gguf_any_number(const struct mq_gguf *g, const struct mq_gguf_key *key, uint64_t i,
                        double *value)
{
    bool yes;
    if (key->type == MQ_GGUF_ARRAY && key->element == MQ_GGUF_BOOL) {
        if (i >= key->count)
            return false;
        *value = g->header[key->offset + i] != 0;
        return true;
    }
    if (i == 0 && mq_gguf_bool(g, key, &yes)) {
        *value = yes;
        return true;
    }
    return mq_gguf_number(g, key, i, value);
}

static moeq_status fail_no_key(const struct mq_gguf_saying *s, const struct mq_gguf_row *row,
                               moeq_error *err)
{
    char name[200];
    snprintf(name, sizeof name, row->pattern, s->arch->name);
    return mq_fail_file(err, MOEQ_MALFORMED, s->gguf->file.path, "key '%s' is missing", name);
}

/* A number that is not negative; `otherwise` where the key is absent or, of numbers, 0. */
static moeq_status read_number(const struct mq_gguf_saying *s, const struct mq_gguf_row *row,
                               const struct mq_gguf_key *key, double *value, moeq_error *err)
{
    *value = row->value;
    if (!key)
        return isnan(row->value) ? fail_no_key(s, row, err) : MOEQ_OK;
    double first = 0, other;
    const uint64_t n = key->type == MQ_GGUF_ARRAY ? key->count : 1;
    for (uint64_t i = 0; i < n; i++) {
        if (!mq_gguf_any_number(s->gguf, key, i, &other) || !(other >= 0) || other > 0x1p24)
            return mq_gguf_fail_key(s->gguf, key, MOEQ_MALFORMED, err,
                                    "expected a number from 0 on");
        if (other == 0)
            continue;
        if (first != 0 && other != first)
            return mq_gguf_fail_key(s->gguf, key, MOEQ_UNSUPPORTED, err,
                                    "layers of different sizes (%g and %g) are not implemented "
                                    "here",
                                    first, other);
        first = other;
    }
    if (first != 0 || row->type == MQ_GGUF_BOOL || isnan(row->value))
        *value = first;
    return MOEQ_OK;
}

static moeq_status say_number(struct mq_gguf_saying *s, const struct mq_gguf_row *row,
                              const struct mq_gguf_key *key, double value, moeq_error *err)
{
    /* of truth values another row says what must be so */
    if (mq_gguf_say_field(s, row->field, value) || value == row->value || row->type == MQ_GGUF_BOOL)
        return MOEQ_OK;
    return mq_gguf_fail_key(s->gguf, key, MOEQ_UNSUPPORTED, err,
                            "%g is not implemented in the family %s", value, s->family->name);
}

static moeq_status check_is(const struct mq_gguf_saying *s, const struct mq_gguf_row *row,
                            const struct mq_gguf_key *key, moeq_error *err)
{
    double value = row->value;
    if (key && !mq_gguf_any_number(s->gguf, key, 0, &value))
        return mq_gguf_fail_key(s->gguf, key, MOEQ_MALFORMED, err, "expected a number");
    if (value == row->value || (key && mq_view_ignores_key(s->view, key->name)))
        return MOEQ_OK;
    return mq_gguf_fail_key(s->gguf, key, MOEQ_UNSUPPORTED, err,
                            "%g is not implemented in the architecture %s (only %g)", value,
                            s->arch->name, row->value);
}

/* A list of a word for each layer, for the family's first key of the field that knows both words. */
static moeq_status say_words(struct mq_gguf_saying *s, size_t field, const char *yes,
                             const char *no, const bool *is_yes, moeq_error *err)
{
    char quoted[2][40];
    snprintf(quoted[0], sizeof quoted[0], "\"%s\"", no);
    snprintf(quoted[1], sizeof quoted[1], "\"%s\"", yes);
    const struct mq_config_key *key = s->family->keys;
    while (key->key && !(key->rule == MQ_KEY_LAYER_NAMES && key->field == field &&
                         strstr(key->only, quoted[0]) && strstr(key->only, quoted[1])))
        key++;
    if (!key->key) {
        for (uint32_t i = 0; i < s->layers; i++)
            if (is_yes[i])
                return mq_fail_file(err, MOEQ_UNSUPPORTED, s->gguf->file.path,
                                    "layers of the kind \"%s\" are not implemented in the family "
                                    "%s",
                                    yes, s->family->name);
        return MOEQ_OK;
    }
    struct mq_buffer list = {0};
    mq_buffer_putc(&list, '[');
    for (uint32_t i = 0; i < s->layers; i++)
        mq_buffer_printf(&list, "%s%s", i ? ", " : "", quoted[is_yes[i]]);
    mq_buffer_putc(&list, ']');
    const char *text =
        mq_buffer_ok(&list) ? mq_arena_strndup(s->arena, list.data, list.size) : NULL;
    mq_buffer_free(&list);
    mq_gguf_say_text(s, key->key, text);
    return MOEQ_OK;
}

static moeq_status read_kinds(struct mq_gguf_saying *s, const struct mq_gguf_row *row,
                              const struct mq_gguf_key *key, moeq_error *err)
{
    bool *is_yes = mq_arena_alloc(s->arena, s->layers, sizeof *is_yes);
    double value = row->period;
    if (!is_yes)
        return mq_fail_memory(err, "opening a model");
    if (row->by_kv_heads)
        key = mq_gguf_arch_key(s->gguf, MQ_GGUF_KEY_KV_HEADS, s->arch->name);
    if (!key && row->pattern && !row->period)
        return fail_no_key(s, row, err);
    const bool list = key && key->type == MQ_GGUF_ARRAY;
    if (key && ((list && key->count < s->layers) ||
                !mq_gguf_any_number(s->gguf, key, 0, &value)))
        return mq_gguf_fail_key(s->gguf, key, MOEQ_MALFORMED, err,
                                "expected a value for each of %u layers", s->layers);
    for (uint32_t i = 0; i < s->layers; i++) {
        if (list && !mq_gguf_any_number(s->gguf, key, i, &value))
            return mq_gguf_fail_key(s->gguf, key, MOEQ_MALFORMED, err, "expected numbers");
        if (row->by_role)
            is_yes[i] = s->has(s->has_user, row->role, (int32_t)i);
        else if (row->by_kv_heads)
            is_yes[i] = list && value == 0;
        else
            is_yes[i] = list ? value != 0 : value > 0 && (i + 1) % (uint32_t)value != 0;
    }
    return say_words(s, row->field, row->yes, row->no, is_yes, err);
}

/* Layers of one kind have so many heads of keys, those of the other as many as the model's first of
 * theirs. */
static moeq_status read_other_kv(struct mq_gguf_saying *s, const struct mq_gguf_row *row,
                                 moeq_error *err)
{
    const struct mq_gguf_key *heads =
        mq_gguf_arch_key(s->gguf, MQ_GGUF_KEY_KV_HEADS, s->arch->name);
    const struct mq_gguf_key *kinds = mq_gguf_arch_key(s->gguf, row->pattern, s->arch->name);
    if (!heads || heads->type != MQ_GGUF_ARRAY || !kinds || kinds->count < s->layers)
        return MOEQ_OK; /* all have as many */
    double seen[2] = {0, 0};
    for (uint32_t i = 0; i < s->layers; i++) {
        double n, kind;
        if (!mq_gguf_any_number(s->gguf, heads, i, &n) ||
            !mq_gguf_any_number(s->gguf, kinds, i, &kind))
            return mq_gguf_fail_key(s->gguf, heads, MOEQ_MALFORMED, err,
                                    "expected a number for each of %u layers", s->layers);
        double *of_kind = &seen[(kind != 0) == (row->value != 0)];
        if (*of_kind != 0 && *of_kind != n)
            return mq_gguf_fail_key(s->gguf, heads, MOEQ_UNSUPPORTED, err,
                                    "layers of one kind with %g and %g heads are not implemented",
                                    *of_kind, n);
        *of_kind = n;
    }
    if (seen[0] != 0)
        mq_gguf_say_field(s, offsetof(struct mq_hparams, kv_heads), seen[0]);
    if (seen[1] != 0)
        mq_gguf_say_field(s, row->field, seen[1]);
    return MOEQ_OK;
}

/* The number of layers without experts before the others: a number, or a word for each layer. */
static moeq_status read_leading(struct mq_gguf_saying *s, const struct mq_gguf_key *key,
                                moeq_error *err)
{
    uint64_t n = 0;
    if (key && !mq_gguf_whole(s->gguf, key, 0, &n))
        return mq_gguf_fail_key(s->gguf, key, MOEQ_MALFORMED, err, "expected a whole number");
    if (n > s->layers)
        n = s->layers;
    if (mq_gguf_say_field(s, offsetof(struct mq_hparams, dense_first), (double)n))
        return MOEQ_OK;
    bool *sparse = mq_arena_alloc(s->arena, s->layers, sizeof *sparse);
    if (!sparse)
        return mq_fail_memory(err, "opening a model");
    for (uint32_t i = 0; i < s->layers; i++)
        sparse[i] = i >= n;
    return say_words(s, offsetof(struct mq_hparams, ffn_kinds), "sparse", "dense", sparse, err);
}

/* What each layer is, by the tensors that it has. */
static moeq_status say_parts(struct mq_gguf_saying *s, const struct mq_gguf_row *row,
                             moeq_error *err)
{
    static const struct {
        enum mq_role role;
        const char *word;
    } parts[] = {{MQ_ROLE_MIX_IN, "mamba"},
                 {MQ_ROLE_ROUTER, "moe"},
                 {MQ_ROLE_ATTN_Q, "attention"},
                 {MQ_ROLE_MLP_UP, "mlp"}};
    const struct mq_config_key *key = mq_gguf_config_key(s->family, row->field);
    struct mq_buffer list = {0};
    mq_buffer_putc(&list, '[');
    for (uint32_t i = 0; i < s->layers; i++) {
        size_t p = 0;
        while (p + 1 < sizeof parts / sizeof *parts &&
               !s->has(s->has_user, parts[p].role, (int32_t)i))
            p++;
        mq_buffer_printf(&list, "%s\"%s\"", i ? ", " : "", parts[p].word);
    }
    mq_buffer_putc(&list, ']');
    const char *text =
        mq_buffer_ok(&list) ? mq_arena_strndup(s->arena, list.data, list.size) : NULL;
    mq_buffer_free(&list);
    if (!key)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, s->gguf->file.path,
                            "the family %s has no layers of one part", s->family->name);
    mq_gguf_say_text(s, key->key, text);
    return MOEQ_OK;
}

/* A number that is part of another. */
static moeq_status read_part(struct mq_gguf_saying *s, const struct mq_gguf_row *row,
                             const struct mq_gguf_key *key, moeq_error *err)
{
    const bool less = row->kind == MQ_GGUF_LESS_ROPE;
    const struct mq_gguf_key *by = mq_gguf_arch_key(
        s->gguf, less ? MQ_GGUF_KEY_ROPE_DIMS : "%s.ssm.time_step_rank", s->arch->name);
    double whole, part = 0;
    MQ_TRY(read_number(s, row, key, &whole, err));
    if (!by || !mq_gguf_number(s->gguf, by, 0, &part) || !(part > 0) || part >= whole ||
        (!less && fmod(whole, part) != 0))
        return mq_gguf_fail_key(s->gguf, key, MOEQ_MALFORMED, err, "%g does not go with %g of %s",
                                whole, part, less ? "rope.dimension_count" : "ssm.time_step_rank");
    mq_gguf_say_field(s, row->field, less ? whole - part : whole / part);
    return MOEQ_OK;
}

static bool lacks(const struct mq_gguf_saying *s, enum mq_role role)
{
    for (uint32_t i = 0; i < s->layers; i++)
        if (!s->has(s->has_user, role, (int32_t)i))
            return true;
    return false;
}

static moeq_status read_row(struct mq_gguf_saying *s, const struct mq_gguf_row *row,
                            moeq_error *err)
{
    const struct mq_gguf_key *key =
        row->pattern ? mq_gguf_arch_key(s->gguf, row->pattern, s->arch->name) : NULL;
    double value;
    switch (row->kind) {
    case MQ_GGUF_FIELD:
    case MQ_GGUF_FIELD_OR_NONE:
        MQ_TRY(read_number(s, row, key, &value, err));
        return say_number(s, row, key, value, err);
    case MQ_GGUF_GROUPED:
        value = 0;
        if (key && !mq_gguf_any_number(s->gguf, key, 0, &value))
            return mq_gguf_fail_key(s->gguf, key, MOEQ_MALFORMED, err, "expected a number");
        mq_gguf_say_field(s, row->field, value > 1);
        return MOEQ_OK;
    case MQ_GGUF_PARTS:
        return say_parts(s, row, err);
    case MQ_GGUF_LESS_ROPE:
    case MQ_GGUF_STATE_ROWS:
        return read_part(s, row, key, err);
    case MQ_GGUF_FIXED:
        mq_gguf_say_field(s, row->field, row->value);
        return MOEQ_OK;
    case MQ_GGUF_IS:
        return check_is(s, row, key, err);
    case MQ_GGUF_LEADING:
        return read_leading(s, key, err);
    case MQ_GGUF_KINDS:
        return read_kinds(s, row, key, err);
    case MQ_GGUF_PRESENT:
        mq_gguf_say_field(s, row->field, s->has(s->has_user, row->role, -1));
        return MOEQ_OK;
    case MQ_GGUF_LACKING:
        mq_gguf_say_field(s, row->field, lacks(s, row->role));
        return MOEQ_OK;
    case MQ_GGUF_UNLESS_EXPERTS:
        key = mq_gguf_arch_key(s->gguf, MQ_GGUF_KEY_EXPERTS, s->arch->name);
        value = 0;
        if (key && !mq_gguf_any_number(s->gguf, key, 0, &value))
            return mq_gguf_fail_key(s->gguf, key, MOEQ_MALFORMED, err, "expected a number");
        mq_gguf_say_field(s, row->field, value != row->value);
        return MOEQ_OK;
    case MQ_GGUF_OTHER_KV:
        return read_other_kv(s, row, err);
    case MQ_GGUF_DERIVED:
    case MQ_GGUF_SECTIONS:
    case MQ_GGUF_DEEPSTACK:
    case MQ_GGUF_CHECKED:
        break;
    }
    return MOEQ_OK;
}

moeq_status mq_gguf_read_rows(struct mq_gguf_saying *s, moeq_error *err)
{
    for (const struct mq_gguf_row *row = s->arch->rows; row && (row->pattern || row->kind); row++)
        MQ_TRY(read_row(s, row, err));
    return MOEQ_OK;
}

const char *mq_gguf_row_that_fails(const struct mq_gguf_saying *s, const struct mq_view *view)
{
    for (const struct mq_gguf_row *row = s->arch->rows; row && (row->pattern || row->kind); row++) {
        const struct mq_gguf_key *key =
            row->kind == MQ_GGUF_CHECKED ? mq_gguf_arch_key(s->gguf, row->pattern, s->arch->name) : NULL;
        double value = row->value;
        if (row->kind != MQ_GGUF_CHECKED)
            continue;
        if (!key && row->by_role && s->has(s->has_user, row->role, -1))
            value = 2;
        if (key && !mq_gguf_any_number(s->gguf, key, 0, &value))
            return row->pattern;
        for (uint32_t i = 0; !isnan(value) && i < view->hparams.layers; i++) {
            const uint64_t of_layer = row->of_layer(&view->program->layers[i]->layer);
            if (of_layer && (double)of_layer != value + (row->type == MQ_GGUF_BOOL))
                return row->pattern;
        }
    }
    return NULL;
}
