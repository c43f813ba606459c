/* mlp.h: the tensors of one MLP or expert, by what an observer is told of it. */
#ifndef MQ_CALIBRATE_MLP_H
#define MQ_CALIBRATE_MLP_H

#include "evaluator.h"

enum { MQ_MLP_GATE, MQ_MLP_UP, MQ_MLP_DOWN, MQ_MLP_MATRICES };

struct mq_mlp_tensors {
    /* gate is NULL where the activation takes none; biases where there are none. */
    const struct mq_tensor *matrix[MQ_MLP_MATRICES], *bias[MQ_MLP_MATRICES];
};

static inline struct mq_mlp_tensors mq_mlp_tensors(const struct mq_view *view,
                                                   const struct mq_mlp_inputs *inputs)
{
    struct mq_mlp_tensors t = {0};
    for (int i = 0; i < MQ_MLP_MATRICES; i++) {
        const enum mq_role role = mq_role_of_matrix(inputs->gate, i);
        t.matrix[i] = mq_view_find(view, role, inputs->layer, inputs->expert);
        t.bias[i] = mq_view_find(view, role + 1, inputs->layer, inputs->expert);
    }
    return t;
}

/* Whether a tensor is a matrix of an expert or an MLP. */
static inline bool mq_mlp_is_matrix(const struct mq_view *view, const struct mq_tensor *t)
{
    const enum mq_role_class of = mq_view_class(view, t->role);
    return (of == MQ_CLASS_EXPERTS || of == MQ_CLASS_SHARED) && t->rows > 1 && t->layer >= 0;
}

/* The factor of a token's share in what the layer adds to the residual stream. */
static inline float mq_mlp_share(const struct mq_mlp_inputs *inputs, size_t token)
{
    const bool scaled = inputs->scale && !inputs->shape->ffn.weigh_input;
    return inputs->shape->residual_scale * (scaled ? inputs->scale[token] : 1.0f);
}

/* A token's row, as the matrices meet it: [hidden]. */
static inline void mq_mlp_row(const struct mq_mlp_inputs *inputs, size_t token, size_t hidden,
                              float *row)
{
    const size_t at = inputs->token ? inputs->token[token] : token;
    const float factor =
        inputs->scale && inputs->shape->ffn.weigh_input ? inputs->scale[token] : 1.0f;
    for (size_t i = 0; i < hidden; i++)
        row[i] = factor * inputs->x[at * inputs->ldx + i];
}

#endif
