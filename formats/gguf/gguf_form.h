/*
 * gguf_form.h: tensors whose rows, columns or values GGUF files have otherwise than Hugging Face folders,
 * beside the interleaved rows of q and k: another order, one matrix in two tensors, a function of the
 * values. Writing and reading go by the same description.
 *
 * Source: modify_tensors of the classes in llama.cpp's conversion/.
 */
#ifndef MQ_GGUF_FORM_H
#define MQ_GGUF_FORM_H

#include "model_view.h"

/* What is done with a role's tensors in an architecture. */
enum {
    MQ_FORM_PLUS_ONE = 1,  /* 1 is added to weights of norms */
    MQ_FORM_MINUS_EXP = 2, /* x becomes -exp(x) */
    MQ_FORM_KV_B = 4,      /* latent attention: keys' rows, turned, and values' rows: two tensors */
    MQ_FORM_QKVZ = 8,      /* DeltaNet by key heads: q, k and v of all heads, and z: two tensors */
    MQ_FORM_HEADS = 16,    /* DeltaNet: value head j of key head g is head j * key heads + g */
    MQ_FORM_TAIL = 32,     /* the same of the rows behind those of q and k */
    MQ_FORM_COLUMNS = 64,  /* the same of columns */
    MQ_FORM_STANDING = 128, /* a vector is a column */
    MQ_FORM_GROUPS = 256,   /* a vector is a matrix of a row for each group */
    MQ_FORM_HALVES = 512,   /* a bias of q or k, in the order of interleaved rows (gguf_arch.h) */
};

/* Rows or columns first, first + 1, ... of the model are to, to + 1, ... of the file's tensor. */
struct mq_form_run {
    uint64_t first, count, to;
    uint32_t target; /* of two tensors, which; rows that no run has are turned: see below */
};

struct mq_form {
    unsigned what;
    const struct mq_form_run *rows, *columns; /* ascending; NULL: in order */
    size_t rows_count, columns_count;
    const char *names[2]; /* of two tensors, patterns of their names; NULL: the role's own name */
    uint64_t rows_of[2];  /* their rows; of KV_B those of the second are turned */
    /* KV_B: of each head, `plain` rows of keys, then `values`. The second tensor has for each head as
     * many rows as the matrix has columns, of `plain` numbers. */
    uint64_t heads, plain, values;
    /* Of a view of a file, the second tensor: */
    uint32_t second_file;
    uint64_t second_offset, second_row_bytes, first_row_bytes;
    const char *first_storage, *second_storage;
};

/* What is done with a tensor in files of its family's architecture; NULL into *form: nothing. In the
 * arena. */
moeq_status mq_gguf_form(const struct mq_view *view, const struct mq_tensor *tensor,
                         struct mq_arena *arena, const struct mq_form **form, moeq_error *err);

/* The shape that the tensor has in a file (of two the first): false if it is the usual one. */
bool mq_form_shape(const struct mq_view *view, const struct mq_tensor *tensor,
                   const struct mq_form *form, uint64_t ne[3], uint32_t *dims);

/* Blocks of `block` weights, each of `bytes`, of one row: columns put in the file's order, or back.
 * False if runs are no whole blocks. */
bool mq_form_columns_fit(const struct mq_form *form, uint32_t block);
void mq_form_columns(const struct mq_form *form, uint32_t block, uint32_t bytes, bool back,
                     const void *from, void *to);

/* The functions, on n numbers; `back` undoes them. */
void mq_form_values(unsigned what, bool back, float *values, size_t n);

/* Numbers of two levels that can be turned: f32, f16, bf16 and q8_0 of `n` numbers into f32. */
bool mq_form_can_decode(const char *storage);
void mq_form_decode(const char *storage, const void *bytes, size_t n, float *values);

/* mq_view_read_rows for a tensor with a form. */
moeq_status mq_form_read(const struct mq_view *view, const struct mq_tensor *tensor, uint64_t row,
                         uint64_t count, void *bytes, moeq_error *err);

#endif
