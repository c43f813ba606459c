/* mutator_main.c: what libFuzzer calls, of a target whose mutator is MUTATE. */
#include "mutate.h"

#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t max_out_size,
                                 unsigned int seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    struct mutant m = {.data = data, .size = size, .max = max_size, .random = seed};
    if (mutate_chance(&m, 16)) /* whatever no mutator thinks of */
        return LLVMFuzzerMutate(data, size, max_size);
    MUTATE(&m, NULL, 0);
    return m.size;
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t max_out_size, unsigned int seed)
{
    struct mutant m = {.data = out, .max = max_out_size, .random = seed};
    m.size = size1 < max_out_size ? size1 : max_out_size;
    memcpy(out, data1, m.size);
    MUTATE(&m, data2, size2);
    return m.size;
}
