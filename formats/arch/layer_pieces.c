/* layer_pieces.c: what the layers of several families have in common. */
#include "arch_int.h"

#include <math.h>

uint32_t mq_rotary_dim(uint32_t head_dim, double part)
{
    const double most_rounding = 1e-6; /* of a part that was k / head_dim */
    return (uint32_t)(head_dim * part + most_rounding);
}

void mq_layer_set_attention(const struct mq_hparams *hp, struct mq_layer *layer)
{
    struct mq_layer_attention *a = &layer->attention;
    a->kind = MQ_MIXER_GROUPED;
    a->heads = hp->heads;
    a->kv_heads = hp->kv_heads;
    a->head_dim = a->value_dim = hp->head_dim;
    a->rotary_dim = hp->rope.type == MQ_ROPE_PARTLY
                        ? hp->head_dim
                        : mq_rotary_dim(hp->head_dim, hp->rope.part);
    a->window = hp->sliding_window;
    a->rope = MQ_ROPE_OF_MAIN;
    a->scale = (float)(1.0 / sqrt((double)hp->head_dim));
}

void mq_layer_set_biased_attention(const struct mq_hparams *hp, struct mq_layer *layer)
{
    mq_layer_set_attention(hp, layer);
    layer->attention.qkv_bias = layer->attention.o_bias = hp->attention_bias;
}

void mq_layer_set_latent(const struct mq_hparams *hp, bool yarn_scores, struct mq_layer *layer)
{
    struct mq_layer_attention *a = &layer->attention;
    const double factor = yarn_scores && hp->rope.type == MQ_ROPE_YARN ? hp->rope.score_factor : 1;
    a->kind = MQ_MIXER_LATENT;
    a->heads = a->kv_heads = hp->heads;
    a->head_dim = hp->plain_dim + hp->rotary_dim;
    a->value_dim = hp->value_dim;
    a->rotary_dim = hp->rotary_dim;
    a->pairs = hp->rotary_neighbours ? MQ_ROTARY_NEIGHBOURS : MQ_ROTARY_HALVES;
    a->rope = MQ_ROPE_OF_MAIN;
    a->q_rank = hp->q_rank;
    a->kv_rank = hp->kv_rank;
    a->latent_eps = 1e-6f; /* whatever rms_norm_eps says */
    a->scale = (float)(factor * factor / sqrt((double)a->head_dim));
}

bool mq_layer_set_deepseek_ffn(const struct mq_hparams *hp, uint32_t number, struct mq_layer *layer)
{
    if (!mq_layer_value(&hp->ffn_kinds, number, number >= hp->dense_first)) {
        mq_layer_set_mlp(hp->ffn, layer);
        return false;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, layer);
    layer->ffn.shared_rows = hp->shared_experts * hp->expert_ffn;
    return true;
}

/* Whether a layer has an indexer of its own: Transformers' GlmMoeDsaConfig. */
static bool has_indexer(const struct mq_hparams *hp, uint32_t number)
{
    const uint32_t behind = number + 1 > hp->indexer_from ? number + 1 - hp->indexer_from : 0;
    const bool shares = hp->indexer_step > 1 && behind % hp->indexer_step != 0;
    return hp->q_rank && mq_layer_value(&hp->indexer_kinds, number, shares) == 0;
}

void mq_layer_deepseek(const struct mq_hparams *hp, uint32_t number, struct mq_layer *layer)
{
    mq_layer_set_latent(hp, true, layer);
    layer->attention.indexed = hp->indexed;
    if (has_indexer(hp, number)) {
        layer->attention.indexer_heads = hp->indexer_heads;
        layer->attention.indexer_dim = hp->indexer_dim;
    }
    if (mq_layer_set_deepseek_ffn(hp, number, layer))
        mq_layer_set_sigmoid_router(hp, layer);
}

void mq_layer_set_mlp(uint32_t rows, struct mq_layer *layer)
{
    layer->ffn.kind = MQ_FFN_DENSE;
    layer->ffn.rows = rows;
}

void mq_layer_set_experts(const struct mq_hparams *hp, uint32_t rows, struct mq_layer *layer)
{
    layer->ffn.kind = MQ_FFN_ROUTED;
    layer->ffn.rows = rows;
    layer->ffn.router.experts = hp->experts;
    layer->ffn.router.top_k = hp->top_k;
    layer->ffn.router.normalize = hp->normalize_top_k ? MQ_NORMALIZE_SUM : MQ_NORMALIZE_NONE;
}

void mq_layer_set_sigmoid_router(const struct mq_hparams *hp, struct mq_layer *layer)
{
    layer->ffn.router.score = MQ_SCORE_SIGMOID;
    layer->ffn.router.choice_bias = true;
    mq_layer_set_router_groups(hp, layer);
}

void mq_layer_set_router_groups(const struct mq_hparams *hp, struct mq_layer *layer)
{
    struct mq_layer_router *r = &layer->ffn.router;
    r->normalize_eps = r->normalize == MQ_NORMALIZE_SUM ? 1e-20f : 0;
    r->scale = hp->route_scale;
    if (hp->route_groups > 1) {
        r->groups = hp->route_groups;
        r->top_groups = hp->route_top_groups;
        r->groups_by = MQ_GROUPS_BY_TWO_BEST;
    }
}

void mq_layer_set_mamba(const struct mq_hparams *hp, struct mq_layer *layer)
{
    struct mq_layer_attention *a = &layer->attention;
    a->kind = MQ_MIXER_MAMBA;
    a->heads = hp->mixer_heads;
    a->kv_heads = hp->mixer_groups;
    a->head_dim = hp->mixer_state;
    a->value_dim = hp->mixer_head_dim;
    a->taps = hp->taps;
    a->conv_bias = hp->conv_bias;
    a->o_bias = hp->mixer_bias;
}

void mq_layer_dense(const struct mq_hparams *hp, uint32_t number, struct mq_layer *layer)
{
    (void)number;
    mq_layer_set_attention(hp, layer);
    mq_layer_set_mlp(hp->ffn, layer);
}

/* Transformers multiplies scores by yarn's mscale squared since 2026; the model was trained without (its
 * own params.json: apply_scale false). */
void mq_layer_mistral4(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_layer_set_latent(hp, false, l);
    l->attention.query_beta = hp->query_beta;
    l->attention.query_positions = hp->query_positions;
    if (mq_layer_set_deepseek_ffn(hp, number, l))
        mq_layer_set_router_groups(hp, l);
}
