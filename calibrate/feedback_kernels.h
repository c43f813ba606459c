/*
 * feedback_kernels.h: the arithmetic of error feedback on 16 rows of a matrix side by side (a row in each
 * lane of vec16.h), one table of functions per instruction set. All give the same bits.
 *
 * Vectors over a block's columns are arrays [column][16]; matrices over them are row-major.
 */
#ifndef MQ_FEEDBACK_KERNELS_H
#define MQ_FEEDBACK_KERNELS_H

#include "block_parts.h"

/* A block of each of 16 rows: d unit, s + half (block_parts.h), and minima as the integers that they are. */
struct mq_feedback_block {
    float d[16], dmin[16];
    float s[MQ_PARTS_SUBS][16], m[MQ_PARTS_SUBS][16];
    int8_t codes[MQ_PARTS_WEIGHTS][16];
};

struct mq_feedback_book;

struct mq_feedback_kernels {
    /* F above the diagonal of a = (I + F) D (I + F)', of which the upper triangle is given, and D. False: it
     * is not positive definite. */
    bool (*factor)(float *a, size_t lda, size_t n, float *D);
    /*
     * Chooses scales, minima and codes of a block, column after column. w: the weights; x: the same
     * with the errors of all blocks before fed back; on return delta = w - what the block decodes to,
     * and x = D times what is left of each column's error, which gives (w - q) H = x (I + F)' of all columns.
     * f[i][k], i < k: share of the error of column i that column k makes good; D: of what is left
     * then, the cost. `block` has d, dmin and the scales to begin with. book: of a level that has one, else
     * NULL.
     */
    void (*feed)(const struct mq_block_form *form, const struct mq_feedback_book *book,
                 const float *w, float *x, const float *f, size_t ldf, const float *D,
                 struct mq_feedback_block *block, float *delta);
    /*
     * Lowers (w - q) H (w - q)' by single codes, then scales and minima, then d and dmin of a block.
     * g = (w - q) H of its columns, kept up; change += what q has changed by. h: the block of H.
     */
    void (*descend)(const struct mq_block_form *form, const struct mq_feedback_book *book,
                    const float *h, size_t ldh, float *g, float *change,
                    struct mq_feedback_block *block);
    /* Scales to begin with, of a level with a book. aim: what the columns would best be. */
    void (*first_scales)(const struct mq_block_form *form, const struct mq_feedback_book *book,
                         const float *aim, const float *D, struct mq_feedback_block *block);
    /* Solves v (F + I)' = v, or v (F + I) = v, in place: v [columns][16], F strictly upper. */
    void (*solve_back)(float *v, const float *f, size_t ldf, size_t columns);
    void (*solve_on)(float *v, const float *f, size_t ldf, size_t columns);
    /* [16 rows of stride ld][columns] <-> [columns][16] */
    void (*to_lanes)(const float *rows, size_t ld, size_t columns, float *lanes);
    void (*from_lanes)(const float *lanes, size_t columns, float *rows, size_t ld);
};

extern const struct mq_feedback_kernels mq_feedback_kernels_generic, mq_feedback_kernels_neon,
    mq_feedback_kernels_avx2, mq_feedback_kernels_avx512;

const struct mq_feedback_kernels *mq_feedback_kernels_get(enum mq_isa isa);

#endif
