/*
 * plain.c: weights stored one by one: f32, f16, bf16; and the test that weights are finite.
 *
 * Narrowing saturates: a weight beyond the largest half becomes the largest half, never infinity.
 */
#include "codecs_int.h"
#include "search_int.h"

#define BF16_MAX 0x1.fep127f /* 0x7f7f */

void MQ_ISA_NAME(mq_f32_encode)(const float *weights, size_t n, const float *importance,
                                enum mq_effort effort, uint8_t *blocks)
{
    (void)importance;
    (void)effort;
    memcpy(blocks, weights, n * sizeof *weights);
}

void MQ_ISA_NAME(mq_f32_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    memcpy(weights, blocks, n * sizeof *weights);
}

/* Both narrow codecs: whole vectors, then a last one that is padded with zeros. */
MQ_INLINE void encode_narrow(const float *weights, size_t n, uint8_t *out, float max,
                             void (*store)(uint8_t *, v16))
{
    for (; n >= 16; n -= 16, weights += 16, out += 32)
        store(out, v_clamp(v_load(weights), -max, max));
    if (n) {
        float padded[16] = {0};
        uint8_t narrow[32];
        memcpy(padded, weights, n * sizeof *weights);
        store(narrow, v_clamp(v_load(padded), -max, max));
        memcpy(out, narrow, 2 * n);
    }
}

MQ_INLINE void decode_narrow(const uint8_t *in, size_t n, float *weights,
                             v16 (*load)(const uint8_t *))
{
    for (; n >= 16; n -= 16, weights += 16, in += 32)
        v_store(weights, load(in));
    if (n) {
        uint8_t narrow[32] = {0};
        float padded[16];
        memcpy(narrow, in, 2 * n);
        v_store(padded, load(narrow));
        memcpy(weights, padded, n * sizeof *weights);
    }
}

void MQ_ISA_NAME(mq_f16_encode)(const float *weights, size_t n, const float *importance,
                                enum mq_effort effort, uint8_t *blocks)
{
    (void)importance;
    (void)effort;
    encode_narrow(weights, n, blocks, MQ_F16_MAX, v_store_f16);
}

void MQ_ISA_NAME(mq_f16_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    decode_narrow(blocks, n, weights, v_load_f16);
}

void MQ_ISA_NAME(mq_bf16_encode)(const float *weights, size_t n, const float *importance,
                                 enum mq_effort effort, uint8_t *blocks)
{
    (void)importance;
    (void)effort;
    encode_narrow(weights, n, blocks, BF16_MAX, v_store_bf16);
}

void MQ_ISA_NAME(mq_bf16_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    decode_narrow(blocks, n, weights, v_load_bf16);
}

/* Finite magnitudes alone compare below infinity: NaN does not. */
size_t MQ_ISA_NAME(mq_not_finite)(const float *weights, size_t n)
{
    const v16 infinity = v_set1(INFINITY);
    size_t i = 0;
    for (; n - i >= 64; i += 64) {
        const m16 a = m_and(v_lt(v_abs(v_load(weights + i)), infinity),
                            v_lt(v_abs(v_load(weights + i + 16)), infinity));
        const m16 b = m_and(v_lt(v_abs(v_load(weights + i + 32)), infinity),
                            v_lt(v_abs(v_load(weights + i + 48)), infinity));
        if (m_bits(m_and(a, b)) != 0xffff)
            break;
    }
    while (i < n && (mq_float_bits(weights[i]) & 0x7f800000u) != 0x7f800000u)
        i++;
    return i;
}
