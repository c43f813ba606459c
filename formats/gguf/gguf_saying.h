/* gguf_saying.h: what a config.json is to say, pair by pair, while a GGUF file's metadata are read. */
#ifndef MQ_GGUF_SAYING_H
#define MQ_GGUF_SAYING_H

#include "buffer.h"
#include "family.h"
#include "gguf.h"
#include "gguf_arch.h"
#include "open_options.h"

enum { MQ_GGUF_SAYINGS = 64 };

struct mq_gguf_set;

struct mq_gguf_saying {
    const struct mq_gguf *gguf;
    const struct mq_gguf_arch *arch;
    const struct mq_family *family;
    struct mq_view *view; /* its options, arena and notes */
    struct mq_arena *arena;
    uint32_t layers;
    /* Whether there are tensors of a role, in a layer or (-1) anywhere. */
    bool (*has)(const void *user, enum mq_role role, int32_t layer);
    const void *has_user;
    const struct mq_gguf_set *set; /* NULL: what a model's own keys say is looked at */
    struct {
        const char *key, *value; /* JSON */
    } pairs[MQ_GGUF_SAYINGS];
    size_t count;
    bool failed; /* out of memory, or room */
};

/* What is said again of a key counts. Keys must outlive *s. */
void mq_gguf_say(struct mq_gguf_saying *s, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void mq_gguf_say_text(struct mq_gguf_saying *s, const char *key, const char *value);
/* Under the name that the family has for a field of hparams; false if it has none. */
bool mq_gguf_say_field(struct mq_gguf_saying *s, size_t field, double value);

/* All that the architecture's rows give. */
moeq_status mq_gguf_read_rows(struct mq_gguf_saying *s, moeq_error *err);

/* The key of the first row of what layers alone say (MQ_GGUF_CHECKED) that is not so of a model; NULL:
 * there is none. */
const char *mq_gguf_row_that_fails(const struct mq_gguf_saying *s, const struct mq_view *view);

/* The text of the config.json. */
moeq_status mq_gguf_print(const struct mq_gguf_saying *s, struct mq_buffer *json, moeq_error *err);

/* Element i of a key as a number, of truth values 0 or 1. */
bool mq_gguf_any_number(const struct mq_gguf *g, const struct mq_gguf_key *key, uint64_t i,
                        double *value);

#endif
