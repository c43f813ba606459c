/*
 * ernie4_5_moe.c: ERNIE 4.5 (21B-A3B, 300B-A47B), text: neighbours of each head turn together; softmax
 * over all experts, with a bias for the choice alone. Source: the published config.json files, and
 * Transformers' Ernie4_5_MoeForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("moe_num_experts", "num_experts num_local_experts", 64),
    {.key = "moe_k",
     .alias = "num_experts_per_tok",
     .rule = MQ_KEY_U32,
     .field = offsetof(struct mq_hparams, top_k),
     .when_absent = 6},
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 1536),
    MQ_KEY_OR_NULL("moe_num_shared_experts", MQ_KEY_COUNT, shared_experts, 2, 0),
    MQ_KEY("moe_layer_start_index", MQ_KEY_COUNT, sparse_first, 1),
    MQ_KEY("moe_layer_end_index", MQ_KEY_LAYER, sparse_last, 1e6),
    MQ_KEY("moe_layer_interval", MQ_KEY_U32, sparse_step, 1),
    MQ_KEY("moe_norm_min", MQ_KEY_F32, normalize_least, 1e-12),
    MQ_KEY("use_bias", MQ_KEY_BOOL, attention_bias, false),
    MQ_KEY_AT("moe_gate", "\"topk\""),
    MQ_KEY_AT("moe_use_aux_free", "true"), /* the bias */
    MQ_KEY_ANY("moe_capacity"),
    MQ_KEY_AT("moe_gate_act", "\"softmax\""), /* Transformers does not read these two */
    MQ_KEY_AT("moe_norm_gate_logits", "true"),
    {0},
};

static bool has_experts(const struct mq_hparams *hp, uint32_t number)
{
    return (number + 1) % hp->sparse_step == 0 && number >= hp->sparse_first &&
           number <= hp->sparse_last;
}

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_layer_set_attention(hp, l);
    l->attention.pairs = MQ_ROTARY_NEIGHBOURS;
    l->attention.qkv_bias = l->attention.o_bias = l->ffn.bias = hp->attention_bias;
    if (!has_experts(hp, number)) {
        mq_layer_set_mlp(hp->ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    l->ffn.router.choice_bias = true;
    l->ffn.router.normalize = MQ_NORMALIZE_SUM_AT_LEAST;
    l->ffn.router.normalize_eps = hp->normalize_least;
    l->ffn.shared_rows = hp->shared_experts * hp->expert_ffn;
}

static void ends(const struct mq_hparams *hp, struct mq_ends *e)
{
    e->head_bias = hp->attention_bias;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_ATTENTION_BIAS,
    MQ_NAMES_EXPERTS,
    {.role = MQ_ROLE_ROUTER_CHOICE_BIAS,
     .name = MQ_LAYER_NAME "mlp.moe_statics.e_score_correction_bias"},
    MQ_NAMES_SHARED("mlp.shared_experts."),
    {.role = MQ_ROLE_SHARED_GATE_BIAS, .name = MQ_LAYER_NAME "mlp.shared_experts.gate_proj.bias"},
    {.role = MQ_ROLE_SHARED_UP_BIAS, .name = MQ_LAYER_NAME "mlp.shared_experts.up_proj.bias"},
    {.role = MQ_ROLE_SHARED_DOWN_BIAS, .name = MQ_LAYER_NAME "mlp.shared_experts.down_proj.bias"},
    MQ_NAMES_MLP,
    {.role = MQ_ROLE_MLP_GATE_BIAS, .name = MQ_LAYER_NAME "mlp.gate_proj.bias"},
    {.role = MQ_ROLE_MLP_UP_BIAS, .name = MQ_LAYER_NAME "mlp.up_proj.bias"},
    {.role = MQ_ROLE_MLP_DOWN_BIAS, .name = MQ_LAYER_NAME "mlp.down_proj.bias"},
    MQ_NAMES_AFTER_LAYERS,
    {.role = MQ_ROLE_HEAD_BIAS, .name = "lm_head.bias"},
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_ernie4_5_moe = {
    .name = "ernie4_5_moe",
    .architecture = "Ernie4_5_MoeForCausalLM",
    .models = "ERNIE-4.5 21B-A3B, 300B-A47B",
    .keys = keys,
    .default_rope_theta = 5e5,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 4,
    .default_max_positions = 131072,
    .default_tied = true,
    .without_sliding_window = true,
    .layer = layer,
    .ends = ends,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "ernie4_5-moe",
};
