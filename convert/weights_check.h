/*
 * weights_check.h: `check` of a format without checksums: is every weight a number?
 *
 * A damaged byte that leaves all weights finite cannot be seen so: what is found are headers that
 * do not fit, files cut short, and scales that are infinite or no number, as zeroed or overwritten
 * blocks of f16 often have; and zeros where weights should be (zeros.h). Blocks that moeq cannot
 * decode are not looked into.
 */
#ifndef MQ_WEIGHTS_CHECK_H
#define MQ_WEIGHTS_CHECK_H

#include "context.h"
#include "zeros.h"

struct mq_weights_result {
    uint64_t tensors, weights, bytes;
    uint64_t file_bytes; /* of all files */
    /* Of the tensors, those that could not be looked into: their number, weights, and the levels
     * that they are stored at ("iq4_xs, iq3_s"). */
    uint64_t unread_tensors, unread_weights;
    char unread_levels[200];
    struct mq_zeros zeros; /* names are the view's */
};

/* Reads and decodes every row once, in parallel, with a few MiB a thread. The first weight that is
 * not finite is MOEQ_CORRUPT, naming file, tensor, byte, row and column. MOEQ_OK means that all are
 * finite; zeros are in the result. */
moeq_status mq_weights_check(const struct mq_context *context, const struct mq_view *view,
                             struct mq_weights_result *result, moeq_error *err);

/*
 * Adds the matrices that are nothing but zeros in bytes that are not (a block of q3_k or q6_k has
 * offsets in its codes), where mq_zeros_scan does not see them. Reads a row of each matrix, and
 * more only of one that begins with zeros. Names are copied into the arena.
 */
moeq_status mq_zero_matrices(const struct mq_context *context, const struct mq_view *view,
                             struct mq_arena *arena, struct mq_zeros *zeros, moeq_error *err);

#endif
