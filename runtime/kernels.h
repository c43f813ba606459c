/*
 * kernels.h: the arithmetic of the evaluator, one table of functions per instruction set.
 *
 * All tables give the same bits: every element of a matrix product is one chain of fused
 * multiply-adds over k in order, sums have a fixed shape, exp is our own polynomial. gemm.c and
 * activations.c are compiled once per instruction set (cmake/isa.cmake).
 */
#ifndef MQ_KERNELS_H
#define MQ_KERNELS_H

#include "cpu.h"
#include "exact_sum.h"
#include "hparams.h"

/* Rows of a weight matrix in one packed panel: as many as the narrowest micro-kernel takes at a
 * time, so that whatever a kernel reads of a panel is one unbroken stream. */
#define MQ_PANEL 16

/* Rows of matrices that a product reads or writes are padded by this many floats: strides that are
 * powers of two would put all rows of a tile into one set of the first-level cache. */
#define MQ_ROW_PAD 16

struct mq_kernels {
    /* Packs `count` <= MQ_PANEL rows of k floats, `stride` apart, as panel[k][MQ_PANEL]; absent
     * rows become zeros. */
    void (*pack)(const float *rows, size_t stride, size_t count, size_t k, float *panel);
    /* y[i][j] = sum over k of x[i][k] w[j][k] for i < m, j < n; the rows of w are packed in
     * panels that lie panel_stride floats apart (64-byte aligned). Writes nothing beyond n. */
    void (*multiply)(const float *x, size_t ldx, size_t m, const float *panels, size_t panel_stride,
                     size_t k, size_t n, float *y, size_t ldy);
    /* The same onto what y has: each chain goes on from there. */
    void (*accumulate)(const float *x, size_t ldx, size_t m, const float *panels,
                       size_t panel_stride, size_t k, size_t n, float *y, size_t ldy);
    /* The same (onto what y has, if `resume`) of m <= 4 tokens and `count` <= MQ_PANEL rows that are not
     * packed: k floats each, `stride` apart. See panel_product.h. */
    void (*multiply_rows)(const float *x, size_t ldx, size_t m, const float *rows, size_t stride,
                          size_t count, size_t k, float *y, size_t ldy, bool resume);
    /* y = x / sqrt(mean(x^2) + eps) * weight */
    void (*rms_norm)(const float *x, const float *weight, size_t n, float eps, float *y);
    /* x = exp(scale x - max(scale x)) for n (a multiple of 16) values; returns their sum. A value
     * of -INFINITY becomes 0; at least one must be finite. */
    float (*softmax)(float *x, size_t n, float scale);
    /* Rotates the pairs (x[i], x[i + half]) by the angles whose cosines and sines are given. */
    void (*rotate)(float *x, const float *cosines, const float *sines, size_t half);
    /* y = (x - mean) / sqrt(variance + eps) * weight + bias; bias may be NULL */
    void (*layer_norm)(const float *x, const float *weight, const float *bias, size_t n, float eps,
                       float *y);
    /* y = f(y) * x, for each activation f; limit: of MQ_ACTIVATION_SWIGLU_OAI */
    void (*activate_times[MQ_ACTIVATIONS])(float *y, const float *x, size_t n, float limit);
    /* x = cap * tanh(scale * x / cap) */
    void (*softcap)(float *x, size_t n, float scale, float cap);
    /* y *= sigmoid(gate) */
    void (*sigmoid_times)(float *y, const float *gate, size_t n);
    /* y += weight * x, the product rounded before the sum (as in the reference implementation) */
    void (*add_scaled)(float *y, const float *x, float weight, size_t n);
    /* result = the sums of (q - w)^2 and of w^2 over n values, in double */
    void (*sum_squares)(const float *w, const float *q, size_t n, double result[2]);
    /* sum += the squares of [rows][n] numbers, each as exact_sum.h has it: units, fine */
    void (*exact_squares)(const float *x, size_t ldx, size_t rows, size_t n, int64_t sum[2]);
    /* sums[j] += the squares of column j of [rows][n] */
    void (*exact_column_squares)(const float *x, size_t ldx, size_t rows, size_t n,
                                 struct mq_exact_sum *sums);
};

const struct mq_kernels *mq_kernels_get(enum mq_isa isa);

/* What the two files export for each instruction set. */
#define MQ_KERNELS_DECLARE(isa)                                                                    \
    void mq_gemm_pack_##isa(const float *, size_t, size_t, size_t, float *);                       \
    void mq_gemm_multiply_##isa(const float *, size_t, size_t, const float *, size_t, size_t,      \
                                size_t, float *, size_t);                                          \
    void mq_gemm_accumulate_##isa(const float *, size_t, size_t, const float *, size_t, size_t,    \
                                  size_t, float *, size_t);                                        \
    void mq_gemv_multiply_rows_##isa(const float *, size_t, size_t, const float *, size_t, size_t, \
                                     size_t, float *, size_t, bool);                               \
    void mq_rms_norm_##isa(const float *, const float *, size_t, float, float *);                  \
    float mq_softmax_##isa(float *, size_t, float);                                                \
    void mq_rotate_##isa(float *, const float *, const float *, size_t);                           \
    void mq_layer_norm_##isa(const float *, const float *, const float *, size_t, float, float *); \
    void mq_softcap_##isa(float *, size_t, float, float);                                          \
    void mq_sigmoid_times_##isa(float *, const float *, size_t);                                   \
    void mq_add_scaled_##isa(float *, const float *, float, size_t);                               \
    void mq_sum_squares_##isa(const float *, const float *, size_t, double[2]);                    \
    void mq_exact_squares_##isa(const float *, size_t, size_t, size_t, int64_t[2]);                \
    void mq_exact_column_squares_##isa(const float *, size_t, size_t, size_t,                      \
                                       struct mq_exact_sum *);
MQ_KERNELS_DECLARE(generic)
MQ_KERNELS_DECLARE(neon)
MQ_KERNELS_DECLARE(avx2)
MQ_KERNELS_DECLARE(avx512)
#undef MQ_KERNELS_DECLARE
#define MQ_ACTIVATION_DECLARE(id, name)                                    \
    void mq_##name##_times_generic(float *, const float *, size_t, float); \
    void mq_##name##_times_neon(float *, const float *, size_t, float);    \
    void mq_##name##_times_avx2(float *, const float *, size_t, float);    \
    void mq_##name##_times_avx512(float *, const float *, size_t, float);
MQ_ACTIVATION_LIST(MQ_ACTIVATION_DECLARE)
#undef MQ_ACTIVATION_DECLARE

#endif
