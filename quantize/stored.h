/* stored.h: which level a tensor's bytes are in: where the names of a view meet the level table. */
#ifndef MQ_STORED_H
#define MQ_STORED_H

#include "levels.h"
#include "model_view.h"

/* The level that a tensor's bytes are in, with its row size checked: what makes a view's storage
 * names safe to copy (mq_tensor_stored), or to decode (mq_tensor_level, which refuses a level that
 * cannot be decoded). */
moeq_status mq_tensor_stored(const struct mq_view *view, const struct mq_tensor *tensor,
                             const struct mq_level **level, moeq_error *err);
moeq_status mq_tensor_level(const struct mq_view *view, const struct mq_tensor *tensor,
                            const struct mq_level **level, moeq_error *err);

/* mq_view_open, then mq_tensor_stored for every tensor. */
moeq_status mq_model_open(const char *path, struct mq_view **view, moeq_error *err);
moeq_status mq_model_open_with(const char *path, const struct mq_open_options *options,
                               struct mq_view **view, moeq_error *err);
/* The same, or what a model's config.json alone tells of it. (The .json of a sharded file is its index.) */
moeq_status mq_model_open_or_config(const char *path, const struct mq_open_options *options,
                                    struct mq_view **view, moeq_error *err);

#endif
