/*
 * config_rules.c: the keys of a config.json that are read by their rows alone: one reader for each
 * rule of config_keys.h.
 */
#include "config_int.h"

#include "error.h"
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static moeq_status fail_missing(const char *path, const char *key, moeq_error *err)
{
    return mq_fail_file(err, MOEQ_MALFORMED, path, "\"%s\" is missing", key);
}

/* ---- one key ---- */

/* A key that is to be read: its row, the name that it stands under, its value, and where to. */
struct item {
    const struct mq_config_reader *r;
    const struct mq_config_key *row;
    const char *name;
    const cJSON *value;
    void *field;
};

static moeq_status refuse_item(const struct item *it, const cJSON *value, const char *why)
{
    return mq_config_refuse(it->r->path, it->name, value, why, it->r->err);
}

static moeq_status refuse_word(const struct item *it, const cJSON *value)
{
    char only[120], why[180];
    mq_config_print_only(it->row, only);
    snprintf(why, sizeof why, "is not implemented (implemented: %s)", only);
    return refuse_item(it, value, why);
}

static moeq_status read_u32(const struct item *it)
{
    return mq_config_whole(it->value, it->name, 1, it->field, it->r->path, it->r->err);
}

static moeq_status read_count(const struct item *it)
{
    return mq_config_whole(it->value, it->name, 0, it->field, it->r->path, it->r->err);
}

static moeq_status read_layer(const struct item *it)
{
    const bool last = cJSON_IsNumber(it->value) && it->value->valuedouble == -1;
    if (!last)
        return read_count(it);
    *(uint32_t *)it->field = it->r->view->hparams.layers - 1;
    return MOEQ_OK;
}

static moeq_status read_f32(const struct item *it)
{
    double value = 0;
    MQ_TRY(mq_config_positive(it->value, it->name, &value, it->r->path, it->r->err));
    *(float *)it->field = (float)value;
    return *(float *)it->field > 0 ? MOEQ_OK
                                   : refuse_item(it, it->value, "is too small a positive number");
}

static moeq_status read_real_from(const struct item *it, double least, const char *why)
{
    const double value = it->value->valuedouble;
    if (!cJSON_IsNumber(it->value) || !(value >= least) || !(value < 1e30))
        return refuse_item(it, it->value, why);
    *(float *)it->field = (float)value;
    return MOEQ_OK;
}

static moeq_status read_f32_from_0(const struct item *it)
{
    return read_real_from(it, 0, "is no number from 0 on");
}

static moeq_status read_real(const struct item *it)
{
    return read_real_from(it, -1e30, "is no number");
}

static moeq_status read_bool(const struct item *it)
{
    if (!cJSON_IsBool(it->value))
        return refuse_item(it, it->value, "is neither true nor false");
    *(bool *)it->field = cJSON_IsTrue(it->value);
    return MOEQ_OK;
}

static moeq_status read_choice(const struct item *it)
{
    const int place = mq_config_key_place(it->row, it->value);
    if (place < 0)
        return refuse_word(it, it->value);
    *(uint32_t *)it->field = (uint32_t)place;
    return MOEQ_OK;
}

/* mq_config_check has seen a name that the row allows. */
static moeq_status read_name(const struct item *it)
{
    const struct mq_hparam *row = mq_hparam_at(it->row->field);
    if (!cJSON_IsString(it->value) ||
        !mq_hparam_named(row->type, it->value->valuestring, it->field))
        return refuse_item(it, it->value, "is not implemented");
    return MOEQ_OK;
}

/* ---- lists ---- */

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t *alloc_numbers(const struct item *it, size_t count)
{
    uint32_t *numbers = mq_arena_alloc(it->r->view->arena, count + 1, sizeof *numbers);
    if (!numbers)
        mq_fail_memory(it->r->err, "reading config.json");
    return numbers;
}

/* Numbers beyond the last layer say nothing, as in Transformers. */
static moeq_status read_layers(const struct item *it)
{
    struct mq_layer_set *set = it->field;
    size_t count = 0;
    if (!cJSON_IsArray(it->value))
        return refuse_item(it, it->value, "is no list of layers");
    uint32_t *layers = alloc_numbers(it, (size_t)cJSON_GetArraySize(it->value));
    if (!layers)
        return MOEQ_NO_MEMORY;
    for (const cJSON *c = it->value->child; c; c = c->next) {
        uint64_t v;
        if (!mq_json_u64(c, &v) || v > MQ_CONFIG_MAX_SIZE)
            return refuse_item(it, c, "is no layer's number");
        layers[count++] = (uint32_t)v;
    }
    qsort(layers, count, sizeof *layers, by_number);
    *set = (struct mq_layer_set){.layers = layers, .count = count, .given = true};
    return MOEQ_OK;
}

