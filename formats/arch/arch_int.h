/* arch_int.h: pieces that several family descriptors share. */
#ifndef MQ_ARCH_INT_H
#define MQ_ARCH_INT_H

#include "family.h"

#include <stddef.h>

/* ---- names ---- */

/* One name a line: */
/* clang-format off */
#define MQ_LAYER_NAME "model.layers.{layer}."

/* Pre-norm attention, then a pre-normed feed-forward part. */
#define MQ_NAMES_BEFORE_FFN                                                    \
    {.role = MQ_ROLE_EMBEDDING, .name = "model.embed_tokens.weight"},          \
    {.role = MQ_ROLE_ATTN_NORM, .name = MQ_LAYER_NAME "input_layernorm.weight"},        \
    {.role = MQ_ROLE_FFN_NORM, .name = MQ_LAYER_NAME "post_attention_layernorm.weight"}, \
    MQ_NAMES_QKVO
#define MQ_NAMES_QKVO                                                          \
    {.role = MQ_ROLE_ATTN_Q, .name = MQ_LAYER_NAME "self_attn.q_proj.weight"}, \
    {.role = MQ_ROLE_ATTN_K, .name = MQ_LAYER_NAME "self_attn.k_proj.weight"}, \
    {.role = MQ_ROLE_ATTN_V, .name = MQ_LAYER_NAME "self_attn.v_proj.weight"}, \
    {.role = MQ_ROLE_ATTN_O, .name = MQ_LAYER_NAME "self_attn.o_proj.weight"}

#define MQ_NAMES_QK_NORM                                                          \
    {.role = MQ_ROLE_ATTN_Q_NORM, .name = MQ_LAYER_NAME "self_attn.q_norm.weight"}, \
    {.role = MQ_ROLE_ATTN_K_NORM, .name = MQ_LAYER_NAME "self_attn.k_norm.weight"}

#define MQ_NAMES_MLP                                                                      \
    {.role = MQ_ROLE_MLP_GATE, .name = MQ_LAYER_NAME "mlp.gate_proj.weight"},  \
    {.role = MQ_ROLE_MLP_UP, .name = MQ_LAYER_NAME "mlp.up_proj.weight"},      \
    {.role = MQ_ROLE_MLP_DOWN, .name = MQ_LAYER_NAME "mlp.down_proj.weight"}

/* A router and experts as most families since Qwen2-MoE call them. */
#define MQ_NAMES_EXPERT_MATRICES                                                                  \
    {.role = MQ_ROLE_EXPERT_GATE, .name = MQ_LAYER_NAME "mlp.experts.{expert}.gate_proj.weight"}, \
    {.role = MQ_ROLE_EXPERT_UP, .name = MQ_LAYER_NAME "mlp.experts.{expert}.up_proj.weight"},     \
    {.role = MQ_ROLE_EXPERT_DOWN, .name = MQ_LAYER_NAME "mlp.experts.{expert}.down_proj.weight"}
#define MQ_NAMES_EXPERTS      \
    MQ_NAMES_EXPERT_MATRICES, \
    {.role = MQ_ROLE_ROUTER, .name = MQ_LAYER_NAME "mlp.gate.weight"}
/* The same as Mixtral calls them: w1 is gate, w3 up, w2 down. */
#define MQ_NAMES_MIXTRAL_EXPERTS                                                          \
    {.role = MQ_ROLE_EXPERT_GATE,                                                         \
     .name = MQ_LAYER_NAME "block_sparse_moe.experts.{expert}.w1.weight"},                \
    {.role = MQ_ROLE_EXPERT_UP,                                                           \
     .name = MQ_LAYER_NAME "block_sparse_moe.experts.{expert}.w3.weight"},                \
    {.role = MQ_ROLE_EXPERT_DOWN,                                                         \
     .name = MQ_LAYER_NAME "block_sparse_moe.experts.{expert}.w2.weight"},                \
    {.role = MQ_ROLE_ROUTER, .name = MQ_LAYER_NAME "block_sparse_moe.gate.weight"}

