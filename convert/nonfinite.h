/* nonfinite.h: NaN and infinite weights among those that are copied. */
#ifndef MQ_NONFINITE_H
#define MQ_NONFINITE_H

#include <stddef.h>
#include <stdint.h>

/* How many of n weights, stored as `storage` ("f32", "f16", "bf16"; none of others), are NaN or
 * infinite; the first of them in *first. */
uint64_t mq_nonfinite_count(const char *storage, const void *weights, uint64_t n, uint64_t *first);

#endif
