/*
 * integer_rows.h: rows of weights that are stored as integers of 1 to 8 bits, with scales and zeros in
 * tensors of their own: compressed-tensors, MLX, GPTQ, AWQ. Where things stand, and reading rows by it.
 *
 *     weight = scale (code - zero)      or      scale code + bias (MLX)      or      (scale / whole) e2m1(code) (NVFP4)
 *
 * as blocks of the first of i4_32, i8_32, a8_32 (quantize/source_blocks.c) that holds them exactly, or as
 * numbers of f32: what those round.
 */
#ifndef MQ_INTEGER_ROWS_H
#define MQ_INTEGER_ROWS_H

#include "dtype.h"
#include "model_view.h"

/* How codes of `bits` stand. A stream: value i at the bits from i * bits on, of little-endian words. */
enum mq_integer_order {
    MQ_INTEGERS_ALONG, /* a stream for each row */
    MQ_INTEGERS_DOWN,  /* one for each column of a matrix of words [cols * bits / 32, rows]: GPTQ */
    MQ_INTEGERS_ACROSS /* one for each column of weights, [cols, rows * bits / 32], in eights that are
                        * in an order of their own: AWQ */
};

enum mq_integer_zeros {
    MQ_ZEROS_ONE,      /* `zero`, of all */
    MQ_ZEROS_DOWN,     /* a stream for each column of words [rows * bits / 32, groups] */
    MQ_ZEROS_ACROSS,   /* one for each group of weights, [groups, rows * bits / 32]; of AWQ, in its eights */
    MQ_ZEROS_BYTES,    /* I8 [rows, groups] */
    MQ_ZEROS_BIASES    /* biases: numbers as the scales are */
};

/* A tensor beside others, or of experts its part of one. */
struct mq_integer_tensor {
    const char *name; /* for messages; NULL: there is none */
    uint32_t file;    /* index into mq_view.files */
    enum mq_dtype dtype;
    uint64_t offset, row_bytes;
};

struct mq_integers {
    uint32_t bits;
    enum mq_integer_order order;
    enum mq_integer_zeros zeros_are;
    bool is_signed;      /* codes are two's complement: the same ones + 128 are read */
    bool scales_across;  /* scales (and biases) are [groups, rows], not [rows, groups] */
    bool one_scale;      /* the tensor has one for all rows */
    bool as_floats;      /* whatever blocks could hold them */
    bool is_fp4;        /* codes are numbers of E2M1, and scales are divided by `whole` */
    bool zero_scales;    /* a scale may be 0 */
    uint32_t zeros_plus; /* of zeros as they are stored, modulo 2^bits: GPTQ's first format has one less */
    int32_t zero;
    uint64_t group, groups; /* weights that share a scale; how many there are in a row */
    struct mq_integer_tensor codes, scales, zeros;
    struct mq_integer_tensor places; /* I32 [cols]: the group of each column, GPTQ's g_idx */
    bool in_order;                   /* of which config.json says that they are column / group */
    struct mq_integer_tensor whole;  /* F32, one for the matrix: NVFP4's global scale */
    struct mq_integer_tensor shape;  /* two of I64 or I32: rows and columns */
};

/* Sets t->storage and t->row_bytes, by what is exact. */
void mq_integers_choose(const struct mq_integers *integers, struct mq_tensor *tensor);

/* As mq_view_read_rows, mq_view_rows_at_once, mq_view_prefetch_rows, and where a row begins. A scale or
 * bias that is not finite, a scale of 0, a group that there is not are errors with their place. */
moeq_status mq_integers_read(const struct mq_view *view, const struct mq_tensor *tensor, uint64_t row,
                             uint64_t count, void *bytes, moeq_error *err);
uint64_t mq_integers_rows_at_once(const struct mq_integers *integers);
void mq_integers_prefetch(const struct mq_view *view, const struct mq_tensor *tensor, uint64_t row,
                          uint64_t count);
uint64_t mq_integers_row_offset(const struct mq_tensor *tensor, uint64_t row);

#endif