/* Biases of q, k and v. */
#define MQ_NAMES_QKV_BIAS                                                         \
    {.role = MQ_ROLE_ATTN_Q_BIAS, .name = MQ_LAYER_NAME "self_attn.q_proj.bias"}, \
    {.role = MQ_ROLE_ATTN_K_BIAS, .name = MQ_LAYER_NAME "self_attn.k_proj.bias"}, \
    {.role = MQ_ROLE_ATTN_V_BIAS, .name = MQ_LAYER_NAME "self_attn.v_proj.bias"}

/* The same, and that of their result: where attention_bias says so. */
#define MQ_NAMES_ATTENTION_BIAS \
    MQ_NAMES_QKV_BIAS,          \
    {.role = MQ_ROLE_ATTN_O_BIAS, .name = MQ_LAYER_NAME "self_attn.o_proj.bias"}

/* DeepSeek's latent attention; q is made of the hidden state in some models, of q_a in others. */
#define MQ_NAMES_LATENT                                                                        \
    {.role = MQ_ROLE_EMBEDDING, .name = "model.embed_tokens.weight"},                          \
    {.role = MQ_ROLE_ATTN_NORM, .name = MQ_LAYER_NAME "input_layernorm.weight"},               \
    {.role = MQ_ROLE_FFN_NORM, .name = MQ_LAYER_NAME "post_attention_layernorm.weight"},       \
    {.role = MQ_ROLE_ATTN_Q, .name = MQ_LAYER_NAME "self_attn.q_proj.weight"},                 \
    {.role = MQ_ROLE_ATTN_Q_A, .name = MQ_LAYER_NAME "self_attn.q_a_proj.weight"},             \
    {.role = MQ_ROLE_ATTN_Q_A_NORM, .name = MQ_LAYER_NAME "self_attn.q_a_layernorm.weight"},   \
    {.role = MQ_ROLE_ATTN_Q_B, .name = MQ_LAYER_NAME "self_attn.q_b_proj.weight"},             \
    {.role = MQ_ROLE_ATTN_KV_A, .name = MQ_LAYER_NAME "self_attn.kv_a_proj_with_mqa.weight"},  \
    {.role = MQ_ROLE_ATTN_KV_A_NORM, .name = MQ_LAYER_NAME "self_attn.kv_a_layernorm.weight"}, \
    {.role = MQ_ROLE_ATTN_KV_B, .name = MQ_LAYER_NAME "self_attn.kv_b_proj.weight"},           \
    {.role = MQ_ROLE_ATTN_O, .name = MQ_LAYER_NAME "self_attn.o_proj.weight"}
/* A whole model of DeepSeek-V3's kind. */
#define MQ_NAMES_DEEPSEEK                        \
    MQ_NAMES_LATENT,                             \
    MQ_NAMES_EXPERTS,                            \
    MQ_NAMES_CHOICE_BIAS,                        \
    MQ_NAMES_SHARED("mlp.shared_experts."),      \
    MQ_NAMES_MLP,                                \
    MQ_NAMES_AFTER_LAYERS

#define MQ_NAMES_INDEXER(module)                                              \
    {.role = MQ_ROLE_INDEXER_Q, .name = module "wq_b.weight"},                \
    {.role = MQ_ROLE_INDEXER_K, .name = module "wk.weight"},                  \
    {.role = MQ_ROLE_INDEXER_K_NORM, .name = module "k_norm.weight"},         \
    {.role = MQ_ROLE_INDEXER_K_NORM_BIAS, .name = module "k_norm.bias"},      \
    {.role = MQ_ROLE_INDEXER_WEIGHTS, .name = module "weights_proj.weight"}

