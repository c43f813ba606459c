/*
 * dbrx.c: DBRX: norms by mean and variance without biases; q, k and v in one matrix, kept within bounds; experts
 * of all layers one after the other in three matrices, of which the last is used transposed. Source: the
 * published config.json (whose theta in attn_config is the one that the model was trained with; Transformers 5
 * does not read it), and Transformers' DbrxForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEY("d_model", MQ_KEY_U32, hidden, 2048),
    MQ_KEY("n_heads", MQ_KEY_U32, heads, 16),
    MQ_KEY("n_layers", MQ_KEY_U32, layers, 24),
    MQ_KEY("attn_config.kv_n_heads", MQ_KEY_U32, kv_heads, 1),
    MQ_KEY("num_key_value_heads", MQ_KEY_U32, kv_heads, 1), /* Transformers 5 writes it too */
    MQ_KEY("attn_config.clip_qkv", MQ_KEY_F32, clip, 0),
    MQ_KEY_ANY("attn_config.rope_theta"), /* config_rope.c reads it */
    MQ_KEY_ANY("attn_config.model_type"),
    MQ_KEY_ANY("attn_config.attn_pdrop"),
    MQ_KEY("ffn_config.ffn_hidden_size", MQ_KEY_U32, ffn, 3584),
    MQ_KEY("ffn_config.moe_num_experts", MQ_KEY_U32, experts, 4),
    MQ_KEY("ffn_config.moe_top_k", MQ_KEY_U32, top_k, 1),
    /* null: not at all */
    {.key = "ffn_config.moe_normalize_expert_weights",
     .rule = MQ_KEY_COUNT,
     .only = "1",
     .field = offsetof(struct mq_hparams, normalize_by),
     .when_absent = 1,
     .has_null = true},
    {.key = "ffn_config.ffn_act_fn", .rule = MQ_KEY_ONLY, .only = "{\"name\":\"silu\"}"},
    MQ_KEY_ANY("ffn_config.moe_jitter_eps"), /* in training */
    MQ_KEY_ANY("ffn_config.moe_loss_weight"),
    MQ_KEY_ANY("ffn_config.uniform_expert_assignment"),
    MQ_KEY_ANY("ffn_config.hidden_size"), /* d_model */
    MQ_KEY_ANY("ffn_config.model_type"),
    MQ_KEY("max_seq_len", MQ_KEY_U32, max_positions, 2048),
    MQ_KEY_ANY("resid_pdrop"),
    MQ_KEY_ANY("emb_pdrop"),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    (void)number;
    mq_layer_set_attention(hp, l);
    l->attention.clip = hp->clip;
    l->norm = MQ_NORM_LAYER;
    l->norm_eps = 1e-5f;
    mq_layer_set_experts(hp, hp->ffn, l);
    l->ffn.router.normalize = hp->normalize_by ? MQ_NORMALIZE_SUM : MQ_NORMALIZE_NONE;
}

static void ends(const struct mq_hparams *hp, struct mq_ends *e)
{
    (void)hp;
    e->norm = MQ_NORM_LAYER;
    e->norm_eps = 1e-5f;
}

#define BLOCK "transformer.blocks.{layer}."
#define ATTENTION BLOCK "norm_attn_norm."
static const struct mq_tensor_name names[] = {
    {.role = MQ_ROLE_EMBEDDING, .name = "transformer.wte.weight"},
    {.role = MQ_ROLE_ATTN_NORM, .name = ATTENTION "norm_1.weight"},
    {.role = MQ_ROLE_FFN_NORM, .name = ATTENTION "norm_2.weight"},
    {.role = MQ_ROLE_ATTN_Q, .name = ATTENTION "attn.q_proj.weight"},
    {.role = MQ_ROLE_ATTN_K, .name = ATTENTION "attn.k_proj.weight"},
    {.role = MQ_ROLE_ATTN_V, .name = ATTENTION "attn.v_proj.weight"},
    {.role = MQ_ROLE_ATTN_O, .name = ATTENTION "attn.out_proj.weight"},
    {.role = MQ_ROLE_ROUTER, .name = BLOCK "ffn.router.layer.weight"},
    {.role = MQ_ROLE_EXPERT_GATE, .name = BLOCK "ffn.experts.{expert}.w1.weight"},
    {.role = MQ_ROLE_EXPERT_UP, .name = BLOCK "ffn.experts.{expert}.v1.weight"},
    {.role = MQ_ROLE_EXPERT_DOWN, .name = BLOCK "ffn.experts.{expert}.w2.weight"},
    {.role = MQ_ROLE_OUTPUT_NORM, .name = "transformer.norm_f.weight"},
    {.role = MQ_ROLE_HEAD, .name = "lm_head.weight"},
    {0},
};

/* The published form. */
static const struct mq_tensor_alias aliases[] = {
    {MQ_ROLE_ATTN_Q, ATTENTION "attn.Wqkv.weight", 3, 0 | MQ_PARTS_QKV},
    {MQ_ROLE_ATTN_K, ATTENTION "attn.Wqkv.weight", 3, 1 | MQ_PARTS_QKV},
    {MQ_ROLE_ATTN_V, ATTENTION "attn.Wqkv.weight", 3, 2 | MQ_PARTS_QKV},
    {MQ_ROLE_EXPERT_GATE, BLOCK "ffn.experts.mlp.w1", 1, MQ_PARTS_FLAT_EXPERTS},
    {MQ_ROLE_EXPERT_UP, BLOCK "ffn.experts.mlp.v1", 1, MQ_PARTS_FLAT_EXPERTS},
    {MQ_ROLE_EXPERT_DOWN, BLOCK "ffn.experts.mlp.w2", 1, MQ_PARTS_FLAT_EXPERTS | MQ_PARTS_TRANSPOSED},
    {0},
};

const struct mq_family mq_family_dbrx = {
    .name = "dbrx",
    .models = "DBRX",
    .architecture = "DbrxForCausalLM",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_max_positions = 2048,
    .theta_key = "attn_config.rope_theta",
    .without_sliding_window = true,
    .layer = layer,
    .ends = ends,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "dbrx",
};
