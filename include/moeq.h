/*
 * moeq.h: the installed C API. This is all an embedder sees.
 *
 * Every call returns a moeq_status; results come through out-parameters or callbacks, and the
 * details of a failure through a moeq_error that the caller owns. The library never prints, exits
 * or aborts, and keeps no mutable global state.
 */
#ifndef MOEQ_H
#define MOEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOEQ_VERSION_MAJOR 0
#define MOEQ_VERSION_MINOR 1
#define MOEQ_VERSION_PATCH 0
#define MOEQ_VERSION_STRING "0.1.0"

/* One list of status codes and their texts; the enum and moeq_status_text() are both made of it. */
#define MOEQ_STATUS_LIST(X)                 \
    X(OK, "success")                        \
    X(NO_MEMORY, "out of memory")           \
    X(IO, "input/output error")             \
    X(NOT_FOUND, "not found")               \
    X(MALFORMED, "malformed file")          \
    X(UNSUPPORTED, "not supported")         \
    X(CORRUPT, "checksum mismatch")         \
    X(LIMIT, "limit exceeded")              \
    X(INVALID_ARGUMENT, "invalid argument") \
    X(NO_SPACE, "not enough disk space")    \
    X(CANCELLED, "interrupted")

typedef enum moeq_status {
#define MOEQ_STATUS_ENUM(name, text) MOEQ_##name,
    MOEQ_STATUS_LIST(MOEQ_STATUS_ENUM)
#undef MOEQ_STATUS_ENUM
        MOEQ_STATUS_COUNT
} moeq_status;

const char *moeq_status_text(moeq_status status);

/*
 * What went wrong, and where. Zero-initialize it; the first error recorded sticks. `message` is a
 * complete sentence that already names path, tensor and offset where they are known; the other
 * fields repeat them for programs.
 */
typedef struct moeq_error { /* a number first: `= {0}` is no initializer of an enum in C++ */
    uint64_t offset;        /* bytes from the start of `path` */
    moeq_status status;
    bool has_offset;
    char path[512];   /* "" if no file is concerned */
    char tensor[256]; /* "" if no tensor is concerned */
    char message[1400];
} moeq_error;

/* The library's version, such as "0.1.0". */
const char *moeq_version(void);

/* Frees text and arrays that this library returned. NULL is fine. */
void moeq_free(void *memory);

/*
 * How a long job runs. Set struct_size to sizeof(moeq_job) (so that later versions may add fields)
 * and leave the rest zero for the defaults; a NULL job is all defaults.
 */
typedef struct moeq_job {
    size_t struct_size;
    unsigned threads;      /* 0: one for each processor */
    uint64_t memory_bytes; /* for buffers; 0: the job's own default */
    /* Called many times a second, from one thread at a time; return false to stop the job with
     * MOEQ_CANCELLED. `done` of `total` `unit`s of `phase` are done. */
    bool (*progress)(void *user, const char *phase, const char *unit, uint64_t done,
                     uint64_t total);
    void *progress_user;
} moeq_job;

/* An opened model: a Hugging Face folder, owner/name in the local Hugging Face cache, a moeq file
 * (of several, their index), or a GGUF file. Opening reads headers and small files only. Immutable:
 * threads may share it. */
typedef struct moeq_model moeq_model;

moeq_status moeq_model_open(const char *path, moeq_model **model, moeq_error *err);

/* How a model is read where its files leave a choice. Set struct_size and leave the rest zero for
 * what Transformers 5 does. A choice that differs from it is recorded in what is made of the
 * model. */
typedef struct moeq_open_options {
    size_t struct_size;
    const char *const *ignore_config; /* keys of config.json that moeq does not know */
    size_t ignore_config_count;
    const char *sliding_window; /* "apply", "ignore"; NULL: of the families that have one */
    const char *lm_head;        /* "stored", "tied"; NULL: the stored head if it differs */
    /* What is read of a moeq file is not compared with its checksums: read on where it is damaged. */
    bool no_check;
} moeq_open_options;
moeq_status moeq_model_open_with(const char *path, const moeq_open_options *options,
                                 moeq_model **model, moeq_error *err);

/* What a user should know of how the model was read, sentence by sentence: NULL from the number
 * of sentences on. The model's own. */
const char *moeq_model_note(const moeq_model *model, size_t number);
void moeq_model_close(moeq_model *model); /* NULL is fine */

/* Token ids of n bytes of UTF-8 by the model's tokenizer.json; *ids is freed with moeq_free.
 * add_special_tokens: apply the tokenizer's template (the BOS of most models). */
