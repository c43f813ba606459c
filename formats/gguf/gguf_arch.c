/* gguf_arch.c: the table of architectures; see gguf_arch.h. */
#include "gguf_arch.h"

#include "family.h"
#include "gguf_form.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- what is asked of layers ---- */

static uint64_t has_window(const struct mq_layer *l)
{
    return l->attention.window != 0;
}

static uint64_t chunk_of(const struct mq_layer *l)
{
    return l->attention.chunk;
}

static uint64_t has_state(const struct mq_layer *l)
{
    return l->attention.kind != MQ_MIXER_GROUPED && l->attention.kind != MQ_MIXER_LATENT;
}

static uint64_t shared_rows(const struct mq_layer *l)
{
    return l->ffn.shared_rows;
}

static uint64_t expert_rows(const struct mq_layer *l)
{
    return l->ffn.router.experts ? l->ffn.rows : 0;
}

/* 2: yes, 1: no, 0: there is no router. */
static uint64_t normalizes(const struct mq_layer *l)
{
    const struct mq_layer_router *r = &l->ffn.router;
    return r->experts ? 1 + (r->normalize != MQ_NORMALIZE_NONE) : 0;
}

static uint64_t groups_of(const struct mq_layer *l)
{
    return l->ffn.router.groups ? l->ffn.router.groups : 1;
}

static uint64_t top_groups_of(const struct mq_layer *l)
{
    return l->ffn.router.groups ? l->ffn.router.top_groups : 1;
}

static uint64_t experts_used(const struct mq_layer *l)
{
    return l->ffn.router.top_k;
}

/* LLAMA_EXPERT_GATING_FUNC_TYPE: 1 softmax, 2 sigmoid, 3 softmax of the chosen alone; 0 of layers
 * without a router. */
static uint64_t gating(const struct mq_layer *l)
{
    const struct mq_layer_router *r = &l->ffn.router;
    if (!r->experts)
        return 0;
    return r->weights == MQ_WEIGHTS_SOFTMAX_CHOSEN ? 3 : r->score == MQ_SCORE_SIGMOID ? 2 : 1;
}

static uint64_t main_value_dim(const struct mq_layer *l)
{
    return l->attention.rope == MQ_ROPE_OF_MAIN ? l->attention.value_dim : 0;
}

static uint64_t local_value_dim(const struct mq_layer *l)
{
    return l->attention.rope == MQ_ROPE_OF_LOCAL ? l->attention.value_dim : 0;
}

static uint64_t local_rotary_dim(const struct mq_layer *l)
{
    return l->attention.rope == MQ_ROPE_OF_LOCAL ? l->attention.rotary_dim : 0;
}

static bool is_latent(const struct mq_layer *l)
{
    return l->attention.kind == MQ_MIXER_LATENT;
}

static uint64_t latent_keys(const struct mq_layer *l)
{
    return is_latent(l) ? (uint64_t)l->attention.kv_rank + l->attention.rotary_dim : 0;
}

static uint64_t latent_values(const struct mq_layer *l)
{
    return is_latent(l) ? l->attention.kv_rank : 0;
}

static uint64_t latent_head(const struct mq_layer *l)
{
    return is_latent(l) ? l->attention.head_dim : 0;
}

static uint64_t has_indexer(const struct mq_layer *l)
{
    return l->attention.indexer_heads != 0;
}

static uint64_t query_positions(const struct mq_layer *l)
{
    return l->attention.query_beta != 0 ? (uint64_t)l->attention.query_positions : 0;
}

static uint64_t state_rows(const struct mq_layer *l)
{
    return has_state(l) ? (uint64_t)l->attention.heads * l->attention.value_dim : 0;
}

/* ---- rows ---- */

#define AT(member) offsetof(struct mq_hparams, member)
#define KEY(name, its_type, member, otherwise)                                          \
    {                                                                                   \
        .kind = MQ_GGUF_FIELD, .pattern = "%s." name, .type = MQ_GGUF_##its_type, .field = AT(member), \
        .value = otherwise                                                              \
    }
