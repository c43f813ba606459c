/*
 * eval_dump.h: `eval --ids F --dump G`: everything that a runtime computes, for comparison with
 * others.
 *
 * F, a file, a pipe or "-" for standard input, is a safetensors file with
 *
 *     input_ids         I32 or I64 [n, T]
 *
 * G is one with the metadata `producer` and `compute`, and
 *
 *     logits            F32 [n, T, vocab]
 *     router.L.logits   F32 [n*T, experts]    of each layer L that has a router
 *     router.L.experts  I32 [n*T, k]          the chosen ones, ascending
 *     router.L.weights  F32 [n*T, k]          in that order
 *     hidden.L          F32 [n, T, hidden]    if asked for: the input of layer L;
 *                                             for L = layers: of the final norm
 */
#ifndef MQ_EVAL_DUMP_H
#define MQ_EVAL_DUMP_H

#include "evaluator.h"

struct mq_dump_options {
    const char *ids_path, *output_path;
    bool hidden; /* hidden.L too */
    enum mq_compute compute;
};

struct mq_dump_result {
    size_t windows, window_tokens;
    uint64_t file_bytes;
};

/* Refuses an output that is the ids' file or one of the model's. An existing output is replaced,
 * when the new one is complete. */
moeq_status mq_eval_dump(const struct mq_context *context, const struct mq_view *view,
                         const struct mq_dump_options *options, struct mq_dump_result *result,
                         moeq_error *err);

#endif
