/* linear_int.h: what linear.c works in, and linear_scratch.c makes. */
#ifndef MQ_LINEAR_INT_H
#define MQ_LINEAR_INT_H

#include "linear.h"

#include "int8.h"
#include "kernels.h"
#include "linear_bands.h"

/* Rows of W per task: more let a token's activations, once in cache, meet more weights; fewer
 * spread better over threads. 8 MiB of packed weights stay near the core between blocks of k. */
#define MAX_PANELS 8
#define MAX_PACKED_BYTES (8u << 20)
/* Tokens whose product goes through a buffer of the thread before it is stored: a multiple of the
 * micro-kernels' 6 and 14 tokens; 504 * 128 floats = 252 KiB. */
#define CHUNK_TOKENS 504
#define PRODUCT_LD (MAX_PANELS * MQ_PANEL)

/* Rows that are read well only together (mq_view_rows_at_once) are a task of as many as fit in here as
 * they are stored, which goes through them in steps of the rows that others have. */
#define TOGETHER_BYTES MAX_PACKED_BYTES

/* A matrix as integers: see mq_level_unpack_rows; packed, in panels of MQ_PANEL rows. */
struct int8_rows {
    int8_t *codes;
    float *scales, *mins, *tails;
};

struct thread_scratch {
    float *rows;           /* decoded rows of a task: [MAX_PANELS * MQ_PANEL][cols] */
    float *quantized;      /* [MQ_PANEL][cols] after encoding and decoding */
    float *packed;         /* [MAX_PANELS][cols][MQ_PANEL] */
    float *product;        /* [CHUNK_TOKENS][PRODUCT_LD] */
    uint8_t *bytes;        /* [MQ_PANEL][row_bytes] */
    uint8_t *together;     /* [TOGETHER_BYTES], or a panel: rows that were read together, */
    const uint8_t *stored; /* and there they are, from stored_row on; NULL: none were */
    uint64_t stored_row;
    struct mq_linear_band *band; /* only if any arm has a level of bands */
    const uint8_t *panel; /* rows that are multiplied as they are stored; NULL: they are packed */
    struct int8_rows unpacked; /* [MQ_PANEL] rows; this and the next only if any arm wants it */
    struct int8_rows integers; /* [MAX_PANELS], packed */
};

enum { SQUARES = 3 }; /* of a row: what was lost, weights, and what the range of the level costs, negative */

struct mq_linear {
    const struct mq_context *context;
    const struct mq_kernels *kernels;
    const struct mq_int8_kernels *int8;
    struct mq_linear_sizes sizes;
    struct thread_scratch *threads; /* [context->threads], as of: */
    struct mq_linear_band *bands;
    double *squares;                /* [products][arms][rows][SQUARES]: those of struct mq_square_sums per row */
    struct mq_kept_weights *kept;   /* NULL: none are */
    void *memory;
};

#endif
