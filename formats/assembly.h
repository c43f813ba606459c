/*
 * assembly.h: tensors whose rows do not stand one after the other in their file: transposed ones, rows
 * that alternate with another matrix's, codes whose scales are in a tensor of their own. A description
 * of where things stand, and reading rows by it, in the blocks of a level (quantize/source_blocks.c).
 */
#ifndef MQ_ASSEMBLY_H
#define MQ_ASSEMBLY_H

#include "dtype.h"
#include "model_view.h"

enum mq_assembly_kind {
    MQ_ASSEMBLE_WEIGHTS, /* plain weights, and no scales */
    MQ_ASSEMBLE_F8,
    MQ_ASSEMBLE_MXFP4,
    MQ_ASSEMBLE_KINDS
};

/*
 * Of a stored matrix that begins at tensor->offset and has rows of stored_row_bytes:
 *
 *     row r is stored row first + r * step, or column first + r * step if it is transposed
 *
 * whose scales are row (first + r * step) / rows_each of those, one for `cols_each` weights.
 */
struct mq_assembly {
    enum mq_assembly_kind kind;
    bool transposed;       /* of plain weights alone */
    uint32_t weight_bytes; /* of a plain weight */
    uint64_t stored_row_bytes, first, step;
    struct mq_assembly_scales {
        const char *name; /* for messages */
        uint32_t file;    /* index into mq_view.files */
        enum mq_dtype dtype;
        uint64_t offset, row_bytes; /* of the first row of scales */
        uint64_t rows_each, cols_each;
    } scales;
    const struct mq_integers *integers; /* (integer_rows.h) not NULL: it is these, and nothing above */
    const struct mq_mlx_form *mlx; /* (mlx_rows.h) likewise */
    uint64_t stored_bytes; /* of its files: what the tensor takes up there, scales included */
};

/* The level whose blocks its rows are read as; NULL of plain weights. */
const char *mq_assembly_storage(enum mq_assembly_kind kind);
/* Weights that a row has a multiple of (1: any number), and the bytes of such rows. */
uint32_t mq_assembly_weights(enum mq_assembly_kind kind);
uint64_t mq_assembly_row_bytes(enum mq_assembly_kind kind, uint64_t cols);
/* Bytes of a stored row's codes. */
uint64_t mq_assembly_code_bytes(enum mq_assembly_kind kind, uint64_t cols);

/* As mq_view_read_rows and mq_view_prefetch_rows; the range has been checked. A scale that is not
 * finite, or 0, is an error with its place. */
moeq_status mq_assembly_read(const struct mq_view *view, const struct mq_tensor *tensor,
                             uint64_t row, uint64_t count, void *bytes, moeq_error *err);
void mq_assembly_prefetch(const struct mq_view *view, const struct mq_tensor *tensor, uint64_t row,
                          uint64_t count);

/* As mq_view_rows_at_once. */
uint64_t mq_assembly_rows_at_once(const struct mq_tensor *tensor);

/* Whether its weights are codes. */
bool mq_assembly_has_codes(const struct mq_assembly *assembly);

/* Where a row begins in the tensor's file. */
uint64_t mq_assembly_row_offset(const struct mq_tensor *tensor, uint64_t row);

#endif
