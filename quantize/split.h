/*
 * split.h: how the blocks of a level stand in the tensors of other runtimes' folders.
 *
 * A moeq or GGUF file has rows of blocks, scales and codes together. Runtimes that read safetensors have codes in one
 * tensor and scales in another, each row by row:
 *
 *     | s codes | s codes | s codes |    ->    weight: | codes | codes | codes |    scales: | s | s | s |
 *
 * A row of the table in split.c says of a format and a level which tensors these are. Writing goes by it and nothing
 * else: convert cuts rows of blocks into such parts, and plans give the parts their places.
 */
#ifndef MQ_SPLIT_H
#define MQ_SPLIT_H

#include "dtype.h"
#include "levels.h"

enum mq_folder_format {
    MQ_FOLDER_MLX,    /* affine codes, experts stacked */
    MQ_FOLDER_PACKED, /* compressed-tensors, pack-quantized */
    MQ_FOLDER_FP8,    /* E4M3 with a scale for 128 x 128 weights */
    MQ_FOLDER_INT8,   /* compressed-tensors, int-quantized: a scale for each row */
    MQ_FOLDER_FORMATS
};

/* One tensor of a matrix. */
struct mq_split_part {
    const char *name_end; /* behind the module's name: ".weight_packed" */
    enum mq_dtype dtype;
    uint32_t bytes; /* of each block */
    uint32_t at;    /* where in a block they stand, if `cut` is NULL */
    bool once;      /* one a row, that of its first block: scales of rows */
    uint32_t
        rows_each; /* 1; 128: a row of the tensor serves 128 of the matrix, and is of the first of them */
};

enum { MQ_SPLIT_MOST = 3 };
struct mq_split {
    enum mq_folder_format format;
    const char *level; /* by name; block_weights and block_bytes are its */
    uint32_t parts_count;
    struct mq_split_part parts[MQ_SPLIT_MOST];
    /* n blocks -> what of them each part has, side by side (of parts that are `once` or serve several rows too: the
     * caller takes what it needs). NULL: the bytes as they stand in the block. */
    void (*cut)(const uint8_t *blocks, size_t n, uint8_t *const parts[MQ_SPLIT_MOST]);
};

/* NULL: the format has no such form of the level. */
const struct mq_split *mq_split_find(enum mq_folder_format format, const struct mq_level *level);

/* Weights of a row that share a scale; 0: all of them. Bits of a code. */
uint32_t mq_split_group(const struct mq_split *split);
uint32_t mq_split_bits(const struct mq_split *split);

/* Bytes of a part's row for a matrix of so many columns, a multiple of the level's block, and its rows for so many of
 * the matrix. */
uint64_t mq_split_row_bytes(const struct mq_split *split, uint32_t part, uint64_t cols);
uint64_t mq_split_rows(const struct mq_split *split, uint32_t part, uint64_t rows);

/* Of a row of blocks, what `cut` gives of a part. */
uint64_t mq_split_scratch_bytes(const struct mq_split *split, uint32_t part, uint64_t cols);

/* rows x cols weights in rows of blocks, beginning at row `row` of the matrix -> the rows of a part that they have, at
 * `out` one behind the other; their number. scratch: room for what `cut`
 * gives of one row, of all parts. */
uint64_t mq_split_rows_of(const struct mq_split *split, uint32_t part, uint64_t row, uint64_t rows,
                          uint64_t cols, const uint8_t *blocks, uint8_t *scratch, uint8_t *out);

#endif
