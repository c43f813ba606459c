/*
 * q2_k.c: 2-bit codes. A block of 256 weights in 84 bytes, the layout of GGML's Q2_K:
 *
 *     u8 scales[16] | u8 codes[64] | f16 d | f16 dmin
 *
 * Sixteen sub-blocks of 16 weights with a 4-bit scale s and minimum m each, the low and the high
 * nibble of a byte of scales: weight = d s code - dmin m. Weight 128 n + 32 j + l has its code in
 * bits 2j, 2j+1 of codes[32 n + l].
 */
#include "codecs_int.h"

enum {
    SUB_WEIGHTS = 16,
    CODE_MAX = 3,
    SCALE_MAX = 15,
    MAX_EXPONENT = 22, /* 15 * 3 * 65504 */
    BLOCK_BYTES = 84,
};
#include "affine_int.h"

enum { CODES_AT = 16, D_AT = 80, DMIN_AT = 82 };

/* Chosen greedily as in q3_k.c. `search/greedy.py q2_k` finds the first 5 again, which are what
 * effort `default` tries, and then others: these are from the first search, whose sub-blocks were
 * not kept. With all 12, the squared errors of the two lists are the same to 0.05 %. */
static const struct cut cuts[12] = {{.09f, .09f},  {0, .15f},     {.15f, .03f},  {.06f, .12f},
                                    {.18f, -.03f}, {.09f, .03f},  {-.03f, .18f}, {-.06f, -.03f},
                                    {.15f, .12f},  {-.36f, .06f}, {.12f, .21f},  {.06f, -.09f}};

/* The same where weights count by the importance of their columns: `search/greedy.py
 * "q2_k weighted"` finds all 12 again. */
static const struct cut weighted_cuts[12] = {
    {.12f, .12f}, {.21f, .03f}, {.03f, .21f},  {.03f, 0},     {.06f, .15f}, {.3f, .03f},
    {.03f, .33f}, {.18f, .09f}, {-.09f, .06f}, {.09f, -.06f}, {.15f, .27f}, {.27f, .21f}};

/* Scales of 4 bits are so coarse that d and dmin matter more than what each sub-block wants. What
 * each number buys: search/efforts.c. */
static const struct search searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {cuts, 5, 1, false, 0.1f},
    [MQ_EFFORT_BEST] = {cuts, 12, 2, true, 0.2f},
};
static const struct search weighted_searches[MQ_EFFORT_COUNT] = {
    [MQ_EFFORT_DEFAULT] = {weighted_cuts, 5, 1, false, 0.1f},
    [MQ_EFFORT_BEST] = {weighted_cuts, 12, 2, true, 0.2f},
};

static void pack_block(const struct coded *coded, size_t b, uint8_t *block)
{
    (void)b;
    for (int j = 0; j < SUB_BLOCKS; j++)
        block[j] = (uint8_t)(coded->s[j] | coded->m[j] << 4);
    for (int n = 0; n < 2; n++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = coded->codes[0] + 128 * n + l;
            block[CODES_AT + 32 * n + l] = (uint8_t)(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
        }
    memcpy(block + D_AT, coded->d, 2);
    memcpy(block + DMIN_AT, coded->dmin, 2);
}

void MQ_ISA_NAME(mq_q2_k_encode)(const float *weights, size_t n, const float *importance,
                                 enum mq_effort effort, uint8_t *blocks)
{
    encode(weights, n, importance, importance ? &weighted_searches[effort] : &searches[effort],
           blocks);
}

/* d s and dmin m of the 16 sub-blocks. */
MQ_INLINE void unpack_scales(const uint8_t *block, float scales[SUB_BLOCKS], float mins[SUB_BLOCKS])
{
    uint8_t s[SUB_BLOCKS], m[SUB_BLOCKS];
    for (int j = 0; j < SUB_BLOCKS; j++) {
        s[j] = block[j] & 15;
        m[j] = block[j] >> 4;
    }
    v_store(scales, v_mul(v_set1_f16(block + D_AT), v_from_u8(s)));
    v_store(mins, v_mul(v_set1_f16(block + DMIN_AT), v_from_u8(m)));
}

MQ_INLINE void unpack_codes(const uint8_t *block, uint8_t codes[BLOCK_WEIGHTS])
{
    MQ_UNROLL(8) /* shifts by constants */
    for (int k = 0; k < 8; k++, codes += 32)
        for (int l = 0; l < 32; l++)
            codes[l] = block[CODES_AT + 32 * (k / 4) + l] >> 2 * (k % 4) & 3;
}

void MQ_ISA_NAME(mq_q2_k_decode)(const uint8_t *blocks, size_t n, float *weights)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, weights += BLOCK_WEIGHTS) {
        float scales[SUB_BLOCKS], mins[SUB_BLOCKS];
        uint8_t codes[BLOCK_WEIGHTS];
        unpack_scales(blocks, scales, mins);
        unpack_codes(blocks, codes);
        for (int i = 0; i < SUB_BLOCKS; i++)
            v_store(weights + 16 * i,
                    v_sub(v_mul(v_set1(scales[i]), v_from_u8(codes + 16 * i)), v_set1(mins[i])));
    }
}

void MQ_ISA_NAME(mq_q2_k_unpack)(const uint8_t *blocks, size_t n, int8_t *codes, float *scales,
                                 float *mins)
{
    for (; n; n -= BLOCK_WEIGHTS, blocks += BLOCK_BYTES, codes += BLOCK_WEIGHTS) {
        unpack_scales(blocks, scales, mins);
        unpack_codes(blocks, (uint8_t *)codes);
        scales += SUB_BLOCKS;
        mins += SUB_BLOCKS;
    }
}
