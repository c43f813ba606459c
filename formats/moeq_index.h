/*
 * moeq_index.h: the index of a moeq model in several files, written last: a model is complete when
 * its index is there.
 *
 * JSON as Hugging Face's model.safetensors.index.json, of which a moeq index is told by the format
 * that its metadata names:
 *
 *     {"metadata": {"format": "moeq", "moeq.version": "1", "total_size": bytes of tensors,
 *                   "moeq.shards": [{"name", "bytes", "crc32"}, ...]},
 *      "weight_map": {tensor: name of its file, ...}}
 *
 * crc32 is the last word of the shard's checksums, which vouches for all of its bytes.
 */
#ifndef MQ_MOEQ_INDEX_H
#define MQ_MOEQ_INDEX_H

#include "arena.h"
#include "buffer.h"
#include "moeq_layout.h"

#include <cjson/cJSON.h>

struct mq_index_shard {
    const char *name; /* of a file in the index's folder */
    uint64_t size_bytes;
    uint32_t crc32;
};

struct mq_moeq_index {
    const char *path;
    const char *folder; /* "" where the path has none */
    struct mq_index_shard *shards;
    size_t count;
    uint64_t total_bytes;
    cJSON *tree;
    const cJSON *map; /* the weight_map in the tree */
};

/* Prints the index of shards with these layouts. */
void mq_moeq_index_print(struct mq_buffer *text, const struct mq_index_shard *shards,
                         const struct mq_layout *const *layouts, size_t count);

/*
 * The index that a path leads to: its own, or that of the one moeq model that the folder holds in
 * shards. `index` is "" if there is none, or if the folder holds a Hugging Face model, which comes
 * first. Several models are an error that names two.
 */
moeq_status mq_moeq_index_find(const char *path, char *index, size_t room, moeq_error *err);

/* Reads an index, and none of its shards. Names and tables are the arena's; free the rest. */
moeq_status mq_moeq_index_read(const char *path, struct mq_arena *arena,
                               struct mq_moeq_index *index, moeq_error *err);
void mq_moeq_index_free(struct mq_moeq_index *index);

/* A shard's path; NULL when out of memory. */
const char *mq_moeq_index_shard_path(const struct mq_moeq_index *index, size_t shard,
                                     struct mq_arena *arena);

/* Fails unless the shard is there and is the file that the index was written with. Reads its last
 * word only: damage before it is for moeq check to find. */
moeq_status mq_moeq_index_check_shard(const struct mq_moeq_index *index, size_t shard,
                                      const char *path, moeq_error *err);

#endif
