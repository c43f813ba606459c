/* layer_pieces.c: what the layers of several families have in common. */
#include "arch_int.h"

#include <math.h>

void mq_layer_set_attention(const struct mq_hparams *hp, struct mq_layer *layer)
{
    layer->norm_eps = hp->rms_eps;
    layer->attention = (struct mq_layer_attention){
        .heads = hp->heads,
        .kv_heads = hp->kv_heads,
        .head_dim = hp->head_dim,
        .window = hp->sliding_window,
        .scale = (float)(1.0 / sqrt((double)hp->head_dim)),
    };
}

void mq_layer_set_mlp(const struct mq_hparams *hp, uint32_t rows, struct mq_layer *layer)
{
    layer->ffn =
        (struct mq_layer_ffn){.kind = MQ_FFN_DENSE, .activation = hp->activation, .rows = rows};
}

void mq_layer_set_experts(const struct mq_hparams *hp, uint32_t rows, enum mq_router_rule rule,
                          struct mq_layer *layer)
{
    layer->ffn = (struct mq_layer_ffn){.kind = MQ_FFN_ROUTED,
                                       .activation = hp->activation,
                                       .rows = rows,
                                       .experts = hp->experts,
                                       .top_k = hp->top_k,
                                       .rule = rule};
}

void mq_layer_dense(const struct mq_hparams *hp, uint32_t number, struct mq_layer *layer)
{
    (void)number;
    mq_layer_set_attention(hp, layer);
    mq_layer_set_mlp(hp, hp->ffn, layer);
}