/* Shared experts, stored as one MLP: module is "mlp.shared_experts." and its kin. */
#define MQ_NAMES_SHARED(module)                                                             \
    {.role = MQ_ROLE_SHARED_GATE, .name = MQ_LAYER_NAME module "gate_proj.weight"},         \
    {.role = MQ_ROLE_SHARED_UP, .name = MQ_LAYER_NAME module "up_proj.weight"},             \
    {.role = MQ_ROLE_SHARED_DOWN, .name = MQ_LAYER_NAME module "down_proj.weight"}

/* What is added to scores for the choice alone, beside a router called mlp.gate. */
#define MQ_NAMES_CHOICE_BIAS              \
    {.role = MQ_ROLE_ROUTER_CHOICE_BIAS, \
     .name = MQ_LAYER_NAME "mlp.gate.e_score_correction_bias"}

/* The same experts in one tensor: Transformers 5 holds those of a layer fused, gate rows before up
 * rows; MLX stacks each of the three matrices, beside where they were (mlx_lm, each model's
 * sanitize). */
#define MQ_ALIASES_EXPERTS(moe)                                            \
    {MQ_ROLE_EXPERT_GATE, MQ_LAYER_NAME "mlp.experts.gate_up_proj", 2, 0}, \
    {MQ_ROLE_EXPERT_UP, MQ_LAYER_NAME "mlp.experts.gate_up_proj", 2, 1},   \
    {MQ_ROLE_EXPERT_DOWN, MQ_LAYER_NAME "mlp.experts.down_proj", 1, 0},    \
    {MQ_ROLE_EXPERT_GATE, moe "switch_mlp.gate_proj.weight", 1, 0},        \
    {MQ_ROLE_EXPERT_UP, moe "switch_mlp.up_proj.weight", 1, 0},            \
    {MQ_ROLE_EXPERT_DOWN, moe "switch_mlp.down_proj.weight", 1, 0}

/* Mamba2 of a module such as MQ_LAYER_NAME "mamba.". */
#define MQ_NAMES_MAMBA(module)                                           \
    {.role = MQ_ROLE_MIX_IN, .name = module "in_proj.weight"},           \
    {.role = MQ_ROLE_MIX_IN_BIAS, .name = module "in_proj.bias"},        \
    {.role = MQ_ROLE_MIX_OUT_BIAS, .name = module "out_proj.bias"},      \
    {.role = MQ_ROLE_MIX_CONV, .name = module "conv1d.weight"},          \
    {.role = MQ_ROLE_MIX_CONV_BIAS, .name = module "conv1d.bias"},       \
    {.role = MQ_ROLE_MIX_DECAY, .name = module "A_log"},                 \
    {.role = MQ_ROLE_MIX_STEP_BIAS, .name = module "dt_bias"},           \
    {.role = MQ_ROLE_MIX_SKIP, .name = module "D"},                      \
    {.role = MQ_ROLE_MIX_NORM, .name = module "norm.weight"},            \
    {.role = MQ_ROLE_MIX_OUT, .name = module "out_proj.weight"}

#define MQ_NAMES_AFTER_LAYERS                                       \
    {.role = MQ_ROLE_OUTPUT_NORM, .name = "model.norm.weight"},     \
    {.role = MQ_ROLE_HEAD, .name = "lm_head.weight"}

/* clang-format on */

/* ---- config keys ---- */

#define MQ_KEY(name, its_rule, member, otherwise)                                    \
    {                                                                                \
        .key = name, .rule = its_rule, .field = offsetof(struct mq_hparams, member), \
        .when_absent = otherwise                                                     \
    }
#define MQ_KEY_EXPERTS(name, its_alias, otherwise)                                \
    {                                                                             \
        .key = name, .alias = its_alias, .rule = MQ_KEY_U32,                      \
        .field = offsetof(struct mq_hparams, experts), .when_absent = otherwise   \
    }

