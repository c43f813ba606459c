/* tensor_set.h: the tensors of safetensors files by name: the source of the view of a Hugging Face
 * folder and of a moeq file. */
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

/* Opens the shards one after the other; but for the index, the set is to be all zero. Of a moeq model in several, padding and checksums are each
 * file's own, and no part of the set. On failure free the set. */
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

/* tensor_names.c: brings names that differ in what comes before them into the official form; the
 * view's family must be known. */
moeq_status mq_tensor_set_map_names(struct mq_view *view, struct mq_tensor_set *set,
                                    moeq_error *err);
/* What the names say that the model is, if it is another's; NULL. */
const char *mq_tensor_set_guess(const struct mq_tensor_set *set);

/* tied_head.c: decides by what is stored, config.json and the user's choice whether the head is the
 * embedding matrix, in view->hparams, and puts a decision that config.json alone would not give
 * into view->options, so that what is made of the view is read in the same way. */
moeq_status mq_choose_head(struct mq_view *view, struct mq_tensor_set *set, moeq_error *err);

/* extra_tensors.c: of the tensors that nothing has asked for, notes on those that are known to
 * carry no weights of the model, and an error for any other. */
moeq_status mq_judge_extra_tensors(struct mq_view *view, const struct mq_tensor_set *set,
                                   moeq_error *err);

/* The same unit: the rest of a sentence on a tensor that an adapter added or moved, by its name;
 * NULL for any other. */
const char *mq_adapter_says(const char *name);

/* Builds the view from the set and moves the set's open files into it. view->kind and metadata
 * must be set too. */
moeq_status mq_view_build_from_set(struct mq_view *view, struct mq_tensor_set *set,
                                   moeq_error *err);

#endif
