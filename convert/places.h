/* places.h: where in the output a tensor's rows stand, which a plan may part, turn round or put in another order. */
#ifndef MQ_PLACES_H
#define MQ_PLACES_H

#include "output_int.h"

/* What is done with bytes and their place in a file: written there, or read from there. */
typedef moeq_status mq_place_fn(const struct mq_output_file *file, uint64_t at, uint8_t *bytes,
                                uint64_t n, moeq_error *err);
mq_place_fn mq_place_write, mq_place_read;

/* Encoded rows, each at its place; *crc goes on with their bytes in that order. */
moeq_status mq_place_rows(const struct mq_output *output, const struct mq_plan_entry *e,
                          uint64_t row, uint64_t rows, uint8_t *bytes, mq_place_fn *fn,
                          uint32_t *crc, moeq_error *err);

/* The same of rows of blocks that are cut into parts (quantize/split.h). blocks NULL: fn reads what stands there. room:
 * mq_place_room bytes. mq_place_rows is for the others. */
uint64_t mq_place_room(const struct mq_plan_entry *e, uint64_t rows);
moeq_status mq_place_parts(const struct mq_output *output, const struct mq_plan_entry *e,
                           uint64_t row, uint64_t rows, const uint8_t *blocks, uint8_t *room,
                           mq_place_fn *fn, uint32_t *crc, moeq_error *err);

/* The same of what MQ_FORM_KV_B puts into the second tensor: the columns of whole heads. */
moeq_status mq_place_turned(const struct mq_output *output, const struct mq_plan_entry *e,
                            uint64_t row, uint64_t rows, uint8_t *bytes, mq_place_fn *fn,
                            uint32_t *crc, moeq_error *err);

#endif
