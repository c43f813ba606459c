/*
 * gguf_names.h: what GGUF calls things: the types of tensors, the names of tensors by role, the
 * keys of the metadata. Reading and writing GGUF files use the same tables.
 *
 * Source: the GGUF specification (docs/gguf.md of ggml), version 3, and the `gguf` package's
 * constants for the names. Numbers are facts of the format.
 */
#ifndef MQ_GGUF_NAMES_H
#define MQ_GGUF_NAMES_H

#include "model_view.h"

#define MQ_GGUF_MAGIC "GGUF"
enum { MQ_GGUF_VERSION = 3, MQ_GGUF_ALIGNMENT = 32, MQ_GGUF_MAX_DIMS = 4 };

/* Types of metadata values. */
enum mq_gguf_value_type {
    MQ_GGUF_U8,
    MQ_GGUF_I8,
    MQ_GGUF_U16,
    MQ_GGUF_I16,
    MQ_GGUF_U32,
    MQ_GGUF_I32,
    MQ_GGUF_F32,
    MQ_GGUF_BOOL,
    MQ_GGUF_STRING,
    MQ_GGUF_ARRAY,
    MQ_GGUF_U64,
    MQ_GGUF_I64,
    MQ_GGUF_F64,
    MQ_GGUF_VALUE_TYPES
};

/*
 * The types of tensors:
 *   id, name
 *   storage    what mq_tensor.storage says; the level table has those that moeq can decode
 *   weights    of a block
 *   bytes      of a block
 *   file_type  general.file_type of a file that is mostly of it; LLAMA_FTYPE_GUESSED: there is none
 * Sources: ggml.h; the `gguf` package's GGML_QUANT_SIZES and LlamaFileType. (Of Q8_1 that package
 * has 40 bytes and ggml.h 36; llama.cpp never puts it into a file, so that one can only be from the
 * package.)
 */
#define MQ_GGUF_TYPE_LIST(X)             \
    X(0, F32, f32, 1, 4, 0)              \
    X(1, F16, f16, 1, 2, 1)              \
    X(2, Q4_0, q4_0, 32, 18, 2)          \
    X(3, Q4_1, q4_1, 32, 20, 3)          \
    X(6, Q5_0, q5_0, 32, 22, 8)          \
    X(7, Q5_1, q5_1, 32, 24, 9)          \
    X(8, Q8_0, q8_0, 32, 34, 7)          \
    X(9, Q8_1, q8_1, 32, 40, 1024)       \
    X(10, Q2_K, q2_k, 256, 84, 10)       \
    X(11, Q3_K, q3_k, 256, 110, 11)      \
    X(12, Q4_K, q4_k, 256, 144, 14)      \
    X(13, Q5_K, q5_k, 256, 176, 16)      \
    X(14, Q6_K, q6_k, 256, 210, 18)      \
    X(15, Q8_K, q8_k, 256, 292, 1024)    \
    X(16, IQ2_XXS, iq2_xxs, 256, 66, 19) \
    X(17, IQ2_XS, iq2_xs, 256, 74, 20)   \
    X(18, IQ3_XXS, iq3_xxs, 256, 98, 23) \
    X(19, IQ1_S, iq1_s, 256, 50, 24)     \
    X(20, IQ4_NL, iq4_nl, 32, 18, 25)    \
    X(21, IQ3_S, iq3_s, 256, 110, 26)    \
    X(22, IQ2_S, iq2_s, 256, 82, 28)     \
    X(23, IQ4_XS, iq4_xs, 256, 136, 30)  \
    X(24, I8, i8, 1, 1, 1024)            \
    X(25, I16, i16, 1, 2, 1024)          \
    X(26, I32, i32, 1, 4, 1024)          \
    X(27, I64, i64, 1, 8, 1024)          \
    X(28, F64, f64, 1, 8, 1024)          \
    X(29, IQ1_M, iq1_m, 256, 56, 31)     \
    X(30, BF16, bf16, 1, 2, 32)          \
    X(34, TQ1_0, tq1_0, 256, 54, 36)     \
    X(35, TQ2_0, tq2_0, 256, 66, 37)     \
    X(39, MXFP4, mxfp4, 32, 17, 38)      \
    X(40, NVFP4, nvfp4, 64, 36, 39)      \
    X(41, Q1_0, q1_0, 128, 18, 40)       \
    X(42, Q2_0, q2_0, 64, 18, 41)

