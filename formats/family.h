/*
 * family.h: a model family as data: which config keys it knows, what its layers are made of, and
 * under which names its tensors go. Each family is one descriptor file in formats/arch/ and one line in
 * families.c; nothing else in the project knows families by name.
 */
#ifndef MQ_FAMILY_H
#define MQ_FAMILY_H

#include "config_keys.h"
#include "model_view.h"

/* The official name of a role's tensors (for each layer and expert where it has {layer} and
 * {expert}), the one that a moeq file keeps. Which of them there are, with what shapes, follows
 * from the layers. */
struct mq_tensor_name {
    enum mq_role role;
    const char *name;
};

/* Another name that the same tensor goes by. A fused one holds this role's rows as part number `part`:
 * [parts * rows, cols], or of experts 3-D, [experts, parts * rows, cols]; of vectors [parts * n], or
 * [experts, parts * n]. MQ_PARTS_... added to `part` say that they stand otherwise. Of several rows of a
 * role with one name that counts whose shape the tensor has. */
struct mq_tensor_alias {
    enum mq_role role;
    const char *name;
    uint32_t parts, part; /* parts 0: not fused */
};
enum {
    MQ_PARTS_NUMBER = 0xff,       /* what of `part` is its number */
    MQ_PARTS_TRANSPOSED = 0x100,  /* [experts, cols, parts * rows]: [in, out] */
    MQ_PARTS_ALTERNATE = 0x200,   /* row i of the part is row parts * i + part */
    MQ_PARTS_QKV = 0x400,         /* the parts are q, k and v, whose rows differ in number */
    MQ_PARTS_FLAT_EXPERTS = 0x800 /* [experts * parts * rows, cols]: without a dimension of experts */
};

/* Tensors that the family's checkpoints have and its layers do not take: '*' stands for any characters.
 * What all families may have (vision towers, further layers that guess tokens) extra_tensors.c knows. */
struct mq_tensor_skip {
    const char *pattern; /* of the official name */
    const char *why;     /* to follow "N tensors are left out: " */
};

struct mq_family {
    const char *name;                 /* "mixtral": also the config's model_type */
    const char *model_types;          /* others of it: "gemma4_text", separated by spaces; NULL */
    /* Of Mistral's own files, which say no model_type: the keys by which the family is known,
     * separated by spaces; NULL. */
    const char *native_keys;
    const char *architecture;         /* "MixtralForCausalLM" */
    const char *architectures;        /* other names of it, separated by spaces; NULL */
    const char *models;               /* published ones, as people call them: "Mixtral 8x7B, 8x22B" */
    const struct mq_config_key *keys; /* besides those every family has; ends with key NULL */
    /* What the family's own configuration class assumes where config.json is silent. */
    double default_rope_theta, default_rms_eps;
    uint32_t default_kv_heads;       /* 0: as many as heads, as null always is */
    uint32_t default_head_dim;       /* 0: hidden / heads, as null always is */
    uint32_t default_sliding_window; /* 0: none */
    uint32_t default_max_positions;
    bool default_tied;           /* the head to the embeddings */
    bool window_by_layer_types;  /* layer_types of full attention switch the window off */
    bool window_by_use_sliding_window; /* only where use_sliding_window is true */
    bool without_sliding_window; /* Transformers' code has none, whatever the config says */
    /* Positions. default_rotary_part: the part of a head that is turned where config.json does not
     * say partial_rotary_factor; 0: the family turns whole heads. A family with local_rope has a second
     * rotary embedding, for layers of sliding attention: rope_parameters then has one for each type of
     * layer, or config.json has its theta under local_theta_key. */
    const char *theta_key; /* of theta, where it is not rope_theta; NULL */
    double default_rotary_part;
    const char *default_rope; /* rope_parameters where config.json has nothing of the kind; NULL: none */
    bool local_rope;
    const char *local_theta_key;
    double default_local_theta;
    /* What layer `number` is made of: see layer.h. *layer is all zero. */
    void (*layer)(const struct mq_hparams *hparams, uint32_t number, struct mq_layer *layer);
    /* What is special before and after the layers; NULL: nothing. *ends is what most families have. */
    void (*ends)(const struct mq_hparams *hparams, struct mq_ends *ends);
    const struct mq_tensor_name *names;    /* ends with name NULL */
    const struct mq_tensor_alias *aliases; /* ends with name NULL */
    const struct mq_tensor_skip *skips;    /* ends with pattern NULL; NULL: none */
    /* In GGUF files: the name of the architecture, which must have a row in gguf/gguf_arch.c (NULL:
     * not implemented). Of the families that share an architecture, a file is taken for the first in
     * the table that has experts if the file has, and none if it has none. */
    const char *gguf_architecture;
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

/* What layer `number` is made of. */
void mq_family_describe(const struct mq_family *family, const struct mq_hparams *hparams,
                        uint32_t number, struct mq_layer *layer);

/* What stands before and after the layers. */
void mq_family_describe_ends(const struct mq_family *family, const struct mq_hparams *hparams,
                             struct mq_ends *ends);

/* The official name of a role, with {layer} and {expert}; NULL if the family has none. */
const char *mq_family_name(const struct mq_family *family, enum mq_role role);

/* How the names of layers begin, before the number: "model.layers." is the first so many bytes of
 * *prefix. */
size_t mq_family_layer_prefix(const struct mq_family *family, const char **prefix);

/* Whether the text is a params.json of Mistral's own form, of a family that is known by its keys. */
bool mq_config_is_native(const char *text, size_t n);

/* Reads the view's config.json into its family, hparams and program, as its options say. Unknown keys,
 * or a known one with a value that is not implemented, are an error naming them. `path` is for
 * messages. */
moeq_status mq_config_parse(struct mq_view *view, const char *path, moeq_error *err);
/* The same as one of this family, whatever it says of itself; NULL: as it says. */
moeq_status mq_config_parse_as(struct mq_view *view, const struct mq_family *family,
                               const char *path, moeq_error *err);

#endif
