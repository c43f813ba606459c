/*
 * gguf_arch.h: the architectures of GGUF files as data: how each calls its tensors, which keys say
 * what it is made of, and what goes without saying because llama.cpp computes it no other way.
 *
 * One row serves both ways: gguf_arch_write.c makes keys of a model's hyper-parameters and layers,
 * gguf_arch_read.c a config.json of keys. A file is only written if what its keys say, read again,
 * is the same model (mq_gguf_arch_says): so a value that an architecture cannot say is an error, and
 * no row has to know which values those are.
 *
 * Sources: llama.cpp's conversion/ (what is written) and src/models/ (what is read, and what is
 * computed whatever a file says).
 */
#ifndef MQ_GGUF_ARCH_H
#define MQ_GGUF_ARCH_H

#include "gguf_names.h"

enum mq_gguf_row_kind {
    MQ_GGUF_FIELD, /* the key is a field of hparams (is written as `of_layer`, if not NULL, gives
                         it of the last layer that has it); where it is absent, or 0: `value` */
    MQ_GGUF_FIELD_OR_NONE, /* the same, and not written where it is `value` */
    MQ_GGUF_LESS_ROPE,     /* the field is the key's number less the numbers that are turned */
    MQ_GGUF_STATE_ROWS,    /* the field is the key's number divided by that of ssm.time_step_rank */
    MQ_GGUF_FIXED,         /* no key: the field is `value` */
    MQ_GGUF_IS,            /* the key is `value`, and may be absent */
    MQ_GGUF_DERIVED, /* the key is what `of_layer` gives of the last layer that has it; not read */
    MQ_GGUF_CHECKED, /* the key is what `of_layer` gives of every layer that has it, `value` where it
                         is absent; a family of which that is not so is not the file's. Of truth
                         values `of_layer` gives 1 for false, 2 for true */
    MQ_GGUF_OTHER_KV, /* the field is the number of heads of keys of layers that have the window
                         (value 1) or do not (0); the model's own is that of the others */
    MQ_GGUF_LEADING,  /* the key is the number of layers before the first with experts */
    MQ_GGUF_KINDS,    /* a truth value for each layer, `of_layer`: see below */
    MQ_GGUF_PRESENT,  /* no key: the field is whether there are tensors of `role` */
    MQ_GGUF_GROUPED,  /* the field is whether the key says more than one group */
    MQ_GGUF_PARTS, /* no key: the field is for each layer which part of a model it is, by its tensors */
    MQ_GGUF_SECTIONS, /* how heads are cut for positions in time, height and width: config.json's own
                         numbers, where it has them; not read */
    MQ_GGUF_DEEPSTACK, /* how many of the first layers are given an image's features besides; not read */
    MQ_GGUF_LACKING,        /* no key: whether some layer has none */
    MQ_GGUF_UNLESS_EXPERTS, /* no key: whether there are not `value` experts */
};

/*
 * A row of an architecture.
 *   type   as the key is written; any number is read
 *   value  NAN: the key is required
 * KINDS fills a field of words for each layer (layer_types): `yes` where the value is true, `no`
 * elsewhere. The key is an array of truth values; where it is absent, every period-th layer is `no`
 * (0: it is required), and one that says so is only written where `always`. Without a key of its own,
 * `yes` are (by_kv_heads) layers without heads of keys, or (by_role) those with tensors of `role`.
 * CHECKED, by_role: where the key is absent and there are tensors of `role`, it is 2.
 */
struct mq_gguf_row {
    enum mq_gguf_row_kind kind;
    const char *pattern;
    enum mq_gguf_value_type type;
    size_t field;
    double value;
    uint64_t (*of_layer)(const struct mq_layer *layer);
    const char *yes, *no;
    uint32_t period;
    bool always, by_kv_heads, by_role;
    enum mq_role role;
};

/* The name of a role's tensors where it is not the one of gguf_names.c. */
struct mq_gguf_name {
    enum mq_role role;
    const char *name;
};

/* What is done with the values of a role's tensors: gguf_form.h. */
struct mq_gguf_form_rule {
    enum mq_role role;
    unsigned what; /* MQ_FORM_... */
};

struct mq_gguf_arch {
    const char *name;
    const struct mq_gguf_row *rows;   /* end with pattern NULL and kind FIELD; NULL: none */
    const struct mq_gguf_name *names; /* end with name NULL; NULL: none */
    const struct mq_gguf_form_rule *forms; /* end with what 0; NULL: none */
    /* Rows of q and k stand in interleaved order: within each head, row i of the first half, then
     * row i of the second, for i = 0, 1, ... */
    bool interleaved;
    bool joined_qkv;  /* rows of q, k and v are one tensor (mq_gguf_joint_name) */
    bool head_dims;   /* key_length and value_length are always written */
    bool two_head_dims; /* rows say them: heads of layers with a window are of another length */
    /* Of YaRN, what mscale_all_dim is multiplied by in MQ_GGUF_KEY_YARN_LOG (0: there is no such key),
     * and whether it is mscale too. */
    double yarn_log_unit;
    bool yarn_same_scale;
    bool untruncated; /* of YaRN: the family's ramp is not cut to whole dimensions, though llama.cpp's is */
    bool by_parts;    /* a layer is a mixer or has a feed-forward part: numbers for each layer */
    bool layer_norm;  /* norms are not of the root of the mean square: layer_norm_epsilon */
    /* What else a user should know of a file of it: a sentence, or NULL. */
    const char *remark;
};

/* NULL if unknown. */
const struct mq_gguf_arch *mq_gguf_arch_find(const char *name);

/* The name of a role's tensors in files of an architecture (NULL: of all). */
const char *mq_gguf_role_name(const struct mq_gguf_arch *arch, enum mq_role role);

/* The key of a family's config.json that fills a field; NULL if there is none. */
const struct mq_config_key *mq_gguf_config_key(const struct mq_family *family, size_t field);

/* Whether files of it can say which layers have a window. */
bool mq_gguf_arch_has_window(const struct mq_gguf_arch *arch);

/* gguf_arch_write.c: the keys of the architecture that say what a model is. */
struct mq_gguf_writer;
void mq_gguf_put_model(struct mq_gguf_writer *w, const struct mq_gguf_arch *arch,
                       const struct mq_view *view);

#endif