#define OF_LAYERS(name, member, function)                                                       \
    {                                                                                           \
        .kind = MQ_GGUF_FIELD, .pattern = "%s." name, .type = MQ_GGUF_U32, .field = AT(member), \
        .value = NAN, .of_layer = function                                                      \
    }
#define KEY_OR_NONE(name, its_type, member, otherwise)                                    \
    {                                                                                     \
        .kind = MQ_GGUF_FIELD_OR_NONE, .pattern = "%s." name, .type = MQ_GGUF_##its_type, \
        .field = AT(member), .value = otherwise                                           \
    }
#define PART(its_kind, name, member, function)                                               \
    DERIVED(name, function),                                                                 \
    {                                                                                        \
        .kind = MQ_GGUF_##its_kind, .pattern = "%s." name, .field = AT(member), .value = NAN \
    }
#define FIXED(member, its_value)                                           \
    {                                                                      \
        .kind = MQ_GGUF_FIXED, .field = AT(member), .value = its_value     \
    }
#define IS(name, its_type, its_value)                                                       \
    {                                                                                       \
        .kind = MQ_GGUF_IS, .pattern = "%s." name, .type = MQ_GGUF_##its_type, .value = its_value \
    }
#define DERIVED(name, function)                                                      \
    {                                                                                \
        .kind = MQ_GGUF_DERIVED, .pattern = "%s." name, .type = MQ_GGUF_U32, .of_layer = function \
    }
/* Of text, positions of images are the same three times; llama.cpp wants to know how heads are cut. */
#define SECTIONS                                                          \
    {                                                                     \
        .kind = MQ_GGUF_SECTIONS, .pattern = "%s.rope.dimension_sections" \
    }
#define DEEPSTACK                                                                          \
    {                                                                                      \
        .kind = MQ_GGUF_DEEPSTACK, .pattern = "%s.n_deepstack_layers", .type = MQ_GGUF_U32 \
    }
/* Whether layers of attention have positions. */
#define FINETUNED                                                                            \
    {                                                                                        \
        .kind = MQ_GGUF_FIELD, .pattern = "%s.rope.scaling.finetuned", .type = MQ_GGUF_BOOL, \
        .field = AT(position_kind), .value = 1                                               \
    }
#define GATING(otherwise)                                                                 \
    {                                                                                     \
        .kind = MQ_GGUF_CHECKED, .pattern = "%s.expert_gating_func", .type = MQ_GGUF_U32, \
        .value = otherwise, .of_layer = gating                                            \
    }
/* Where it is absent, sigmoid if there is a bias for the choice (GLM-4.7-Flash), otherwise softmax. */
#define GATING_BY_BIAS                                                                    \
    {                                                                                     \
        .kind = MQ_GGUF_CHECKED, .pattern = "%s.expert_gating_func", .type = MQ_GGUF_U32, \
        .value = 1, .of_layer = gating, .by_role = true,                                  \
        .role = MQ_ROLE_ROUTER_CHOICE_BIAS                                                \
    }
#define IS_EQUAL(name, function)                                                           \
    {                                                                                      \
        .kind = MQ_GGUF_CHECKED, .pattern = "%s." name, .type = MQ_GGUF_U32, .value = NAN, \
        .of_layer = function                                                               \
    }
#define OTHER_KV(of_windows)                                                               \
    {                                                                                      \
        .kind = MQ_GGUF_OTHER_KV, .pattern = "%s.attention.sliding_window_pattern",        \
        .field = AT(other_kv_heads), .value = of_windows                                   \
    }
#define PRESENT(its_role, member)                                                    \
    {                                                                                \
        .kind = MQ_GGUF_PRESENT, .field = AT(member), .role = MQ_ROLE_##its_role     \
    }
#define WINDOWS(its_period, is_always)                                                       \
    {                                                                                        \
        .kind = MQ_GGUF_KINDS, .pattern = "%s.attention.sliding_window_pattern",             \
        .type = MQ_GGUF_BOOL, .field = AT(layer_kinds), .of_layer = has_window,              \
        .yes = "sliding_attention", .no = "full_attention", .period = its_period,            \
        .always = is_always                                                                  \
    }
