/*
 * runtimes.h: the programs whose memory `fit` counts, and the kinds of KV cache that they keep. To add
 * one of either: a row of runtimes.c.
 */
#ifndef MQ_RUNTIMES_H
#define MQ_RUNTIMES_H

#include "split.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MQ_RUNS_LLAMA_CPP = 1, MQ_RUNS_VLLM = 2, MQ_RUNS_SGLANG = 4, MQ_RUNS_MLX = 8 };

/* Levels that a runtime loads from a folder, and how `export --format` calls that. */
struct mq_runtime_form {
    const char *name; /* "compressed-tensors"; NULL: none */
    enum mq_folder_format format;
    const char *levels; /* "w4g32|w4g128" */
};
enum { MQ_RUNTIME_FORMS = 4 };

struct mq_runtime {
    const char *name; /* "llama.cpp" */
    const char *also; /* "ollama|lmstudio": programs that run it, as people type them; NULL */
    const char *who;  /* all that count so: "llama.cpp, Ollama and LM Studio" */
    uint32_t bit;     /* of mq_kv_kind.runtimes */
    /* memory */
    uint32_t used_percent; /* of what a card has, at most */
    uint32_t margin_mib;   /* of each card, that stays free */
    uint32_t micro_batch;  /* tokens that go through the layers at a time */
    uint32_t cell_tokens;  /* a cache is made of so many */
    uint32_t logit_rows;   /* tokens whose logits are held at a time */
    bool table_on_host;    /* the embedding table, unless it is the head */
    bool offloads;         /* layers and experts may stay on the host */
    bool all_windows;      /* keeps no more of any layer's cache than its window */
    bool splits_layers;    /* of each over all cards; else whole layers, card after card */
    bool apple_only;       /* runs on a Mac alone */
    bool reads_gguf;       /* every level that GGUF has; else those of: */
    struct mq_runtime_form forms[MQ_RUNTIME_FORMS];
    const char *source;
};

extern const struct mq_runtime mq_runtimes[];
extern const size_t mq_runtimes_count;

/* By its name, or that of a program that runs it (ollama, LM Studio); NULL: none. */
const struct mq_runtime *mq_runtime_find(const char *name);

/* The form that the runtime loads a level in; NULL: it does not. */
const struct mq_runtime_form *mq_runtime_form_of(const struct mq_runtime *runtime,
                                                 const char *level);

struct mq_kv_kind {
    const char *name; /* as the runtimes call it, and in --kv */
    uint32_t block_numbers, block_bytes;
    uint32_t runtimes; /* bits */
};

extern const struct mq_kv_kind mq_kv_kinds[];
extern const size_t mq_kv_kinds_count;

const struct mq_kv_kind *mq_kv_kind_find(const char *name);
static inline bool mq_kv_kind_is_quantized(const struct mq_kv_kind *kind)
{
    return kind->block_numbers > 1;
}

/* "f16, bf16 or fp8": the kinds of a runtime. */
void mq_kv_kind_names(const struct mq_runtime *runtime, char *text, size_t room);

#endif
