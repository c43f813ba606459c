/* coverage.h: what a calibration has seen: of experts how many tokens, of matrices how their inputs lie. */
#ifndef MQ_COVERAGE_H
#define MQ_COVERAGE_H

#include "calibration.h"
#include "importance.h"

/*
 * An expert that met fewer tokens says little about its columns: of their importance half or more is then the
 * layer's.
 */
#define MQ_COVERAGE_FEW ((int)MQ_IMPORTANCE_PRIOR)

/* The experts of a layer. */
struct mq_coverage_layer {
    int32_t layer;
    uint32_t experts;
    uint32_t few, without;       /* that met fewer than MQ_COVERAGE_FEW tokens, but some; none */
    int64_t least, median, most; /* tokens */
    int64_t *tokens;             /* [experts] */
    double *routing;             /* [experts]: sums of their routing weights */
};

/* The matrices of a role. */
struct mq_coverage_role {
    enum mq_role role;
    uint64_t matrices, seen;                                /* by a token at least */
    double alignment_least, alignment_mean, alignment_most; /* mq_calibration_alignment */
    /*
     * Against what was held out: half the sum over columns of |p - q|, with p and q the columns' shares
     * in the inputs' squares: from 0 to 1. Means are by the held-out tokens. NAN where there is none, and of
     * gates, whose inputs are up's.
     */
    double distance_mean, distance_most;
};

struct mq_coverage {
    struct mq_coverage_role *roles;
    size_t roles_count;
    struct mq_coverage_layer *layers; /* those with experts */
    size_t layers_count;
    uint64_t experts, few, without;
    /* Of held-out tokens: visits of experts, and those of experts that the rest saw too little of. */
    int64_t held_out_visits, held_out_few;
    struct mq_arena *arena;
};

/* `apart`: what was held out; NULL: nothing was. */
moeq_status mq_coverage_measure(const struct mq_calibration *whole,
                                const struct mq_calibration *apart, struct mq_coverage *coverage,
                                moeq_error *err);
void mq_coverage_free(struct mq_coverage *coverage);

#endif