#define BY_KV_HEADS(its_yes, its_no)                                                        \
    {                                                                                       \
        .kind = MQ_GGUF_KINDS, .field = AT(layer_kinds), .of_layer = has_state,             \
        .yes = its_yes, .no = its_no, .by_kv_heads = true                                   \
    }
#define EXPERTS_BY_TENSORS                                                                \
    {                                                                                     \
        .kind = MQ_GGUF_KINDS, .field = AT(ffn_kinds), .yes = "sparse", .no = "dense",    \
        .by_role = true, .role = MQ_ROLE_ROUTER                                           \
    }
#define LEADING                                                                              \
    {                                                                                        \
        .kind = MQ_GGUF_LEADING, .pattern = "%s.leading_dense_block_count", .type = MQ_GGUF_U32 \
    }
#define END    \
    {          \
        0      \
    }

#define EXPERT_ROWS KEY("expert_feed_forward_length", U32, expert_ffn, NAN)
#define SHARED_COUNT KEY("expert_shared_count", U32, shared_experts, 0)
#define SHARED_ROWS KEY("expert_shared_feed_forward_length", U32, shared_ffn, NAN)
#define SHARED_ROWS_TOO DERIVED("expert_shared_feed_forward_length", shared_rows)
#define ROUTE_SCALE KEY("expert_weights_scale", F32, route_scale, 1)
#define NORMALIZE                         \
    {.kind = MQ_GGUF_CHECKED,             \
     .pattern = "%s.expert_weights_norm", \
     .type = MQ_GGUF_BOOL,                \
     .value = 0,                          \
     .of_layer = normalizes},             \
        KEY("expert_weights_norm", BOOL, normalize_top_k, 0)
#define OF_GROUPS(name, member, function)                                          \
    {                                                                              \
        .kind = MQ_GGUF_FIELD, .pattern = "%s." name, .type = MQ_GGUF_U32,         \
        .field = AT(member), .value = 1, .of_layer = function                      \
    }
#define GROUPS                                                                                  \
    OF_GROUPS("expert_group_count", route_groups, groups_of),                                   \
        OF_GROUPS("expert_group_used_count", route_top_groups, top_groups_of),                  \
    {                                                                                           \
        .kind = MQ_GGUF_GROUPED, .pattern = "%s.expert_group_count", .field = AT(route_grouped) \
    }
#define SOFTMAX GATING(1)
#define SIGMOID GATING(2)
#define SCALES                                                 \
    KEY("embedding_scale", F32, embedding_scale, 1),           \
        KEY("residual_scale", F32, residual_scale, 1),         \
        KEY("attention.scale", F32, attention_scale, NAN),     \
        KEY("logit_scale", F32, logit_scale, 1)

static const struct mq_gguf_row olmoe[] = {FIXED(normalize_top_k, 0), END};
static const struct mq_gguf_row qwen3moe[] = {EXPERT_ROWS, FIXED(normalize_top_k, 1), END};
static const struct mq_gguf_row qwen3vlmoe[] = {EXPERT_ROWS, FIXED(normalize_top_k, 1), SECTIONS,
                                                DEEPSTACK, END};
static const struct mq_gguf_row qwen2moe[] = {EXPERT_ROWS, SHARED_ROWS, FIXED(normalize_top_k, 0),
                                              PRESENT(ATTN_Q_BIAS, attention_bias), END};
static const struct mq_gguf_row dots1[] = {EXPERT_ROWS, SHARED_COUNT, LEADING, ROUTE_SCALE,
                                           NORMALIZE,   GROUPS,       SIGMOID, END};
static const struct mq_gguf_row exaone_moe[] = {
    EXPERT_ROWS, SHARED_COUNT, SHARED_ROWS_TOO, LEADING,          ROUTE_SCALE,
    NORMALIZE,   GROUPS,       SIGMOID,         WINDOWS(4, true), END};
static const struct mq_gguf_row glm4moe[] = {
    EXPERT_ROWS,
    SHARED_COUNT,
    LEADING,
    ROUTE_SCALE,
    NORMALIZE,
    GROUPS,
    SIGMOID,
    PRESENT(ATTN_Q_BIAS, attention_bias),
    PRESENT(ATTN_Q_NORM, qk_norm),
    END,
};
static const struct mq_gguf_row minimax_m2[] = {DERIVED("expert_feed_forward_length", expert_rows),
                                                SIGMOID, END};
