/*
 * q3_k.c: 3-bit codes. A block of 256 weights in 110 bytes, the layout of GGML's Q3_K:
 *
 *     u8 high[32] | u8 low[64] | u8 scales[12] | f16 d
 *
 * Sixteen sub-blocks of 16 weights with a 6-bit scale each: weight = d (scale - 32) (code - 4).
 * Weight 128 n + 32 j + l has the low two bits of its code in bits 2j, 2j+1 of low[32 n + l] and
 * the high one in bit 4 n + j of high[l]. The low nibbles of scales[0..7] are those of sub-blocks
 * 0..7, the high nibbles those of 8..15; bits 2k, 2k+1 of scales[8 + i] are the high two bits of
 * sub-block 4k + i.
 */
#include "codecs_int.h"

enum {
    CODE_MIN = -4,
    CODE_MAX = 3,
    SCALE_MIN = -32,
    SCALE_MAX = 31,
    MAX_EXPONENT = 26,
    BLOCK_BYTES = 110,
};
#include "symmetric_int.h"

enum { LOW_AT = 32, SCALES_AT = 96, D_AT = 108 };

/* Chosen greedily, each to lower most the mean over sub-blocks (Gaussian, Laplacian, Student-t and
 * a model's) of the smallest error so far. Negative: the largest weight gets code -4. */
static const float inverse_scales[24] = {
    -4.15f, -3.2f, -4.6f,  -3.8f,  -4.9f, -4.35f, -2.85f, -4.0f,  -3.35f, -3.65f, 2.2f,  3.9f,
    -3.0f,  -4.5f, -5.05f, -4.75f, -3.9f, -4.25f, -3.7f,  -4.05f, -2.55f, -3.85f, -3.4f, -4.4f};

static const struct search searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {inverse_scales, 8, 1, 1, 0.15f, 1, 1},
    /* more starts gain nothing measurable */
    [MQ_EFFORT_BEST] = {inverse_scales, 24, 2, 4, 0.3f, MAX_STARTS, 2},
};

static void pack_block(const struct coded *coded, uint8_t *block)
{
    const uint8_t *code = coded->codes;
    for (int l = 0; l < 32; l++) {
        unsigned high = 0;
        for (int k = 0; k < 8; k++)
            high |= (code[32 * k + l] >> 2 & 1u) << k;
        block[l] = (uint8_t)high;
    }
    for (int n = 0; n < 2; n++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = code + 128 * n + l;
            block[LOW_AT + 32 * n + l] =
                (uint8_t)((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
        }
    uint8_t scale[SUB_BLOCKS];
    for (int i = 0; i < SUB_BLOCKS; i++)
        scale[i] = (uint8_t)(coded->scales[i] + 32);
    for (int i = 0; i < 8; i++)
        block[SCALES_AT + i] = (uint8_t)((scale[i] & 15) | (scale[i + 8] & 15) << 4);
    for (int i = 0; i < 4; i++)
        block[SCALES_AT + 8 + i] = (uint8_t)(scale[i] >> 4 | scale[i + 4] >> 4 << 2 |
                                             scale[i + 8] >> 4 << 4 | scale[i + 12] >> 4 << 6);
    memcpy(block + D_AT, &coded->d, 2);
}

void MQ_ISA_NAME(mq_q3_k_encode)(const float *weights, size_t n, enum mq_effort effort,
                                 uint8_t *blocks)
{
    encode(weights, n, &searches[effort], blocks);
}

/* d (scale - 32) of the 16 sub-blocks */
MQ_INLINE void unpack_scales(const uint8_t *block, float scales[SUB_BLOCKS])
{
    int8_t s[SUB_BLOCKS];
    const uint8_t *low = block + SCALES_AT, *high = low + 8;
    for (int i = 0; i < 8; i++) {
        s[i] = (int8_t)((low[i] & 15) | (high[i % 4] >> 2 * (i / 4) & 3) << 4);
        s[i + 8] = (int8_t)(low[i] >> 4 | (high[i % 4] >> (4 + 2 * (i / 4)) & 3) << 4);
    }
    v_store(scales, v_mul(v_set1_f16(block + D_AT), v_sub(v_from_i8(s), v_set1(32.0f))));
}

void MQ_ISA_NAME(mq_q3_k_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, weights += BLOCK_WEIGHTS) {
        float scales[SUB_BLOCKS];
        uint8_t code[BLOCK_WEIGHTS];
        unpack_scales(blocks, scales);
        for (int k = 0; k < 8; k++) {
            const uint8_t *low = blocks + LOW_AT + 32 * (k / 4);
            for (int l = 0; l < 32; l++)
                code[32 * k + l] =
                    (uint8_t)((low[l] >> 2 * (k % 4) & 3) | (blocks[l] >> k & 1) << 2);
        }
        for (int i = 0; i < SUB_BLOCKS; i++) {
            const v16 l = v_sub(v_from_u8(code + 16 * i), v_set1(4.0f));
            v_store(weights + 16 * i, v_mul(v_set1(scales[i]), l));
        }
    }
}
