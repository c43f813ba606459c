/* runtimes.c: what programs keep in a card's memory, and kinds of KV cache. */
#include "runtimes.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/*
 * llama.cpp, of its sources: common/common.h and tools/server (n_ubatch 512; a margin of 1024 MiB on
 * each device, --fit-target), src/llama-context.cpp and src/llama-kv-cache-iswa.cpp (contexts and
 * windows in cells of 256). A graph is reserved with the logits of a whole micro-batch; llama-server
 * from pull request 23861 (June 2026) on with those of its slots alone. What counts here is the more:
 * Ollama and LM Studio carry builds of their own time.
 *
 * vLLM, of its sources: vllm/config/cache.py (gpu_memory_utilization: 0.9 until v0.16, which is what the
 * printed command asks for; blocks of 16 tokens), vllm/config/scheduler.py (max_num_batched_tokens 2048,
 * max_num_seqs 256: logits of so many). What it leaves of a card is its margin. Levels: those whose
 * kernels it has for experts (model_executor/layers/fused_moe/oracle/int_wna16.py: integers of 4 and 8 bits
 * in groups of 32, 64, 128 or rows; the same of FP8 in blocks and of int8).
 *
 * SGLang, of its sources: srt/server_args.py (mem_fraction_static is of weights and caches, activations stand
 * beside it; it is worked out of the card's memory, so that the printed command gives both it and
 * chunked_prefill_size), srt/layers/quantization/compressed_tensors.
 *
 * mlx-lm, of its sources: mlx_lm/generate.py (prompts in steps of 2048, of which only the last token's logits are
 * made), mlx_lm/models/cache.py (KVCache grows by 256 tokens). MLX has affine codes of 2 to 8 bits in groups of 32,
 * 64 and 128; those here are the ones that published models have.
 */
// clang-format off
#define COMPRESSED_TENSORS \
    {"compressed-tensors", MQ_FOLDER_PACKED, "w4g32|w4g64|w4g128|w8g128"}, \
    {"int8", MQ_FOLDER_INT8, "w8c"}, \
    {"fp8-block", MQ_FOLDER_FP8, "fp8b"}
// clang-format on
const struct mq_runtime mq_runtimes[] = {
    {.name = "llama.cpp",
     .also = "llamacpp|llama-cpp|llama-server|llama-cli|ollama|lmstudio|lm-studio|lm studio",
     .who = "llama.cpp, Ollama and LM Studio",
     .bit = MQ_RUNS_LLAMA_CPP,
     .used_percent = 100,
     .margin_mib = 1024,
     .micro_batch = 512,
     .cell_tokens = 256,
     .logit_rows = 512,
     .table_on_host = true,
     .offloads = true,
     .reads_gguf = true,
     .source = "llama.cpp: src/llama-context.cpp, src/llama-kv-cache-iswa.cpp"},
    {.name = "vllm",
     .who = "vLLM",
     .bit = MQ_RUNS_VLLM,
     .used_percent = 90,
     .micro_batch = 2048,
     .cell_tokens = 16,
     .logit_rows = 256,
     .all_windows = true,
     .splits_layers = true,
     .forms = {COMPRESSED_TENSORS},
     .source = "vLLM: vllm/config/cache.py, vllm/config/scheduler.py"},
    {.name = "sglang",
     .who = "SGLang",
     .bit = MQ_RUNS_SGLANG,
     .used_percent = 85,
     .micro_batch = 2048,
     .cell_tokens = 1,
     .logit_rows = 256,
     .splits_layers = true,
     .forms = {COMPRESSED_TENSORS},
     .source = "SGLang: python/sglang/srt/server_args.py"},
    {.name = "mlx",
     .also = "mlx-lm|mlx_lm|lm-studio-mlx",
     .who = "mlx-lm",
     .bit = MQ_RUNS_MLX,
     .used_percent = 100,
     .margin_mib = 1024,
     .micro_batch = 2048,
     .cell_tokens = 256,
     .logit_rows = 1,
     .apple_only = true,
     .forms = {{"mlx", MQ_FOLDER_MLX,
                "mlx8g64|mlx6g64|mlx5g64|mlx4g32|mlx4g64|mlx3g32|mlx3g64|mlx2g32"}},
     .source = "mlx-lm: mlx_lm/generate.py, mlx_lm/models/cache.py"},
};
const size_t mq_runtimes_count = sizeof mq_runtimes / sizeof *mq_runtimes;

