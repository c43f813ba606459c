/*
 * nemotron_h.c: Nemotron-H and Nemotron 3 Nano: each layer is one part, after one norm: Mamba2, attention
 * without positions, an MLP or experts without gates (relu squared), with DeepSeek-V3's router and a
 * shared expert. Source: the published config.json files, and Transformers' NemotronHForCausalLM (which
 * reads no bound of dt but time_step_min). Not implemented: Nemotron 3 Super's moe_latent_size.
 */
#include "arch_int.h"

enum { MAMBA, EXPERTS, ATTENTION, MLP }; /* places of the words below */
#define WORDS                                                                 \
    "\"linear_attention\"|\"mamba\"|\"M\" \"moe\"|\"E\" "                      \
    "\"full_attention\"|\"attention\"|\"*\" \"mlp\"|\"-\""

static const struct mq_config_key keys[] = {
    {.key = "layers_block_type",
     .alias = "layer_types",
     .rule = MQ_KEY_LAYER_NAMES,
     .only = WORDS,
     .field = offsetof(struct mq_hparams, layer_kinds),
     .counts_layers = true},
    {.key = "hybrid_override_pattern",
     .rule = MQ_KEY_LAYER_NAMES,
     .only = WORDS,
     .field = offsetof(struct mq_hparams, layer_kinds),
     .counts_layers = true},
    MQ_KEY("layer_norm_epsilon", MQ_KEY_F32, rms_eps, 1e-5),
    MQ_KEY_ANY("norm_eps"), /* not read: layer_norm_epsilon is */
    MQ_KEY_ANY("rms_norm_eps"),
    {.key = "mlp_hidden_act",
     .rule = MQ_KEY_NAME,
     .only = "\"relu2\"",
     .field = offsetof(struct mq_hparams, activation),
     .when_absent = MQ_ACTIVATION_RELU2},
    MQ_KEY("mamba_num_heads", MQ_KEY_U32, mixer_heads, 128),
    MQ_KEY("mamba_head_dim", MQ_KEY_U32, mixer_head_dim, 64),
    {.key = "n_groups",
     .alias = "mamba_n_groups",
     .rule = MQ_KEY_U32,
     .field = offsetof(struct mq_hparams, mixer_groups),
     .when_absent = 8},
    MQ_KEY("ssm_state_size", MQ_KEY_U32, mixer_state, 128),
    {.key = "conv_kernel",
     .alias = "mamba_d_conv",
     .rule = MQ_KEY_U32,
     .field = offsetof(struct mq_hparams, taps),
     .when_absent = 4},
    {.key = "use_conv_bias",
     .alias = "mamba_conv_bias",
     .rule = MQ_KEY_BOOL,
     .field = offsetof(struct mq_hparams, conv_bias),
     .when_absent = true},
    {.key = "time_step_min",
     .alias = "mamba_dt_min",
     .rule = MQ_KEY_F32_FROM_0,
     .field = offsetof(struct mq_hparams, least_step),
     .when_absent = 0.001},
    MQ_KEY_AT("mamba_hidden_act", "\"silu\""),
    MQ_KEY("mamba_proj_bias", MQ_KEY_BOOL, mixer_bias, false),
    MQ_KEY_ANY("expand"), /* heads and their size say it */
    MQ_KEY_ANY("chunk_size"),
    MQ_KEY_ANY("time_step_max"), /* of weights as they began, as are the next two */
    MQ_KEY_ANY("time_step_floor"),
    /* NVIDIA's code keeps steps within it, Transformers' above time_step_min: the published one is none
     * (Infinity, in the ways that JSON has for it) */
    {.key = "time_step_limit",
     .rule = MQ_KEY_ALL,
     .only = "0 1e999 1e30 \"inf\" \"Infinity\" {\"__float__\":\"Infinity\"}"},
    MQ_KEY_ANY("mamba_ssm_cache_dtype"),
    MQ_KEY_ANY("use_mamba_kernels"),
    MQ_KEY_ANY("num_logits_to_keep"),
    MQ_KEY_ANY("residual_in_fp32"),
    MQ_KEY_ANY("rescale_prenorm_residual"),
    MQ_KEY_EXPERTS("n_routed_experts", "num_local_experts num_experts", 8),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 2),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 7688),
    MQ_KEY("moe_shared_expert_intermediate_size", MQ_KEY_U32, shared_ffn, 7688),
    MQ_KEY_AT("n_shared_experts", "1"),
    MQ_KEY_AT("moe_latent_size", ""),
    MQ_KEY_ANY("moe_shared_expert_overlap"), /* of work on several cards */
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, true),
    MQ_KEYS_V3_ROUTER,
    MQ_KEY_ANY("num_nextn_predict_layers"),
    MQ_KEY_ANY("mtp_layers_block_type"),
    MQ_KEY_ANY("mtp_hybrid_override_pattern"),
    MQ_KEY_ATTENTION_BIAS,
    {0},
};

