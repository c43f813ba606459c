/* config_int.h: what the units that read config.json share. */
#ifndef MQ_CONFIG_INT_H
#define MQ_CONFIG_INT_H

#include "config_keys.h"
#include "family.h"

/* Sizes beyond any model's; products of any three stay far below 2^63. */
enum { MQ_CONFIG_MAX_SIZE = 1 << 24 };

/* One config.json that is being read. */
struct mq_config_reader {
    struct mq_view *view;
    const cJSON *config; /* with the keys of the maths */
    const cJSON *outer;  /* what stands around it, where that is a text_config; NULL */
    const char *path;
    moeq_error *err;
};

/* ---- config_values.c: values ---- */

/* A value by its key, or by a path of keys: "ffn_config.moe_top_k"; NULL where there is none. */
const cJSON *mq_config_get(const cJSON *config, const char *path);
/* Whether there is none, or null. */
bool mq_config_absent(const cJSON *config, const char *path);

/* The value as JSON for a message, cut to fit. */
void mq_config_print_value(const cJSON *value, char text[80]);

/* "\"KEY\": VALUE WHY" */
moeq_status mq_config_refuse(const char *path, const char *key, const cJSON *value, const char *why,
                             moeq_error *err);

/* What a value says: a whole number from `least` to MQ_CONFIG_MAX_SIZE; a positive finite number. */
moeq_status mq_config_whole(const cJSON *c, const char *key, uint32_t least, uint32_t *value,
                            const char *path, moeq_error *err);
moeq_status mq_config_positive(const cJSON *c, const char *key, double *value, const char *path,
                               moeq_error *err);

/* The same by key: a whole number from 1 on. */
moeq_status mq_config_read_size(const cJSON *config, const char *key, uint32_t *value,
                                const char *path, moeq_error *err);

/* A positive finite number; `otherwise` where the key is absent, NAN for required. */
moeq_status mq_config_read_positive(const cJSON *object, const char *key, double otherwise,
                                    double *value, const char *path, moeq_error *err);

/* ---- config_family.c ---- */

/* By model_type, of the text_config first; where there is none by architectures, or by the keys
 * themselves. */
moeq_status mq_config_find_family(const struct mq_config_reader *r,
                                  const struct mq_family **family);

/* ---- config_check.c: what keys there are ---- */

/* What is found wrong with the keys, to be told in one error. */
struct mq_config_refused {
    struct mq_buffer list; /* "\"clip_qkv\": 8, ..." */
    size_t unknown, unimplemented;
    char first[64];
};
/* key: the row that does not allow the value; NULL: it is not known. */
void mq_config_add_refused(struct mq_config_refused *refused, const char *name, const cJSON *value,
                           const struct mq_config_key *key);
/* All of them, with what to do, if there are any; frees them. */
moeq_status mq_config_refuse_keys(const struct mq_config_reader *r,
                                  struct mq_config_refused *refused);

moeq_status mq_config_note_ignored(const struct mq_config_reader *r, const char *key, bool known);

/* The family's row of a key, or that of all families unless the family replaces it; NULL. */
const struct mq_config_key *mq_config_row(const struct mq_config_reader *r, const char *name);

/* Whether a row of the family stands in the place of one of all families: by its key or its field. */
bool mq_config_replaces(const struct mq_family *family, const struct mq_config_key *row);

/* "false", "1", "\"silu\" or \"swish\"": the values that a rule allows, for a message. */
void mq_config_print_only(const struct mq_config_key *key, char text[120]);

/* Every key known, at a value that is implemented or harmless; what is to be ignored is there, and
 * nothing that the maths is made of. */
moeq_status mq_config_check(const struct mq_config_reader *r);

/* ---- config_rules.c: the keys that are read by their rows ---- */

moeq_status mq_config_read_keys(const struct mq_config_reader *r);

/* ---- config_rope.c ---- */

/* The rotary embeddings. Sizes of heads and max_positions have been read. */
moeq_status mq_config_read_ropes(const struct mq_config_reader *r, struct mq_hparams *hparams);

#endif