/* Trinity's own code multiplies embeddings where mup_enabled says so; llama.cpp always. */
static const struct mq_gguf_row afmoe[] = {
    EXPERT_ROWS, SHARED_COUNT, LEADING,           ROUTE_SCALE,
    NORMALIZE,   SIGMOID,      WINDOWS(4, false), FIXED(scale_embedding, 1),
    END};
static const struct mq_gguf_row hy_v3[] = {EXPERT_ROWS, SHARED_ROWS_TOO,    ROUTE_SCALE, NORMALIZE,
                                           SIGMOID,     EXPERTS_BY_TENSORS, END};
static const struct mq_gguf_name hy_v3_names[] = {
    {MQ_ROLE_ROUTER_CHOICE_BIAS, "blk.{layer}.exp_probs_b"},
    {0},
};
static const struct mq_gguf_row ernie4_5_moe[] = {
    EXPERT_ROWS,
    SHARED_COUNT,
    SHARED_ROWS_TOO,
    KEY("interleave_moe_layer_step", U32, sparse_step, NAN),
    KEY("leading_dense_block_count", U32, sparse_first, 0),
    FIXED(sparse_last, -1),
    SOFTMAX,
    END,
};
static const struct mq_gguf_row hunyuan_moe[] = {
    OF_LAYERS("expert_feed_forward_length", layer_expert_ffn, expert_rows),
    OF_LAYERS("expert_used_count", layer_top_k, experts_used),
    KEY("expert_shared_count", U32, layer_shared, 1),
    SHARED_ROWS_TOO,
    END,
};
static const struct mq_gguf_row granitemoe[] = {
   
    SCALES, PRESENT(ATTN_Q_BIAS, attention_bias), SHARED_ROWS_TOO, END};
static const struct mq_gguf_row phimoe[] = {PRESENT(ATTN_Q_BIAS, attention_bias),
                                            PRESENT(HEAD_BIAS, head_bias), END};
/* Keys and values are made of one short vector, which is all that a cache holds. */
#define LATENT                                                               \
    KEY_OR_NONE("attention.q_lora_rank", U32, q_rank, 0),                    \
        KEY("attention.kv_lora_rank", U32, kv_rank, NAN),                    \
        DERIVED("attention.key_length", latent_keys),                        \
        DERIVED("attention.value_length", latent_values),                    \
        PART(LESS_ROPE, "attention.key_length_mla", plain_dim, latent_head), \
        KEY("attention.value_length_mla", U32, value_dim, NAN)
#define DEEPSEEK_EXPERTS LEADING, EXPERT_ROWS, SHARED_COUNT, ROUTE_SCALE, NORMALIZE, GROUPS
#define QUERY_BETA KEY_OR_NONE("attention.temperature_scale", F32, query_beta, 0)
static const struct mq_gguf_row deepseek2[] = {
    LATENT,
    DEEPSEEK_EXPERTS,
    GATING_BY_BIAS,
    QUERY_BETA,
    /* of Mistral Large 3; without a scale it has no effect */
    {.kind = MQ_GGUF_FIELD,
     .pattern = "%s.attention.temperature_length",
     .type = MQ_GGUF_U32,
     .field = AT(query_positions),
     .value = 8192,
     .of_layer = query_positions},
    END,
};
/* Whose length is that of YaRN's original positions. */
static const struct mq_gguf_row mistral4[] = {
    LATENT,
    DEEPSEEK_EXPERTS,
    GATING_BY_BIAS,
    QUERY_BETA,
    DERIVED("attention.temperature_length", query_positions),
    END,
};
#define INDEXER                                                       \
    KEY("attention.indexer.head_count", U32, indexer_heads, NAN),     \
        KEY("attention.indexer.key_length", U32, indexer_dim, NAN),   \
        KEY("attention.indexer.top_k", U32, indexed, NAN)