static void set_experts(const struct mq_hparams *hp, struct mq_layer *l)
{
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    mq_layer_set_sigmoid_router(hp, l);
    l->ffn.shared_rows = hp->shared_ffn;
}

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    switch (mq_layer_value(&hp->layer_kinds, number, MAMBA)) {
    case MAMBA:
        mq_layer_set_mamba(hp, l);
        l->attention.least_step = hp->least_step;
        break;
    case EXPERTS:
        set_experts(hp, l);
        break;
    case ATTENTION:
        mq_layer_set_biased_attention(hp, l);
        l->attention.rope = MQ_ROPE_OF_NONE;
        break;
    default:
        mq_layer_set_mlp(hp->ffn, l);
    }
}

#define LAYER "backbone.layers.{layer}."
#define PART LAYER "mixer."
static const struct mq_tensor_name names[] = {
    {.role = MQ_ROLE_EMBEDDING, .name = "backbone.embeddings.weight"},
    {.role = MQ_ROLE_ATTN_NORM, .name = LAYER "norm.weight"},
    {.role = MQ_ROLE_FFN_NORM, .name = LAYER "norm.weight"},
    {.role = MQ_ROLE_ATTN_Q, .name = PART "q_proj.weight"},
    {.role = MQ_ROLE_ATTN_K, .name = PART "k_proj.weight"},
    {.role = MQ_ROLE_ATTN_V, .name = PART "v_proj.weight"},
    {.role = MQ_ROLE_ATTN_O, .name = PART "o_proj.weight"},
    {.role = MQ_ROLE_ATTN_Q_BIAS, .name = PART "q_proj.bias"},
    {.role = MQ_ROLE_ATTN_K_BIAS, .name = PART "k_proj.bias"},
    {.role = MQ_ROLE_ATTN_V_BIAS, .name = PART "v_proj.bias"},
    {.role = MQ_ROLE_ATTN_O_BIAS, .name = PART "o_proj.bias"},
    MQ_NAMES_MAMBA(PART),
    {.role = MQ_ROLE_ROUTER, .name = PART "gate.weight"},
    {.role = MQ_ROLE_ROUTER_CHOICE_BIAS, .name = PART "gate.e_score_correction_bias"},
    {.role = MQ_ROLE_EXPERT_UP, .name = PART "experts.{expert}.up_proj.weight"},
    {.role = MQ_ROLE_EXPERT_DOWN, .name = PART "experts.{expert}.down_proj.weight"},
    {.role = MQ_ROLE_SHARED_UP, .name = PART "shared_experts.up_proj.weight"},
    {.role = MQ_ROLE_SHARED_DOWN, .name = PART "shared_experts.down_proj.weight"},
    {.role = MQ_ROLE_MLP_UP, .name = PART "up_proj.weight"},
    {.role = MQ_ROLE_MLP_DOWN, .name = PART "down_proj.weight"},
    {.role = MQ_ROLE_OUTPUT_NORM, .name = "backbone.norm_f.weight"},
    {.role = MQ_ROLE_HEAD, .name = "lm_head.weight"},
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    /* Transformers 5 */
    {MQ_ROLE_EXPERT_UP, PART "experts.up_proj", 1, 0},
    {MQ_ROLE_EXPERT_DOWN, PART "experts.down_proj", 1, 0},
    /* MLX */
    {MQ_ROLE_EXPERT_UP, PART "switch_mlp.fc1.weight", 1, 0},
    {MQ_ROLE_EXPERT_DOWN, PART "switch_mlp.fc2.weight", 1, 0},
    {0},
};

const struct mq_family mq_family_nemotron_h = {
    .name = "nemotron_h",
    .architecture = "NemotronHForCausalLM",
    .models = "Nemotron 3 Nano 30B-A3B, Nemotron-H",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-5,
    .default_kv_heads = 8,
    .default_head_dim = 128,
    .default_max_positions = 4096,
    .without_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "nemotron_h_moe",
};
