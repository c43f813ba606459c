/* level_error.h: what a level's blocks lose of weights: measured, and what is to be expected. */
#ifndef MQ_LEVEL_ERROR_H
#define MQ_LEVEL_ERROR_H

#include "levels.h"

/* Sums of squares: of what was lost of the weights, of those themselves, and of what the same weights lose
 * within the range of the level's scales. In a fixed order: the same from every `isa`. */
struct mq_square_sums {
    double lost, weights, within;
};

/*
 * Adds those of rows x cols weights and what their blocks decode to. room: floats of scratch, at least cols. effort and
 * importance as they were encoded with.
 *
 * A block whose f16 scale is at an end of what a half can be (0, a few of the smallest steps, the largest) holds its
 * weights less well than the level can. Such blocks, and no others, are encoded once more, times a power of two that puts
 * them in the middle of the range: so what the range costs is measured, whatever the form of the weights.
 */
void mq_level_add_error(const struct mq_level *level, enum mq_isa isa, enum mq_effort effort,
                        const float *importance, const float *weights, const uint8_t *bytes,
                        uint64_t rows, uint64_t cols, float *scratch, size_t room,
                        struct mq_square_sums *sums);

/* What rows of weights lose within the range beyond what they lost, mostly 0: the same of rows that were decoded. */
double mq_level_error_beyond(const struct mq_level *level, enum mq_isa isa, enum mq_effort effort,
                             const float *importance, const float *weights, const float *decoded,
                             const uint8_t *bytes, uint64_t rows, uint64_t cols);

/* The root of their quotient, the relative error; 0 of no weights, INFINITY where zeros became something. */
double mq_relative_error(const struct mq_square_sums *sums);
/* That within the range. */
double mq_error_within(const struct mq_square_sums *sums);

/*
 * level->error is the relative error of rows of Gaussian weights (measured, default effort; a test compares). Trained
 * matrices have about that; rows of outliers, zeros or heavy tails at most 2.6 times it, and at levels with codebooks, which cut
 * outliers, up to 0.73. People are told of a matrix beyond MQ_ERROR_NOTED times it. Beyond MQ_ERROR_FAR times it, or at
 * coarse levels two thirds of the way from it to losing all (1), is what no form of weights explains: they are beyond the range of
 * the level's scales. Nothing below MQ_ERROR_FLOOR is either. Rounding to f16 or bf16 loses at most half a unit of the last
 * place, 2.4 times what it does of Gaussian weights: what loses more was beyond the range.
 *
 * What the range alone costs has bounds of its own, whatever is usual: people are told of MQ_RANGE_NOTED times what the
 * same weights lose within it, and MQ_RANGE_FAR times that is far, or half of the way from it to losing all.
 */
#define MQ_ERROR_NOTED 2.0
#define MQ_ERROR_NOTED_ROUNDED 2.4
#define MQ_ERROR_FAR 6.0
#define MQ_ERROR_FLOOR 0.02
#define MQ_RANGE_NOTED 1.1
#define MQ_RANGE_FAR 3.0

/* Whether people are to be told of such an error. */
bool mq_level_error_noted(const struct mq_level *level, const struct mq_square_sums *sums);
/* Whether it is a matter of the range, and too large. */
bool mq_level_error_far(const struct mq_level *level, const struct mq_square_sums *sums);
/* What the error should be: `within` where the range costs something, otherwise level->error. */
double mq_level_error_expected(const struct mq_level *level, const struct mq_square_sums *sums);

#endif