/* The name of the key that says how many layers there are. */
static const char *layers_key(const struct mq_config_reader *r)
{
    for (const struct mq_config_key *own = r->view->family->keys; own->key; own++)
        if (own->field == offsetof(struct mq_hparams, layers) && own->rule == MQ_KEY_U32)
            return own->key;
    return "num_hidden_layers";
}

static moeq_status check_length(const struct item *it, size_t count)
{
    const struct mq_config_reader *r = it->r;
    if (count == r->view->hparams.layers)
        return MOEQ_OK;
    return mq_fail_file(r->err, MOEQ_MALFORMED, r->path,
                        "\"%.100s\" is of %zu layers, and \"%s\" says %u", it->name, count,
                        layers_key(r), r->view->hparams.layers);
}

/* The places of a list's words, or of a string's letters; fresh values of the arena. */
static moeq_status read_words(const struct item *it, struct mq_layer_values *v)
{
    size_t count = 0;
    if (cJSON_IsString(it->value)) {
        const char *letters = it->value->valuestring;
        char text[2] = "";
        const cJSON letter = {.type = cJSON_String, .valuestring = text};
        uint32_t *places = alloc_numbers(it, strlen(letters));
        for (; places && letters[count]; count++) {
            text[0] = letters[count];
            const int place = mq_config_key_place(it->row, &letter);
            if (place < 0)
                return refuse_word(it, it->value);
            places[count] = (uint32_t)place;
        }
        *v = (struct mq_layer_values){places, count};
        return places ? MOEQ_OK : MOEQ_NO_MEMORY;
    }
    if (!cJSON_IsArray(it->value))
        return refuse_item(it, it->value, "is no list of what each layer is");
    uint32_t *places = alloc_numbers(it, (size_t)cJSON_GetArraySize(it->value));
    for (const cJSON *c = it->value->child; places && c; c = c->next) {
        const int place = mq_config_key_place(it->row, c);
        if (place < 0)
            return refuse_word(it, c);
        places[count++] = (uint32_t)place;
    }
    *v = (struct mq_layer_values){places, count};
    return places ? MOEQ_OK : MOEQ_NO_MEMORY;
}

static moeq_status read_layer_names(const struct item *it)
{
    struct mq_layer_values *values = it->field;
    MQ_TRY(read_words(it, values));
    return check_length(it, values->count);
}

static moeq_status read_layer_cycle(const struct item *it)
{
    struct mq_layer_values *values = it->field;
    uint32_t step = 1;
    if (!cJSON_IsNumber(it->value))
        return read_words(it, values);
    MQ_TRY(mq_config_whole(it->value, it->name, 1, &step, it->r->path, it->r->err));
    if (step > it->r->view->hparams.layers) /* beyond the last layer: none is of the second word */
        step = it->r->view->hparams.layers + 1;
    uint32_t *numbers = alloc_numbers(it, step);
    if (!numbers)
        return MOEQ_NO_MEMORY;
    numbers[step - 1] = 1;
    *values = (struct mq_layer_values){numbers, step};
    return MOEQ_OK;
}

static moeq_status read_layer_numbers(const struct item *it)
{
    const struct mq_config_reader *r = it->r;
    struct mq_layer_values *values = it->field;
    const bool list = cJSON_IsArray(it->value);
    uint32_t *numbers = alloc_numbers(it, list ? (size_t)cJSON_GetArraySize(it->value) : 1);
    size_t count = 0;
    if (!numbers)
        return MOEQ_NO_MEMORY;
    for (const cJSON *c = list ? it->value->child : it->value; c; c = list ? c->next : NULL)
        MQ_TRY(mq_config_whole(c, it->name, 0, &numbers[count++], r->path, r->err));
    *values = (struct mq_layer_values){numbers, count};
    return list ? check_length(it, count) : MOEQ_OK;
}

#define ANY_KEY ".*."

/* value: the object with the layers' numbers as keys. Numbers beyond the last layer say nothing. */
static moeq_status read_layer_entries(const struct item *it)
{
    const struct mq_config_reader *r = it->r;
    const char *key = strstr(it->row->key, ANY_KEY) + strlen(ANY_KEY);
    const uint32_t layers = r->view->hparams.layers;
    uint32_t *numbers = alloc_numbers(it, layers);
    bool any = false;
    if (!numbers)
        return MOEQ_NO_MEMORY;
    for (const cJSON *c = it->value->child; c; c = c->next) {
        const cJSON *said = mq_json_get(c, key);
        char *end;
        const unsigned long layer = strtoul(c->string, &end, 10);
        if (c->string[0] < '0' || c->string[0] > '9' || *end)
            return refuse_item(it, it->value, "has a key that is no layer's number");
        if (!said || cJSON_IsNull(said) || layer >= layers)
            continue;
        MQ_TRY(mq_config_whole(said, it->name, 0, &numbers[layer], r->path, r->err));
        any = true;
    }
    *(struct mq_layer_values *)it->field = (struct mq_layer_values){numbers, any ? layers : 0};
    return MOEQ_OK;
}

