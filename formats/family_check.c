/*
 * family_check.c: whether a family's descriptor holds together, so that no command goes on with a model
 * that it would compute wrongly.
 *
 * What a model of the family could have is found by trying: the values of its config keys are changed one
 * after the other, and its layers described again. So a role that only some models have, or a key that
 * matters only beside another's value, is no mistake; one that never matters is.
 */
#include "family_check.h"

#include "error.h"

#include <string.h>

/* Layers that are looked at, whatever the model's number: kinds of layers differ by their place. */
enum { PROBED_LAYERS = 256 };

moeq_status mq_family_wrong(const struct mq_view *view, const char *path, moeq_error *err,
                            const char *what, const char *name, const char *why)
{
    return mq_fail_file(err, MOEQ_UNSUPPORTED, path,
                        "moeq's own description of the family %s is wrong: %s '%s' %s",
                        view->family->name, what, name, why);
}

static bool is_typed(const struct mq_config_key *key)
{
    return mq_config_key_is_read(key) && key->rule != MQ_KEY_SPECIAL;
}

/* A whole number is tried one more, and at its least; a choice at two of the others. */
static bool change_number(const struct mq_config_key *key, int variant, uint32_t *number)
{
    const uint32_t least = key->rule != MQ_KEY_COUNT && key->rule != MQ_KEY_LAYER;
    if (key->rule == MQ_KEY_CHOICE) {
        const uint32_t places = mq_config_key_places(key);
        *number = (*number + 1 + (uint32_t)variant) % places;
        return places > 1 + (uint32_t)variant;
    }
    if (variant && *number == least)
        return false;
    *number = variant ? least : *number + 1;
    return true;
}

/* Every word of the row's in turn, or the numbers 1 and 2; or config.json does not say. */
static void change_values(const struct mq_config_key *key, int variant, struct mq_layer_values *v)
{
    enum { MOST = 8 };
    static const uint32_t places[MOST] = {0, 1, 2, 3, 4, 5, 6, 7};
    const bool numbers = key->rule == MQ_KEY_LAYER_NUMBERS || key->rule == MQ_KEY_LAYER_ENTRIES;
    const uint32_t count = numbers ? 2 : mq_config_key_places(key);
    if (variant && v->count)
        *v = (struct mq_layer_values){0};
    else if (numbers)
        *v = (struct mq_layer_values){places + 1, count};
    else
        *v = (struct mq_layer_values){places, count < MOST ? count : MOST};
}

/* Gives the field that a key fills another value; false if there is no such one. */
enum { VARIANTS = 2 };
static bool change(const struct mq_config_key *key, int variant, struct mq_hparams *hp)
{
    static const uint32_t first = 0;
    void *field = (char *)hp + key->field;
    struct mq_layer_set *set = field;
    uint32_t *number = field;
    switch (mq_hparam_at(key->field)->type) {
    case MQ_HPARAM_U32:
    case MQ_HPARAM_WINDOW:
        return change_number(key, variant, number);
    case MQ_HPARAM_F32:
        /* (-1, "to the last layer", is its own double plus 1.) */
        *(float *)field = *(float *)field < 0 ? 1 : 2 * *(float *)field + 1;
        return !variant;
    case MQ_HPARAM_BOOL:
        *(bool *)field = !*(bool *)field;
        return !variant;
    case MQ_HPARAM_LAYERS: /* another list, or none */
        if (variant) {
            const bool given = set->given;
            *set = (struct mq_layer_set){0};
            return given;
        }
        if (mq_layer_set_has(set, 0))
            *set = (struct mq_layer_set){0};
        else
            *set = (struct mq_layer_set){.layers = &first, .count = 1, .given = true};
        return true;
    case MQ_HPARAM_VALUES:
        change_values(key, variant, field);
        return true;
    default:
        return false;
    }
}

/* Everything that the family's keys switch on or count, in all layers: what two of them make together
 * (biases, and shared experts) a model may be without both of. */
static void have_everything(const struct mq_family *family, struct mq_hparams *hp)
{
    for (const struct mq_config_key *key = family->keys; key->key; key++) {
        void *field = (char *)hp + key->field;
        if (key->rule == MQ_KEY_BOOL)
            *(bool *)field = true;
        else if (key->rule == MQ_KEY_COUNT && *(uint32_t *)field == 0)
            *(uint32_t *)field = 1;
        else if (key->rule == MQ_KEY_LAYER)
            *(uint32_t *)field = PROBED_LAYERS;
    }
}

/* The model's values, those with one key's changed, and with everything: bases number 0, 1, ... False at
 * the end. */
static bool base_of(const struct mq_view *view, size_t number, const struct mq_config_key **changed,
                    struct mq_hparams *hp, bool *exists)
{
    const struct mq_config_key *key = view->family->keys;
    *hp = view->hparams;
    *changed = NULL;
    *exists = true;
    if (number == 0)
        return true;
    for (size_t i = 0; i < (number - 1) / VARIANTS && key->key; i++)
        key++;
    if (!key->key) {
        have_everything(view->family, hp);
        return (number - 1) % VARIANTS == 0;
    }
    *changed = key;
    *exists = is_typed(key) && change(key, (int)((number - 1) % VARIANTS), hp);
    return true;
}

/* Layers of every kind that the family has words for: a model may be without those that others' keys
 * are of. */
static void have_all_kinds(const struct mq_family *family, struct mq_hparams *hp)
{
    for (const struct mq_config_key *key = family->keys; key->key; key++)
        if (key->rule == MQ_KEY_LAYER_NAMES || key->rule == MQ_KEY_LAYER_CYCLE)
            change_values(key, 0, (struct mq_layer_values *)(void *)((char *)hp + key->field));
}

/* ---- roles ---- */

