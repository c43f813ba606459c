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
 * a model's) of the smallest error so far: `search/greedy.py q3_k` finds all 24 again. Negative:
 * the largest weight gets code -4. */
static const float inverse_scales[24] = {
    -4.15f, -3.2f, -4.6f,  -3.8f,  -4.9f, -4.35f, -2.85f, -4.0f,  -3.35f, -3.65f, 2.2f,  3.9f,
    -3.0f,  -4.5f, -5.05f, -4.75f, -3.9f, -4.25f, -3.7f,  -4.05f, -2.55f, -3.85f, -3.4f, -4.4f};

/* The same where weights count by the importance of their columns: the largest is not the one that
 * decides then. `search/greedy.py "q3_k weighted"` finds all 24 again. */
static const float weighted_inverse_scales[24] = {
    -4.25f, -5.15f, -3.2f,  -3.85f, -6.5f, 4.5f,   -4.65f, 5.45f,  -5.65f, 3.75f, -2.9f,  -4.05f,
    -3.6f,  4.15f,  -4.45f, -2.25f, 5.95f, -4.85f, 4.95f,  -3.35f, -6.55f, -6.0f, -2.65f, -5.4f};

/* What each number buys: search/efforts.c. */
static const struct search searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {inverse_scales, 8, 1, 1, 0.15f, 1, 1},
    /* four and eight starts lower the error by 0.003 % more */
    [MQ_EFFORT_BEST] = {inverse_scales, 24, 2, 4, 0.3f, MAX_STARTS, 2},
};
static const struct search weighted_searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {weighted_inverse_scales, 8, 1, 1, 0.15f, 1, 1},
    [MQ_EFFORT_BEST] = {weighted_inverse_scales, 24, 2, 4, 0.3f, MAX_STARTS, 2},
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

void MQ_ISA_NAME(mq_q3_k_encode)(const float *weights, size_t n, const float *importance,
                                 enum mq_effort effort, uint8_t *blocks)
{
    encode(weights, n, importance, importance ? &weighted_searches[effort] : &searches[effort],
           blocks);
}

/* The scales of the 16 sub-blocks as stored, 0..63. */
MQ_INLINE void unpack_scales(const uint8_t *block, uint8_t scales[SUB_BLOCKS])
{
    const uint32_t low0 = mq_load4(block + SCALES_AT), low1 = mq_load4(block + SCALES_AT + 4);
    const uint32_t high = mq_load4(block + SCALES_AT + 8);
    mq_store4(scales, (low0 & 0x0f0f0f0fu) | (high << 4 & 0x30303030u));
    mq_store4(scales + 4, (low1 & 0x0f0f0f0fu) | (high << 2 & 0x30303030u));
    mq_store4(scales + 8, (low0 >> 4 & 0x0f0f0f0fu) | (high & 0x30303030u));
    mq_store4(scales + 12, (low1 >> 4 & 0x0f0f0f0fu) | (high >> 2 & 0x30303030u));
}

/* The codes less 4 of sub-blocks 2k and 2k+1. */
MQ_INLINE void unpack_codes(const uint8_t *block, int k, int8_t codes[32])
{
    const uint8_t *low = block + LOW_AT + 32 * (k / 4);
    for (int l = 0; l < 32; l++)
        codes[l] = (int8_t)(((low[l] >> 2 * (k % 4) & 3) | (block[l] >> k & 1) << 2) - 4);
}

void MQ_ISA_NAME(mq_q3_k_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, weights += BLOCK_WEIGHTS) {
        uint8_t s[SUB_BLOCKS];
        float scales[SUB_BLOCKS];
        int8_t codes[BLOCK_WEIGHTS];
        unpack_scales(blocks, s);
        v_store(scales, v_mul(v_set1_f16(blocks + D_AT), v_sub(v_from_u8(s), v_set1(32.0f))));
        MQ_UNROLL(8) /* shifts by constants */
        for (int k = 0; k < 8; k++)
            unpack_codes(blocks, k, codes + 32 * k);
        for (int i = 0; i < SUB_BLOCKS; i++)
            v_store(weights + 16 * i, v_mul(v_set1(scales[i]), v_from_i8(codes + 16 * i)));
    }
}

/* Scales per 16 weights are small enough to go into the codes, with the sign turned: the one
 * product beyond int8, (0 - 32) (0 - 4) = 128, becomes -128, and d becomes -d. */
void MQ_ISA_NAME(mq_q3_k_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    enum { GROUPS = BLOCK_WEIGHTS / 32 };
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, scales += GROUPS, mins += GROUPS) {
        uint8_t s[SUB_BLOCKS];
        float minus_d[16];
        unpack_scales(blocks, s);
        v_store(minus_d, v_neg(v_set1_f16(blocks + D_AT)));
        memcpy(scales, minus_d, GROUPS * sizeof *scales);
        memset(mins, 0, GROUPS * sizeof *mins);
        MQ_UNROLL(8) /* shifts by constants */
        for (int k = 0; k < GROUPS; k++, codes += 32) {
            int8_t unscaled[32];
            unpack_codes(blocks, k, unscaled);
            for (int half = 0; half < 2; half++) {
                const int factor = 32 - s[2 * k + half];
                for (int l = 16 * half; l < 16 * half + 16; l++)
                    codes[l] = (int8_t)(factor * unscaled[l]);
            }
        }
    }
}
