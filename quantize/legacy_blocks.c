/*
 * legacy_blocks.c: GGML's blocks of 32 weights from before the k-quants: decoders alone. Files from
 * elsewhere have them, moeq never writes them: at their sizes q4_k and q5_k lose less.
 *
 *     Q4_0, 18 B:  f16 d |                    u8 low[16]      weight = d (code - 8)
 *     Q4_1, 20 B:  f16 d | f16 m |            u8 low[16]      weight = d code + m
 *     Q5_0, 22 B:  f16 d |         u32 high | u8 low[16]      weight = d (code - 16)
 *     Q5_1, 24 B:  f16 d | f16 m | u32 high | u8 low[16]      weight = d code + m
 *
 * Weights l and l + 16 have the low four bits of their codes in the low and the high nibble of
 * low[l]; bit l of `high` is the fifth of weight l.
 */
#include "codecs_int.h"
#include "lanes_int.h"

enum { BLOCK_WEIGHTS = 32, M_AT = 2 };

/* What of a block there is, and what code stands for the weight 0 where there is no m. */
struct layout {
    bool has_m, has_high;
    uint64_t zero;
};

MQ_INLINE size_t low_at(struct layout l)
{
    return 2u + (l.has_m ? 2u : 0u) + (l.has_high ? 4u : 0u);
}

MQ_INLINE size_t block_bytes(struct layout l)
{
    return low_at(l) + BLOCK_WEIGHTS / 2;
}

#define EACH_BYTE UINT64_C(0x0101010101010101)

/* 0x10 in byte i where bit i of `bits` is set. Every byte gets the bits, keeps its own, and carries
 * it, whichever it is, to the top by adding 0x7f. */
MQ_INLINE uint64_t spread_bits(uint32_t bits)
{
    const uint64_t own = (bits & 255) * EACH_BYTE & UINT64_C(0x8040201008040201);
    return (own + 0x7f * EACH_BYTE) >> 3 & 0x10 * EACH_BYTE;
}

/* The codes of a block, less the one for 0, eight bytes at a time. */
MQ_INLINE void unpack_codes(struct layout l, const uint8_t *block, int8_t codes[BLOCK_WEIGHTS])
{
    const uint8_t *low = block + low_at(l);
    uint64_t nibbles[2];
    uint32_t high = 0;
    memcpy(nibbles, low, sizeof nibbles);
    if (l.has_high)
        memcpy(&high, low - sizeof high, sizeof high);
    for (int k = 0; k < 4; k++) {
        uint64_t eight = nibbles[k % 2] >> 4 * (k / 2) & 0x0f * EACH_BYTE;
        if (l.has_high)
            eight |= spread_bits(high >> 8 * k);
        /* the bytes are below 128: with their top bits set they lend nothing to each other */
        eight = ((eight | 0x80 * EACH_BYTE) - l.zero * EACH_BYTE) ^ 0x80 * EACH_BYTE;
        memcpy(codes + 8 * k, &eight, sizeof eight);
    }
}

/* Some blocks at a time: codes that were stored piece by piece are not loaded at once. */
MQ_INLINE void decode(struct layout l, const uint8_t *blocks, size_t n, float *weights)
{
    enum { BATCH = 8 };
    int8_t codes[BATCH][BLOCK_WEIGHTS];
    for (size_t left = n / BLOCK_WEIGHTS, count; left; left -= count) {
        count = left < BATCH ? left : BATCH;
        for (size_t b = 0; b < count; b++)
            unpack_codes(l, blocks + b * block_bytes(l), codes[b]);
        for (size_t b = 0; b < count; b++, blocks += block_bytes(l)) {
            const v16 d = v_set1_f16(blocks), m = l.has_m ? v_set1_f16(blocks + M_AT) : v_zero();
            for (int i = 0; i < BLOCK_WEIGHTS; i += 16, weights += 16) {
                const v16 scaled = v_mul(d, v_from_i8(codes[b] + i));
                v_store(weights, l.has_m ? v_add(scaled, m) : scaled);
            }
        }
    }
}

/* For products in integers: scale d, minimum -m. */
MQ_INLINE void unpack(struct layout l, const uint8_t *blocks, size_t n, int8_t *codes,
                      float *scales, float *mins)
{
    for (size_t b = 0; b < n / BLOCK_WEIGHTS; b++, blocks += block_bytes(l)) {
        uint16_t half[2] = {0, 0};
        memcpy(half, blocks, l.has_m ? 4 : 2);
        scales[b] = mq_f16_to_f32(half[0]);
        mins[b] = l.has_m ? -mq_f16_to_f32(half[1]) : 0.0f;
        unpack_codes(l, blocks, codes + b * BLOCK_WEIGHTS);
    }
}

#define LEVEL(level, has_m, has_high, zero)                                                \
    void MQ_ISA_NAME(mq_##level##_decode)(const uint8_t *blocks, size_t n, float *weights) \
    {                                                                                      \
        decode((struct layout){has_m, has_high, zero}, blocks, n, weights);                \
    }                                                                                      \
    void MQ_ISA_NAME(mq_##level##_unpack)(const uint8_t *blocks, size_t n, int8_t *codes,  \
                                          float *scales, float *mins)                      \
    {                                                                                      \
        unpack((struct layout){has_m, has_high, zero}, blocks, n, codes, scales, mins);    \
    }
LEVEL(q4_0, false, false, 8)
LEVEL(q4_1, true, false, 0)
LEVEL(q5_0, false, true, 16)
LEVEL(q5_1, true, true, 0)
