/*
 * mlx_forms.h: what MLX's folders have in another form than the model's official one, besides how numbers
 * are stored: experts stacked, norms with 1 added, DeepSeek's kv_b in two.
 */
#ifndef MQ_MLX_FORMS_H
#define MQ_MLX_FORMS_H

#include "model_view.h"
#include "tensor_set.h"

/* Looks for *tensor, which is under no name of its family's, under MLX's, as mq_place_tensor. */
moeq_status mq_mlx_place(struct mq_view *view, const struct mq_tensor_set *set,
                         struct mq_tensor *tensor, bool *found, moeq_error *err);

/* Where the tensor, as it has been found, is a norm that MLX has added 1 to, it is read without. */
moeq_status mq_mlx_place_norm(struct mq_view *view, const struct mq_tensor_set *set,
                              struct mq_tensor *tensor, moeq_error *err);

#endif
