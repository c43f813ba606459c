/*
 * split_repack.c: blocks of GGML's levels as MLX has codes, scales and biases: copied, not quantized again.
 *
 * MLX's weight is scale * code + bias, codes unsigned in a dense little-endian stream along the row. That is what q4_k and
 * its kin have for each 32 weights (levels.h, `unpack`: scale * code - min), with scales that are products of two numbers and
 * are rounded to F16 here, by at most 2^-11 of them. Of q8_0 and q4_0, whose codes are signed, u = code - code_min and
 * bias = scale * code_min, which is exact.
 *
 * MXFP4 blocks are MLX's own mode "mxfp4" with the nibbles in another order: GGML's byte l has weights l and l + 16, MLX's
 * 2l and 2l + 1 (mlx/ops.cpp, fp_quantize).
 */
#include "split_int.h"

#include "f16.h"

#include <string.h>

enum { MOST_WEIGHTS = 256, GROUP = 32 };

static void put_f16(uint8_t *at, float x)
{
    const uint16_t h = mq_f32_to_f16(x);
    at[0] = (uint8_t)h;
    at[1] = (uint8_t)(h >> 8);
}

/* GROUP codes of so many bits, the first in the lowest ones. */
static void put_codes(uint8_t *at, const int8_t *codes, int code_min, uint32_t bits)
{
    uint32_t held = 0, count = 0;
    for (size_t i = 0; i < GROUP; i++) {
        held |= (uint32_t)(codes[i] - code_min) << count;
        for (count += bits; count >= 8; count -= 8, held >>= 8)
            *at++ = (uint8_t)held;
    }
}

static void cut_level(const char *name, uint32_t bits, const uint8_t *blocks, size_t n,
                      uint8_t *const parts[MQ_SPLIT_MOST])
{
    const struct mq_level *level = mq_level_find(name);
    const size_t groups = level->block_weights / GROUP;
    int8_t codes[MOST_WEIGHTS];
    float scales[MOST_WEIGHTS / GROUP], mins[MOST_WEIGHTS / GROUP];
    for (size_t b = 0; b < n; b++, blocks += level->block_bytes) {
        level->unpack[MQ_ISA_GENERIC](blocks, level->block_weights, codes, scales, mins);
        for (size_t g = 0; g < groups; g++) {
            const size_t at = b * groups + g;
            put_codes(parts[0] + at * GROUP * bits / 8, codes + g * GROUP, level->code_min, bits);
            put_f16(parts[1] + 2 * at, scales[g]);
            put_f16(parts[2] + 2 * at, scales[g] * (float)level->code_min - mins[g]);
        }
    }
}

#define CUT(level, bits)                                                                          \
    static void cut_##level(const uint8_t *blocks, size_t n, uint8_t *const parts[MQ_SPLIT_MOST]) \
    {                                                                                             \
        cut_level(#level, bits, blocks, n, parts);                                                \
    }
CUT(q8_0, 8)
CUT(q5_k, 5)
CUT(q4_k, 4)
CUT(q5_0, 5)
CUT(q5_1, 5)
CUT(q4_0, 4)
CUT(q4_1, 4)

static void cut_mxfp4(const uint8_t *blocks, size_t n, uint8_t *const parts[MQ_SPLIT_MOST])
{
    enum { BYTES = 17, HALF = GROUP / 2 };
    for (size_t b = 0; b < n; b++, blocks += BYTES) {
        uint8_t codes[GROUP];
        for (size_t l = 0; l < HALF; l++) {
            codes[l] = blocks[1 + l] & 15;
            codes[HALF + l] = blocks[1 + l] >> 4;
        }
        for (size_t l = 0; l < HALF; l++)
            parts[0][b * HALF + l] = (uint8_t)(codes[2 * l] | codes[2 * l + 1] << 4);
        parts[1][b] = blocks[0];
    }
}

#define AFFINE(level, weights, bits)                            \
    {MQ_FOLDER_MLX,                                             \
     #level,                                                    \
     3,                                                         \
     {{".weight", MQ_U32, (weights) * (bits) / 8, 0, false, 1}, \
      {".scales", MQ_F16, 2 * (weights) / GROUP, 0, false, 1},  \
      {".biases", MQ_F16, 2 * (weights) / GROUP, 0, false, 1}}, \
     cut_##level},

const struct mq_split mq_split_repacks[] = {
    /* clang-format off */
    AFFINE(q8_0, 32, 8)
    AFFINE(q5_k, 256, 5)
    AFFINE(q4_k, 256, 4)
    AFFINE(q5_0, 32, 5)
    AFFINE(q5_1, 32, 5)
    AFFINE(q4_0, 32, 4)
    AFFINE(q4_1, 32, 4)
    /* clang-format on */
    {MQ_FOLDER_MLX,
     "mxfp4",
     2,
     {{".weight", MQ_U32, GROUP / 2, 0, false, 1}, {".scales", MQ_U8, 1, 0, false, 1}},
     cut_mxfp4},
};
const size_t mq_split_repacks_count = sizeof mq_split_repacks / sizeof *mq_split_repacks;
