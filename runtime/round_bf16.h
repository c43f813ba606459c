/* round_bf16.h: floats as a bf16 implementation would have stored them. */
#ifndef MQ_ROUND_BF16_H
#define MQ_ROUND_BF16_H

#include "f16.h"

#include <stddef.h>

/* To nearest, ties to even: integer operations, so the same bits everywhere. */
static inline void mq_round_bf16(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = mq_bf16_to_f32(mq_f32_to_bf16(x[i]));
}

#endif
