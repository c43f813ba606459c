/* view_int.h: what the openers of the different sources share with the view's builder. */
#ifndef MQ_VIEW_INT_H
#define MQ_VIEW_INT_H

#include "family.h"
#include "json.h"
#include "model_view.h"
#include "moeq_profile.h"
#include "safetensors.h"
#include "strmap.h"
#include "tensor_set.h"

/* An empty view with its arena; NULL when out of memory. */
struct mq_view *mq_view_create(const char *path);

/* Where a view's tensors are stored. `place` is called for each tensor of the model's program, in
 * the order of a moeq file; name, role, layer, expert and shape of *tensor are filled in, and it
 * fills in the rest: storage, row_bytes, file, offset. A tensor that is not there: see
 * mq_view_fail_missing. */
struct mq_view_source {
    void *user;
    moeq_status (*place)(void *user, struct mq_view *view, struct mq_tensor *tensor,
                         moeq_error *err);
};

/* Fills view->tensors and the index. view->program must be set. Fails if there are more
 * tensors than any model has, which a config.json of a few bytes could ask for. */
moeq_status mq_view_build(struct mq_view *view, const struct mq_view_source *source,
                          moeq_error *err);

/* Where view->index has the tensor of a role. */
size_t mq_view_index_at(const struct mq_view *view, enum mq_role role, int32_t layer,
                        int32_t expert);

/* Quantizers leave routers and norms alone; some do not. A note for each role of those whose tensors are quantized,
 * by what the view's kind calls so. */
moeq_status mq_view_note_quantized(struct mq_view *view,
                                   bool (*is_quantized)(const struct mq_tensor *tensor),
                                   moeq_error *err);

/* "tensor 'name' is missing: ..." */
moeq_status mq_view_fail_missing(const struct mq_view *view, const char *name, moeq_error *err);

/* Moves an open file into the next row of view->files, which must have room. */
moeq_status mq_view_adopt_file(struct mq_view *view, struct mq_file *file, uint64_t header_bytes,
                               uint32_t header_crc32, moeq_error *err);

/* Builds the table without files, every tensor stored as `dtype` (F32, F16 or BF16). */
moeq_status mq_view_build_from_config(struct mq_view *view, enum mq_dtype dtype, moeq_error *err);

moeq_status mq_hf_folder_open(const char *folder, struct mq_view *view, moeq_error *err);
moeq_status mq_moeq_file_open(const char *path, struct mq_view *view, moeq_error *err);
/* A moeq model in several files, by its index. */
moeq_status mq_moeq_index_open(const char *path, struct mq_view *view, moeq_error *err);
moeq_status mq_gguf_open(const char *path, struct mq_view *view, moeq_error *err);

/* A snapshot in the local Hugging Face cache. */
struct mq_hf_snapshot {
    char folder[4096];
    char note[200]; /* what is to be noted of the choice; "" */
};
/* owner/name, owner/name@revision, or the address of its page or of a file of it. */
struct mq_hf_reference {
    char owner[100], name[100], revision[100]; /* revision "": none */
};
/* False if a path is none of these; a file that is merely missing is not. */
bool mq_hf_parse_reference(const char *path, struct mq_hf_reference *reference);
/* `path`: as it was given. */
moeq_status mq_hf_cache_find(const char *path, const struct mq_hf_reference *reference,
                             struct mq_hf_snapshot *snapshot, moeq_error *err);
/* By a models--owner--name folder, or the folder of its snapshots; of any other folder
 * snapshot->folder is empty. */
moeq_status mq_hf_cache_resolve(const char *folder, struct mq_hf_snapshot *snapshot,
                                moeq_error *err);

#endif