static const struct mq_gguf_row deepseek32[] = {LATENT, DEEPSEEK_EXPERTS, SIGMOID, INDEXER, END};
/* llama.cpp takes it for granted that all layers have an indexer, or in models of a million positions those
 * of GLM-5.2. */
static const struct mq_gguf_row glm_dsa[] = {
    LATENT,
    DEEPSEEK_EXPERTS,
    SIGMOID,
    INDEXER,
    {.kind = MQ_GGUF_KINDS,
     .pattern = "%s.attention.indexer.types",
     .type = MQ_GGUF_BOOL,
     .field = AT(indexer_kinds),
     .of_layer = has_indexer,
     .yes = "full",
     .no = "shared",
     .period = 1,
     .always = true,
     .by_role = true,
     .role = MQ_ROLE_INDEXER_K},
    END,
};
static const struct mq_gguf_form_rule deepseek2_forms[] = {
    {MQ_ROLE_ATTN_KV_B, MQ_FORM_KV_B},
    {0},
};

#define DELTA                                                                             \
    KEY("ssm.conv_kernel", U32, taps, NAN), KEY("ssm.state_size", U32, mixer_state, NAN), \
        KEY("ssm.group_count", U32, mixer_groups, NAN),                                   \
        KEY("ssm.time_step_rank", U32, mixer_heads, NAN),                                 \
        PART(STATE_ROWS, "ssm.inner_size", mixer_head_dim, state_rows)
#define RECURRENT                                                                                \
    {                                                                                            \
        .kind = MQ_GGUF_KINDS, .pattern = "%s.attention.recurrent_layers", .type = MQ_GGUF_BOOL, \
        .field = AT(layer_kinds), .of_layer = has_state, .yes = "linear_attention",              \
        .no = "full_attention", .period = 4, .always = true                                      \
    }
static const struct mq_gguf_row qwen3next[] = {EXPERT_ROWS,
                                               SHARED_ROWS,
                                               DELTA,
                                               RECURRENT,
                                               KEY("full_attention_interval", U32, full_step, 4),
                                               FIXED(normalize_top_k, 1),
                                               END};
/* Its family has one size, that of experts. */
static const struct mq_gguf_row qwen35moe[] = {
    KEY("expert_feed_forward_length", U32, ffn, NAN),  SHARED_ROWS, DELTA, RECURRENT,
    KEY("full_attention_interval", U32, full_step, 4), SECTIONS,    END};
static const struct mq_gguf_form_rule qwen3next_forms[] = {
    {MQ_ROLE_ATTN_NORM, MQ_FORM_PLUS_ONE},   {MQ_ROLE_FFN_NORM, MQ_FORM_PLUS_ONE},
    {MQ_ROLE_ATTN_Q_NORM, MQ_FORM_PLUS_ONE}, {MQ_ROLE_ATTN_K_NORM, MQ_FORM_PLUS_ONE},
    {MQ_ROLE_OUTPUT_NORM, MQ_FORM_PLUS_ONE}, {MQ_ROLE_MIX_DECAY, MQ_FORM_MINUS_EXP},
    {MQ_ROLE_DELTA_QKVZ, MQ_FORM_QKVZ},      {0},
};
static const struct mq_gguf_form_rule qwen35_forms[] = {
    {MQ_ROLE_ATTN_NORM, MQ_FORM_PLUS_ONE},   {MQ_ROLE_FFN_NORM, MQ_FORM_PLUS_ONE},
    {MQ_ROLE_ATTN_Q_NORM, MQ_FORM_PLUS_ONE}, {MQ_ROLE_ATTN_K_NORM, MQ_FORM_PLUS_ONE},
    {MQ_ROLE_OUTPUT_NORM, MQ_FORM_PLUS_ONE}, {MQ_ROLE_MIX_DECAY, MQ_FORM_MINUS_EXP | MQ_FORM_HEADS},
    {MQ_ROLE_MIX_STEP_BIAS, MQ_FORM_HEADS},  {MQ_ROLE_DELTA_QKV, MQ_FORM_TAIL},
    {MQ_ROLE_DELTA_Z, MQ_FORM_HEADS},        {MQ_ROLE_DELTA_BETA, MQ_FORM_HEADS},
    {MQ_ROLE_DELTA_ALPHA, MQ_FORM_HEADS},    {MQ_ROLE_MIX_CONV, MQ_FORM_TAIL},
    {MQ_ROLE_MIX_OUT, MQ_FORM_COLUMNS},      {0},
};
#define HALVES                              \
    {MQ_ROLE_ATTN_Q_BIAS, MQ_FORM_HALVES},  \
    {                                       \
        MQ_ROLE_ATTN_K_BIAS, MQ_FORM_HALVES \
    }