struct mq_gguf_type {
    uint32_t id;
    const char *name;    /* "Q4_K" */
    const char *storage; /* "q4_k" */
    uint32_t block_weights, block_bytes;
    uint32_t file_type;
};
extern const struct mq_gguf_type mq_gguf_types[];
extern const size_t mq_gguf_types_count;

/* NULL if unknown. */
const struct mq_gguf_type *mq_gguf_type_by_id(uint32_t id);

/* What is known of an id that is not in the table: the rest of "is of type 36, ...". */
void mq_gguf_describe_stranger(uint32_t id, char *text, size_t room);
const struct mq_gguf_type *mq_gguf_type_by_storage(const char *storage);

/* Names of a role's tensors; {layer} and {expert} as in struct mq_tensor_name. The experts of
 * one matrix are one 3-D tensor, [cols, rows, experts] with the fastest dimension first; files of
 * before April 2024 have a tensor an expert, `split_name`. */
struct mq_gguf_role {
    const char *name;
    const char *split_name; /* NULL for what is not of experts */
};
const struct mq_gguf_role *mq_gguf_role(enum mq_role role);

/* Gate and up of a layer's experts in one tensor, the rows of each expert's gate before those of its
 * up: read, never written. */
#define MQ_GGUF_GATE_UP "blk.{layer}.ffn_gate_up_exps.weight"

/* Rows of q, then of k, then of v, or their biases; read of all architectures, written where it must be.
 * The name of it by one of these roles; NULL: another. */
const char *mq_gguf_joint_name(enum mq_role role);

/* A tensor with no role: what Llama 3's rope divides its frequencies by, [head_dim/2]. */
#define MQ_GGUF_ROPE_FREQS "rope_freqs.weight"
/* The same of longrope, for windows longer than the original positions and for others. */
#define MQ_GGUF_ROPE_LONG "rope_factors_long.weight"
#define MQ_GGUF_ROPE_SHORT "rope_factors_short.weight"

/* Keys. Those with %s have the architecture's name there. */
#define MQ_GGUF_KEY_ARCHITECTURE "general.architecture"
#define MQ_GGUF_KEY_ALIGNMENT "general.alignment"
#define MQ_GGUF_KEY_TYPE "general.type" /* "model" */
#define MQ_GGUF_KEY_NAME "general.name"
#define MQ_GGUF_KEY_SIZE_LABEL "general.size_label" /* "8x7B" */
#define MQ_GGUF_KEY_FILE_TYPE "general.file_type"
#define MQ_GGUF_KEY_QUANTIZATION_VERSION "general.quantization_version"
#define MQ_GGUF_KEY_IMATRIX_FILE "quantize.imatrix.file"
#define MQ_GGUF_KEY_IMATRIX_ENTRIES "quantize.imatrix.entries_count"

#define MQ_GGUF_KEY_VOCAB "%s.vocab_size"
#define MQ_GGUF_KEY_CONTEXT "%s.context_length"
#define MQ_GGUF_KEY_HIDDEN "%s.embedding_length"
#define MQ_GGUF_KEY_LAYERS "%s.block_count"
#define MQ_GGUF_KEY_FFN "%s.feed_forward_length"
#define MQ_GGUF_KEY_HEADS "%s.attention.head_count"
#define MQ_GGUF_KEY_KV_HEADS "%s.attention.head_count_kv"
#define MQ_GGUF_KEY_KEY_LENGTH "%s.attention.key_length"
#define MQ_GGUF_KEY_VALUE_LENGTH "%s.attention.value_length"
#define MQ_GGUF_KEY_RMS_EPS "%s.attention.layer_norm_rms_epsilon"
#define MQ_GGUF_KEY_EPS "%s.attention.layer_norm_epsilon"
#define MQ_GGUF_KEY_SLIDING_WINDOW "%s.attention.sliding_window"
#define MQ_GGUF_KEY_EXPERTS "%s.expert_count"
#define MQ_GGUF_KEY_TOP_K "%s.expert_used_count"
#define MQ_GGUF_KEY_NEXTN "%s.nextn_predict_layers" /* layers behind the last that guess tokens */
#define MQ_GGUF_KEY_ROPE_DIMS "%s.rope.dimension_count"
#define MQ_GGUF_KEY_ROPE_THETA "%s.rope.freq_base"
#define MQ_GGUF_KEY_ROPE_SCALING "%s.rope.scaling.type" /* "none", "linear", "yarn" */
#define MQ_GGUF_KEY_ROPE_FACTOR "%s.rope.scaling.factor"
#define MQ_GGUF_KEY_ROPE_THETA_LOCAL "%s.rope.freq_base_swa"
#define MQ_GGUF_KEY_ROPE_ORIGINAL "%s.rope.scaling.original_context_length"
#define MQ_GGUF_KEY_ROPE_MAGNITUDE "%s.rope.scaling.attn_factor"
#define MQ_GGUF_KEY_YARN_FAST "%s.rope.scaling.yarn_beta_fast"
#define MQ_GGUF_KEY_YARN_SLOW "%s.rope.scaling.yarn_beta_slow"
#define MQ_GGUF_KEY_YARN_LOG "%s.rope.scaling.yarn_log_multiplier"

