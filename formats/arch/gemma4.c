/*
 * gemma4.c: Gemma 4 (26B-A4B, and dense ones without embeddings per layer): norms before and after each
 * branch; an MLP and routed experts side by side, each between norms of its own; layers of full attention
 * have longer and fewer heads, of which k is v as well; logits within a soft cap. Source: the published
 * config.json files, and Transformers' Gemma4ForConditionalGeneration.
 */
#include "arch_int.h"

#include <math.h>

static const struct mq_config_key keys[] = {
    MQ_KEY("num_experts", MQ_KEY_COUNT, experts, 0),
    MQ_KEY("top_k_experts", MQ_KEY_COUNT, top_k, 0),
    MQ_KEY("moe_intermediate_size", MQ_KEY_COUNT, expert_ffn, 0),
    MQ_KEY("enable_moe_block", MQ_KEY_BOOL, routed, false),
    MQ_KEY_WORDS("layer_types", MQ_KEY_LAYER_NAMES, "\"full_attention\" \"sliding_attention\"",
                 layer_kinds, 0),
    MQ_KEY("global_head_dim", MQ_KEY_U32, other_head_dim, 512),
    MQ_KEY("num_global_key_value_heads", MQ_KEY_COUNT, other_kv_heads, 0),
    /* as Transformers 5 writes the two */
    MQ_KEY("per_layer_config.*.head_dim", MQ_KEY_LAYER_ENTRIES, layer_head_dim, 0),
    MQ_KEY("per_layer_config.*.num_key_value_heads", MQ_KEY_LAYER_ENTRIES, layer_kv_heads, 0),
    MQ_KEY("attention_k_eq_v", MQ_KEY_BOOL, value_is_key, false),
    MQ_KEY("final_logit_softcapping", MQ_KEY_F32, logit_softcap, 0),
    {.key = "hidden_activation",
     .rule = MQ_KEY_NAME,
     .only = "\"gelu_pytorch_tanh\"",
     .field = offsetof(struct mq_hparams, activation),
     .when_absent = MQ_ACTIVATION_GELU_TANH},
    MQ_KEY_AT("hidden_size_per_layer_input", "0"),
    MQ_KEY_AT("num_kv_shared_layers", "0"),
    MQ_KEY_AT("use_double_wide_mlp", "false"),
    MQ_KEY_AT("use_bidirectional_attention", "\"vision\""), /* among an image's tokens */
    MQ_KEY_ANY("vocab_size_per_layer_input"),
    MQ_KEY_ATTENTION_BIAS,
    {0},
};

static void set_full(const struct mq_hparams *hp, struct mq_layer_attention *a)
{
    a->window = 0;
    a->rope = MQ_ROPE_OF_MAIN;
    a->head_dim = hp->other_head_dim;
    a->value_is_key = hp->value_is_key;
    if (hp->value_is_key && hp->other_kv_heads)
        a->kv_heads = hp->other_kv_heads;
}

