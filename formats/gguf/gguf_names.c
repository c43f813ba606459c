/* gguf_names.c: the tables of gguf_names.h. */
#include "gguf_names.h"

#include <stdio.h>
#include <string.h>

#define TYPE(id, name, storage, block_weights, block_bytes, file_type) \
    {id, #name, #storage, block_weights, block_bytes, file_type},
const struct mq_gguf_type mq_gguf_types[] = {MQ_GGUF_TYPE_LIST(TYPE)};
const size_t mq_gguf_types_count = sizeof mq_gguf_types / sizeof *mq_gguf_types;

const struct mq_gguf_type *mq_gguf_type_by_id(uint32_t id)
{
    for (size_t i = 0; i < mq_gguf_types_count; i++)
        if (mq_gguf_types[i].id == id)
            return &mq_gguf_types[i];
    return NULL;
}

const struct mq_gguf_type *mq_gguf_type_by_storage(const char *storage)
{
    for (size_t i = 0; i < mq_gguf_types_count; i++)
        if (strcmp(mq_gguf_types[i].storage, storage) == 0)
            return &mq_gguf_types[i];
    return NULL;
}

/* Ids that llama.cpp had and gave up, and those that forks took. Sources: comments in ggml.h of
 * llama.cpp, ggml.h of ik_llama.cpp. Above 200 the latter counts variants of types whose rows are
 * interleaved (_R4, _R8). */
static const struct {
    uint32_t id;
    const char *name;
    enum { REMOVED, REPACKED, IK_LLAMA } kind;
} strangers[] = {
    {4, "Q4_2", REMOVED},         {5, "Q4_3", REMOVED},
    {31, "Q4_0_4_4", REPACKED},   {32, "Q4_0_4_8", REPACKED},
    {33, "Q4_0_8_8", REPACKED},   {36, "IQ4_NL_4_4 (or BitNet's I2_S)", REPACKED},
    {37, "IQ4_NL_4_8", REPACKED}, {38, "IQ4_NL_8_8", REPACKED},
    {133, "Q6_0", IK_LLAMA},      {134, "IQ1_BN", IK_LLAMA},
    {135, "IQ2_BN", IK_LLAMA},    {137, "IQ2_K", IK_LLAMA},
    {138, "IQ3_K", IK_LLAMA},     {139, "IQ4_K", IK_LLAMA},
    {140, "IQ5_K", IK_LLAMA},     {141, "IQ6_K", IK_LLAMA},
    {144, "IQ4_KS", IK_LLAMA},    {145, "IQ2_KS", IK_LLAMA},
    {146, "IQ4_KSS", IK_LLAMA},   {152, "IQ5_KS", IK_LLAMA},
    {153, "IQ2_KT", IK_LLAMA},    {154, "IQ3_KT", IK_LLAMA},
    {155, "IQ4_KT", IK_LLAMA},    {156, "IQ3_KS", IK_LLAMA},
    {157, "IQ2_KL", IK_LLAMA},    {158, "IQ1_KT", IK_LLAMA},
};

void mq_gguf_describe_stranger(uint32_t id, char *text, size_t room)
{
    enum { IK_LLAMA_FIRST = 133, IK_LLAMA_END = 400 };
    static const char *const what[] = {
        [REMOVED] = "which llama.cpp gave up in 2023; get a newer file of this model",
        [REPACKED] = ("which llama.cpp gave up: it now packs rows so when it loads Q4_0 or IQ4_NL; "
                      "get such a file of this model"),
        [IK_LLAMA] = "which only ik_llama.cpp reads; get a file made by llama.cpp",
    };
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        if (strangers[i].id == id) {
            snprintf(text, room, "%s, %s", strangers[i].name, what[strangers[i].kind]);
            return;
        }
    snprintf(text, room, "%s",
             id >= IK_LLAMA_FIRST && id < IK_LLAMA_END ? what[IK_LLAMA] : "which is unknown");
}

/* Each role's names: a role without them does not compile. */
#define BLOCK "blk.{layer}."
#define EMBEDDING_NAMES "token_embd.weight", NULL
#define ATTN_NORM_NAMES BLOCK "attn_norm.weight", NULL
#define ATTN_NORM_BIAS_NAMES BLOCK "attn_norm.bias", NULL
#define ATTN_Q_NAMES BLOCK "attn_q.weight", NULL
#define ATTN_Q_BIAS_NAMES BLOCK "attn_q.bias", NULL
#define ATTN_K_NAMES BLOCK "attn_k.weight", NULL
#define ATTN_K_BIAS_NAMES BLOCK "attn_k.bias", NULL
#define ATTN_V_NAMES BLOCK "attn_v.weight", NULL
#define ATTN_V_BIAS_NAMES BLOCK "attn_v.bias", NULL
#define ATTN_Q_A_NAMES BLOCK "attn_q_a.weight", NULL
#define ATTN_Q_A_NORM_NAMES BLOCK "attn_q_a_norm.weight", NULL
#define ATTN_Q_B_NAMES BLOCK "attn_q_b.weight", NULL
#define ATTN_KV_A_NAMES BLOCK "attn_kv_a_mqa.weight", NULL
#define ATTN_KV_A_NORM_NAMES BLOCK "attn_kv_a_norm.weight", NULL
#define ATTN_KV_B_NAMES BLOCK "attn_kv_b.weight", NULL
#define INDEXER_Q_NAMES BLOCK "indexer.attn_q_b.weight", NULL
#define INDEXER_K_NAMES BLOCK "indexer.attn_k.weight", NULL
#define INDEXER_K_NORM_NAMES BLOCK "indexer.k_norm.weight", NULL
#define INDEXER_K_NORM_BIAS_NAMES BLOCK "indexer.k_norm.bias", NULL
#define INDEXER_WEIGHTS_NAMES BLOCK "indexer.proj.weight", NULL
#define ATTN_Q_NORM_NAMES BLOCK "attn_q_norm.weight", NULL
#define ATTN_K_NORM_NAMES BLOCK "attn_k_norm.weight", NULL
#define ATTN_SINKS_NAMES BLOCK "attn_sinks.weight", NULL
#define ATTN_GATE_NAMES BLOCK "attn_gate.weight", NULL
#define ATTN_O_NAMES BLOCK "attn_output.weight", NULL
#define ATTN_O_BIAS_NAMES BLOCK "attn_output.bias", NULL
#define ATTN_OUT_NORM_NAMES BLOCK "post_attention_norm.weight", NULL
#define DELTA_QKV_NAMES BLOCK "attn_qkv.weight", NULL
#define DELTA_Z_NAMES BLOCK "attn_gate.weight", NULL
#define DELTA_QKVZ_NAMES BLOCK "ssm_in.weight", NULL
#define DELTA_BETA_NAMES BLOCK "ssm_beta.weight", NULL
#define DELTA_ALPHA_NAMES BLOCK "ssm_alpha.weight", NULL
#define DELTA_BA_NAMES BLOCK "ssm_ba.weight", NULL
#define MIX_IN_NAMES BLOCK "ssm_in.weight", NULL
#define MIX_IN_BIAS_NAMES BLOCK "ssm_in.bias", NULL
#define MIX_CONV_NAMES BLOCK "ssm_conv1d.weight", NULL
#define MIX_CONV_BIAS_NAMES BLOCK "ssm_conv1d.bias", NULL
#define MIX_DECAY_NAMES BLOCK "ssm_a", NULL
#define MIX_STEP_BIAS_NAMES BLOCK "ssm_dt.bias", NULL
#define MIX_SKIP_NAMES BLOCK "ssm_d", NULL
#define MIX_NORM_NAMES BLOCK "ssm_norm.weight", NULL
#define MIX_OUT_NAMES BLOCK "ssm_out.weight", NULL
#define MIX_OUT_BIAS_NAMES BLOCK "ssm_out.bias", NULL
#define FFN_NORM_NAMES BLOCK "ffn_norm.weight", NULL
#define FFN_NORM_BIAS_NAMES BLOCK "ffn_norm.bias", NULL
#define ROUTER_NORM_NAMES BLOCK "ffn_gate_inp.scale", NULL
#define ROUTER_NAMES BLOCK "ffn_gate_inp.weight", NULL
#define ROUTER_BIAS_NAMES BLOCK "ffn_gate_inp.bias", NULL
#define ROUTER_CHOICE_BIAS_NAMES BLOCK "exp_probs_b.bias", NULL
#define ROUTER_EXPERT_SCALE_NAMES BLOCK "ffn_down_exps.scale", NULL
#define EXPERTS_NORM_NAMES BLOCK "pre_ffw_norm_2.weight", NULL
#define EXPERTS_OUT_NORM_NAMES BLOCK "post_ffw_norm_2.weight", NULL
#define MLP_OUT_NORM_NAMES BLOCK "post_ffw_norm_1.weight", NULL
#define FFN_OUT_NORM_NAMES BLOCK "post_ffw_norm.weight", NULL
#define LAYER_SCALE_NAMES BLOCK "layer_output_scale.weight", NULL
#define EXPERT_GATE_NAMES BLOCK "ffn_gate_exps.weight", BLOCK "ffn_gate.{expert}.weight"
#define EXPERT_GATE_BIAS_NAMES BLOCK "ffn_gate_exps.bias", NULL
#define EXPERT_UP_NAMES BLOCK "ffn_up_exps.weight", BLOCK "ffn_up.{expert}.weight"
#define EXPERT_UP_BIAS_NAMES BLOCK "ffn_up_exps.bias", NULL
#define EXPERT_DOWN_NAMES BLOCK "ffn_down_exps.weight", BLOCK "ffn_down.{expert}.weight"
#define EXPERT_DOWN_BIAS_NAMES BLOCK "ffn_down_exps.bias", NULL
#define SHARED_SCALE_NAMES BLOCK "ffn_gate_inp_shexp.weight", NULL
#define SHARED_GATE_NAMES BLOCK "ffn_gate_shexp.weight", NULL
#define SHARED_GATE_BIAS_NAMES BLOCK "ffn_gate_shexp.bias", NULL
#define SHARED_UP_NAMES BLOCK "ffn_up_shexp.weight", NULL
#define SHARED_UP_BIAS_NAMES BLOCK "ffn_up_shexp.bias", NULL
#define SHARED_DOWN_NAMES BLOCK "ffn_down_shexp.weight", NULL
#define SHARED_DOWN_BIAS_NAMES BLOCK "ffn_down_shexp.bias", NULL
#define MLP_GATE_NAMES BLOCK "ffn_gate.weight", NULL
#define MLP_GATE_BIAS_NAMES BLOCK "ffn_gate.bias", NULL
#define MLP_UP_NAMES BLOCK "ffn_up.weight", NULL
#define MLP_UP_BIAS_NAMES BLOCK "ffn_up.bias", NULL
#define MLP_DOWN_NAMES BLOCK "ffn_down.weight", NULL
#define MLP_DOWN_BIAS_NAMES BLOCK "ffn_down.bias", NULL
#define OUTPUT_NORM_NAMES "output_norm.weight", NULL
#define OUTPUT_NORM_BIAS_NAMES "output_norm.bias", NULL
#define HEAD_NAMES "output.weight", NULL
#define HEAD_BIAS_NAMES "output.bias", NULL

static const struct mq_gguf_role roles[MQ_ROLE_COUNT] = {
#define ROW(id, name, class) [MQ_ROLE_##id] = {id##_NAMES},
    MQ_ROLE_LIST(ROW)
#undef ROW
};

const struct mq_gguf_role *mq_gguf_role(enum mq_role role)
{
    return &roles[role];
}

const char *mq_gguf_joint_name(enum mq_role role)
{
    switch (role) {
    case MQ_ROLE_ATTN_Q:
    case MQ_ROLE_ATTN_K:
    case MQ_ROLE_ATTN_V:
        return BLOCK "attn_qkv.weight";
    case MQ_ROLE_ATTN_Q_BIAS:
    case MQ_ROLE_ATTN_K_BIAS:
    case MQ_ROLE_ATTN_V_BIAS:
        return BLOCK "attn_qkv.bias";
    default:
        return NULL;
    }
}