/* Of which null is not the same as absent. */
#define MQ_KEY_OR_NULL(name, its_rule, member, otherwise, null)                      \
    {                                                                                \
        .key = name, .rule = its_rule, .field = offsetof(struct mq_hparams, member), \
        .when_absent = otherwise, .has_null = true, .when_null = null                \
    }
/* Keys that several families share. */
#define MQ_KEY_ATTENTION_BIAS MQ_KEY("attention_bias", MQ_KEY_BOOL, attention_bias, false)
#define MQ_KEYS_V3_ROUTER                                      \
    MQ_KEY("n_group", MQ_KEY_U32, route_groups, 1),            \
    MQ_KEY("topk_group", MQ_KEY_U32, route_top_groups, 1),     \
    MQ_KEY("routed_scaling_factor", MQ_KEY_F32, route_scale, 1)

/* DeepSeek's latent attention, and the layers that have no experts. q_lora_rank: null is not the same as
 * absent. */
#define MQ_KEYS_LATENT(q, kv, plain, rotary, value)                       \
    MQ_KEY_OR_NULL("q_lora_rank", MQ_KEY_COUNT, q_rank, q, 0),            \
    MQ_KEY("kv_lora_rank", MQ_KEY_U32, kv_rank, kv),                      \
    MQ_KEY("qk_nope_head_dim", MQ_KEY_U32, plain_dim, plain),             \
    MQ_KEY("qk_rope_head_dim", MQ_KEY_U32, rotary_dim, rotary),           \
    MQ_KEY("v_head_dim", MQ_KEY_U32, value_dim, value),                   \
    MQ_KEY("rope_interleave", MQ_KEY_BOOL, rotary_neighbours, true),      \
    MQ_KEY_ANY("head_dim"), /* as Transformers writes it: one of those */ \
    MQ_KEY_ANY("qk_head_dim")
#define MQ_KEYS_DEEPSEEK_EXPERTS(experts_, k, rows, shared, dense)                                 \
    MQ_KEY_EXPERTS("n_routed_experts", "num_local_experts num_experts", experts_),                 \
    MQ_KEY("num_experts_per_tok", MQ_KEY_U32, top_k, k),                                           \
    MQ_KEY("moe_intermediate_size", MQ_KEY_U32, expert_ffn, rows),                                 \
    MQ_KEY_OR_NULL("n_shared_experts", MQ_KEY_COUNT, shared_experts, shared, 0),                   \
    MQ_KEY("first_k_dense_replace", MQ_KEY_COUNT, dense_first, dense),                             \
    MQ_KEY_WORDS("mlp_layer_types", MQ_KEY_LAYER_NAMES, "\"dense\" \"sparse\"", ffn_kinds, 0),     \
    MQ_KEY_AT("moe_layer_freq", "1"),                                                              \
    MQ_KEY_ANY("ep_size"), /* machines, and losses of training */                                  \
    MQ_KEY_ANY("aux_loss_alpha"),                                                                  \
    MQ_KEY_ANY("seq_aux"),                                                                         \
    MQ_KEY_ANY("num_mtp_layers")
/* Its router: nulls say that there are no groups, and no scale. */
#define MQ_KEYS_DEEPSEEK_GROUPS(groups, top_groups, scale)                     \
    MQ_KEY_OR_NULL("n_group", MQ_KEY_U32, route_groups, groups, 1),            \
    MQ_KEY_OR_NULL("topk_group", MQ_KEY_U32, route_top_groups, top_groups, 1), \
    MQ_KEY_OR_NULL("routed_scaling_factor", MQ_KEY_F32, route_scale, scale, 1)
/* (The last two Transformers does not read; DeepSeek's own code knows these values alone.) */
#define MQ_KEYS_SIGMOID_ROUTER                                    \
    MQ_KEY("norm_topk_prob", MQ_KEY_BOOL, normalize_top_k, true), \
    MQ_KEY_AT("scoring_func", "\"sigmoid\""),                     \
    MQ_KEY_AT("topk_method", "\"noaux_tc\"")
