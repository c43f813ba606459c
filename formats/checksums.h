/*
 * checksums.h: a moeq file's checksums, used whenever its bytes are read.
 *
 * A tensor is read by pieces of rows, by several threads and in any order; of each piece the CRC-32 is taken once, and
 * pieces that meet are joined, until the whole tensor has been read and is compared with what the file says. A tensor of
 * which rows are never read (embeddings, experts that no token chose) is not compared, and one that was is not again.
 */
#ifndef MQ_CHECKSUMS_H
#define MQ_CHECKSUMS_H

#include "model_view.h"
#include "tensor_set.h"

/* view->checksums of the files of a set, which the view has adopted. Fails if a file's header or its checksums are not
 * what was written. */
moeq_status mq_checksums_open(struct mq_view *view, const struct mq_tensor_set *set, moeq_error *err);
void mq_checksums_close(struct mq_checksums *checksums); /* NULL is fine */

/* Rows [row, row + count) of a tensor of the view have been read, with these bytes. */
moeq_status mq_checksums_read(const struct mq_view *view, const struct mq_tensor *tensor,
                              uint64_t row, uint64_t count, const void *bytes, moeq_error *err);

/* The same by those rows' CRC-32, for who has it and read them by mq_view_read_rows_unchecked. */
moeq_status mq_checksums_know(const struct mq_view *view, const struct mq_tensor *tensor,
                              uint64_t row, uint64_t count, uint32_t crc, moeq_error *err);

/* The next rows that were not read, of a tensor of which some were and which is not compared yet. */
bool mq_checksums_gap(const struct mq_view *view, const struct mq_tensor *tensor, uint64_t *first,
                      uint64_t *count);

#endif