moeq_status moeq_tokenize(const moeq_model *model, const char *text, size_t n,
                          bool add_special_tokens, int32_t **ids, size_t *count, moeq_error *err);

/* A text, and how it is scored. */
typedef struct moeq_text {
    size_t struct_size;
    const char *path;     /* a UTF-8 file; required */
    const char *protocol; /* "half" (default) or "full" */
    size_t context;       /* tokens a window; 0: the protocol's */
    size_t tokens;        /* use only the first ones; 0: all */
    /* "f32" (default), the reference; or "int8": activations in 8 bits times the codes of quantized
     * weights. In moeq_sweep, whose baseline stays f32: both, side by side. */
    const char *compute;
} moeq_text;

/* Graphics cards, and what runs on them, as `moeq fit` takes them. */
typedef struct moeq_card {
    size_t struct_size;
    const char *gpu;       /* "RTX 4090", "2x3090", "3090,3060", or "auto": this machine's */
    const char *vram;      /* "24GiB", "2x24GiB": instead of `gpu`, or of each of its cards */
    const char *bandwidth; /* "936" or "936,360": GB/s, where `gpu` does not say it */
    uint64_t context;      /* tokens; 0: the model's own, at most 8192 */
    const char *kv;        /* kind of the cache; NULL: "f16" */
    const char *runtime;   /* "llama.cpp" (default), "vllm"; of moeq_fit also "moeq" */
    bool no_flash_attention;
    const char *ram; /* of the host, which part of the weights may stay in: "64GiB" (default) */
} moeq_card;

/* Which level each class of tensors gets, or a budget. Levels are names such as "q4_k", in any case, and others that
 * people use ("fp16"); NULL: the default. */
typedef struct moeq_recipe {
    size_t struct_size;
    const char *
        level; /* experts, or MLPs without them; required, unless there is a mix or a budget; or a mix */
    const char *attention;  /* default q8_0 */
    const char *embeddings; /* embeddings and head; default q8_0 */
    const char *effort;     /* "default", "best", or "calibrated" (needs a text) */
    const char *mix;        /* a named mix such as "mix4" instead of the levels */
    /* Of moeq_convert and moeq_plan_bytes only: not 0: files of at most this size where one would
     * be larger, named OUTPUT-00001-of-00003.moeq, with their index, OUTPUT.moeq.index.json. */
    uint64_t shard_bytes;
    /* Copy NaN and infinite weights of tensors that are not quantized: read twice, to be counted
     * and noted in the file (see moeq_model_note). Otherwise they are an error, which counts them
     * too. */
    bool allow_nonfinite;
    /* Of moeq_sweep only: a model stored in files of its own, in the place of levels and mix. */
    const moeq_model *model;
    /* In a model with experts: shared experts, and MLPs beside or instead of experts; default q8_0. */
    const char *shared;
    /* Not of moeq_sweep, which can judge the file instead. A calibration (`moeq calibrate`) or an
     * imatrix: columns count by their inputs' mean squares in it. What an imatrix lacks becomes a note of
     * the model, which other threads should not use meanwhile. */
    const char *calibration;
    /* Not of moeq_sweep. Of effort "calibrated": path, context and tokens of the text whose outputs'
     * errors are kept low. Of a budget: of the text by which it is found out what each matrix loses. */
    const moeq_text *text;
    /* Of moeq_convert, moeq_export_gguf and moeq_plan_bytes: a budget, which needs a text, in the place of level and mix: a
     * level for every matrix, so that experts and MLPs have so many bits per weight, or all files so
     * many bytes, or the cards hold them with their context. One of the three. */
    double bpw;
    uint64_t size_bytes;
    const moeq_card *card;
    const char *const *levels; /* that it chooses among; NULL: all that can be calibrated */
    size_t levels_count;
    const char *granularity; /* "expert", or "matrix": one level for all experts of a matrix; NULL:
                                the former, of GGUF files the latter */
    /* A matrix that its level cannot hold, as its weights are beyond the range of the level's scales, is an error
     * (MOEQ_UNSUPPORTED); with this it is stored, or judged in moeq_sweep (one recipe allows it for all), and noted. */
    bool allow_loss;
} moeq_recipe;

/* The exact size in bytes of the file that moeq_convert would write, or of all shards together,
 * without their index. */
moeq_status moeq_plan_bytes(const moeq_model *model, const moeq_recipe *recipe, uint64_t *bytes,
                            moeq_error *err);

/* Writes a quantized moeq file. Interrupted, it goes on when called again with the same arguments.
 * An existing output is an error unless `replace`. */