/* Sparse attention's indexer: of no effect up to index_topk keys. */
#define MQ_KEYS_INDEXER(heads)                                   \
    MQ_KEY("index_topk", MQ_KEY_U32, indexed, 2048),             \
    MQ_KEY("index_n_heads", MQ_KEY_U32, indexer_heads, heads),   \
    MQ_KEY("index_head_dim", MQ_KEY_U32, indexer_dim, 128),      \
    MQ_KEY_ANY("index_share_for_mtp_iteration"),                 \
    MQ_KEY_ANY("indexer_rope_interleave"),                       \
    {.key = "layer_types", .rule = MQ_KEY_ALL, .only = "\"indexed_attention\""}

/* Of words: a choice (otherwise: the place of the word), or a list of them for the layers. */
#define MQ_KEY_WORDS(name, its_rule, words, member, otherwise)                 \
    {                                                                          \
        .key = name, .rule = its_rule, .only = words,                          \
        .field = offsetof(struct mq_hparams, member), .when_absent = otherwise \
    }
/* Not read: harmless whatever it says, or at these values only. */
#define MQ_KEY_ANY(name)                     \
    {                                        \
        .key = name, .rule = MQ_KEY_HARMLESS \
    }
#define MQ_KEY_AT(name, values)                          \
    {                                                    \
        .key = name, .rule = MQ_KEY_ONLY, .only = values \
    }

/* ---- layers ---- */

/* How many numbers of a head a part of it is. An odd number is refused (model_program.c): Transformers
 * then turns one more, by frequencies of the odd number. */
uint32_t mq_rotary_dim(uint32_t head_dim, double part);
/* Norms, and grouped-query attention, whose scores are divided by sqrt(head_dim). */
void mq_layer_set_attention(const struct mq_hparams *hp, struct mq_layer *layer);
/* The same, with biases of q, k, v and o where hp->attention_bias says so. */
void mq_layer_set_biased_attention(const struct mq_hparams *hp, struct mq_layer *layer);
/* DeepSeek's latent attention, whose scores yarn multiplies besides where the family's code does. */
void mq_layer_set_latent(const struct mq_hparams *hp, bool yarn_scores, struct mq_layer *layer);
/* An MLP in the first layers, or where mlp_layer_types says so; experts of hp->expert_ffn rows and
 * shared ones in the others: whether this is one of those. */
bool mq_layer_set_deepseek_ffn(const struct mq_hparams *hp, uint32_t number,
                               struct mq_layer *layer);
/* The whole layer of DeepSeek-V3. */
void mq_layer_deepseek(const struct mq_hparams *hp, uint32_t number, struct mq_layer *layer);
void mq_layer_set_mlp(uint32_t rows, struct mq_layer *layer);
/* A router of softmax, its weights divided by their sum where hp->normalize_top_k says so, and
 * experts. */
void mq_layer_set_experts(const struct mq_hparams *hp, uint32_t rows, struct mq_layer *layer);

/* Its weights by hp->route_scale, and experts from the best groups by their two best ones, where there
 * are groups. */
void mq_layer_set_router_groups(const struct mq_hparams *hp, struct mq_layer *layer);
/* Changes a router to DeepSeek-V3's: the same, and scores are sigmoids, with a bias for the choice alone. */
void mq_layer_set_sigmoid_router(const struct mq_hparams *hp, struct mq_layer *layer);

/* Norms, and Mamba2 of hp->mixer_* and taps. */
void mq_layer_set_mamba(const struct mq_hparams *hp, struct mq_layer *layer);

/* The whole layer of Mistral Small 4 and Large 3, in both their forms. */
void mq_layer_mistral4(const struct mq_hparams *hp, uint32_t number, struct mq_layer *layer);

/* Attention and an MLP: the whole of a dense family. */
void mq_layer_dense(const struct mq_hparams *hp, uint32_t number, struct mq_layer *layer);

#endif