#define MQ_GGUF_KEY_TOKENIZER "tokenizer.ggml.model" /* "llama": sentencepiece; "gpt2": bytes */
#define MQ_GGUF_KEY_PRE "tokenizer.ggml.pre"         /* which split pattern */
#define MQ_GGUF_KEY_TOKENS "tokenizer.ggml.tokens"
#define MQ_GGUF_KEY_SCORES "tokenizer.ggml.scores"
#define MQ_GGUF_KEY_TOKEN_TYPES "tokenizer.ggml.token_type"
#define MQ_GGUF_KEY_MERGES "tokenizer.ggml.merges"
#define MQ_GGUF_KEY_BOS "tokenizer.ggml.bos_token_id"
#define MQ_GGUF_KEY_EOS "tokenizer.ggml.eos_token_id"
#define MQ_GGUF_KEY_EOT "tokenizer.ggml.eot_token_id" /* of a turn */
#define MQ_GGUF_KEY_EOM "tokenizer.ggml.eom_token_id" /* of a message */
#define MQ_GGUF_KEY_UNK "tokenizer.ggml.unknown_token_id"
#define MQ_GGUF_KEY_PAD "tokenizer.ggml.padding_token_id"
#define MQ_GGUF_KEY_SEP "tokenizer.ggml.seperator_token_id" /* so spelt */
#define MQ_GGUF_KEY_MASK "tokenizer.ggml.mask_token_id"
#define MQ_GGUF_KEY_ADD_BOS "tokenizer.ggml.add_bos_token"
#define MQ_GGUF_KEY_ADD_EOS "tokenizer.ggml.add_eos_token"
#define MQ_GGUF_KEY_ADD_PREFIX "tokenizer.ggml.add_space_prefix"
#define MQ_GGUF_KEY_REMOVE_EXTRA "tokenizer.ggml.remove_extra_whitespaces"
#define MQ_GGUF_KEY_CHARSMAP "tokenizer.ggml.precompiled_charsmap" /* array of u8 */
#define MQ_GGUF_KEY_CHAT_TEMPLATE "tokenizer.chat_template"   /* .NAME: a named one */
#define MQ_GGUF_KEY_CHAT_TEMPLATES "tokenizer.chat_templates" /* the names */

#define MQ_GGUF_KEY_SPLIT_NO "split.no" /* u16: this file's number, from 0 */
#define MQ_GGUF_KEY_SPLIT_COUNT "split.count"
#define MQ_GGUF_KEY_SPLIT_TENSORS "split.tensors.count" /* i32: of all files */

/* Types of tokens, as in tokenizer.ggml.token_type. */
enum mq_gguf_token_type {
    MQ_GGUF_TOKEN_NORMAL = 1,
    MQ_GGUF_TOKEN_UNKNOWN = 2,
    MQ_GGUF_TOKEN_CONTROL = 3,
    MQ_GGUF_TOKEN_USER_DEFINED = 4,
    MQ_GGUF_TOKEN_UNUSED = 5,
    MQ_GGUF_TOKEN_BYTE = 6,
};

#endif