moeq_status moeq_convert(const moeq_model *model, const moeq_recipe *recipe, const char *output,
                         bool replace, const moeq_job *job, moeq_error *err);

/* What GGUF files have and moeq files have not. */
typedef struct moeq_gguf {
    size_t struct_size;
    bool unify_up;        /* where GGUF cannot store what is asked for, the next larger level */
    uint64_t split_bytes; /* begin a new file where one would become larger; 0: one file */
    bool allow_nonfinite; /* as that of the recipe, with or without one */
    char unused[7];       /* what a struct of before has there may be anything */
    bool allow_loss;      /* as allow_nonfinite */
} moeq_gguf;

/* Writes a GGUF file, or its splits (OUTPUT-00001-of-00003.gguf), as moeq_convert writes a moeq
 * file. A NULL recipe: blocks and precisions as the model has them, which alone a quantized model
 * allows; a NULL gguf: all defaults. */
moeq_status moeq_export_gguf(const moeq_model *model, const moeq_recipe *recipe,
                             const moeq_gguf *gguf, const char *output, bool replace,
                             const moeq_job *job, moeq_error *err);

/* Verifies every checksum of a moeq file, or by their index of several. *report (a JSON document,
 * freed with moeq_free) lists what is damaged; the status is MOEQ_CORRUPT if anything is. */
moeq_status moeq_check(const char *path, const moeq_job *job, char **report, moeq_error *err);

/* Perplexity of a model on a text, as a JSON document (freed with moeq_free). */
moeq_status moeq_eval(const moeq_model *model, const moeq_text *text, const moeq_job *job,
                      char **report, moeq_error *err);

/* What each of `count` recipes costs (at most 64) in memory, perplexity, KL divergence and routing
 * fidelity against the model as it is, as a JSON document (freed with moeq_free). Writes nothing. */
moeq_status moeq_sweep(const moeq_model *model, const moeq_text *text, const moeq_recipe *recipes,
                       size_t count, const moeq_job *job, char **report, moeq_error *err);

/* Each of `count` stored models (1 to 64) against the original, or against a recording of it
 * (`moeq record`), as a JSON document (freed with moeq_free). `text` may be NULL for a recording,
 * which has its own text and protocol and, unless the text names one, its own arithmetic. */
moeq_status moeq_verify(const moeq_model *const *models, size_t count, const char *against,
                        const moeq_text *text, const moeq_job *job, char **report, moeq_error *err);

/* What a later moeq_verify needs of the original, without its weights, as `moeq record` writes it. An
 * existing output is an error unless `replace`. */
moeq_status moeq_record(const moeq_model *model, const moeq_text *text, const char *output,
                        bool replace, const moeq_job *job, moeq_error *err);

/* Limits on what moeq_verify measures: see docs/gates.md. */
typedef struct moeq_gate {
    size_t struct_size;
    const char *limits; /* a file of limits to keep; NULL: none */
    bool all;           /* every model has to keep them, not the last one alone */
    const char *junit;  /* a file to write, the judgement as JUnit XML; NULL: none */
    const char *write;  /* a file to write, limits that the last model keeps; NULL: none */
    double margin;      /* of `write`: how much further from perfect is allowed; 0: 0.1 (10 %) */
} moeq_gate;

/* moeq_verify, with a gate. *broken: how many limits are broken, which is no error. A gate about other
 * tokens or another arithmetic is one, before anything is evaluated. */
moeq_status moeq_verify_gate(const moeq_model *const *models, size_t count, const char *against,
                             const moeq_text *text, const moeq_gate *gate, const moeq_job *job,
                             size_t *broken, char **report, moeq_error *err);

/* Which levels of a model the cards hold, with how much to spare, as a JSON document (freed with moeq_free). model: as of
 * moeq_model_open, or a config.json alone; open: how it is read, NULL is fine. A row for each recipe (its levels and
 * classes, or its mix), or with none for every level. quality: a result of moeq_sweep in a file, whose figures the rows get and the
 * choice goes by; NULL: none. */
moeq_status moeq_fit(const char *model, const moeq_open_options *open, const moeq_card *card,
                     const moeq_recipe *recipes, size_t count, const char *quality, char **report,
                     moeq_error *err);

/* A document of moeq_sweep or moeq_verify, or of the program's --json, as a page for people, by the
 * output's ending: .html, .md, .csv or .svg. An existing output is replaced. */
moeq_status moeq_report(const char *document, const char *output, moeq_error *err);

#ifdef __cplusplus
}
#endif

#endif /* MOEQ_H */