static void collect_program(const struct mq_program *p, bool roles[MQ_ROLE_COUNT])
{
    struct mq_slot_at at = {0};
    const struct mq_slot *slot;
    while ((slot = mq_program_next(p, &at)))
        roles[slot->role] = true;
}

static void collect_layers(const struct mq_family *family, const struct mq_hparams *hp,
                           bool roles[MQ_ROLE_COUNT])
{
    struct mq_layer layer, last;
    struct mq_program program, begin = {0}, end = {0};
    struct mq_ends ends;
    mq_family_describe_ends(family, hp, &ends);
    mq_program_write_ends(&begin, &end, hp, &ends);
    collect_program(&begin, roles);
    collect_program(&end, roles);
    for (uint32_t i = 0; i < PROBED_LAYERS; i++) {
        mq_family_describe(family, hp, i, &layer);
        if (i && memcmp(&layer, &last, sizeof layer) == 0)
            continue;
        last = layer;
        mq_program_write(&program, &layer, hp->hidden);
        collect_program(&program, roles);
    }
}

static moeq_status check_roles(const struct mq_view *view, const struct mq_model_program *m,
                               const char *path, moeq_error *err)
{
    bool taken[MQ_ROLE_COUNT] = {false}, exists;
    const struct mq_config_key *changed;
    struct mq_hparams hp;
    collect_program(&m->begin, taken);
    collect_program(&m->end, taken);
    for (size_t i = 0; i < m->kinds_count; i++)
        collect_program(&m->kinds[i], taken);
    for (int role = 0; role < MQ_ROLE_COUNT; role++)
        if (taken[role] && !mq_family_name(view->family, (enum mq_role)role))
            return mq_family_wrong(view, path, err, "the role", mq_role_name((enum mq_role)role),
                                   "is taken by a layer, and no tensor is named for it");
    for (size_t n = 0; base_of(view, n, &changed, &hp, &exists); n++) {
        if (!exists)
            continue;
        collect_layers(view->family, &hp, taken);
        have_all_kinds(view->family, &hp);
        collect_layers(view->family, &hp, taken);
    }
    for (const struct mq_tensor_name *n = view->family->names; n->name; n++)
        if (!taken[n->role])
            return mq_family_wrong(view, path, err, "the tensor", n->name,
                                   "has a role that no layer takes, whatever its config says");
    return MOEQ_OK;
}

/* ---- keys ---- */

/* Whether two sets of values make a different layer, or what stands before or after them. */
static bool differ(const struct mq_family *family, const struct mq_hparams *a,
                   const struct mq_hparams *b)
{
    struct mq_layer one, other;
    struct mq_ends here, there;
    mq_family_describe_ends(family, a, &here);
    mq_family_describe_ends(family, b, &there);
    if (memcmp(&here, &there, sizeof here) != 0)
        return true;
    for (uint32_t i = 0; i < PROBED_LAYERS; i++) {
        mq_family_describe(family, a, i, &one);
        mq_family_describe(family, b, i, &other);
        if (memcmp(&one, &other, sizeof one) != 0)
            return true;
    }
    return false;
}

/* The same, also if there were a sliding window, or indexers that layers share: which layers have it, or
 * them, may be all that a key says. */
static bool differ_somehow(const struct mq_family *family, const struct mq_hparams *a,
                           const struct mq_hparams *b)
{
    struct mq_hparams one = *a, other = *b;
    if (differ(family, a, b))
        return true;
    one.sliding_window = other.sliding_window = 1;
    if (a->sliding_window == 0 && differ(family, &one, &other))
        return true;
    if (a->indexer_step != b->indexer_step || !a->indexer_heads)
        return false;
    one.indexer_kinds = other.indexer_kinds = (struct mq_layer_values){0};
    one.indexer_step = other.indexer_step = 2;
    return differ(family, &one, &other);
}

static bool is_taken_among(const struct mq_view *view, const struct mq_config_key *key,
                           bool all_kinds, bool *any)
{
    const struct mq_config_key *changed;
    struct mq_hparams base, other;
    bool exists;
    for (size_t n = 0; base_of(view, n, &changed, &base, &exists); n++) {
        if (all_kinds)
            have_all_kinds(view->family, &base);
        for (int variant = 0; variant < VARIANTS && exists && changed != key; variant++) {
            other = base;
            if (!change(key, variant, &other))
                continue;
            *any = true;
            if (differ_somehow(view->family, &base, &other))
                return true;
        }
    }
    return false;
}

static bool is_taken(const struct mq_view *view, const struct mq_config_key *key)
{
    bool any = false;
    return is_taken_among(view, key, false, &any) || is_taken_among(view, key, true, &any) ||
           !any; /* a type with one value */
}

/* Whether a key fills a field that a key of all families fills too: sizes of the model, of which
 * layers are not made alone. */
static bool is_common(const struct mq_config_key *key)
{
    for (const struct mq_config_key *row = mq_config_keys; row->key; row++)
        if (mq_config_key_is_read(row) && row->field == key->field &&
            (row->rule != MQ_KEY_SPECIAL || row->field))
            return true;
    return false;
}

static moeq_status check_keys(const struct mq_view *view, const char *path, moeq_error *err)
{
    for (const struct mq_config_key *key = view->family->keys; key->key; key++)
        if (is_typed(key) && !is_common(key) && !is_taken(view, key))
            return mq_family_wrong(view, path, err, "the key", key->key,
                                   "is read, and changes no layer");
    return MOEQ_OK;
}

moeq_status mq_family_check(const struct mq_view *view, const struct mq_model_program *program,
                            const char *path, moeq_error *err)
{
    MQ_TRY(check_roles(view, program, path, err));
    return check_keys(view, path, err);
}
