/* checked.h: arithmetic on sizes that come from files. The result is written only on success. */
#ifndef MQ_CHECKED_H
#define MQ_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool mq_add_u64(uint64_t a, uint64_t b, uint64_t *sum)
{
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *sum = r;
    return true;
}

static inline bool mq_mul_u64(uint64_t a, uint64_t b, uint64_t *product)
{
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *product = r;
    return true;
}

/* True if `n` bytes at `offset` lie inside `size` bytes. */
static inline bool mq_range_ok(uint64_t offset, uint64_t n, uint64_t size)
{
    return n <= size && offset <= size - n;
}

static inline uint64_t mq_round_up(uint64_t value, uint64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

static inline uint64_t mq_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint32_t mq_min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint64_t mq_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