/* Whether one of several names, with '|' between, is this one. */
static bool is_among(const char *names, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = names; at && n; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (strcspn(at, "|") == n && strncasecmp(at, name, n) == 0)
            return true;
    return false;
}

const struct mq_runtime *mq_runtime_find(const char *name)
{
    for (size_t i = 0; i < mq_runtimes_count; i++)
        if (strcasecmp(mq_runtimes[i].name, name) == 0 || is_among(mq_runtimes[i].also, name))
            return &mq_runtimes[i];
    return NULL;
}

const struct mq_runtime_form *mq_runtime_form_of(const struct mq_runtime *runtime,
                                                 const char *level)
{
    for (int i = 0; i < MQ_RUNTIME_FORMS && runtime->forms[i].name; i++)
        if (is_among(runtime->forms[i].levels, level))
            return &runtime->forms[i];
    return NULL;
}

/* llama.cpp: kv_cache_types of common/arg.cpp, blocks of ggml-common.h. vLLM: CacheDType of
 * vllm/config/cache.py; its other kinds are of single attention kernels. SGLang: --kv-cache-dtype of
 * server_args.py. mlx-lm: caches in the model's type. */
const struct mq_kv_kind mq_kv_kinds[] = {
    {"f16", 1, 2, MQ_RUNS_LLAMA_CPP | MQ_RUNS_VLLM | MQ_RUNS_SGLANG | MQ_RUNS_MLX},
    {"bf16", 1, 2, MQ_RUNS_LLAMA_CPP | MQ_RUNS_VLLM | MQ_RUNS_SGLANG | MQ_RUNS_MLX},
    {"fp8", 1, 1, MQ_RUNS_VLLM | MQ_RUNS_SGLANG},
    {"q8_0", 32, 34, MQ_RUNS_LLAMA_CPP},
    {"q5_1", 32, 24, MQ_RUNS_LLAMA_CPP},
    {"q5_0", 32, 22, MQ_RUNS_LLAMA_CPP},
    {"q4_1", 32, 20, MQ_RUNS_LLAMA_CPP},
    {"q4_0", 32, 18, MQ_RUNS_LLAMA_CPP},
    {"iq4_nl", 32, 18, MQ_RUNS_LLAMA_CPP},
    {"f32", 1, 4, MQ_RUNS_LLAMA_CPP},
};
const size_t mq_kv_kinds_count = sizeof mq_kv_kinds / sizeof *mq_kv_kinds;

const struct mq_kv_kind *mq_kv_kind_find(const char *name)
{
    for (size_t i = 0; i < mq_kv_kinds_count; i++)
        if (strcasecmp(mq_kv_kinds[i].name, name) == 0)
            return &mq_kv_kinds[i];
    return NULL;
}

void mq_kv_kind_names(const struct mq_runtime *runtime, char *text, size_t room)
{
    const char *last = NULL;
    text[0] = '\0';
    for (size_t i = 0; i < mq_kv_kinds_count; i++) {
        if (!(mq_kv_kinds[i].runtimes & runtime->bit))
            continue;
        const size_t used = strlen(text);
        if (last)
            snprintf(text + used, room - used, "%s%s", used ? ", " : "", last);
        last = mq_kv_kinds[i].name;
    }
    const size_t used = strlen(text);
    snprintf(text + used, room - used, "%s%s", used ? " or " : "", last ? last : "");
}
