/* golden.h: reading the reference outputs of a checkpoint, and collecting the evaluator's. */
#ifndef MQ_GOLDEN_H
#define MQ_GOLDEN_H

#include "evaluator.h"
#include "safetensors.h"
#include "test_support.h"

struct golden {
    struct mq_arena *arena;
    struct mq_safetensors file;
    struct mq_windows windows;
};

/* Opens golden.safetensors and reads input_ids; aborts the test on failure. */
void golden_open(const char *path, struct golden *golden);
void golden_close(struct golden *golden);

/* A tensor's bytes (to be freed), and the number of its elements. NULL if there is none. */
void *golden_read(const struct golden *golden, const char *name, size_t *elements);

/* Everything that the evaluator reports for one arm. */
struct collected {
    size_t tokens, layers, hidden_size, vocab, experts;
    size_t top_k; /* the largest of all layers: a layer with fewer uses the first part of its share */
    float *hidden;        /* [layers + 1][tokens][hidden_size] */
    float *router_logits; /* [layers][tokens][experts] */
    int32_t *chosen;      /* [layers][tokens][top_k] */
    float *weights;       /* [layers][tokens][top_k] */
    float *logits;        /* [tokens][vocab] */
    size_t logits_seen;
    double squared_error, squared_weights; /* summed over tensors */
    size_t quantized;
};

/* Evaluates, collecting each arm's results in results[arms_count]; free with collected_free. */
moeq_status collect(const struct mq_context *context, const struct mq_arm *arms, size_t arms_count,
                    const struct mq_windows *windows, struct collected *results, moeq_error *err);
/* The same, by an observer that sees all windows of a layer at once or not (mq_observer.whole). */
moeq_status collect_whole(const struct mq_context *context, const struct mq_arm *arms,
                          size_t arms_count, const struct mq_windows *windows, bool whole,
                          struct collected *results, moeq_error *err);
void collected_free(struct collected *c);

/* True if two collections hold the same bits. */
bool collected_equal(const struct collected *a, const struct collected *b);

#endif
