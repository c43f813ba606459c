/*
 * budget.h: one level for each unit of a model, so that all of them fit a number of bytes and lose
 * the least together: the multiple-choice knapsack problem.
 *
 * What a unit is (a matrix, the experts of a layer that share a level) and what a loss is, the caller
 * knows (calibrate); here they are numbers, and losses of units add up.
 */
#ifndef MQ_BUDGET_H
#define MQ_BUDGET_H

#include "error.h"

#include <stdint.h>

/* What a unit costs at one level. A level that it cannot have: bytes UINT64_MAX. */
struct mq_budget_option {
    uint64_t bytes;
    double loss; /* finite, at least 0 */
};

enum { MQ_BUDGET_LEVELS = 64 };

struct mq_budget_result {
    uint64_t bytes;
    double loss;
    double bound; /* no choice within the budget loses less: loss - bound is what is left to gain */
};

/*
 * options[unit][levels]; chosen[unit]: index of its level. Exact by dynamic programming over bytes
 * where the units' number and sizes allow a table of 64 MiB; else all but the units whose choice is
 * open at the budget's price of a byte are fixed at that price (Pisinger, "A minimal algorithm for
 * the multiple-choice knapsack problem", 1995), and the open ones are solved exactly: `bound` tells how
 * near that comes. The same choice on every machine. MOEQ_LIMIT: the smallest choice is larger than
 * the budget; *result has its bytes then.
 */
moeq_status mq_budget_choose(const struct mq_budget_option *options, size_t units, size_t levels,
                             uint64_t budget, uint8_t *chosen, struct mq_budget_result *result,
                             moeq_error *err);

#endif
