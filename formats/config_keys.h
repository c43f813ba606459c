/*
 * config_keys.h: which keys of a config.json mean what: the rules that config.c applies.
 *
 * Every key must be known: read, harmless (always, or at given values), or refused. A model whose
 * config holds a key that we do not understand would be evaluated wrongly without a word.
 */
#ifndef MQ_CONFIG_KEYS_H
#define MQ_CONFIG_KEYS_H

#include "moeq.h"

#include <cjson/cJSON.h>

enum mq_key_rule {
    MQ_KEY_HARMLESS, /* does not change the maths of inference, whatever its value */
    /* read into hparams at `field`, whose type (hparams.h) is that of the key: */
    MQ_KEY_U32,     /* a whole number from 1 on */
    MQ_KEY_F32,     /* a positive number */
    MQ_KEY_BOOL,    /* true or false */
    MQ_KEY_LAYERS,  /* a list of layers' numbers */
    MQ_KEY_NAME,    /* one of the names in `only`, whose values hparams.c knows */
    MQ_KEY_ONLY,    /* implemented, or harmless, only at the values in `only`, null or absent */
    MQ_KEY_ALL,     /* a list, each of whose items must be in `only` */
    MQ_KEY_SPECIAL, /* read by config.c itself */
};

struct mq_config_key {
    const char *key;
    const char *alias; /* a second name for it (attribute_map of a configuration class); or NULL */
    enum mq_key_rule rule;
    const char *only;    /* JSON values separated by spaces: "false 0", "\"silu\" \"swish\"" */
    size_t field;        /* offsetof(struct mq_hparams, ...) of what is read */
    double when_absent;  /* of a number or truth value; -1: required */
};

/* Of all families; ends with key NULL. Where the last character is '*', the key is any that begins
 * with the characters before it. */
extern const struct mq_config_key mq_config_keys[];

const struct mq_config_key *mq_config_key_find(const struct mq_config_key *keys, const char *name);

/* Whether the rule allows the value; null always is. */
bool mq_config_key_allows(const struct mq_config_key *key, const cJSON *value);

/* Whether the model cannot be read without the key: its value goes into the maths. */
bool mq_config_key_is_read(const struct mq_config_key *key);

/* What switches things off, or says nothing: null, false, {}, [] and "". */
bool mq_config_value_is_off(const cJSON *value);

#endif