static const struct mq_gguf_form_rule interleaved_forms[] = {HALVES, {0}};
static const struct mq_gguf_form_rule granitehybrid_forms[] = {
    {MQ_ROLE_MIX_DECAY, MQ_FORM_MINUS_EXP | MQ_FORM_STANDING},
    {MQ_ROLE_MIX_SKIP, MQ_FORM_STANDING},
    {MQ_ROLE_MIX_NORM, MQ_FORM_GROUPS},
    HALVES,
    {0},
};
static const struct mq_gguf_form_rule mamba_forms[] = {
    {MQ_ROLE_MIX_DECAY, MQ_FORM_MINUS_EXP | MQ_FORM_STANDING},
    {MQ_ROLE_MIX_SKIP, MQ_FORM_STANDING},
    {MQ_ROLE_MIX_NORM, MQ_FORM_GROUPS},
    {0},
};
/* (llama.cpp adds the convolution's biases whether there are any or not.) */
static const struct mq_gguf_row granitehybrid[] = {SCALES,
                                                   DELTA,
                                                   SHARED_ROWS,
                                                   BY_KV_HEADS("mamba", "attention"),
                                                   FIXED(conv_bias, 1),
                                                   FINETUNED,
                                                   END};
/* A layer is one part of a model, and has one norm. */
static const struct mq_gguf_row nemotron_h_moe[] = {
    DELTA,
    EXPERT_ROWS,
    SHARED_ROWS,
    IS("expert_shared_count", U32, 1),
    NORMALIZE,
    ROUTE_SCALE,
    GROUPS,
    FIXED(conv_bias, 1),
    FIXED(activation, MQ_ACTIVATION_RELU2),
    {.kind = MQ_GGUF_PARTS, .field = AT(layer_kinds)},
    END,
};
static const struct mq_gguf_name nemotron_names[] = {
    {MQ_ROLE_FFN_NORM, "blk.{layer}.attn_norm.weight"},
    {0},
};
static const struct mq_gguf_row mimo2[] = {
    EXPERT_ROWS,
    SIGMOID,
    GROUPS,
    WINDOWS(0, true),
    OTHER_KV(1),
    KEY("attention.value_length", U32, value_dim, NAN),
    KEY("attention.value_length", U32, other_value_dim, NAN),
    KEY("attention.key_length", U32, other_head_dim, NAN),
    KEY("attention.head_count", U32, other_heads, NAN),
    KEY("attention.value_scale", F32, value_scale, 1),
    EXPERTS_BY_TENSORS,
    FIXED(normalize_top_k, 1),
    END,
};
static const struct mq_gguf_row gemma4[] = {
    EXPERT_ROWS,
    WINDOWS(0, true),
    OTHER_KV(0),
    KEY("attention.key_length", U32, other_head_dim, NAN),
    KEY("attention.key_length_swa", U32, head_dim, NAN),
    IS_EQUAL("attention.value_length", main_value_dim),
    IS_EQUAL("attention.value_length_swa", local_value_dim),
    IS_EQUAL("rope.dimension_count_swa", local_rotary_dim),
    IS("attention.shared_kv_layers", U32, 0),
    IS("embedding_length_per_layer_input", U32, 0),
    KEY("final_logit_softcapping", F32, logit_softcap, 0),
    FIXED(activation, MQ_ACTIVATION_GELU_TANH),
    PRESENT(ROUTER, routed),
    {.kind = MQ_GGUF_LACKING, .field = AT(value_is_key), .role = MQ_ROLE_ATTN_V},
    END,
};
static const struct mq_gguf_row ministral[] = {
    KEY("attention.temperature_scale", F32, query_beta, 0), END};
