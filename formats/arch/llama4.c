/*
 * llama4.c: Llama 4 (Scout, Maverick), text: one expert for each token, whose input is multiplied by the sigmoid
 * of its logit, and one for all; three of four layers have positions and see their own chunk alone, the others
 * neither, with queries scaled by position. Source: the published config.json files, and Transformers'
 * Llama4ForConditionalGeneration.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_local_experts", "num_experts", 16),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 1),
    MQ_KEY("intermediate_size", MQ_KEY_U32, expert_ffn, 8192),
    MQ_KEY("intermediate_size_mlp", MQ_KEY_U32, ffn, 16384),
    MQ_KEY("interleave_moe_layer_step", MQ_KEY_U32, sparse_step, 1),
    MQ_KEY("moe_layers", MQ_KEY_LAYERS, sparse_layers, 0),
    MQ_KEY_WORDS("no_rope_layers", MQ_KEY_LAYER_NAMES, "0 1", layer_kinds, 0), /* 1: positions */
    MQ_KEY("no_rope_layer_interval", MQ_KEY_U32, full_step, 4),
    MQ_KEY_OR_NULL("attention_chunk_size", MQ_KEY_COUNT, chunk, 8192, 0),
    MQ_KEY("attn_temperature_tuning", MQ_KEY_BOOL, scale_queries, true),
    MQ_KEY("attn_scale", MQ_KEY_F32_FROM_0, query_beta, 0.1),
    MQ_KEY("floor_scale", MQ_KEY_F32, query_positions, 8192),
    MQ_KEY("use_qk_norm", MQ_KEY_BOOL, qk_norm, true),
    MQ_KEY_WORDS("layer_types", MQ_KEY_LAYER_NAMES, "\"full_attention\" \"chunked_attention\"",
                 mask_kinds, 0), /* not said: chunks where there are positions */
    MQ_KEY_ANY("for_llm_compressor"),
    MQ_KEY_ATTENTION_BIAS,
    {0},
};

static bool has_experts(const struct mq_hparams *hp, uint32_t number)
{
    return hp->sparse_layers.given ? mq_layer_set_has(&hp->sparse_layers, number)
                                   : (number + 1) % hp->sparse_step == 0;
}

static void set_positions(const struct mq_hparams *hp, uint32_t number, struct mq_layer_attention *a)
{
    const bool has = mq_layer_value(&hp->layer_kinds, number, (number + 1) % hp->full_step != 0);
    a->chunk = mq_layer_value(&hp->mask_kinds, number, has) ? hp->chunk : 0;
    if (has) {
        a->pairs = MQ_ROTARY_NEIGHBOURS;
        a->qk_norm = hp->qk_norm ? MQ_QK_NORM_PLAIN_AFTER : MQ_QK_NORM_NONE;
        return;
    }
    a->rope = MQ_ROPE_OF_NONE;
    if (hp->scale_queries) {
        a->query_beta = hp->query_beta;
        a->query_positions = hp->query_positions;
        a->query_shift = 1;
    }
}

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_layer_set_biased_attention(hp, l);
    set_positions(hp, number, &l->attention);
    if (!has_experts(hp, number)) {
        mq_layer_set_mlp(hp->ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    l->ffn.router.score = MQ_SCORE_LOGIT;
    l->ffn.router.weights = MQ_WEIGHTS_SIGMOID;
    l->ffn.weigh_input = true;
    l->ffn.shared_rows = hp->expert_ffn;
}

#define MOE MQ_LAYER_NAME "feed_forward."
static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_ATTENTION_BIAS,
    {.role = MQ_ROLE_ROUTER, .name = MOE "router.weight"},
    {.role = MQ_ROLE_EXPERT_GATE, .name = MOE "experts.{expert}.gate_proj.weight"},
    {.role = MQ_ROLE_EXPERT_UP, .name = MOE "experts.{expert}.up_proj.weight"},
    {.role = MQ_ROLE_EXPERT_DOWN, .name = MOE "experts.{expert}.down_proj.weight"},
    MQ_NAMES_SHARED("feed_forward.shared_expert."),
    {.role = MQ_ROLE_MLP_GATE, .name = MOE "gate_proj.weight"},
    {.role = MQ_ROLE_MLP_UP, .name = MOE "up_proj.weight"},
    {.role = MQ_ROLE_MLP_DOWN, .name = MOE "down_proj.weight"},
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

/* The published form: [expert, in, out], gate before up. */
static const struct mq_tensor_alias aliases[] = {
    {MQ_ROLE_EXPERT_GATE, MOE "experts.gate_up_proj", 2, 0 | MQ_PARTS_TRANSPOSED},
    {MQ_ROLE_EXPERT_UP, MOE "experts.gate_up_proj", 2, 1 | MQ_PARTS_TRANSPOSED},
    {MQ_ROLE_EXPERT_DOWN, MOE "experts.down_proj", 1, MQ_PARTS_TRANSPOSED},
    {0},
};

const struct mq_family mq_family_llama4 = {
    .name = "llama4",
    .models = "Llama 4 Scout, Maverick (text)",
    .model_types = "llama4_text",
    .architecture = "Llama4ForConditionalGeneration",
    .keys = keys,
    .default_rope_theta = 5e5,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 8,
    .default_head_dim = 128,
    .default_max_positions = 131072,
    .without_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "llama4",
};
