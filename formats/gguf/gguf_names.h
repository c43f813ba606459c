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

/* A type of tensors: `storage` is the name that the level table has for it (mq_tensor.storage), or
 * NULL where moeq does not read it. */
struct mq_gguf_type {
    uint32_t id;
    const char *name; /* "Q4_K" */
    const char *storage;
    uint32_t block_weights, block_bytes;
    uint32_t file_type; /* general.file_type of a file that is mostly of it */
};
extern const struct mq_gguf_type mq_gguf_types[];
extern const size_t mq_gguf_types_count;

/* NULL if unknown. */
const struct mq_gguf_type *mq_gguf_type_by_id(uint32_t id);
const struct mq_gguf_type *mq_gguf_type_by_storage(const char *storage);

/* Names of a role's tensors; {layer} and {expert} as in struct mq_tensor_pattern. The experts of
 * one matrix are one 3-D tensor, [cols, rows, experts] with the fastest dimension first; files of
 * before April 2024 have a tensor an expert, `split_name`. */
struct mq_gguf_role {
    const char *name;
    const char *split_name; /* NULL for what is not of experts */
};
const struct mq_gguf_role *mq_gguf_role(enum mq_role role);

/* Tensors with no role: the factors that Llama 3's rope divides its frequencies by, [head_dim/2].
 */
#define MQ_GGUF_ROPE_FREQS "rope_freqs.weight"

/* Keys. Those with %s have the architecture's name there. */
#define MQ_GGUF_KEY_ARCHITECTURE "general.architecture"
#define MQ_GGUF_KEY_ALIGNMENT "general.alignment"
#define MQ_GGUF_KEY_TYPE "general.type" /* "model" */
#define MQ_GGUF_KEY_NAME "general.name"
#define MQ_GGUF_KEY_SIZE_LABEL "general.size_label" /* "8x7B" */
#define MQ_GGUF_KEY_FILE_TYPE "general.file_type"
#define MQ_GGUF_KEY_QUANTIZATION_VERSION "general.quantization_version"

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
#define MQ_GGUF_KEY_SLIDING_WINDOW "%s.attention.sliding_window"
#define MQ_GGUF_KEY_EXPERTS "%s.expert_count"
#define MQ_GGUF_KEY_TOP_K "%s.expert_used_count"
#define MQ_GGUF_KEY_ROPE_DIMS "%s.rope.dimension_count"
#define MQ_GGUF_KEY_ROPE_THETA "%s.rope.freq_base"
#define MQ_GGUF_KEY_ROPE_SCALING "%s.rope.scaling.type" /* "none", "linear", "yarn" */
#define MQ_GGUF_KEY_ROPE_FACTOR "%s.rope.scaling.factor"

#define MQ_GGUF_KEY_TOKENIZER "tokenizer.ggml.model" /* "llama": sentencepiece; "gpt2": bytes */
#define MQ_GGUF_KEY_PRE "tokenizer.ggml.pre"         /* which split pattern */
#define MQ_GGUF_KEY_TOKENS "tokenizer.ggml.tokens"
#define MQ_GGUF_KEY_SCORES "tokenizer.ggml.scores"
#define MQ_GGUF_KEY_TOKEN_TYPES "tokenizer.ggml.token_type"
#define MQ_GGUF_KEY_MERGES "tokenizer.ggml.merges"
#define MQ_GGUF_KEY_BOS "tokenizer.ggml.bos_token_id"
#define MQ_GGUF_KEY_EOS "tokenizer.ggml.eos_token_id"
#define MQ_GGUF_KEY_UNK "tokenizer.ggml.unknown_token_id"
#define MQ_GGUF_KEY_PAD "tokenizer.ggml.padding_token_id"
#define MQ_GGUF_KEY_SEP "tokenizer.ggml.seperator_token_id" /* so spelt */
#define MQ_GGUF_KEY_MASK "tokenizer.ggml.mask_token_id"
#define MQ_GGUF_KEY_ADD_BOS "tokenizer.ggml.add_bos_token"
#define MQ_GGUF_KEY_ADD_EOS "tokenizer.ggml.add_eos_token"
#define MQ_GGUF_KEY_ADD_PREFIX "tokenizer.ggml.add_space_prefix"
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
