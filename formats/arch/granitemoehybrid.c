/*
 * granitemoehybrid.c: Granite 4 (H-Tiny, H-Small, and those without experts): layers of Mamba2 or of
 * attention, mostly without positions, then experts and one MLP beside them; embeddings, branches, scores
 * and logits are scaled. Source: the published config.json files, and Transformers'
 * GraniteMoeHybridForCausalLM.
 */
#include "arch_int.h"

enum { MAMBA, ATTENTION };          /* places in layer_types */
enum { NO_POSITIONS, ROTARY };      /* and of position_embedding_type */

static const struct mq_config_key keys[] = {
    {.key = "layer_types",
     .alias = "layers_block_type",
     .rule = MQ_KEY_LAYER_NAMES,
     .only = "\"linear_attention\"|\"mamba\" \"full_attention\"|\"attention\"",
     .field = offsetof(struct mq_hparams, layer_kinds)},
    MQ_KEY_WORDS("position_embedding_type", MQ_KEY_CHOICE, "\"nope\" \"rope\"", position_kind, 0),
    MQ_KEY_ATTENTION_BIAS,
    MQ_KEY("embedding_multiplier", MQ_KEY_F32, embedding_scale, 1),
    MQ_KEY("residual_multiplier", MQ_KEY_F32, residual_scale, 1),
    MQ_KEY("attention_multiplier", MQ_KEY_F32, attention_scale, 1),
    MQ_KEY("logits_scaling", MQ_KEY_F32, logit_scale, 1), /* logits are divided by it */
    MQ_KEY("mamba_n_heads", MQ_KEY_U32, mixer_heads, 128),
    MQ_KEY("mamba_d_head", MQ_KEY_U32, mixer_head_dim, -1),
    MQ_KEY("mamba_n_groups", MQ_KEY_U32, mixer_groups, 1),
    MQ_KEY("mamba_d_state", MQ_KEY_U32, mixer_state, 256),
    MQ_KEY("mamba_d_conv", MQ_KEY_U32, taps, 4),
    MQ_KEY("mamba_conv_bias", MQ_KEY_BOOL, conv_bias, true),
    MQ_KEY("mamba_proj_bias", MQ_KEY_BOOL, mixer_bias, false),
    MQ_KEY_ANY("mamba_expand"), /* heads and their size say it */
    MQ_KEY_ANY("mamba_chunk_size"),
    {.key = "time_step_limit",
     .rule = MQ_KEY_ALL,
     .only = "0 1e30 {\"__float__\":\"Infinity\"}"}, /* none */
    MQ_KEY_OR_NULL("num_local_experts", MQ_KEY_COUNT, experts, 8, 0),
    MQ_KEY("num_experts_per_tok", MQ_KEY_COUNT, top_k, 2),
    MQ_KEY("shared_intermediate_size", MQ_KEY_U32, shared_ffn, 1024),
    MQ_KEY_AT("normalization_function", "\"rmsnorm\""),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    if (mq_layer_value(&hp->layer_kinds, number, MAMBA) == MAMBA) {
        mq_layer_set_mamba(hp, l);
    } else {
        mq_layer_set_biased_attention(hp, l);
        l->attention.scale = hp->attention_scale;
        if (hp->position_kind == NO_POSITIONS)
            l->attention.rope = MQ_ROPE_OF_NONE;
    }
    l->residual_scale = hp->residual_scale;
    if (hp->experts == 0) {
        mq_layer_set_mlp(hp->shared_ffn, l);
        return;
    }
    mq_layer_set_experts(hp, hp->ffn, l);
    l->ffn.shared_rows = hp->shared_ffn;
    l->ffn.router.score = MQ_SCORE_LOGIT;
    l->ffn.router.weights = MQ_WEIGHTS_SOFTMAX_CHOSEN;
}

static void ends(const struct mq_hparams *hp, struct mq_ends *e)
{
    e->embedding_scale = hp->embedding_scale;
    e->logit_scale = 1 / hp->logit_scale;
}

#define EXPERTS MQ_LAYER_NAME "block_sparse_moe."
#define SHARED MQ_LAYER_NAME "shared_mlp."
static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_ATTENTION_BIAS,
    MQ_NAMES_MAMBA(MQ_LAYER_NAME "mamba."),
    {.role = MQ_ROLE_ROUTER, .name = EXPERTS "router.layer.weight"},
    /* The files have fused ones alone: see below. */
    {.role = MQ_ROLE_EXPERT_GATE, .name = EXPERTS "experts.{expert}.gate_proj.weight"},
    {.role = MQ_ROLE_EXPERT_UP, .name = EXPERTS "experts.{expert}.up_proj.weight"},
    {.role = MQ_ROLE_EXPERT_DOWN, .name = EXPERTS "experts.{expert}.down_proj.weight"},
    {.role = MQ_ROLE_SHARED_GATE, .name = SHARED "gate_proj.weight"},
    {.role = MQ_ROLE_SHARED_UP, .name = SHARED "up_proj.weight"},
    {.role = MQ_ROLE_SHARED_DOWN, .name = SHARED "output_linear.weight"},
    {.role = MQ_ROLE_MLP_GATE, .name = SHARED "gate_proj.weight"},
    {.role = MQ_ROLE_MLP_UP, .name = SHARED "up_proj.weight"},
    {.role = MQ_ROLE_MLP_DOWN, .name = SHARED "output_linear.weight"},
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    {MQ_ROLE_EXPERT_GATE, EXPERTS "input_linear.weight", 2, 0},
    {MQ_ROLE_EXPERT_UP, EXPERTS "input_linear.weight", 2, 1},
    {MQ_ROLE_EXPERT_DOWN, EXPERTS "output_linear.weight", 1, 0},
    {MQ_ROLE_SHARED_GATE, SHARED "input_linear.weight", 2, 0},
    {MQ_ROLE_SHARED_UP, SHARED "input_linear.weight", 2, 1},
    {MQ_ROLE_MLP_GATE, SHARED "input_linear.weight", 2, 0},
    {MQ_ROLE_MLP_UP, SHARED "input_linear.weight", 2, 1},
    /* Transformers 5 */
    {MQ_ROLE_EXPERT_GATE, EXPERTS "experts.gate_up_proj", 2, 0},
    {MQ_ROLE_EXPERT_UP, EXPERTS "experts.gate_up_proj", 2, 1},
    {MQ_ROLE_EXPERT_DOWN, EXPERTS "experts.down_proj", 1, 0},
    {0},
};

const struct mq_family mq_family_granitemoehybrid = {
    .name = "granitemoehybrid",
    .architecture = "GraniteMoeHybridForCausalLM",
    .models = "Granite 4.0 H-Tiny, H-Small",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_max_positions = 2048,
    .without_sliding_window = true,
    .layer = layer,
    .ends = ends,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "granitehybrid",
};
