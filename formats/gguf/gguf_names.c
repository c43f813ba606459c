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
        [REPACKED] = "which llama.cpp gave up: it now packs rows so when it loads Q4_0 or IQ4_NL; "
                     "get such a file of this model",
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
#define ATTN_Q_NAMES BLOCK "attn_q.weight", NULL
#define ATTN_K_NAMES BLOCK "attn_k.weight", NULL
#define ATTN_V_NAMES BLOCK "attn_v.weight", NULL
#define ATTN_Q_NORM_NAMES BLOCK "attn_q_norm.weight", NULL
#define ATTN_K_NORM_NAMES BLOCK "attn_k_norm.weight", NULL
#define ATTN_O_NAMES BLOCK "attn_output.weight", NULL
#define FFN_NORM_NAMES BLOCK "ffn_norm.weight", NULL
#define ROUTER_NAMES BLOCK "ffn_gate_inp.weight", NULL
#define EXPERT_GATE_NAMES BLOCK "ffn_gate_exps.weight", BLOCK "ffn_gate.{expert}.weight"
#define EXPERT_UP_NAMES BLOCK "ffn_up_exps.weight", BLOCK "ffn_up.{expert}.weight"
#define EXPERT_DOWN_NAMES BLOCK "ffn_down_exps.weight", BLOCK "ffn_down.{expert}.weight"
#define MLP_GATE_NAMES BLOCK "ffn_gate.weight", NULL
#define MLP_UP_NAMES BLOCK "ffn_up.weight", NULL
#define MLP_DOWN_NAMES BLOCK "ffn_down.weight", NULL
#define OUTPUT_NORM_NAMES "output_norm.weight", NULL
#define HEAD_NAMES "output.weight", NULL

static const struct mq_gguf_role roles[MQ_ROLE_COUNT] = {
#define ROW(id, name, class) [MQ_ROLE_##id] = {id##_NAMES},
    MQ_ROLE_LIST(ROW)
#undef ROW
};

const struct mq_gguf_role *mq_gguf_role(enum mq_role role)
{
    return &roles[role];
}
