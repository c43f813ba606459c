/* level_error.h: what a level's blocks lose of weights: measured, and what is to be expected. */
#ifndef MQ_LEVEL_ERROR_H
#define MQ_LEVEL_ERROR_H

#include "levels.h"

/* Sums of squares: of what was lost of the weights, and of those themselves. In a fixed order: the same from
 * every `isa`. */
struct mq_square_sums {
    double lost, weights;
};

/* Adds those of rows x cols weights and what their blocks decode to. room: floats of scratch, at least cols. */
void mq_level_add_error(const struct mq_level *level, enum mq_isa isa, const float *weights,
                        const uint8_t *bytes, uint64_t rows, uint64_t cols, float *scratch,
                        size_t room, struct mq_square_sums *sums);

/* The root of their quotient, the relative error; 0 of no weights, INFINITY where zeros became something. */
double mq_relative_error(const struct mq_square_sums *sums);

/*
 * level->error is the relative error of rows of Gaussian weights (measured, default effort; a test compares). Trained
 * matrices have about that; rows of outliers, zeros or heavy tails at most 2.6 times it, and at levels with codebooks, which cut
 * outliers, up to 0.73. People are told of a matrix beyond MQ_ERROR_NOTED times it. Beyond MQ_ERROR_FAR times it, or at
 * coarse levels two thirds of the way from it to losing all (1), is what no form of weights explains: they are beyond the range of
 * the level's scales. Nothing below MQ_ERROR_FLOOR is either.
 */
#define MQ_ERROR_NOTED 2.0
#define MQ_ERROR_FAR 6.0
#define MQ_ERROR_FLOOR 0.02
double mq_level_error_noted(const struct mq_level *level);
double mq_level_error_far(const struct mq_level *level);

#endif
