/* plan.h: a view and a policy become every byte count and place of the output, before any work. */
#ifndef MQ_PLAN_H
#define MQ_PLAN_H

#include "moeq_layout.h"
#include "policy.h"

struct mq_plan_entry {
    const struct mq_tensor *tensor;
    const struct mq_level *source, *level;
    uint64_t row_bytes, size_bytes; /* in the output */
    uint64_t offset;                /* in the output file */
    size_t item;                    /* index into layout.items */
};

/* A side file as it will stand in the output: a zlib stream. */
struct mq_plan_side {
    const struct mq_side_file *side;
    unsigned char *bytes;
    uint64_t size_bytes, offset;
    size_t item;
};

struct mq_plan_total {
    uint64_t tensors, weights, source_bytes, bytes;
};

struct mq_plan {
    const struct mq_view *view;
    enum mq_effort effort;
    struct mq_plan_entry *entries; /* one a tensor of the view, in its order */
    struct mq_plan_side *sides;
    size_t sides_count;
    struct mq_layout layout;
    struct mq_plan_total by_class[MQ_CLASS_COUNT],
        total; /* weights only: no header, padding, sides */
    struct mq_arena *arena;
};

/* Weights' bits per weight of a total. */
static inline double mq_bits_per_weight(const struct mq_plan_total *t)
{
    return t->weights ? 8.0 * (double)t->bytes / (double)t->weights : 0;
}

moeq_status mq_plan_create(const struct mq_view *view, const struct mq_policy *policy,
                           struct mq_plan **plan, moeq_error *err);
void mq_plan_free(struct mq_plan *plan); /* NULL is fine */

#endif
