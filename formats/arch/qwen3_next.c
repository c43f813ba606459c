/*
 * qwen3_next.c: Qwen3-Next-80B-A3B: three layers of gated DeltaNet, whose matrices stand by key heads, then
 * one of attention with a gate and norms over each head; experts, and one for all tokens whose result is
 * weighed by a sigmoid; norms by 1 + w. Source: the published config.json, and Transformers'
 * Qwen3NextForCausalLM.
 */
#include "qwen3_next_int.h"

enum { DELTA, ATTENTION }; /* places in layer_types */

void mq_qwen3_next_mixer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    struct mq_layer_attention *a = &l->attention;
    const uint32_t kind = (number + 1) % hp->full_step == 0 ? ATTENTION : DELTA;
    l->norm = MQ_NORM_RMS_PLUS_ONE;
    if (mq_layer_value(&hp->layer_kinds, number, kind) == ATTENTION) {
        mq_layer_set_biased_attention(hp, l);
        a->qk_norm = MQ_QK_NORM_HEAD;
        a->gate = MQ_GATE_IN_Q;
        return;
    }
    a->kind = MQ_MIXER_DELTA;
    a->heads = hp->mixer_heads;
    a->kv_heads = hp->mixer_groups;
    a->head_dim = hp->mixer_state;
    a->value_dim = hp->mixer_head_dim;
    a->taps = hp->taps;
}

void mq_qwen3_next_experts(const struct mq_hparams *hp, uint32_t rows, struct mq_layer *l)
{
    mq_layer_set_experts(hp, rows, l);
    l->ffn.shared_rows = hp->shared_ffn;
    l->ffn.shared_gate = true;
}

void mq_qwen3_next_ends(const struct mq_hparams *hp, struct mq_ends *e)
{
    (void)hp;
    e->norm = MQ_NORM_RMS_PLUS_ONE;
}

static const struct mq_config_key keys[] = {
    MQ_KEYS_QWEN3_NEXT,
    MQ_KEY_EXPERTS("num_experts", "num_local_experts", 512),
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, 10),
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, 512),
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, true),
    MQ_KEY("decoder_sparse_step", MQ_KEY_U32, sparse_step, 1),
    MQ_KEY("mlp_only_layers", MQ_KEY_LAYERS, dense_layers, 0),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_qwen3_next_mixer(hp, number, l);
    l->attention.by_key_head = l->attention.kind == MQ_MIXER_DELTA;
    if (mq_layer_set_has(&hp->dense_layers, number) || (number + 1) % hp->sparse_step != 0)
        mq_layer_set_mlp(hp->ffn, l);
    else
        mq_qwen3_next_experts(hp, hp->expert_ffn, l);
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_QWEN3_NEXT,
    {.role = MQ_ROLE_DELTA_QKVZ, .name = MQ_LAYER_NAME "linear_attn.in_proj_qkvz.weight"},
    {.role = MQ_ROLE_DELTA_BA, .name = MQ_LAYER_NAME "linear_attn.in_proj_ba.weight"},
    MQ_NAMES_MLP,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_qwen3_next = {
    .name = "qwen3_next",
    .architecture = "Qwen3NextForCausalLM",
    .models = "Qwen3-Next-80B-A3B",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_kv_heads = 2,
    .default_head_dim = 256,
    .default_max_positions = 32768,
    .default_rotary_part = 0.25,
    .without_sliding_window = true,
    .layer = layer,
    .ends = mq_qwen3_next_ends,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "qwen3next",
};
