/*
 * linear.h: Y = X W' for several arms, W streamed from disk.
 *
 * The rows of W are cut into tasks of one to eight panels. A task reads its rows once per distinct
 * source, decodes them, quantizes them on the fly once per distinct level, packs, and multiplies
 * with the tokens of every arm that uses these weights. Nothing of W outlives its task but what is kept for the next
 * slab of tokens or the next pass.
 */
#ifndef MQ_LINEAR_H
#define MQ_LINEAR_H

#include "compute.h"
#include "context.h"
#include "exact_sum.h"
#include "level_error.h"
#include "levels.h"
#include "model_view.h"

/* A matrix (or vector) as one arm sees it: rows of a file, quantized to `level` unless NULL. */
struct mq_weights {
    const struct mq_view *view;
    const struct mq_tensor *tensor;
    const struct mq_level *storage; /* of the file's bytes */
    const struct mq_level *level;
    enum mq_effort effort;
    const float *importance; /* of the columns, for the level's encoder; NULL: all alike */
};

/* True if both are the same numbers, read from the same place. */
bool mq_weights_equal(const struct mq_weights *a, const struct mq_weights *b);

/* Room that mq_weights_load needs in `bytes` and its unquantized twin, for one row. */
uint64_t mq_weights_row_bytes(const struct mq_weights *weights);

/* Reads `count` rows as floats [count][cols] the way the arm sees them, and checks that they are
 * finite. `bytes`: scratch of count * mq_weights_row_bytes. */
moeq_status mq_weights_load(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                            uint64_t count, uint8_t *bytes, float *rows, moeq_error *err);

/* What becomes of a product. */
enum mq_linear_output {
    MQ_LINEAR_STORE, /* y[i] = product[i] */
    MQ_LINEAR_GATE,  /* y[i] = f(y[i]) * product[i], f the activation (or f of product[i] alone) */
};

struct mq_kept_weights;
struct mq_kept_matrix;

/* One arm's part in a product. Matrices of tokens have a stride in floats. */
struct mq_linear_arm {
    struct mq_weights weights;
    const float *x;
    size_t ldx, tokens;
    float *y;
    size_t ldy;
    enum mq_compute compute;
    void *int8;             /* for MQ_COMPUTE_INT8: room for tokens * mq_linear_int8_bytes(cols) */
    /* Of the matrix, rows_count rows from first_row on alone, the same ones in every arm, as if it had
     * no more; rows_count 0: all. */
    uint64_t first_row, rows_count;
    /* Room for the matrix as weights.level makes it, of which the product then leaves it there, or (is_encoded)
     * finds it there, and reads and encodes nothing; NULL: none. Of whole matrices alone, the same for arms
     * of the same weights: the first one's counts. */
    uint8_t *encoded;
    bool is_encoded;
    /* Filled in by mq_linear_apply (mq_linear_keep): where the matrix is kept, of the first arm that has these weights,
     * and whether the rows are there already. */
    struct mq_kept_matrix *kept;
    bool is_kept;
    const float *bias; /* [rows]: added to every product; NULL: none */
    bool bf16;         /* round every product, and what GATE makes of it, to bf16 */
    enum mq_activation activation; /* GATE only, */
    float activation_limit;        /* and its limit */
    /* Sums of squares over the matrix, if asked for (also where there are no tokens): the error of
     * quantizing on the fly, and the weights. */
    bool measure;
    struct mq_square_sums squares;
    struct mq_product_sums sums; /* added to; see evaluator.h */
};

/* Matrices of one shape that mq_linear_apply takes at a time at most, and rows of them together
 * (or one matrix of any number of rows). */
enum { MQ_LINEAR_BATCH = 256, MQ_LINEAR_BATCH_ROWS = 1 << 16 };
/* How many matrices of so many rows it takes. */
size_t mq_linear_batch(uint64_t rows);

/* Scratch for products up to these sizes, on context->threads threads. */
struct mq_linear_sizes {
    uint64_t rows, cols, row_bytes; /* largest of all; row_bytes: mq_weights_row_bytes */
    size_t arms;
    bool int8; /* whether any arm computes so */
    uint64_t band_rows; /* the most that an arm's level encodes together (mq_level.band_rows); 0 and 1: none does */
};
struct mq_linear;
/* Bytes of one token of `cols` activations as integers: a multiple of 64. */
uint64_t mq_linear_int8_bytes(uint64_t cols);
uint64_t mq_linear_bytes(const struct mq_context *context, const struct mq_linear_sizes *sizes);
moeq_status mq_linear_create(const struct mq_context *context, const struct mq_linear_sizes *sizes,
                             struct mq_linear **linear, moeq_error *err);
void mq_linear_destroy(struct mq_linear *linear); /* NULL is fine */
/* From now on products keep the rows that they read or encode, as far as these do (kept_weights.h), and use those that
 * are there. NULL: no more. */
void mq_linear_keep(struct mq_linear *linear, struct mq_kept_weights *kept);

/* Runs `products` products (a layer's experts, or one), each for `count` arms, whose matrices all
 * have the same shape: arms[product * count + arm]. One parallel loop goes over all of them, since a
 * small matrix is not worth one. */
moeq_status mq_linear_apply(struct mq_linear *linear, enum mq_linear_output output,
                            struct mq_linear_arm *arms, size_t count, size_t products,
                            moeq_error *err);

#endif
