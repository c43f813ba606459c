/*
 * family.h: a model family as data: which config keys it knows, which tensors it has under which
 * names and with which shapes. Each family is one descriptor file in formats/arch/ and one line in
 * families.c; nothing else in the project knows families by name.
 */
#ifndef MQ_FAMILY_H
#define MQ_FAMILY_H

#include "config_keys.h"
#include "model_view.h"

/* Sizes that shapes are written in. */
enum mq_dim {
    MQ_DIM_ONE,
    MQ_DIM_HIDDEN,
    MQ_DIM_Q,  /* heads * head_dim */
    MQ_DIM_KV, /* kv_heads * head_dim */
    MQ_DIM_FFN,
    MQ_DIM_EXPERTS,
    MQ_DIM_VOCAB,
};

/* One tensor (for each layer and expert where the name has {layer} and {expert}). Rows of this
 * table are in the order of a layer in a moeq file. */
struct mq_tensor_pattern {
    enum mq_role role;
    const char *name;       /* official name, the one that a moeq file keeps */
    enum mq_dim rows, cols; /* rows MQ_DIM_ONE: a vector, 1-D on disk */
};

/* Another name that the same tensor goes by. A fused one is 3-D, [experts, parts * rows, cols], and
 * holds this role's rows as part number `part` of each expert. */
struct mq_tensor_alias {
    enum mq_role role;
    const char *name;
    uint32_t parts, part; /* parts 0: not fused */
};

struct mq_family {
    const char *name;                 /* "mixtral": also the config's model_type */
    const char *architecture;         /* "MixtralForCausalLM" */
    const struct mq_config_key *keys; /* besides those every family has; ends with key NULL */
    /* What the family's own configuration class assumes where config.json is silent. */
    double default_rope_theta, default_rms_eps;
    uint32_t default_kv_heads;       /* 0: as many as heads */
    uint32_t default_sliding_window; /* 0: none */
    uint32_t default_max_positions;
    bool window_by_layer_types;  /* layer_types of full attention switch the window off */
    bool without_sliding_window; /* Transformers' code has none, whatever the config says */
    const struct mq_tensor_pattern *patterns; /* ends with name NULL */
    const struct mq_tensor_alias *aliases;    /* ends with name NULL */
    /* In GGUF files: the name of the architecture (NULL: none has it), and whether its rows of q
     * and k stand in interleaved order: within each head, row i of the first half, then row i of
     * the second, for i = 0, 1, ... Of the families that share an architecture, a file is taken for
     * the first in the table that has experts if the file has, and none if it has none. */
    const char *gguf_architecture;
    bool gguf_interleaved_rope;
};

/* For a family without other names. */
extern const struct mq_tensor_alias mq_no_aliases[];

extern const struct mq_family *const mq_families[];
extern const size_t mq_families_count;

/* By a config's "model_type"; NULL if unknown. */
const struct mq_family *mq_family_find(const char *model_type);

/* "model.layers.{layer}.x" -> "model.layers.7.x"; NULL when out of memory. */
const char *mq_pattern_expand(struct mq_arena *arena, const char *pattern, int32_t layer,
                              int32_t expert);

uint64_t mq_dim_size(const struct mq_hparams *hparams, enum mq_dim dim);

/* Reads view->config_json into view->family and view->hparams, as view->options say. Unknown keys,
 * or a known one with a value that is not implemented, are an error naming them. `path` is for
 * messages. */
moeq_status mq_config_parse(struct mq_view *view, const char *path, moeq_error *err);

#endif
