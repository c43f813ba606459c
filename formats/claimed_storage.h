/*
 * claimed_storage.h: how tensors that are not here are stored, by config.json's word alone: what the
 * folder of the model would be opened as (place_tensor.c), with which its sizes agree.
 */
#ifndef MQ_CLAIMED_STORAGE_H
#define MQ_CLAIMED_STORAGE_H

#include "model_view.h"

#include <cjson/cJSON.h>

/* Which modules are quantized: all linear ones, or those of `only`, without those of `plain`. Patterns of
 * mq_text_matches on names of modules. */
struct mq_claimed_modules {
    const char **only, **plain; /* the arena's, NULL behind the last */
};

/* Of view->claim, by the keys beside it in "quantization_config"; a note where a pattern is not understood. */
moeq_status mq_claimed_modules_read(struct mq_view *view, const cJSON *config,
                                    struct mq_claimed_modules *modules, moeq_error *err);

/* Sets the storage of a tensor that the claim is about; others are left alone. */
moeq_status mq_claimed_storage(struct mq_view *view, const struct mq_claimed_modules *modules,
                               struct mq_tensor *tensor, moeq_error *err);

#endif
