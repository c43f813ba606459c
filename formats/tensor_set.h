/* tensor_set.h: the tensors of safetensors files by name: the source of the view of a Hugging Face
 * folder and of a moeq file (tensor_set_view.h). */
#ifndef MQ_TENSOR_SET_H
#define MQ_TENSOR_SET_H

#include "family.h"
#include "safetensors.h"
#include "strmap.h"

#include <cjson/cJSON.h>

struct mq_located {
    uint32_t shard;
    bool used;
    const struct mq_st_entry *entry; /* with the name that the file has */
    const char *name;                /* the one that it is found by */
};

/* All tensors of all shards by name. */
struct mq_tensor_set {
    struct mq_safetensors *shards;
    size_t shards_count;
    struct mq_located *tensors;
    size_t count;
    struct mq_strmap by_name;
    /* Of a Hugging Face folder with an index, set before opening: for messages, and to choose of
     * tensors that stand in several files; NULL where there is none. */
    const char *index_path;
    const cJSON *index_map;
    /* Tensors that stood in several files: how many, and one of them. */
    size_t repeated_count;
    const char *repeated;
};

/* The name of a file as an index may have it: without "./" in front. */
const char *mq_index_file(const char *name);

/* Opens the shards one after the other; but for the index, the set is to be all zero. Of a moeq
 * model in several, padding and checksums are each file's own, and no part of the set. On failure
 * free the set. */
moeq_status mq_tensor_set_open(struct mq_tensor_set *set, struct mq_arena *arena,
                               const char *const *paths, size_t count, bool is_moeq,
                               moeq_error *err);
void mq_tensor_set_free(struct mq_tensor_set *set);

struct mq_located *mq_tensor_set_find(const struct mq_tensor_set *set, const char *name);
const char *mq_tensor_set_path(const struct mq_tensor_set *set, const struct mq_located *at);

/* Sorts the tensors in anew after their names have changed; fails if one is there twice. */
moeq_status mq_tensor_set_rename(struct mq_tensor_set *set, moeq_error *err);

/* Fails unless the set's tensors and a weight_map (tensor -> name of its file) agree in both
 * directions: as moeq's own index does. */
moeq_status mq_tensor_set_compare(const struct mq_tensor_set *set, const cJSON *weight_map,
                                  const char *index_path, moeq_error *err);

/* The same for the index of a Hugging Face folder, where what Transformers loads all the same is a
 * note: tensors that are elsewhere than it says, that no file has or that it does not list. */
moeq_status mq_tensor_set_note_index(struct mq_view *view, const struct mq_tensor_set *set,
                                     moeq_error *err);

/* The first few names of its tensors: "a, b, c, ...". */
void mq_tensor_set_names(const struct mq_tensor_set *set, char *text, size_t room);

#endif