/* ---- all of them ---- */

static moeq_status (*const readers[MQ_KEY_RULES])(const struct item *it) = {
    [MQ_KEY_U32] = read_u32,
    [MQ_KEY_COUNT] = read_count,
    [MQ_KEY_LAYER] = read_layer,
    [MQ_KEY_F32] = read_f32,
    [MQ_KEY_F32_FROM_0] = read_f32_from_0,
    [MQ_KEY_REAL] = read_real,
    [MQ_KEY_BOOL] = read_bool,
    [MQ_KEY_CHOICE] = read_choice,
    [MQ_KEY_NAME] = read_name,
    [MQ_KEY_LAYERS] = read_layers,
    [MQ_KEY_LAYER_NAMES] = read_layer_names,
    [MQ_KEY_LAYER_CYCLE] = read_layer_cycle,
    [MQ_KEY_LAYER_NUMBERS] = read_layer_numbers,
    [MQ_KEY_LAYER_ENTRIES] = read_layer_entries,
};

static bool is_of_layers(const struct mq_config_key *row)
{
    return row->rule == MQ_KEY_LAYER_NAMES || row->rule == MQ_KEY_LAYER_CYCLE ||
           row->rule == MQ_KEY_LAYER_NUMBERS || row->rule == MQ_KEY_LAYER_ENTRIES;
}

static void set_number(const struct mq_config_key *row, void *field, double value)
{
    switch (mq_hparam_at(row->field)->type) {
    case MQ_HPARAM_F32:
        *(float *)field = (float)value;
        break;
    case MQ_HPARAM_BOOL:
        *(bool *)field = value != 0;
        break;
    case MQ_HPARAM_U32:
    case MQ_HPARAM_WINDOW:
    case MQ_HPARAM_ACTIVATION:
        *(uint32_t *)field = (uint32_t)value;
        break;
    default:
        break; /* lists stay empty */
    }
}

/* What stands under a name of a key; of one with '*' the object with keys of any name. */
static const cJSON *value_of(const struct mq_config_reader *r, const struct mq_config_key *row,
                             const char *name)
{
    char object[64];
    if (row->rule != MQ_KEY_LAYER_ENTRIES)
        return mq_config_get(r->config, name);
    snprintf(object, sizeof object, "%.*s", (int)(strstr(name, ANY_KEY) - name), name);
    const cJSON *c = mq_config_get(r->config, object);
    return cJSON_IsObject(c) && c->child ? c : NULL;
}

/* Whether config.json says something under a name of a key. A list for layers that is empty says
 * nothing (Llama 4's no_rope_layers). */
static bool says(const struct mq_config_reader *r, const struct mq_config_key *row,
                 const char *name)
{
    const cJSON *c = value_of(r, row, name);
    if (!c || cJSON_IsNull(c)) /* null is no truth, in the code of Transformers */
        return c && (row->has_null || row->rule == MQ_KEY_BOOL);
    return !is_of_layers(row) ||
           !((cJSON_IsArray(c) && !c->child) || (cJSON_IsString(c) && !c->valuestring[0]));
}

/* The name under which a key stands: of its own and its aliases the first that says something; NULL
 * where none does. Two that do must say the same. */
static moeq_status name_of(const struct mq_config_reader *r, const struct mq_config_key *row,
                           const char **name)
{
    *name = says(r, row, row->key) ? row->key : NULL;
    for (const char *at = row->alias ? row->alias : ""; *at;) {
        const size_t n = strcspn(at, " ");
        const char *other = mq_arena_strndup(r->view->arena, at, n);
        if (!other)
            return mq_fail_memory(r->err, "reading config.json");
        at += n + (at[n] == ' ');
        if (!says(r, row, other))
            continue;
        if (!*name)
            *name = other;
        else if (!mq_json_same(mq_config_get(r->config, *name), mq_config_get(r->config, other)))
            return mq_fail_file(r->err, MOEQ_MALFORMED, r->path,
                                "\"%s\" and \"%s\" are two names of one key, and differ", *name,
                                other);
    }
    return MOEQ_OK;
}

static moeq_status read_item(const struct item *it)
{
    if (!cJSON_IsNull(it->value))
        return readers[it->row->rule](it);
    set_number(it->row, it->field, it->row->when_null);
    return MOEQ_OK;
}

static bool same_numbers(const uint32_t *a, size_t a_count, const uint32_t *b, size_t b_count,
                         uint32_t layers)
{
    for (size_t i = 0; i < layers && a_count && b_count; i++)
        if (a[i % a_count] != b[i % b_count])
            return false;
    return (a_count != 0) == (b_count != 0);
}

