/* mlx_rows.h: rows, as f32, of tensors that MLX has changed or taken apart (mlx_forms.c). */
#ifndef MQ_MLX_ROWS_H
#define MQ_MLX_ROWS_H

#include "model_view.h"

/* What such a tensor is read of: of a norm the one that is stored, of latent attention's kv_b two, which are
 * plain or integers that are read as f32. */
struct mq_mlx_form {
    bool is_norm;
    struct mq_tensor first, second;
    uint64_t plain, value, rank; /* of kv_b: rows of each head that are of keys and of values; columns */
};

/* As mq_view_read_rows, mq_view_rows_at_once and mq_view_prefetch_rows, of a tensor whose assembly has such
 * a form. */
moeq_status mq_mlx_read(const struct mq_view *view, const struct mq_tensor *tensor, uint64_t row,
                        uint64_t count, void *bytes, moeq_error *err);
uint64_t mq_mlx_rows_at_once(const struct mq_mlx_form *form);
void mq_mlx_prefetch(const struct mq_view *view, const struct mq_tensor *tensor, uint64_t row,
                     uint64_t count);

#endif
