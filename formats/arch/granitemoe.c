/*
 * granitemoe.c: Granite 3.0 and 3.1 (1B-A400M, 3B-A800M): embeddings, scores, branches and logits are
 * multiplied by numbers of the config; the router's weights are the softmax of the chosen experts' logits.
 * Its experts are published fused. Source: the published config.json files, and Transformers'
 * GraniteMoeForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_local_experts", "num_experts", 8),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 2),
    MQ_KEY_ATTENTION_BIAS,
    MQ_KEY("attention_multiplier", MQ_KEY_F32, attention_scale, 1),
    MQ_KEY("embedding_multiplier", MQ_KEY_F32, embedding_scale, 1),
    MQ_KEY("residual_multiplier", MQ_KEY_F32, residual_scale, 1),
    MQ_KEY("logits_scaling", MQ_KEY_F32, logit_scale, 1),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    (void)number;
    mq_layer_set_biased_attention(hp, l);
    l->attention.scale = hp->attention_scale;
    l->residual_scale = hp->residual_scale;
    mq_layer_set_experts(hp, hp->ffn, l);
    l->ffn.router.score = MQ_SCORE_LOGIT;
    l->ffn.router.weights = MQ_WEIGHTS_SOFTMAX_CHOSEN;
}

static void ends(const struct mq_hparams *hp, struct mq_ends *e)
{
    e->embedding_scale = hp->embedding_scale;
    e->logit_scale = 1 / hp->logit_scale;
}

#define MOE MQ_LAYER_NAME "block_sparse_moe."
static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_ATTENTION_BIAS,
    {.role = MQ_ROLE_ROUTER, .name = MOE "router.layer.weight"},
    {.role = MQ_ROLE_EXPERT_GATE, .name = MOE "experts.{expert}.gate_proj.weight"},
    {.role = MQ_ROLE_EXPERT_UP, .name = MOE "experts.{expert}.up_proj.weight"},
    {.role = MQ_ROLE_EXPERT_DOWN, .name = MOE "experts.{expert}.down_proj.weight"},
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    {MQ_ROLE_EXPERT_GATE, MOE "input_linear.weight", 2, 0},
    {MQ_ROLE_EXPERT_UP, MOE "input_linear.weight", 2, 1},
    {MQ_ROLE_EXPERT_DOWN, MOE "output_linear.weight", 1, 0},
    MQ_ALIASES_EXPERTS(MOE),
    {0},
};

const struct mq_family mq_family_granitemoe = {
    .name = "granitemoe",
    .architecture = "GraniteMoeForCausalLM",
    .models = "Granite 3.0 and 3.1 1B-A400M, 3B-A800M",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_max_positions = 2048,
    .without_sliding_window = true,
    .layer = layer,
    .ends = ends,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "granitemoe",
};