static bool same_field(const struct mq_config_key *row, const struct mq_hparams *a,
                       const struct mq_hparams *b)
{
    const void *x = (const char *)a + row->field, *y = (const char *)b + row->field;
    const struct mq_layer_values *v = x, *w = y;
    const struct mq_layer_set *s = x, *t = y;
    switch (mq_hparam_at(row->field)->type) {
    case MQ_HPARAM_VALUES:
        return same_numbers(v->values, v->count, w->values, w->count, a->layers);
    case MQ_HPARAM_LAYERS:
        return s->count == t->count &&
               memcmp(s->layers, t->layers, s->count * sizeof *s->layers) == 0;
    case MQ_HPARAM_F32:
        return *(const float *)x == *(const float *)y;
    case MQ_HPARAM_BOOL:
        return *(const bool *)x == *(const bool *)y;
    default:
        return memcmp(x, y, sizeof(uint32_t)) == 0;
    }
}

/* A second form of what another row has said. */
static moeq_status compare_item(const struct item *it, const char *first)
{
    struct mq_hparams *h = &it->r->view->hparams, other = *h;
    struct item second = *it;
    second.field = (char *)&other + it->row->field;
    MQ_TRY(read_item(&second));
    if (same_field(it->row, h, &other))
        return MOEQ_OK;
    return mq_fail_file(it->r->err, MOEQ_MALFORMED, it->r->path,
                        "\"%s\" and \"%s\" are two forms of one thing, and differ", first,
                        it->name);
}

/* How many items the list of a row that counts layers has; 0 where there is none. */
static uint64_t counted_layers(const struct mq_config_reader *r)
{
    for (const struct mq_config_key *row = r->view->family->keys; row->key; row++) {
        const cJSON *c = row->counts_layers ? mq_config_get(r->config, row->key) : NULL;
        if (cJSON_IsString(c))
            return strlen(c->valuestring);
        if (cJSON_IsArray(c))
            return (uint64_t)cJSON_GetArraySize(c);
    }
    return 0;
}

static moeq_status set_absent(const struct mq_config_reader *r, const struct mq_config_key *row,
                              void *field)
{
    const uint64_t layers =
        row->field == offsetof(struct mq_hparams, layers) ? counted_layers(r) : 0;
    if (layers && layers <= MQ_CONFIG_MAX_SIZE)
        *(uint32_t *)field = (uint32_t)layers;
    else if (row->when_absent >= 0)
        set_number(row, field, row->when_absent);
    else
        return fail_missing(r->path, row->key, r->err);
    return MOEQ_OK;
}

/* Of the rows that fill the same field as row `at`, the first that config.json says something of, and
 * the name there; NULL where it says nothing of any: then *row is the first of them all. */
static moeq_status first_said(const struct mq_config_reader *r, const struct mq_config_key *rows,
                              size_t at, const struct mq_config_key **row, const char **name)
{
    *row = NULL;
    *name = NULL;
    for (const struct mq_config_key *i = rows; i->key && !*name; i++) {
        if (!readers[i->rule] || i->field != rows[at].field)
            continue;
        MQ_TRY(name_of(r, i, name));
        if (!*row || *name)
            *row = i;
    }
    return MOEQ_OK;
}

/* Row number `at` of a table. */
static moeq_status read_row(const struct mq_config_reader *r, const struct mq_config_key *rows,
                            size_t at)
{
    const struct mq_config_key *first;
    const char *first_name, *name;
    void *field = (char *)&r->view->hparams + rows[at].field;
    MQ_TRY(first_said(r, rows, at, &first, &first_name));
    MQ_TRY(name_of(r, &rows[at], &name));
    const struct item it = {r, &rows[at], name, name ? value_of(r, &rows[at], name) : NULL, field};
    if (name)
        return first == it.row ? read_item(&it) : compare_item(&it, first_name);
    return first == it.row ? set_absent(r, it.row, field) : MOEQ_OK;
}

/* Lists of what the layers are come last: their length is compared with the number of layers. */
static moeq_status read_table(const struct mq_config_reader *r, const struct mq_config_key *rows,
                              bool of_family, bool of_layers)
{
    for (size_t i = 0; rows[i].key; i++)
        if (readers[rows[i].rule] && is_of_layers(&rows[i]) == of_layers &&
            (of_family || !mq_config_replaces(r->view->family, &rows[i])))
            MQ_TRY(read_row(r, rows, i));
    return MOEQ_OK;
}

moeq_status mq_config_read_keys(const struct mq_config_reader *r)
{
    for (int of_layers = 0; of_layers < 2; of_layers++) {
        MQ_TRY(read_table(r, mq_config_keys, false, of_layers));
        MQ_TRY(read_table(r, r->view->family->keys, true, of_layers));
    }
    return MOEQ_OK;
}
