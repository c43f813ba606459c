/*
 * eval_dump.h: `eval --ids F --dump G`: everything that a runtime computes, for comparison with
 * others.
 *
 * F, a file, a pipe or "-" for standard input, holds `input_ids`, I32 or I64 [n, T]. G receives,
 * F32 unless noted:
 *
 *     logits            [n, T, vocab]
 *     router.L.logits   [n*T, experts]      for each layer L that has a router
 *     router.L.experts  [n*T, k] I32        the chosen ones, ascending
 *     router.L.weights  [n*T, k]            in that order
 *     hidden.L          [n, T, hidden]      if asked for: the input of layer L; of the final norm
 * for L = layers
 *
 * Its metadata: `producer` and `compute`.
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
