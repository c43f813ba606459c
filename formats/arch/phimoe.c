/*
 * phimoe.c: Phi-3.5-MoE: norms by mean and variance with biases; biases of attention and of the head;
 * longrope; experts chosen and weighed one after the other (sparsemixer). Source: the published config.json,
 * and Transformers' PhimoeForCausalLM, whose positions in windows longer than the original ones take the
 * list of short ones with the factor of long ones since 5.0: here both are those of long ones, as before and in
 * Microsoft's own code.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_local_experts", "num_experts", 16),
    {.key = "num_experts_per_tok", /* the sparsemixer is of two */
     .rule = MQ_KEY_U32,
     .only = "2",
     .field = offsetof(struct mq_hparams, top_k),
     .when_absent = 2},
    MQ_KEY("router_jitter_noise", MQ_KEY_F32, router_jitter, 0.01),
    MQ_KEY_ATTENTION_BIAS,
    MQ_KEY("lm_head_bias", MQ_KEY_BOOL, head_bias, false),
    MQ_KEY_ANY("input_jitter_noise"), /* in training */
    MQ_KEY_ANY("original_max_position_embeddings"), /* config_rope.c reads it */
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    (void)number;
    mq_layer_set_biased_attention(hp, l);
    l->norm = MQ_NORM_LAYER;
    l->norm_bias = true;
    mq_layer_set_experts(hp, hp->ffn, l);
    l->ffn.router.score = MQ_SCORE_LOGIT;
    l->ffn.router.weights = MQ_WEIGHTS_SPARSEMIXER;
    l->ffn.router.jitter = hp->router_jitter;
}

static void ends(const struct mq_hparams *hp, struct mq_ends *e)
{
    e->norm = MQ_NORM_LAYER;
    e->norm_bias = true;
    e->head_bias = hp->head_bias;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_ATTENTION_BIAS,
    {.role = MQ_ROLE_ATTN_NORM_BIAS, .name = MQ_LAYER_NAME "input_layernorm.bias"},
    {.role = MQ_ROLE_FFN_NORM_BIAS, .name = MQ_LAYER_NAME "post_attention_layernorm.bias"},
    MQ_NAMES_MIXTRAL_EXPERTS,
    MQ_NAMES_AFTER_LAYERS,
    {.role = MQ_ROLE_OUTPUT_NORM_BIAS, .name = "model.norm.bias"},
    {.role = MQ_ROLE_HEAD_BIAS, .name = "lm_head.bias"},
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    {MQ_ROLE_ROUTER, MQ_LAYER_NAME "mlp.router.weight", 0, 0}, /* Transformers 5 */
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "block_sparse_moe."),
    {0},
};

const struct mq_family mq_family_phimoe = {
    .name = "phimoe",
    .architecture = "PhimoeForCausalLM",
    .models = "Phi-3.5-MoE",
    .keys = keys,
    .default_rope_theta = 1e6,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 8,
    .default_max_positions = 131072,
    .layer = layer,
    .ends = ends,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "phimoe",
};
