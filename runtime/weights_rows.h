/* weights_rows.h: rows of weights as floats that are finite, from bytes as they are stored or as a level has them. */
#ifndef MQ_WEIGHTS_ROWS_H
#define MQ_WEIGHTS_ROWS_H

#include "linear.h"

/* Fails if one of the values is not finite, each of which belongs to `step` columns, per_row of
 * them to a row; `what` says where they came from. */
moeq_status mq_weights_check_values(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                                    uint64_t count, const float *values, uint64_t per_row,
                                    uint64_t step, const char *what, moeq_error *err);

/* Rows [row, row + count) of their bytes as stored; read into `bytes` first. */
moeq_status mq_weights_decode(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                              uint64_t count, const uint8_t *bytes, float *rows, moeq_error *err);
moeq_status mq_weights_read(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                            uint64_t count, uint8_t *bytes, float *rows, moeq_error *err);

/* Of their bytes at weights->level. */
moeq_status mq_weights_decode_encoded(const struct mq_weights *weights, enum mq_isa isa,
                                      uint64_t row, uint64_t count, const uint8_t *bytes,
                                      float *out, moeq_error *err);

#endif
