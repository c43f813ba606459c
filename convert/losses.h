/*
 * losses.h: what a conversion's levels lose of each matrix.
 *
 * What is encoded is decoded again and compared. A matrix that lost far more than its level's rows lose of ordinary weights, or
 * than its own would lose within the range of the level's scales (quantize/level_error.h), is an error, unless the user
 * allows it: what is stored is something else. Others that lost more than usual are told.
 */
#ifndef MQ_LOSSES_H
#define MQ_LOSSES_H

#include "buffer.h"
#include "level_error.h"
#include "json_tree.h"
#include "plan.h"

/* Root mean squares of struct mq_square_sums. As a journal keeps them. */
struct mq_loss {
    float lost, weights, within;
};

struct mq_loss mq_loss_of(const struct mq_square_sums *sums, uint64_t weights);
void mq_loss_add(struct mq_square_sums *sums, const struct mq_loss *loss, uint64_t weights);

/* One matrix that lost more than usual. */
struct mq_lossy {
    const struct mq_tensor *tensor; /* the view's */
    const struct mq_level *level;
    double error, expected; /* relative */
    bool far;
};

enum { MQ_LOSSES_LISTED = 32 }; /* the worst of them; more are counted */

struct mq_losses {
    struct mq_lossy listed[MQ_LOSSES_LISTED]; /* the worst, measured by what is usual, first */
    size_t listed_count;
    uint64_t count, far_count;
};

/* Adds a matrix, if it is one of them; in any order, of one view. */
void mq_losses_add(struct mq_losses *losses, const struct mq_tensor *tensor,
                   const struct mq_level *level, const struct mq_loss *loss);

/* MOEQ_OK, unless a matrix lost far more than usual: file, tensor, place, level, expected and found. */
moeq_status mq_loss_judge(const struct mq_view *view, const struct mq_tensor *tensor,
                          const struct mq_level *level, const struct mq_loss *loss, moeq_error *err);

/* "3 matrices lost more than their levels do: 'a' q4_k 0.41 (usual: 0.07); ..." in at most `room` bytes, fewer of them
 * where there is less room, nothing where there is none. */
void mq_losses_describe(const struct mq_losses *losses, char *text, size_t room);

/* A list of objects: "tensor", "level", "error", "usual", "beyond_range". */
cJSON *mq_losses_json(struct mq_json_tree *b, const struct mq_losses *losses);

#endif
