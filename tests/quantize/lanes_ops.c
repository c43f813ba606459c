/* lanes_ops.c: see lanes_ops.h. */
#include "lanes_ops.h"

#include "lanes_int.h"

#include <stdbool.h>

MQ_INLINE v16 low8(v16 a)
{
    uint8_t bytes[16];
    v_store_low8(bytes, a);
    return v_from_u8(bytes);
}

/* What `store` writes, 32 bytes, then zeros. */
MQ_INLINE v16 narrowed(v16 a, void (*store)(uint8_t *, v16))
{
    uint8_t bytes[32];
    float row[16] = {0};
    store(bytes, a);
    memcpy(row, bytes, sizeof bytes);
    return v_load(row);
}

void MQ_ISA_NAME(mq_lanes_ops)(const float *in, float *out)
{
    const v16 a = v_load(in), b = v_load(in + 16), c = v_load(in + 32);
    const uint8_t *p = (const uint8_t *)in;
    const float first = in[0];
#define ROW(exact, name, expression) \
    v_store(out, expression);        \
    out += 16;
    LANES_OPS(ROW)
#undef ROW
    v16 columns[16];
    v_transpose(in, 16, columns);
    for (int i = 0; i < 16; i++)
        v_store(out + 16 * i, columns[i]);
    mq_transpose_bytes(p, (uint8_t *)(out + 256));
}
