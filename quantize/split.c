/*
 * split.c: the table of forms, and rows of blocks cut by it.
 *
 * Sources: compressed-tensors' PackedQuantizationCompressor and IntQuantizationCompressor, DeepSeek-V3's weights (README_WEIGHTS.md),
 * MLX's quantize (mlx/ops.cpp).
 */
#include "split_int.h"

#include <string.h>

/* Levels of runtimes have blocks of their scale, (of affine ones) their bias, and codes in the runtime's own order. */
#define PACKED(name, group, bits, once)                              \
    {MQ_FOLDER_PACKED,                                               \
     name,                                                           \
     2,                                                              \
     {{".weight_packed", MQ_I32, (group) * (bits) / 8, 2, false, 1}, \
      {".weight_scale", MQ_BF16, 2, 0, once, 1}},                    \
     NULL},

#define MLX(bits, group)                                      \
    {MQ_FOLDER_MLX,                                           \
     "mlx" #bits "g" #group,                                  \
     3,                                                       \
     {{".weight", MQ_U32, (group) * (bits) / 8, 4, false, 1}, \
      {".scales", MQ_BF16, 2, 0, false, 1},                   \
      {".biases", MQ_BF16, 2, 2, false, 1}},                  \
     NULL},

#define MLX_GROUPS(bits) MLX(bits, 32) MLX(bits, 64) MLX(bits, 128)

/* Codes that are stored with 128 added, as signed ones. */
static void cut_int8(const uint8_t *blocks, size_t n, uint8_t *const parts[MQ_SPLIT_MOST])
{
    enum { WEIGHTS = 128, SCALE = 2 };
    for (size_t b = 0; b < n; b++, blocks += SCALE + WEIGHTS) {
        memcpy(parts[1] + b * SCALE, blocks, SCALE);
        for (size_t i = 0; i < WEIGHTS; i++)
            parts[0][b * WEIGHTS + i] = blocks[SCALE + i] ^ 0x80;
    }
}

static const struct mq_split splits[] = {
    /* clang-format off */
    PACKED("w4g32", 32, 4, false)
    PACKED("w4g64", 64, 4, false)
    PACKED("w4g128", 128, 4, false)
    PACKED("w4c", 128, 4, true)
    PACKED("w8g32", 32, 8, false)
    PACKED("w8g64", 64, 8, false)
    PACKED("w8g128", 128, 8, false)
    PACKED("w8c", 128, 8, true)
    MLX_GROUPS(2)
    MLX_GROUPS(3)
    MLX_GROUPS(4)
    MLX_GROUPS(5)
    MLX_GROUPS(6)
    MLX_GROUPS(8)
    /* clang-format on */
    {MQ_FOLDER_INT8,
     "w8c",
     2,
     {{".weight", MQ_I8, 128, 2, false, 1}, {".weight_scale", MQ_BF16, 2, 0, true, 1}},
     cut_int8},
    {MQ_FOLDER_FP8,
     "fp8b",
     2,
     {{".weight", MQ_F8_E4M3, 128, 4, false, 1}, {".weight_scale_inv", MQ_F32, 4, 0, false, 128}},
     NULL},
};

const struct mq_split *mq_split_find(enum mq_folder_format format, const struct mq_level *level)
{
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++)
        if (splits[i].format == format && strcmp(splits[i].level, level->name) == 0)
            return &splits[i];
    for (size_t i = 0; i < mq_split_repacks_count; i++)
        if (mq_split_repacks[i].format == format &&
            strcmp(mq_split_repacks[i].level, level->name) == 0)
            return &mq_split_repacks[i];
    return NULL;
}

uint32_t mq_split_group(const struct mq_split *split)
{
    const uint32_t weights = mq_level_find(split->level)->block_weights;
    const struct mq_split_part *scales = &split->parts[1];
    return scales->once ? 0 : weights / (scales->bytes / mq_dtype_bytes(scales->dtype));
}

uint32_t mq_split_bits(const struct mq_split *split)
{
    return 8 * split->parts[0].bytes / mq_level_find(split->level)->block_weights;
}

static uint64_t blocks_of(const struct mq_split *split, uint64_t cols)
{
    return cols / mq_level_find(split->level)->block_weights;
}

uint64_t mq_split_row_bytes(const struct mq_split *split, uint32_t part, uint64_t cols)
{
    const struct mq_split_part *p = &split->parts[part];
    return p->once ? p->bytes : blocks_of(split, cols) * p->bytes;
}

uint64_t mq_split_rows(const struct mq_split *split, uint32_t part, uint64_t rows)
{
    const uint32_t each = split->parts[part].rows_each;
    return rows / each + (rows % each != 0);
}

uint64_t mq_split_scratch_bytes(const struct mq_split *split, uint32_t part, uint64_t cols)
{
    return blocks_of(split, cols) * split->parts[part].bytes;
}

uint64_t mq_split_rows_of(const struct mq_split *split, uint32_t part, uint64_t row, uint64_t rows,
                          uint64_t cols, const uint8_t *blocks, uint8_t *scratch, uint8_t *out)
{
    const struct mq_split_part *p = &split->parts[part];
    const struct mq_level *level = mq_level_find(split->level);
    const uint64_t n = blocks_of(split, cols), row_bytes = mq_split_row_bytes(split, part, cols);
    uint8_t *parts[MQ_SPLIT_MOST];
    uint64_t given = 0;
    for (uint32_t i = 0; i < MQ_SPLIT_MOST; i++) {
        parts[i] = scratch;
        scratch += i < split->parts_count ? mq_split_scratch_bytes(split, i, cols) : 0;
    }
    for (uint64_t r = 0; r < rows; r++, blocks += n * level->block_bytes) {
        if ((row + r) % p->rows_each)
            continue;
        if (split->cut)
            split->cut(blocks, (size_t)n, parts);
        for (uint64_t b = 0; b < n && !split->cut; b++)
            memcpy(parts[part] + b * p->bytes, blocks + b * level->block_bytes + p->at, p->bytes);
        memcpy(out + given * row_bytes, parts[part], row_bytes);
        given++;
    }
    return given;
}
