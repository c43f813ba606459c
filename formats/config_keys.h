/*
 * config_keys.h: which keys of a config.json mean what: the rules that config.c applies.
 *
 * Every key must be known: read, harmless (always, or at given values), or refused. A model whose
 * config holds a key that we do not understand would be evaluated wrongly without a word.
 */
#ifndef MQ_CONFIG_KEYS_H
#define MQ_CONFIG_KEYS_H

#include "moeq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

/* What is read goes into hparams at `field`; in brackets the type of that field (hparams.h). */
enum mq_key_rule {
    MQ_KEY_HARMLESS,    /* does not change the maths of inference, whatever its value */
    MQ_KEY_U32,         /* a whole number from 1 on [U32] */
    MQ_KEY_COUNT,       /* a whole number from 0 on [U32] */
    MQ_KEY_LAYER,       /* a layer's number; -1: the last one's [U32] */
    MQ_KEY_F32,         /* a positive number [F32] */
    MQ_KEY_F32_FROM_0,  /* a number from 0 on [F32] */
    MQ_KEY_REAL,        /* any number [F32] */
    MQ_KEY_BOOL,        /* true or false [BOOL] */
    MQ_KEY_CHOICE,      /* one of the words in `only`: its place there, from 0 [U32] */
    MQ_KEY_NAME,        /* one of the names in `only`, whose values hparams.c knows */
    MQ_KEY_LAYERS,      /* a list of layers' numbers [LAYERS] */
    MQ_KEY_LAYER_NAMES, /* a list of words in `only`, one for each layer, or a string of them, each
                           of one letter; [VALUES]: their places */
    MQ_KEY_LAYER_CYCLE, /* the same string for a few layers, again and again, or a number n: of the
                           second word are layers n - 1, 2n - 1, ..., of the first the others
                           [VALUES] */
    MQ_KEY_LAYER_NUMBERS, /* a list of whole numbers, one for each layer, or one for all [VALUES] */
    MQ_KEY_LAYER_ENTRIES, /* "per_layer_config.*.head_dim": an object with the numbers of some layers as
                             keys, and in theirs a whole number from 0 [VALUES]; of others 0 */
    MQ_KEY_ONLY,    /* implemented, or harmless, only at the values in `only`, null or absent */
    MQ_KEY_ALL,     /* a list, each of whose items must be in `only` */
    MQ_KEY_SPECIAL, /* read by config.c itself, into `field` if that is not 0 */
    MQ_KEY_RULES
};

/*
 * A key, or with dots in it one in objects: "ffn_config.moe_top_k". Of such an object each key must
 * have a row, as at the top.
 *
 * A family's own row replaces the one that all families have of the same key or the same field: the
 * other key is then unknown in the family, unless it is named here too. Several own rows may fill one
 * field, in different forms of different vintages: what the first of them that is there says counts,
 * and others that are there must say the same; where none is, the first row's when_absent does.
 */
struct mq_config_key {
    const char *key;
    const char *alias; /* other names for it (attribute_map of a configuration class), separated by
                          spaces; or NULL */
    enum mq_key_rule rule;
    /* JSON values separated by spaces: "false 0", "\"silu\" \"swish\"" (of a whole number: those
     * that are implemented; NULL: all). Where places count, words
     * of one place are separated by '|': "\"mamba\"|\"M\" \"attention\"|\"*\"". */
    const char *only;
    size_t field; /* offsetof(struct mq_hparams, ...) of what is read */
    double when_absent; /* of a number, truth value or choice; -1: required. Lists stay empty */
    /* Where null is not the same as absent: the value that it stands for. */
    bool has_null;
    double when_null;
    bool counts_layers; /* of a list: where num_hidden_layers is absent, it is the list's length */
};

/* Of all families; ends with key NULL. Where the last character is '*', the key is any that begins
 * with the characters before it. */
extern const struct mq_config_key mq_config_keys[];

/* The same of what stands around a "text_config". */
extern const struct mq_config_key mq_config_outer_keys[];

/* Where config.json has an object "text_config", that becomes *config, with what counts wherever it
 * stands (mq_config_is_carried), and all the rest *outer; otherwise *outer is NULL. Both are the
 * caller's to cJSON_Delete, also on failure. */
moeq_status mq_config_flatten(cJSON **config, cJSON **outer, moeq_error *err);
bool mq_config_is_carried(const char *key);

const struct mq_config_key *mq_config_key_find(const struct mq_config_key *keys, const char *name);

/* Whether a key is one of a row's names, its key or an alias. */
bool mq_config_key_is(const struct mq_config_key *key, const char *name);

/* Whether the rule allows the value; null always is. */
bool mq_config_key_allows(const struct mq_config_key *key, const cJSON *value);

/* The place of a value among the words in `only`, -1 if it is none of them; and how many there are. */
int mq_config_key_place(const struct mq_config_key *key, const cJSON *value);
uint32_t mq_config_key_places(const struct mq_config_key *key);

/* Whether the model cannot be read without the key: its value goes into the maths. */
bool mq_config_key_is_read(const struct mq_config_key *key);

/* What switches things off, or says nothing: null, false, {}, [] and "". */
bool mq_config_value_is_off(const cJSON *value);

#endif
