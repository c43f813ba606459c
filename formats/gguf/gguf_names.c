/* gguf_names.c: the tables of gguf_names.h. */
#include "gguf_names.h"

#include <string.h>

/* clang-format off */
const struct mq_gguf_type mq_gguf_types[] = {
    {0, "F32", "f32", 1, 4, 0},
    {1, "F16", "f16", 1, 2, 1},
    {2, "Q4_0", "q4_0", 32, 18, 2},
    {3, "Q4_1", "q4_1", 32, 20, 3},
    {6, "Q5_0", "q5_0", 32, 22, 8},
    {7, "Q5_1", "q5_1", 32, 24, 9},
    {8, "Q8_0", "q8_0", 32, 34, 7},
    {9, "Q8_1", NULL, 32, 36, 0},
    {10, "Q2_K", "q2_k", 256, 84, 10},
    {11, "Q3_K", "q3_k", 256, 110, 11},
    {12, "Q4_K", "q4_k", 256, 144, 14},
    {13, "Q5_K", "q5_k", 256, 176, 16},
    {14, "Q6_K", "q6_k", 256, 210, 18},
    {15, "Q8_K", NULL, 256, 292, 0},
    {16, "IQ2_XXS", NULL, 256, 66, 0},
    {17, "IQ2_XS", NULL, 256, 74, 0},
    {18, "IQ3_XXS", NULL, 256, 98, 0},
    {19, "IQ1_S", NULL, 256, 50, 0},
    {20, "IQ4_NL", NULL, 32, 18, 0},
    {21, "IQ3_S", NULL, 256, 110, 0},
    {22, "IQ2_S", NULL, 256, 82, 0},
    {23, "IQ4_XS", NULL, 256, 136, 0},
    {24, "I8", NULL, 1, 1, 0},
    {25, "I16", NULL, 1, 2, 0},
    {26, "I32", NULL, 1, 4, 0},
    {27, "I64", NULL, 1, 8, 0},
    {28, "F64", NULL, 1, 8, 0},
    {29, "IQ1_M", NULL, 256, 56, 0},
    {30, "BF16", "bf16", 1, 2, 32},
    {34, "TQ1_0", NULL, 256, 54, 0},
    {35, "TQ2_0", NULL, 256, 66, 0},
    {39, "MXFP4", NULL, 32, 17, 0},
    {40, "NVFP4", NULL, 64, 36, 0},
    {41, "Q1_0", NULL, 128, 18, 0},
    {42, "Q2_0", NULL, 64, 18, 0},
};
/* clang-format on */
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
        if (mq_gguf_types[i].storage && strcmp(mq_gguf_types[i].storage, storage) == 0)
            return &mq_gguf_types[i];
    return NULL;
}

static const struct mq_gguf_role roles[MQ_ROLE_COUNT] = {
    [MQ_ROLE_EMBEDDING] = {"token_embd.weight", NULL},
    [MQ_ROLE_ATTN_NORM] = {"blk.{layer}.attn_norm.weight", NULL},
    [MQ_ROLE_ATTN_Q] = {"blk.{layer}.attn_q.weight", NULL},
    [MQ_ROLE_ATTN_K] = {"blk.{layer}.attn_k.weight", NULL},
    [MQ_ROLE_ATTN_V] = {"blk.{layer}.attn_v.weight", NULL},
    [MQ_ROLE_ATTN_O] = {"blk.{layer}.attn_output.weight", NULL},
    [MQ_ROLE_FFN_NORM] = {"blk.{layer}.ffn_norm.weight", NULL},
    [MQ_ROLE_ROUTER] = {"blk.{layer}.ffn_gate_inp.weight", NULL},
    [MQ_ROLE_EXPERT_GATE] = {"blk.{layer}.ffn_gate_exps.weight",
                             "blk.{layer}.ffn_gate.{expert}.weight"},
    [MQ_ROLE_EXPERT_UP] = {"blk.{layer}.ffn_up_exps.weight", "blk.{layer}.ffn_up.{expert}.weight"},
    [MQ_ROLE_EXPERT_DOWN] = {"blk.{layer}.ffn_down_exps.weight",
                             "blk.{layer}.ffn_down.{expert}.weight"},
    [MQ_ROLE_MLP_GATE] = {"blk.{layer}.ffn_gate.weight", NULL},
    [MQ_ROLE_MLP_UP] = {"blk.{layer}.ffn_up.weight", NULL},
    [MQ_ROLE_MLP_DOWN] = {"blk.{layer}.ffn_down.weight", NULL},
    [MQ_ROLE_OUTPUT_NORM] = {"output_norm.weight", NULL},
    [MQ_ROLE_HEAD] = {"output.weight", NULL},
};

const struct mq_gguf_role *mq_gguf_role(enum mq_role role)
{
    return &roles[role];
}
