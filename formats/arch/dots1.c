/*
 * dots1.c: dots.llm1: norms over each head of q and k; the first layers dense, the others with routed
 * and shared experts and DeepSeek-V3's router. Source: the published config.json (whose scoring_func
 * "noaux_tc" is no scoring function: scores are sigmoids), and Transformers' Dots1ForCausalLM (which
 * reads no use_sliding_window).
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("n_routed_experts", "num_local_experts num_experts", -1),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, -1),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 1408),
    MQ_KEY_OR_NULL("n_shared_experts", MQ_KEY_COUNT, shared_experts, 0, 0),
    MQ_KEY("first_k_dense_replace", MQ_KEY_COUNT, dense_first, 0),
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, false),
    MQ_KEYS_V3_ROUTER,
    MQ_KEY_AT("scoring_func", "\"noaux_tc\" \"sigmoid\""),
    MQ_KEY_AT("topk_method", "\"noaux_tc\""),
    MQ_KEY_AT("moe_layer_freq", "1"),
    MQ_KEY("max_window_layers", MQ_KEY_COUNT, window_layers, 62),
    MQ_KEY_WORDS("layer_types", MQ_KEY_LAYER_NAMES, "\"full_attention\" \"sliding_attention\"",
                 layer_kinds, 0),
    MQ_KEY_ATTENTION_BIAS,
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_layer_set_biased_attention(hp, l);
    l->attention.qk_norm = MQ_QK_NORM_HEAD;
    if (!mq_layer_value(&hp->layer_kinds, number, number >= hp->window_layers))
        l->attention.window = 0;
    if (number < hp->dense_first) {
        mq_layer_set_mlp(hp->ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    mq_layer_set_sigmoid_router(hp, l);
    l->ffn.shared_rows = hp->shared_experts * hp->expert_ffn;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_ATTENTION_BIAS,
    MQ_NAMES_QK_NORM,
    MQ_NAMES_EXPERTS,
    MQ_NAMES_SHARED("mlp.shared_experts."),
    MQ_NAMES_CHOICE_BIAS,
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_dots1 = {
    .name = "dots1",
    .architecture = "Dots1ForCausalLM",
    .models = "dots.llm1",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_kv_heads = 32,
    .default_sliding_window = 4096,
    .default_max_positions = 2048,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "dots1",
};