static const struct mq_gguf_row grok[] = {
    KEY("attention.output_scale", F32, attention_scale, NAN),
    KEY("attn_logit_softcapping", F32, attention_softcap, 30),
    KEY("embedding_scale", F32, embedding_scale, NAN),
    KEY("logit_scale", F32, logit_scale, NAN),
    END,
};
static const struct mq_gguf_name grok_names[] = {
    {MQ_ROLE_ATTN_OUT_NORM, "blk.{layer}.attn_output_norm.weight"},
    {MQ_ROLE_FFN_OUT_NORM, "blk.{layer}.layer_output_norm.weight"},
    {0},
};
static const struct mq_gguf_row lfm2moe[] = {
    EXPERT_ROWS, LEADING, SIGMOID, BY_KV_HEADS("conv", "full_attention"),
    KEY("shortconv.l_cache", U32, taps, NAN), END};
static const struct mq_gguf_name lfm2_names[] = {
    {MQ_ROLE_MIX_IN, "blk.{layer}.shortconv.in_proj.weight"},
    {MQ_ROLE_MIX_CONV, "blk.{layer}.shortconv.conv.weight"},
    {MQ_ROLE_MIX_OUT, "blk.{layer}.shortconv.out_proj.weight"},
    {MQ_ROLE_OUTPUT_NORM, "token_embd_norm.weight"},
    {0},
};
/* llama.cpp has chunks of 8192, scales queries without positions as Scout does, and normalizes q and k but
 * of Maverick, which it knows by its number of experts. Its converter leaves the window out; 0 would be a
 * model without chunks. */
static const struct mq_gguf_row llama4[] = {
    EXPERT_ROWS,
    KEY("interleave_moe_layer_step", U32, sparse_step, NAN),
    FIXED(chunk, 8192),
    IS_EQUAL("attention.sliding_window", chunk_of),
    FIXED(full_step, 4),
    FIXED(scale_queries, 1),
    FIXED(query_beta, 0.1),
    FIXED(query_positions, 8192),
    {.kind = MQ_GGUF_UNLESS_EXPERTS, .field = AT(qk_norm), .value = 128},
    END,
};
static const struct mq_gguf_row dbrx[] = {
    KEY("attention.clamp_kqv", F32, clip, NAN),
    IS("attention.layer_norm_epsilon", F32, 1e-5f),
    FIXED(normalize_by, 1),
    END,
};
static const struct mq_gguf_name dbrx_names[] = {
    {MQ_ROLE_FFN_NORM, "blk.{layer}.attn_output_norm.weight"},
    {0},
};
static const struct mq_gguf_row gpt_oss[] = {DERIVED("expert_feed_forward_length", expert_rows),
                                             WINDOWS(2, false), END};
/* The norm before the feed-forward part stands where other models have one after attention. */
static const struct mq_gguf_name post_attention_names[] = {
    {MQ_ROLE_FFN_NORM, "blk.{layer}.post_attention_norm.weight"},
    {0},
};

