/*
 * q6_k.c: 6-bit codes. A block of 256 weights in 210 bytes, the layout of GGML's Q6_K:
 *
 *     u8 low[128] | u8 high[64] | i8 scales[16] | f16 d
 *
 * Sixteen sub-blocks of 16 weights with a scale of 8 bits each: weight = d scale (code - 32).
 * Weight 128 n + 32 j + l has the low four bits of its code in low[64 n + 32 (j % 2) + l], in the
 * low nibble if j < 2 and the high one if not, and the high two in bits 2j, 2j+1 of high[32 n + l].
 */
#include "codecs_int.h"

enum {
    CODE_MIN = -32,
    CODE_MAX = 31,
    SCALE_MIN = -128,
    SCALE_MAX = 127,
    MAX_EXPONENT = 28,
    BLOCK_BYTES = 210,
};
#include "symmetric_int.h"

enum { HIGH_AT = 128, SCALES_AT = 192, D_AT = 208 };

/* Chosen greedily as in q3_k.c. At six bits it is luck how near the codes come to 16 weights; one
 * is met exactly where the largest weight gets an integer code. `search/greedy.py q6_k` finds the
 * first 8 again, which are what effort `default` tries, and then others: these are from the first
 * search, whose sub-blocks were not kept. With all 24, the squared errors of the two lists are the
 * same to 0.05 %. */
static const float inverse_scales[24] = {
    -32.0f, -31.0f, -30.0f, -29.0f, -28.0f, -27.0f, -32.4f, -26.0f, -25.0f, -31.7f, -30.7f, -24.1f,
    -31.2f, -23.1f, -30.3f, -29.7f, -29.3f, -28.3f, -28.7f, -26.7f, -27.2f, -22.0f, -21.1f, -32.2f};

/* What each number buys: search/efforts.c. */
static const struct search searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {inverse_scales, 8, 0, 1, 0.08f, 1, 1},
    [MQ_EFFORT_BEST] = {inverse_scales, 24, 0, 4, 0.3f, MAX_STARTS, 2},
};

static void pack_block(const struct coded *coded, uint8_t *block)
{
    for (int n = 0; n < 2; n++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = coded->codes + 128 * n + l;
            block[64 * n + l] = (uint8_t)((c[0] & 15) | c[64] << 4);
            block[64 * n + 32 + l] = (uint8_t)((c[32] & 15) | c[96] << 4);
            block[HIGH_AT + 32 * n + l] =
                (uint8_t)(c[0] >> 4 | c[32] >> 4 << 2 | c[64] >> 4 << 4 | c[96] >> 4 << 6);
        }
    memcpy(block + SCALES_AT, coded->scales, SUB_BLOCKS);
    memcpy(block + D_AT, &coded->d, 2);
}

void MQ_ISA_NAME(mq_q6_k_encode)(const float *weights, size_t n, const float *importance,
                                 enum mq_effort effort, uint8_t *blocks)
{
    encode(weights, n, importance, &searches[effort], blocks);
}

/* d scale of the 16 sub-blocks. */
MQ_INLINE void unpack_scales(const uint8_t *block, float scales[SUB_BLOCKS])
{
    const v16 s = v_from_i8((const int8_t *)block + SCALES_AT);
    v_store(scales, v_mul(v_set1_f16(block + D_AT), s));
}

/* The codes less 32. */
MQ_INLINE void unpack_codes(const uint8_t *block, int8_t codes[BLOCK_WEIGHTS])
{
    for (int half = 0; half < 2; half++, codes += 128) {
        const uint8_t *low = block + 64 * half, *high = block + HIGH_AT + 32 * half;
        for (int l = 0; l < 32; l++) {
            codes[l] = (int8_t)(((low[l] & 15) | (high[l] & 3) << 4) - 32);
            codes[32 + l] = (int8_t)(((low[32 + l] & 15) | (high[l] >> 2 & 3) << 4) - 32);
            codes[64 + l] = (int8_t)((low[l] >> 4 | (high[l] >> 4 & 3) << 4) - 32);
            codes[96 + l] = (int8_t)((low[32 + l] >> 4 | high[l] >> 6 << 4) - 32);
        }
    }
}

void MQ_ISA_NAME(mq_q6_k_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, weights += BLOCK_WEIGHTS) {
        float scales[SUB_BLOCKS];
        int8_t codes[BLOCK_WEIGHTS];
        unpack_scales(blocks, scales);
        unpack_codes(blocks, codes);
        for (int i = 0; i < SUB_BLOCKS; i++)
            v_store(weights + 16 * i, v_mul(v_set1(scales[i]), v_from_i8(codes + 16 * i)));
    }
}

void MQ_ISA_NAME(mq_q6_k_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, codes += BLOCK_WEIGHTS) {
        unpack_scales(blocks, scales);
        unpack_codes(blocks, codes);
        memset(mins, 0, SUB_BLOCKS * sizeof *mins);
        scales += SUB_BLOCKS;
        mins += SUB_BLOCKS;
    }
}
