/* nonfinite.c: a weight is NaN or infinite if all bits of its exponent are set. */
#include "nonfinite.h"

#include <stdbool.h>
#include <string.h>

/* Plain loops over a block in the first-level cache, which the compiler makes vectors of. */
enum { BLOCK = 4096 };

static uint64_t count_16(const unsigned char *bytes, uint64_t n, uint16_t exponent)
{
    uint16_t x[BLOCK];
    uint16_t count = 0; /* n is at most BLOCK */
    memcpy(x, bytes, n * sizeof *x);
    for (uint64_t i = 0; i < n; i++)
        count = (uint16_t)(count + ((x[i] & exponent) == exponent));
    return count;
}

static uint64_t count_32(const unsigned char *bytes, uint64_t n)
{
    uint32_t x[BLOCK];
    uint32_t count = 0;
    memcpy(x, bytes, n * sizeof *x);
    for (uint64_t i = 0; i < n; i++)
        count += (x[i] & 0x7f800000) == 0x7f800000;
    return count;
}

uint64_t mq_nonfinite_count(const char *storage, const void *weights, uint64_t n, uint64_t *first)
{
    const bool wide = strcmp(storage, "f32") == 0, half = strcmp(storage, "f16") == 0;
    const unsigned char *bytes = weights;
    const size_t size = wide ? 4 : 2;
    uint64_t total = 0;
    if (!wide && !half && strcmp(storage, "bf16") != 0)
        return 0;
    for (uint64_t at = 0, m; at < n; at += m) {
        m = n - at < BLOCK ? n - at : BLOCK;
        const uint64_t found = wide ? count_32(bytes + at * size, m)
                                    : count_16(bytes + at * size, m, half ? 0x7c00 : 0x7f80);
        for (uint64_t i = at; found && !total; i++) {
            *first = i;
            if (wide ? count_32(bytes + i * size, 1)
                     : count_16(bytes + i * size, 1, half ? 0x7c00 : 0x7f80))
                break;
        }
        total += found;
    }
    return total;
}