static const struct mq_gguf_arch archs[] = {
    {.name = "llama", .forms = interleaved_forms, .interleaved = true},
    {.name = "llama4", .rows = llama4},
    {.name = "dbrx", .rows = dbrx, .names = dbrx_names, .joined_qkv = true, .layer_norm = true},
    {.name = "olmoe", .rows = olmoe},
    {.name = "qwen3moe", .rows = qwen3moe, .head_dims = true},
    {.name = "qwen3vlmoe", .rows = qwen3vlmoe, .head_dims = true},
    {.name = "qwen2moe", .rows = qwen2moe},
    {.name = "dots1", .rows = dots1, .head_dims = true},
    {.name = "exaone-moe", .rows = exaone_moe, .head_dims = true},
    {.name = "glm4moe", .rows = glm4moe, .names = post_attention_names, .head_dims = true},
    {.name = "minimax-m2", .rows = minimax_m2, .head_dims = true},
    {.name = "afmoe", .rows = afmoe, .head_dims = true},
    {.name = "hy_v3", .rows = hy_v3, .names = hy_v3_names, .head_dims = true},
    {.name = "ernie4_5-moe", .rows = ernie4_5_moe, .head_dims = true},
    {.name = "hunyuan-moe", .rows = hunyuan_moe, .head_dims = true},
    {.name = "granitemoe",
     .rows = granitemoe,
     .forms = interleaved_forms,
     .interleaved = true},
    {.name = "phimoe",
     .rows = phimoe,
     .remark =
         "llama.cpp chooses experts of this architecture by a softmax, not by Phi's own rule: "
         "what it computes differs from the original"},
    {.name = "deepseek2",
     .rows = deepseek2,
     .forms = deepseek2_forms,
     .two_head_dims = true,
     .yarn_log_unit = 0.1,
     .yarn_same_scale = true},
    {.name = "deepseek32",
     .rows = deepseek32,
     .forms = deepseek2_forms,
     .two_head_dims = true,
     .yarn_log_unit = 0.1,
     .yarn_same_scale = true},
    {.name = "glm-dsa",
     .rows = glm_dsa,
     .forms = deepseek2_forms,
     .two_head_dims = true,
     .yarn_log_unit = 0.1,
     .yarn_same_scale = true},
    {.name = "mistral4",
     .rows = mistral4,
     .forms = deepseek2_forms,
     .two_head_dims = true,
     .yarn_log_unit = 0.1f},
    {.name = "qwen3next",
     .rows = qwen3next,
     .names = post_attention_names,
     .forms = qwen3next_forms,
     .head_dims = true},
    {.name = "qwen35moe",
     .rows = qwen35moe,
     .names = post_attention_names,
     .forms = qwen35_forms,
     .head_dims = true},
    {.name = "nemotron_h_moe",
     .rows = nemotron_h_moe,
     .names = nemotron_names,
     .forms = mamba_forms,
     .head_dims = true,
     .layer_norm = true,
     .by_parts = true,
     .remark = "llama.cpp has no least time step (time_step_min): what it computes may differ from "
               "the original"},
    {.name = "granitehybrid",
     .rows = granitehybrid,
     .forms = granitehybrid_forms,
     .interleaved = true},
    {.name = "mimo2", .rows = mimo2, .head_dims = true},
    {.name = "gemma4", .rows = gemma4, .two_head_dims = true},
    {.name = "mistral3", .rows = ministral, .interleaved = true, .yarn_log_unit = 1},
    {.name = "gpt-oss",
     .rows = gpt_oss,
     .names = post_attention_names,
     .head_dims = true,
     .untruncated = true},
    {.name = "lfm2moe", .rows = lfm2moe, .names = lfm2_names},
    {.name = "grok", .rows = grok, .names = grok_names},
};

const struct mq_gguf_arch *mq_gguf_arch_find(const char *name)
{
    for (size_t i = 0; name && i < sizeof archs / sizeof *archs; i++)
        if (strcmp(archs[i].name, name) == 0)
            return &archs[i];
    return NULL;
}

const char *mq_gguf_role_name(const struct mq_gguf_arch *arch, enum mq_role role)
{
    for (const struct mq_gguf_name *n = arch ? arch->names : NULL; n && n->name; n++)
        if (n->role == role)
            return n->name;
    return mq_gguf_role(role)->name;
}

/* Those that carry a value; of several for one field the first. */
static const struct mq_config_key *find_key(const struct mq_config_key *keys, size_t field)
{
    for (; keys->key; keys++)
        if (keys->rule != MQ_KEY_HARMLESS && keys->rule != MQ_KEY_ONLY &&
            keys->rule != MQ_KEY_ALL && keys->field == field && (field || keys->rule == MQ_KEY_U32))
            return keys;
    return NULL;
}

const struct mq_config_key *mq_gguf_config_key(const struct mq_family *family, size_t field)
{
    const struct mq_config_key *key = find_key(family->keys, field);
    return key ? key : find_key(mq_config_keys, field);
}

bool mq_gguf_arch_has_window(const struct mq_gguf_arch *arch)
{
    for (const struct mq_gguf_row *row = arch->rows; row && (row->pattern || row->kind); row++)
        if (row->of_layer == has_window)
            return true;
    return false;
}
