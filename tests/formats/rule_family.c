/* rule_family.c: see rule_family.h. Every key changes something, or the descriptor would be refused. */
#include "rule_family.h"

#include "arch/arch_int.h"

#define KINDS "\"mamba\"|\"linear_attention\"|\"M\" \"attention\"|\"*\" \"moe\"|\"E\""

static const struct mq_config_key keys[] = {
    MQ_KEY("ffn.k", MQ_KEY_U32, top_k, 1),
    MQ_KEY("ffn.deep.size", MQ_KEY_U32, expert_ffn, 48),
    {.key = "ffn.act", .rule = MQ_KEY_ONLY, .only = "\"silu\""},
    {.key = "n_experts",
     .alias = "num_experts ffn.experts",
     .rule = MQ_KEY_U32,
     .field = offsetof(struct mq_hparams, experts),
     .when_absent = 4},
    MQ_KEY("norm_eps", MQ_KEY_F32, rms_eps, 1e-5),
    MQ_KEY("tie_embedding", MQ_KEY_BOOL, tied_head, true),
    MQ_KEY("shared", MQ_KEY_COUNT, shared_experts, 1),
    {.key = "q_rank",
     .rule = MQ_KEY_COUNT,
     .field = offsetof(struct mq_hparams, q_rank),
     .when_absent = 1536,
     .has_null = true,
     .when_null = 0},
    MQ_KEY("softcap", MQ_KEY_F32_FROM_0, logit_softcap, 0),
    MQ_KEY("shift", MQ_KEY_REAL, query_beta, 0),
    {.key = "method",
     .rule = MQ_KEY_CHOICE,
     .only = "\"none\" \"greedy\"|\"best\" 3",
     .field = offsetof(struct mq_hparams, route_by)},
    {.key = "layer_types",
     .rule = MQ_KEY_LAYER_NAMES,
     .only = KINDS,
     .field = offsetof(struct mq_hparams, layer_kinds),
     .counts_layers = true},
    {.key = "pattern",
     .rule = MQ_KEY_LAYER_NAMES,
     .only = KINDS,
     .field = offsetof(struct mq_hparams, layer_kinds),
     .counts_layers = true},
    {.key = "cycle",
     .rule = MQ_KEY_LAYER_CYCLE,
     .only = "\"L\" \"G\"",
     .field = offsetof(struct mq_hparams, ffn_kinds)},
    {.key = "is_moe",
     .rule = MQ_KEY_LAYER_NAMES,
     .only = "false|0 true|1",
     .field = offsetof(struct mq_hparams, ffn_kinds)},
    MQ_KEY("topk", MQ_KEY_LAYER_NUMBERS, layer_top_k, 0),
    MQ_KEY("moe_layers", MQ_KEY_LAYERS, dense_layers, 0),
    MQ_KEY("rope_parameters.beta", MQ_KEY_F32, query_positions, 1),
    MQ_KEY("end", MQ_KEY_LAYER, dense_first, 1000),
    MQ_KEY("per_layer_config.*.head_dim", MQ_KEY_LAYER_ENTRIES, layer_shared, 0),
    {.key = "attention_bias",
     .rule = MQ_KEY_BOOL,
     .field = offsetof(struct mq_hparams, attention_bias)},
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    mq_layer_set_attention(hp, l);
    mq_layer_set_experts(hp, hp->expert_ffn, l);
    l->attention.clip = (float)hp->shared_experts;
    l->attention.softcap = (float)hp->q_rank;
    l->ffn.router.scale = hp->query_positions;
    l->attention.value_scale = (float)hp->dense_first;
    l->attention.window = mq_layer_value(&hp->layer_shared, number, 0);
    l->attention.query_beta = hp->query_beta;
    l->attention.query_shift = (float)hp->route_by + (hp->attention_bias ? 10 : 0);
    l->attention.chunk = mq_layer_value(&hp->layer_kinds, number, 9);
    l->attention.query_positions = (float)mq_layer_value(&hp->ffn_kinds, number, 9);
    l->ffn.router.jitter = (float)mq_layer_value(&hp->layer_top_k, number, 9);
    l->ffn.router.softcap = hp->dense_layers.given + mq_layer_set_has(&hp->dense_layers, number);
}

static void ends(const struct mq_hparams *hp, struct mq_ends *e)
{
    e->logit_softcap = hp->logit_softcap;
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_BEFORE_FFN,
    MQ_NAMES_EXPERTS,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

const struct mq_family rule_family = {
    .name = "test",
    .architecture = "TestForCausalLM",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_max_positions = 4096,
    .without_sliding_window = true,
    .layer = layer,
    .ends = ends,
    .names = names,
    .aliases = mq_no_aliases,
};
