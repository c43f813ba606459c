/*
 * mlx.c: the affine integers of Apple's MLX.
 *
 *     bf16 scale | bf16 bias | codes of 2, 3, 4, 5, 6 or 8 bits, the first in the lowest bits
 *
 * of 32, 64 or 128 weights: weight = scale code + bias.
 */
#include "bit_codes_int.h"
#include "codecs_int.h"
#include "wide_scales_int.h"

enum { BIAS_AT = 2, CODES_AT = 4, MAX_GROUP = 128, LANES = 16 };

struct kind {
    int bits;
    size_t group; /* weights of a block */
};

MQ_INLINE size_t block_bytes(struct kind k)
{
    return CODES_AT + k.group * (size_t)k.bits / 8;
}

/* ---- decoding ---- */

MQ_INLINE void unpack_codes(struct kind k, const uint8_t *packed, uint8_t *codes)
{
    if (k.bits == 8)
        memcpy(codes, packed, k.group);
    else if (k.bits == 4)
        mq_unpack_nibbles(packed, k.group, codes);
    else
        mq_unpack_codes(packed, k.group, k.bits, codes);
}

MQ_INLINE void decode(struct kind k, const uint8_t *blocks, size_t n, float *weights)
{
    uint8_t codes[MAX_GROUP];
    for (; n; n -= k.group, blocks += block_bytes(k)) {
        const v16 scale = v_set1(mq_bf16_at(blocks)), bias = v_set1(mq_bf16_at(blocks + BIAS_AT));
        unpack_codes(k, blocks + CODES_AT, codes);
        for (size_t i = 0; i < k.group; i += LANES, weights += LANES)
            v_store(weights, v_add(v_mul(scale, v_from_u8(codes + i)), bias));
    }
}

/* Scales are repeated: those of integers are of 32 weights. Codes of 8 bits are stored less 128, which their minimum
 * makes good. */
MQ_INLINE void unpack(struct kind k, const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                      float *mins)
{
    for (; n; n -= k.group, blocks += block_bytes(k), codes += k.group) {
        const float scale = mq_bf16_at(blocks), bias = mq_bf16_at(blocks + BIAS_AT);
        uint8_t u[MAX_GROUP];
        for (size_t i = 0; i < k.group; i += 32) {
            *scales++ = scale;
            *mins++ = -(k.bits == 8 ? bias + 128.0f * scale : bias);
        }
        unpack_codes(k, blocks + CODES_AT, u);
        for (size_t i = 0; i < k.group; i++)
            codes[i] = (int8_t)(k.bits == 8 ? u[i] - 128 : u[i]);
    }
}

/* ---- the search ---- */

struct lanes {
    v16 x[MAX_GROUP];
    bool weighted;
    v16 w[MAX_GROUP], wx[MAX_GROUP];
};

/* 16 groups at once, of which `count` are stored. */
static void encode_lanes(struct kind k, const float *weights, const float *importance,
                         enum mq_effort effort, uint8_t *blocks, size_t count)
{
    struct lanes in;
    uint8_t codes[LANES][MAX_GROUP], scales[2 * LANES], biases[2 * LANES];
    const v16 power = mq_load_groups(weights, k.group, in.x);
    const float most = (float)((1 << k.bits) - 1);
    (void)importance;
    (void)effort;
    v16 lo = in.x[0], hi = in.x[0];
    for (size_t i = 0; i < k.group; i++) {
        lo = v_min(lo, in.x[i]);
        hi = v_max(hi, in.x[i]);
    }
    const v16 scale = mq_round_bf16(v_mul(v_sub(hi, lo), v_set1(1.0f / most)));
    const v16 bias = mq_round_bf16(lo);
    const v16 inverse = v_inverse_or_zero(scale);
    for (size_t at = 0; at < k.group; at += LANES) {
        uint8_t by_weight[256], by_group[256];
        for (size_t i = 0; i < LANES; i++)
            v_store_low8(by_weight + LANES * i,
                         v_add(mq_codes(v_sub(in.x[at + i], bias), inverse, 0, most),
                               v_set1(MQ_MAGIC)));
        mq_transpose_bytes(by_weight, by_group);
        for (size_t b = 0; b < LANES; b++)
            memcpy(codes[b] + at, by_group + LANES * b, LANES);
    }
    v_store_bf16(scales, v_mul(scale, power));
    v_store_bf16(biases, v_mul(bias, power));
    for (size_t b = 0; b < count; b++, blocks += block_bytes(k)) {
        memcpy(blocks, scales + 2 * b, 2);
        memcpy(blocks + BIAS_AT, biases + 2 * b, 2);
        mq_pack_codes(codes[b], k.group, k.bits, blocks + CODES_AT);
    }
}

static void encode(struct kind k, const float *weights, size_t n, const float *importance,
                   enum mq_effort effort, uint8_t *blocks)
{
    const size_t step = LANES * k.group;
    for (; n >= step; n -= step, weights += step, blocks += LANES * block_bytes(k)) {
        encode_lanes(k, weights, importance, effort, blocks, LANES);
        importance = importance ? importance + step : NULL;
    }
    if (n) {
        float padded[LANES * MAX_GROUP] = {0}, padded_importance[LANES * MAX_GROUP] = {0};
        memcpy(padded, weights, n * sizeof *weights);
        if (importance)
            memcpy(padded_importance, importance, n * sizeof *importance);
        encode_lanes(k, padded, importance ? padded_importance : NULL, effort, blocks,
                     n / k.group);
    }
}

/* ---- the levels ---- */

#define LEVEL(level, bits, group)                                                          \
    void MQ_ISA_NAME(mq_##level##_decode)(const uint8_t *blocks, size_t n, float *weights) \
    {                                                                                      \
        decode((struct kind){bits, group}, blocks, n, weights);                            \
    }                                                                                      \
    void MQ_ISA_NAME(mq_##level##_unpack)(const uint8_t *blocks, size_t n, int8_t *codes,  \
                                          float *scales, float *mins)                      \
    {                                                                                      \
        unpack((struct kind){bits, group}, blocks, n, codes, scales, mins);                \
    }                                                                                      \
    void MQ_ISA_NAME(mq_##level##_encode)(const float *weights, size_t n,                  \
                                          const float *importance,                         \
                                          enum mq_effort effort, uint8_t *blocks)          \
    {                                                                                      \
        encode((struct kind){bits, group}, weights, n, importance, effort, blocks);       \
    }

#define GROUPS(bits)             \
    LEVEL(mlx##bits##g32, bits, 32) \
    LEVEL(mlx##bits##g64, bits, 64) \
    LEVEL(mlx##bits##g128, bits, 128)

GROUPS(2)
GROUPS(3)
GROUPS(4)
GROUPS(5)
GROUPS(6)
GROUPS(8)
