/*
 * covariance.h: H = sum over inputs of weight^2 x x' / inputs, of the rows that meet a matrix, and its factor.
 *
 * With W the matrix, Q what it is quantized to and E = W - Q, the error of its outputs is tr(E H E').
 * H = R R' with R upper triangular ("reverse" Cholesky: from the last column on). Then
 *
 *     tr(E H E') = sum over rows and columns k of D_k (E_k + sum over i < k of E_i F_ik)^2
 *     F_ik = R_ik / R_kk, D_k = R_kk^2
 *
 * so if the error of column k is chosen last, what it should make good of the columns before is
 * sum E_i F_ik, and what is left costs D_k a square: error feedback (Chee et al., "QuIP", 2023, who call it LDLQ
 * and show that GPTQ is the same; with GPTQ's U, the Cholesky factor of the inverse of H, R = U^-1).
 *
 * The bits depend on neither threads nor instruction set.
 */
#ifndef MQ_COVARIANCE_H
#define MQ_COVARIANCE_H

#include "context.h"
#include "error.h"

#include <stdbool.h>

/* Rows that are taken at a time: sums are formed for each so many, and then added. */
enum { MQ_COVARIANCE_ROWS = 512 };

struct mq_covariance {
    const struct mq_context *context;
    size_t n;
    uint64_t inputs;  /* rows so far */
    float scale, damp; /* of what mq_covariance_finish did, all times together */
    float beside;      /* what mq_covariance_loosen has left of what is beside the diagonal */
    /* [n][n]: while it is summed up, the lower triangle, diagonal included; finished: H, and once
     * factored, F in the upper triangle */
    float *a;
    float *D;         /* [n] */
    float *work;      /* rows, transposed and in panels; of threads, tiles */
};

/* Bytes of one with n columns. */
uint64_t mq_covariance_bytes(const struct mq_context *context, size_t n);
moeq_status mq_covariance_create(const struct mq_context *context, size_t n,
                                 struct mq_covariance *covariance, moeq_error *err);
void mq_covariance_destroy(struct mq_covariance *covariance);
void mq_covariance_clear(struct mq_covariance *covariance);

/* Adds `count` rows [n] of stride ld that were multiplied with their weights already: the same sums
 * only if they come in portions of MQ_COVARIANCE_ROWS, but for the last. */
void mq_covariance_add(struct mq_covariance *covariance, const float *rows, size_t ld, size_t count);

/* a += sum over rows of left right', for a cross target: `a` of all of `cross` is used. */
void mq_covariance_add_cross(struct mq_covariance *cross, const float *left, const float *right,
                             size_t ld, size_t count);

/* H = sums / inputs + lambda mean(diagonal) I in place of the sums. */
void mq_covariance_finish(struct mq_covariance *covariance, double lambda);

/*
 * Before it is finished: (1 - b) H + b diag(H), as if a part b of the inputs had the same squares by column, and nothing to do with each
 * other. In text of another kind than what was summed up columns hang together otherwise, and errors that were moved along what
 * the sums say add to the loss. b: docs/calibrate.md has what it costs and saves.
 */
#define MQ_COVARIANCE_LOOSE 0.05
void mq_covariance_loosen(struct mq_covariance *covariance, double b);

/* A cross covariance finished as `of` was: the same scale and damping, as loose. */
void mq_covariance_finish_cross(struct mq_covariance *cross, const struct mq_covariance *of);

/* The lambda of n columns and so many inputs: 0.6 n / inputs, from 0.03 to 1. */
double mq_covariance_lambda(size_t n, uint64_t inputs);

/* F and D of a finished H. False if it is not positive definite: more damping is needed (finish it again
 * with what is to be added). */
bool mq_covariance_factor(struct mq_covariance *covariance);

#endif
