/*
 * gguf_imatrix.h: llama.cpp's importance matrices, as GGUF files.
 *
 *     general.type         "imatrix"
 *     imatrix.datasets     strings: the texts
 *     imatrix.chunk_count  u32: chunks of them, each of
 *     imatrix.chunk_size   u32: so many tokens
 *
 *     NAME.in_sum2  F32 [cols, matrices]  the sums of the squares of each input column of tensor NAME,
 *                                         whose matrices are one, or those of its experts;
 *     NAME.counts   F32 [1, matrices]     of so many inputs
 *
 * (Source: llama.cpp's tools/imatrix/imatrix.cpp, tools/quantize/quantize.cpp.) Other tensors, as .in_sum of newer
 * versions, are left aside. Of what was converted from the older form, counts has one number for all experts. That
 * form, imatrix.dat, is read too: imatrix_dat.h.
 */
#ifndef MQ_GGUF_IMATRIX_H
#define MQ_GGUF_IMATRIX_H

#include "gguf.h"
#include "imatrix_dat.h"

#define MQ_IMATRIX_TYPE "imatrix" /* general.type */
#define MQ_IMATRIX_KEY_DATASETS "imatrix.datasets"
#define MQ_IMATRIX_KEY_CHUNKS "imatrix.chunk_count"
#define MQ_IMATRIX_KEY_CHUNK_SIZE "imatrix.chunk_size"
#define MQ_IMATRIX_SUMS ".in_sum2"
#define MQ_IMATRIX_COUNTS ".counts"

/* ---- reading ---- */

struct mq_imatrix {
    bool is_dat;
    struct mq_gguf gguf; /* of the two one */
    struct mq_imatrix_dat dat;
    struct mq_arena *arena;
};

/* Whether a file may be one: it is a GGUF file, or begins as an imatrix.dat. */
moeq_status mq_is_imatrix(const char *path, bool *yes, moeq_error *err);

moeq_status mq_imatrix_open(const char *path, struct mq_imatrix *imatrix, moeq_error *err);
void mq_imatrix_close(struct mq_imatrix *imatrix);
/* Fails if its file is another one by now. */
moeq_status mq_imatrix_check_unchanged(const struct mq_imatrix *imatrix, moeq_error *err);

/* The means of a matrix' columns [tensor->cols], in the model's order, and of how many inputs; UINT64_MAX:
 * the file does not say. *found false: it has none, under any of the names that a tensor of the role may have. */
moeq_status mq_imatrix_read(const struct mq_imatrix *imatrix, const struct mq_view *view,
                            const struct mq_tensor *tensor, bool *found, float *means,
                            uint64_t *inputs, moeq_error *err);

/* ---- writing ---- */

struct mq_imatrix_entry {
    const char *names[2]; /* of the tensors that have these inputs; the second may be NULL */
    const struct mq_tensor *tensor; /* the first expert's */
    uint32_t matrices;
};

/* The tensors that a matrix (the first expert's) is in GGUF files of its family; no name in
 * entry->names[0]: there are none, or their inputs are others there. */
moeq_status mq_imatrix_entry(const struct mq_view *view, const struct mq_tensor *tensor,
                             uint32_t matrices, struct mq_arena *arena,
                             struct mq_imatrix_entry *entry, moeq_error *err);

struct mq_imatrix_source {
    const char *const *datasets;
    size_t datasets_count;
    uint32_t chunks, chunk_size;
    void *user;
    /* sums [tensor->cols] in the model's order */
    moeq_status (*read)(void *user, const struct mq_imatrix_entry *entry, uint32_t matrix,
                        float *sums, float *count, moeq_error *err);
};
moeq_status mq_imatrix_write(const struct mq_view *view, const char *path,
                             const struct mq_imatrix_entry *entries, size_t count,
                             const struct mq_imatrix_source *source, moeq_error *err);

#endif
