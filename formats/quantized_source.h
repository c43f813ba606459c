/* quantized_source.h: sources that another tool has quantized already: told as what they are. */
#ifndef MQ_QUANTIZED_SOURCE_H
#define MQ_QUANTIZED_SOURCE_H

#include "tensor_set.h"

#include <cjson/cJSON.h>

/* Fails if config.json says that the weights are quantized ("quantization_config", or MLX's
 * "quantization"), unless in a way that moeq reads, which view->claim then is. bitsandbytes quantizes while loading, so its config may stand beside weights of
 * full precision: a note, and what the tensors are decides. */
moeq_status mq_refuse_quantized_config(struct mq_view *view, const cJSON *config, const char *path,
                                       moeq_error *err);

/* Where config.json says nothing and the tensors leave no doubt: view->claim, and a note. */
moeq_status mq_guess_quantized(struct mq_view *view, const struct mq_tensor_set *set,
                               moeq_error *err);

/* Fails if the name or dtype of one of a folder's tensors is one that only quantized checkpoints
 * have. */
moeq_status mq_refuse_quantized_tensors(const struct mq_view *view, const struct mq_tensor_set *set,
                                        moeq_error *err);

#endif
