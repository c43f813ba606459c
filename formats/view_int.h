/* view_int.h: what the openers of the different sources share with the view's builder. */
#ifndef MQ_VIEW_INT_H
#define MQ_VIEW_INT_H

#include "family.h"
#include "json.h"
#include "model_view.h"
#include "moeq_profile.h"
#include "safetensors.h"
#include "strmap.h"

/* All tensors of all shards by name. */
struct mq_tensor_set {
    struct mq_safetensors *shards;
    size_t shards_count;
    struct mq_located {
        uint32_t shard;
        bool used;
        const struct mq_st_entry *entry;
    } * tensors;
    size_t count;
    struct mq_strmap by_name;
};

/* Opens the shards one after the other. Of a moeq model in several, padding and checksums are each
 * file's own, and no part of the set. On failure free the set. */
moeq_status mq_tensor_set_open(struct mq_tensor_set *set, struct mq_arena *arena,
                               const char *const *paths, size_t count, bool is_moeq,
                               moeq_error *err);
void mq_tensor_set_free(struct mq_tensor_set *set);

struct mq_located *mq_tensor_set_find(const struct mq_tensor_set *set, const char *name);

/* Fails unless the set's tensors and a weight_map (tensor -> name of its file) agree in both
 * directions. */
moeq_status mq_tensor_set_compare(const struct mq_tensor_set *set, const cJSON *weight_map,
                                  const char *index_path, moeq_error *err);

/* An empty view with its arena; NULL when out of memory. */
struct mq_view *mq_view_create(const char *path);

/* Where a view's tensors are stored. `place` is called for each tensor of the family's patterns, in
 * the order of a moeq file; name, role, layer, expert and shape of *tensor are filled in, and it
 * fills in the rest: storage, row_bytes, file, offset. A tensor that is not there: see
 * mq_view_fail_missing. */
struct mq_view_source {
    void *user;
    moeq_status (*place)(void *user, struct mq_view *view, struct mq_tensor *tensor,
                         moeq_error *err);
};

/* Fills view->tensors and the index. view->family and hparams must be set. Fails if there are more
 * tensors than any model has, which a config.json of a few bytes could ask for. */
moeq_status mq_view_build(struct mq_view *view, const struct mq_view_source *source,
                          moeq_error *err);

/* "tensor 'name' is missing: ..." */
moeq_status mq_view_fail_missing(const struct mq_view *view, const char *name, moeq_error *err);

/* Builds from the set, of which no tensor may be left over, and moves the set's open files into the
 * view. view->is_moeq and metadata must be set too. */
moeq_status mq_view_build_from_set(struct mq_view *view, struct mq_tensor_set *set,
                                   moeq_error *err);

/* Moves an open file into the next row of view->files, which must have room. */
moeq_status mq_view_adopt_file(struct mq_view *view, struct mq_file *file, uint64_t header_bytes,
                               uint32_t header_crc32, moeq_error *err);

/* Builds the table without files, every tensor stored as `dtype` (F32, F16 or BF16). */
moeq_status mq_view_build_from_config(struct mq_view *view, enum mq_dtype dtype, moeq_error *err);

/* The buffer of a side file in a view. */
struct mq_buffer *mq_view_side(struct mq_view *view, const struct mq_side_file *side);

moeq_status mq_hf_folder_open(const char *folder, struct mq_view *view, moeq_error *err);
moeq_status mq_moeq_file_open(const char *path, struct mq_view *view, moeq_error *err);
/* A moeq model in several files, by its index. */
moeq_status mq_moeq_index_open(const char *path, struct mq_view *view, moeq_error *err);
moeq_status mq_gguf_open(const char *path, struct mq_view *view, moeq_error *err);

/* Finds `owner/name` in the local Hugging Face cache and writes the snapshot's folder to `folder`.
 */
moeq_status mq_hf_cache_find(const char *name, char *folder, size_t room, moeq_error *err);

#endif
