/*
 * hunyuan_v1_moe.c: Hunyuan-A13B: norms over each head of q and k after they are rotated; in every layer
 * routed experts and an MLP for all tokens. Source: the published config.json (which has lists for the
 * layers, and keys of models that see), and Transformers' HunYuanMoEV1ForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 1),
    {.key = "moe_topk",
     .alias = "num_experts_per_tok",
     .rule = MQ_KEY_LAYER_NUMBERS,
     .field = offsetof(struct mq_hparams, layer_top_k)},
    MQ_KEY("moe_intermediate_size", MQ_KEY_LAYER_NUMBERS, layer_expert_ffn, 0),
    MQ_KEY("num_shared_expert", MQ_KEY_LAYER_NUMBERS, layer_shared, 0),
    MQ_KEY_ANY("rope_scaling.alpha"), /* config_rope.c reads it */
    MQ_KEY_ANY("rope_parameters.alpha"),
    MQ_KEY_AT("use_mixed_mlp_moe", "true"), /* the MLP for all tokens */
    MQ_KEY_AT("use_qk_norm", "true"),
    MQ_KEY_AT("norm_topk_prob", "true"),
    MQ_KEY_AT("norm_type", "\"rms\" \"hf_rms\""),
    MQ_KEY_AT("use_rotary_pos_emb", "true"),
    MQ_KEY_AT("use_cla", "false"),
    MQ_KEY_AT("use_mla", "false"),
    MQ_KEY_AT("group_limited_greedy", "false"),
    MQ_KEY_AT("moe_layer_num_skipped", "0"),
    MQ_KEY_AT("routed_scaling_factor", "1 false"),
    MQ_KEY_AT("position_embedding_xdrope", "false"),
    MQ_KEY_AT("add_classification_head", "false"),
    MQ_KEY_ANY("cla_share_factor"),
    MQ_KEY_ANY("attention_head_dim"), /* as head_dim */
    MQ_KEY_ANY("moe_drop_tokens"),
    MQ_KEY_ANY("moe_random_routing_dropped_token"),
    MQ_KEY_ANY("eod_token_id"),
    MQ_KEY_ANY("pad_id"),
    MQ_KEY_ANY("org_vocab_size"),
    MQ_KEY_ANY("class_num"),
    MQ_KEY_ANY("pool_type"),
    MQ_KEY_ANY("dense_list"),
    /* of images */
    MQ_KEY_ANY("anyres_*"),
    MQ_KEY_ANY("vit_*"),
    MQ_KEY_ANY("im_*"),
    MQ_KEY_ANY("image_token_id"),
    MQ_KEY_ANY("video_*"),
    MQ_KEY_ANY("text_start_id"),
    MQ_KEY_ANY("text_end_id"),
    MQ_KEY_ANY("mask_init_id"),
    MQ_KEY_ANY("num_media_embeds"),
    MQ_KEY_ANY("skip_cls_token"),
    MQ_KEY_ANY("xdrope_section"),
    MQ_KEY_ATTENTION_BIAS,
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_layer_set_biased_attention(hp, l);
    l->attention.qk_norm = MQ_QK_NORM_HEAD_AFTER;
    mq_layer_set_experts(hp, mq_layer_value(&hp->layer_expert_ffn, number, hp->ffn), l);
    l->ffn.router.top_k = mq_layer_value(&hp->layer_top_k, number, 1);
    l->ffn.router.normalize = MQ_NORMALIZE_SUM;
    l->ffn.shared_rows = mq_layer_value(&hp->layer_shared, number, 1) * hp->ffn;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_ATTENTION_BIAS,
    {.role = MQ_ROLE_ATTN_Q_NORM, .name = MQ_LAYER_NAME "self_attn.query_layernorm.weight"},
    {.role = MQ_ROLE_ATTN_K_NORM, .name = MQ_LAYER_NAME "self_attn.key_layernorm.weight"},
    {.role = MQ_ROLE_ROUTER, .name = MQ_LAYER_NAME "mlp.gate.wg.weight"},
    MQ_NAMES_EXPERT_MATRICES,
    MQ_NAMES_SHARED("mlp.shared_mlp."),
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_hunyuan_v1_moe = {
    .name = "hunyuan_v1_moe",
    .architecture = "HunYuanMoEV1ForCausalLM",
    .models = "Hunyuan-A13B",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_max_positions = 2048,
    .without_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "hunyuan-moe",
};
