/*
 * mimo_v2_flash.c: MiMo-V2-Flash: most layers have a window, sinks, other positions and more heads of k and
 * v; values are shorter than keys; the first third of each head is turned; DeepSeek-V3's router. Source: the
 * published config.json, and Transformers' MiMoV2FlashForCausalLM.
 */
#include "arch_int.h"

#include <math.h>

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("n_routed_experts", "num_local_experts num_experts", 256),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 8),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 2048),
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, true),
    MQ_KEYS_V3_ROUTER,
    MQ_KEY_AT("scoring_func", "\"sigmoid\""),
    MQ_KEY_AT("topk_method", "\"noaux_tc\""),
    MQ_KEY_AT("n_shared_experts", "0"),
    MQ_KEY_WORDS("mlp_layer_types", MQ_KEY_LAYER_NAMES, "\"dense\"|0 \"sparse\"|1", ffn_kinds, 0),
    MQ_KEY_WORDS("moe_layer_freq", MQ_KEY_LAYER_NAMES, "\"dense\"|0 \"sparse\"|1", ffn_kinds, 0),
    MQ_KEY_WORDS("hybrid_layer_pattern", MQ_KEY_LAYER_NAMES,
                 "\"full_attention\"|0 \"sliding_attention\"|1", layer_kinds, 0),
    MQ_KEY_WORDS("layer_types", MQ_KEY_LAYER_NAMES,
                 "\"full_attention\"|0 \"sliding_attention\"|1", layer_kinds, 0),
    MQ_KEY("v_head_dim", MQ_KEY_U32, value_dim, 128),
    MQ_KEY("swa_num_attention_heads", MQ_KEY_COUNT, other_heads, 0),
    MQ_KEY("swa_num_key_value_heads", MQ_KEY_COUNT, other_kv_heads, 0),
    MQ_KEY("swa_head_dim", MQ_KEY_COUNT, other_head_dim, 0),
    MQ_KEY("swa_v_head_dim", MQ_KEY_COUNT, other_value_dim, 0),
    MQ_KEY("sliding_window_size", MQ_KEY_COUNT, window_before, 0),
    MQ_KEY_OR_NULL("attention_value_scale", MQ_KEY_F32, value_scale, 0.707, 1),
    MQ_KEY("layernorm_epsilon", MQ_KEY_F32, rms_eps, 1e-5),
    MQ_KEY("rms_norm_eps", MQ_KEY_F32, rms_eps, 1e-5),
    MQ_KEY_ANY("partial_rotary_factor"), /* config_rope.c reads these */
    MQ_KEY_ANY("swa_rope_theta"),
    MQ_KEY_AT("add_swa_attention_sink_bias", "true"),
    MQ_KEY_AT("add_full_attention_sink_bias", "false"),
    MQ_KEY_ANY("attention_chunk_size"), /* of kernels; no code makes chunks of it */
    MQ_KEY_ATTENTION_BIAS,
    {0},
};

static uint32_t or(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

static void set_local(const struct mq_hparams *hp, struct mq_layer_attention *a)
{
    a->heads = or(hp->other_heads, hp->heads);
    a->kv_heads = or(hp->other_kv_heads, 2 * hp->kv_heads);
    a->head_dim = or(hp->other_head_dim, hp->head_dim);
    a->value_dim = or(hp->other_value_dim, hp->value_dim);
    a->rotary_dim = mq_rotary_dim(a->head_dim, hp->rope_local.part);
    a->scale = (float)(1.0 / sqrt((double)a->head_dim));
    a->rope = MQ_ROPE_OF_LOCAL;
    a->sinks = true;
    if (hp->window_before)
        a->window = hp->window_before + 1;
}

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    const bool local = mq_layer_value(&hp->layer_kinds, number, number > 0 && (number + 1) % 6 != 0);
    mq_layer_set_attention(hp, l);
    l->attention.qkv_bias = hp->attention_bias;
    l->attention.value_dim = hp->value_dim;
    l->attention.value_scale = hp->value_scale;
    if (local)
        set_local(hp, &l->attention);
    else
        l->attention.window = 0;
    if (!mq_layer_value(&hp->ffn_kinds, number, number > 0)) {
        mq_layer_set_mlp(hp->ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    mq_layer_set_sigmoid_router(hp, l);
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_QKV_BIAS,
    {.role = MQ_ROLE_ATTN_SINKS, .name = MQ_LAYER_NAME "self_attn.attention_sink_bias"},
    MQ_NAMES_EXPERTS,
    MQ_NAMES_CHOICE_BIAS,
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    {MQ_ROLE_ATTN_SINKS, MQ_LAYER_NAME "self_attn.sinks", 0, 0}, /* Transformers 5 */
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_mimo_v2_flash = {
    .name = "mimo_v2_flash",
    .architecture = "MiMoV2FlashForCausalLM",
    .models = "MiMo-V2-Flash",
    .keys = keys,
    .default_rope_theta = 5e6,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 4,
    .default_sliding_window = 129,
    .default_head_dim = 192,
    .default_max_positions = 131072,
    .default_rotary_part = 0.334,
    .local_rope = true,
    .local_theta_key = "swa_rope_theta",
    .default_local_theta = 1e4,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "mimo2",
};
