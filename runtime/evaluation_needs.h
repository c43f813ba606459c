/* evaluation_needs.h: the memory of moeq's own evaluator, for fit. */
#ifndef MQ_EVALUATION_NEEDS_H
#define MQ_EVALUATION_NEEDS_H

#include "context.h"
#include "model_view.h"

#include <cjson/cJSON.h>

/* It runs on the processor and reads weights from the file in panels, so that the level does not matter: memory is
 * that of its buffers and of the states of at least one window. */
struct mq_evaluation_needs {
    const struct mq_view *view;
    uint64_t window_tokens, window_bytes, buffer_bytes, needed_bytes;
    uint64_t available_bytes; /* 0: not said */
};

/* context: tokens of a window, 0: 512. vram: a size, or NULL; gpu, which says nothing of it, is refused. dash: before the
 * names of these in messages. */
moeq_status mq_evaluation_needs(const struct mq_context *context, const struct mq_view *view,
                                const char *gpu, const char *vram, uint64_t window_tokens,
                                const char *dash, struct mq_evaluation_needs *needs,
                                moeq_error *err);

/* The document of fit; NULL when out of memory. */
cJSON *mq_evaluation_needs_json(const struct mq_evaluation_needs *needs);

#endif
