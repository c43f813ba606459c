/*
 * deepseek_v2.c: DeepSeek-V2 and V2-Lite: latent attention; a router of softmax whose weights are not
 * divided by their sum but multiplied by a factor, and in the larger model chosen from the best groups of
 * experts. Source: the published config.json files, and Transformers' DeepseekV2ForCausalLM.
 */
#include "arch_int.h"

static const struct mq_config_key keys[] = {
    MQ_KEYS_LATENT(1536, 512, 128, 64, 128),
    MQ_KEYS_DEEPSEEK_EXPERTS(64, -1, 1407, 2, 0),
    MQ_KEY_WORDS("topk_method", MQ_KEY_CHOICE, "\"greedy\" \"group_limited_greedy\"", route_grouped,
                 0),
    MQ_KEYS_DEEPSEEK_GROUPS(1, 1, 1),
    MQ_KEY_AT("norm_topk_prob", "false"),
    MQ_KEY_AT("scoring_func", "\"softmax\""),
    {0},
};

static void layer(const struct mq_hparams *hp, uint32_t number, struct mq_layer *l)
{
    struct mq_layer_router *r = &l->ffn.router;
    mq_layer_set_latent(hp, true, l);
    if (!mq_layer_set_deepseek_ffn(hp, number, l))
        return;
    r->scale = hp->route_scale;
    if (hp->route_grouped) {
        r->groups = hp->route_groups;
        r->top_groups = hp->route_top_groups;
    }
}

static const struct mq_tensor_name names[] = {
    MQ_NAMES_LATENT,
    MQ_NAMES_EXPERTS,
    MQ_NAMES_SHARED("mlp.shared_experts."),
    MQ_NAMES_MLP,
    MQ_NAMES_AFTER_LAYERS,
    {0},
};

static const struct mq_tensor_alias aliases[] = {
    MQ_ALIASES_EXPERTS(MQ_LAYER_NAME "mlp."),
    {0},
};

const struct mq_family mq_family_deepseek_v2 = {
    .name = "deepseek_v2",
    .architecture = "DeepseekV2ForCausalLM",
    .models = "DeepSeek-V2, V2-Lite",
    .keys = keys,
    .default_rope_theta = 1e4,
    .default_rms_eps = 1e-6,
    .default_max_positions = 2048,
    .without_sliding_window = true,
    .layer = layer,
    .names = names,
    .aliases = aliases,
    .gguf_architecture = "deepseek2",
};