/* Where config.json says heads by layer, what it says of others does not count. */
static void set_by_layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer_attention *a)
{
    const uint32_t dim = mq_layer_value(&hp->layer_head_dim, number, 0);
    const uint32_t kv = mq_layer_value(&hp->layer_kv_heads, number, 0);
    if (hp->layer_head_dim.count)
        a->head_dim = dim ? dim : hp->head_dim;
    if (hp->layer_kv_heads.count)
        a->kv_heads = kv ? kv : hp->kv_heads;
}

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    struct mq_layer_attention *a = &l->attention;
    mq_layer_set_biased_attention(hp, l);
    a->rope = MQ_ROPE_OF_LOCAL;
    a->qk_norm = MQ_QK_NORM_HEAD;
    a->value_norm = true;
    a->scale = 1;
    /* (the last one, whatever layer_types says) */
    if (number + 1 == hp->layers ||
        !mq_layer_value(&hp->layer_kinds, number, (number + 1) % 6 != 0))
        set_full(hp, a);
    set_by_layer(hp, number, a);
    a->value_dim = a->rotary_dim = a->head_dim;
    l->norm_mixed = l->norm_ffn_out = true;
    l->layer_scale = true;
    if (!hp->routed) {
        mq_layer_set_mlp(hp->ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    l->ffn.kind = MQ_FFN_BOTH;
    l->ffn.dense_rows = hp->ffn;
    l->ffn.router.normalize = MQ_NORMALIZE_SUM;
    l->ffn.router.expert_scale = true;
    l->ffn.router.own_norm = (float)(1 / sqrt((double)hp->hidden));
}

static void ends(const struct mq_hparams *hp, struct mq_ends *e)
{
    e->embedding_scale = (float)sqrt((double)hp->hidden);
    e->logit_softcap = hp->logit_softcap;
}

static const struct mq_tensor_name names[] = {
    {.role = MQ_ROLE_EMBEDDING, .name = "model.embed_tokens.weight"},
    {.role = MQ_ROLE_ATTN_NORM, .name = MQ_LAYER_NAME "input_layernorm.weight"},
    {.role = MQ_ROLE_ATTN_OUT_NORM, .name = MQ_LAYER_NAME "post_attention_layernorm.weight"},
    {.role = MQ_ROLE_FFN_NORM, .name = MQ_LAYER_NAME "pre_feedforward_layernorm.weight"},
    {.role = MQ_ROLE_MLP_OUT_NORM, .name = MQ_LAYER_NAME "post_feedforward_layernorm_1.weight"},
    {.role = MQ_ROLE_EXPERTS_NORM, .name = MQ_LAYER_NAME "pre_feedforward_layernorm_2.weight"},
    {.role = MQ_ROLE_EXPERTS_OUT_NORM, .name = MQ_LAYER_NAME "post_feedforward_layernorm_2.weight"},
    {.role = MQ_ROLE_FFN_OUT_NORM, .name = MQ_LAYER_NAME "post_feedforward_layernorm.weight"},
    {.role = MQ_ROLE_LAYER_SCALE, .name = MQ_LAYER_NAME "layer_scalar"},
    MQ_NAMES_QKVO,
    MQ_NAMES_QK_NORM,
    MQ_NAMES_ATTENTION_BIAS,
    {.role = MQ_ROLE_ROUTER_NORM, .name = MQ_LAYER_NAME "router.scale"},
    {.role = MQ_ROLE_ROUTER, .name = MQ_LAYER_NAME "router.proj.weight"},
    {.role = MQ_ROLE_ROUTER_EXPERT_SCALE, .name = MQ_LAYER_NAME "router.per_expert_scale"},
    {.role = MQ_ROLE_EXPERT_GATE, .name = MQ_LAYER_NAME "experts.{expert}.gate_proj.weight"},
    {.role = MQ_ROLE_EXPERT_UP, .name = MQ_LAYER_NAME "experts.{expert}.up_proj.weight"},
    {.role = MQ_ROLE_EXPERT_DOWN, .name = MQ_LAYER_NAME "experts.{expert}.down_proj.weight"},
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    /* the published form */
    {MQ_ROLE_EXPERT_GATE, MQ_LAYER_NAME "experts.gate_up_proj", 2, 0},
    {MQ_ROLE_EXPERT_UP, MQ_LAYER_NAME "experts.gate_up_proj", 2, 1},
    {MQ_ROLE_EXPERT_DOWN, MQ_LAYER_NAME "experts.down_proj", 1, 0},
    {0},
};

const struct mq_family mq_family_gemma4 = {
    .name = "gemma4",
    .architecture = "Gemma4ForConditionalGeneration",
    .models = "Gemma 4 26B-A4B, and dense ones",
    .model_types = "gemma4_text",
    .keys = keys,
    .default_rope_theta = 1e6,
    .default_rms_eps = 1e-6,
    .default_kv_heads = 4,
    .default_sliding_window = 512,
    .default_head_dim = 256,
    .default_max_positions = 131072,
    .default_tied = true,
    .default_rotary_part = 1,
    .default_rope = "{\"full_attention\": {\"rope_type\": \"proportional\", "
                    "\"partial_rotary_factor\": 0.25, \"rope_theta\": 1000000}, "
                    "\"sliding_attention\": {\"rope_type\": \"default\", \"rope_theta\": 10000}}",
    .local_rope = true,
    .default_local_theta = 1e4,
    .layer = layer,
    .ends = ends,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "gemma4",
};
