/* gguf_int.h: the pieces that make a model view of GGUF files. */
#ifndef MQ_GGUF_INT_H
#define MQ_GGUF_INT_H

#include "gguf.h"
#include "view_int.h"

/* All tensors of all files by name. The first file has the metadata. */
struct mq_gguf_set {
    struct mq_gguf *files;
    size_t files_count;
    struct mq_gguf_at {
        uint32_t file;
        bool used;
        const struct mq_gguf_tensor *tensor;
    } * tensors;
    size_t count;
    struct mq_strmap by_name;
};

struct mq_gguf_at *mq_gguf_set_find(const struct mq_gguf_set *set, const char *name);

/* gguf_split.c: opens a file, or all of a model that is split into several, of which `path` must be
 * the first. Free the set, also on failure. */
moeq_status mq_gguf_set_open(const char *path, struct mq_arena *arena, struct mq_gguf_set *set,
                             moeq_error *err);
void mq_gguf_set_free(struct mq_gguf_set *set);

/* gguf_config.c: writes view->side[MQ_SIDE_CONFIG], which says what the metadata says, and reads it. A key of the
 * architecture that is not known, or not implemented with its value, is an error naming it, unless
 * the view's options ignore it. */
moeq_status mq_gguf_config(struct mq_gguf_set *set, struct mq_view *view, const char *path,
                           moeq_error *err);

/* The same, pair by pair, as of one family. Set: gguf, arch, family, view, arena, has. `set` NULL: there
 * are no tensors. */
struct mq_gguf_saying;
moeq_status mq_gguf_say_config(struct mq_gguf_saying *s, struct mq_gguf_set *set, moeq_error *err);

/* gguf_rope.c: appends the value of "rope_scaling"; `dim`: numbers of a head that are turned. */
moeq_status mq_gguf_rope_scaling(const struct mq_gguf_saying *s, struct mq_gguf_set *set,
                                 double theta, uint32_t dim, struct mq_buffer *json,
                                 moeq_error *err);

/* gguf_tokenizer.c: writes a tokenizer.json that gives the same ids; nothing where the file has no
 * tokenizer, or one that cannot be read.
 *   *problem  why it cannot be read; in the arena
 *   *note     what a user should know of one that is read */
moeq_status mq_gguf_tokenizer(const struct mq_gguf *gguf, struct mq_arena *arena,
                              struct mq_buffer *json, const char **problem, const char **note,
                              moeq_error *err);

/* Notes why a tokenizer cannot be read (view->tokenizer_problem), or that the one that was read may
 * be another than the model's. */
moeq_status mq_gguf_note_tokenizer(const struct mq_gguf *gguf, struct mq_view *view,
                                   moeq_error *err);

#endif
