/* levels.c: the level table, and rows with their tails. */
#include "codecs_int.h"

#include "gguf_names.h"

#include <string.h>

#define ENCODED(codec) .encode = MQ_ISA_TABLE(mq_##codec##_encode)
#define UNPACKED(codec) .quantized = true, .unpack = MQ_ISA_TABLE(mq_##codec##_unpack)
#define BANDED(codec, rows) \
    .band_rows = rows, .encode_band = MQ_ISA_TABLE(mq_##codec##_encode_band)
#define ROW_OF(codec, decoder, ...) \
    [ROW_##codec] = {.name = #codec, .decode = MQ_ISA_TABLE(mq_##decoder##_decode), __VA_ARGS__}
#define LEVEL(codec, ...) ROW_OF(codec, codec, .band_rows = 1, __VA_ARGS__)

/* Levels that other runtimes read from folders of safetensors: blocks as quantize/w_int.c, mlx.c and fp8b.c have them. vLLM
 * quantizes neither embeddings nor the head; mlx-lm does. */
#define W_INT(codec, bits, weights, text, ...)                                                   \
    ROW_OF(codec, codec, .description = text, .block_weights = weights,                          \
           .block_bytes = 2 + (weights) * (bits) / 8, .wide_scales = true, ENCODED(codec),       \
           UNPACKED(codec), .group = 32, .code_min = -(1 << ((bits) - 1)),                       \
           .code_max = (1 << ((bits) - 1)) - 1, .embeddings = MQ_AS_IN_SOURCE, __VA_ARGS__)
#define W4(codec, weights, text, ...)                               \
    W_INT(codec, 4, weights, text, .attention = "w8g128",           \
          .family = "4-bit codes of compressed-tensors, for vLLM, SGLang, Transformers: a bf16 scale per 32, 64, 128 weights, or row", \
          __VA_ARGS__)
#define W8(codec, weights, text, ...)                               \
    W_INT(codec, 8, weights, text, .attention = #codec,             \
          .family = "8-bit codes of the same", \
          __VA_ARGS__)
#define MLX_BYTES(bits, weights) (4 + (weights) * (bits) / 8)
#define MLX(codec, bits, weights, rest, relative, ...)                                           \
    ROW_OF(codec, codec,                                                                         \
           .description = #bits "-bit codes of MLX, scale and bias per " #weights " weights",    \
           .family = "codes of 2 to 8 bits of Apple's MLX: bf16 scale and bias per 32, 64 or 128 weights", \
           .block_weights = weights, .block_bytes = MLX_BYTES(bits, weights),                    \
           .wide_scales = true, .band_rows = 1, .error = relative, ENCODED(codec),               \
           UNPACKED(codec), .group = 32, .has_mins = true, .attention = rest,                    \
           .embeddings = rest, __VA_ARGS__)

/* Where a level stands in the table. */
#define ROW(codec, isa) ROW_##codec,
enum { MQ_CODEC_LIST(ROW, ) };

/* clang-format off */
const struct mq_level mq_levels[] = {
    LEVEL(q8_0,
          .alias = "q8",
          .description = "8-bit codes, one scale per 32 weights: 8.5 bits per weight",
          .block_weights = 32, .block_bytes = 34, .error = 0.00486f,
          ENCODED(q8_0), UNPACKED(q8_0),
          .group = 32, .code_min = -128, .code_max = 127),
    LEVEL(q6_k,
          .alias = "q6",
          .description = "6-bit codes, 8-bit scale per 16 weights: 6.5625 bits per weight",
          .block_weights = 256, .block_bytes = 210, .half_at = 208, .error = 0.0163f,
          ENCODED(q6_k), UNPACKED(q6_k),
          .group = 16, .code_min = -32, .code_max = 31),
    LEVEL(q5_k,
          .alias = "q5",
          .description = "5-bit codes, 6-bit scale and minimum per 32 weights: 5.5 bits per weight",
          .block_weights = 256, .block_bytes = 176, .error = 0.0338f,
          ENCODED(q5_k), UNPACKED(q5_k),
          .group = 32, .has_mins = true, .code_min = 0, .code_max = 31),
    LEVEL(q4_k,
          .alias = "q4",
          .description = "4-bit codes, 6-bit scale and minimum per 32 weights: 4.5 bits per weight",
          .block_weights = 256, .block_bytes = 144, .error = 0.0689f,
          ENCODED(q4_k), UNPACKED(q4_k),
          .group = 32, .has_mins = true, .code_min = 0, .code_max = 15),
    LEVEL(q3_k,
          .alias = "q3",
          .description = "3-bit codes, 6-bit scale per 16 weights: 3.4375 bits per weight",
          .block_weights = 256, .block_bytes = 110, .half_at = 108, .error = 0.1434f,
          ENCODED(q3_k), UNPACKED(q3_k),
          .group = 32, .code_min = -128, .code_max = 124),
    LEVEL(q2_k,
          .alias = "q2",
          .description =
              "2-bit codes, 4-bit scale and minimum per 16 weights: 2.625 bits per weight",
          .block_weights = 256, .block_bytes = 84, .half_at = 80, .error = 0.2625f,
          ENCODED(q2_k), UNPACKED(q2_k),
          .group = 16, .has_mins = true, .code_min = 0, .code_max = 3),
    LEVEL(iq4_nl,
          .description =
              "4-bit codes of 16 uneven steps, one scale per 32 weights: 4.5 bits per weight",
          .block_weights = 32, .block_bytes = 18, .error = 0.0730f,
          ENCODED(iq4_nl), UNPACKED(iq4_nl),
          .group = 32, .code_min = -127, .code_max = 113),
    LEVEL(iq4_xs,
          .description =
              "4-bit codes of 16 uneven steps, 6-bit scale per 32 weights: 4.25 bits per weight",
          .block_weights = 256, .block_bytes = 136, .error = 0.0734f,
          ENCODED(iq4_xs), UNPACKED(iq4_xs),
          .group = 32, .code_min = -127, .code_max = 113),
    LEVEL(iq3_s,
          .description =
              "codebook of 512 fours, 4-bit scale per 32 weights: 3.4375 bits per weight",
          .block_weights = 256, .block_bytes = 110, .error = 0.1292f,
          ENCODED(iq3_s), UNPACKED(iq3_s),
          .group = 32, .code_min = -15, .code_max = 15),
    LEVEL(iq3_xxs,
          .description =
              "codebook of 256 fours, 4-bit scale per 32 weights: 3.0625 bits per weight",
          .block_weights = 256, .block_bytes = 98, .error = 0.1787f,
          ENCODED(iq3_xxs), UNPACKED(iq3_xxs),
          .group = 32, .code_min = -62, .code_max = 62),
    LEVEL(iq2_s,
          .description =
              "codebook of 1024 eights, 4-bit scale per 16 weights: 2.5625 bits per weight",
          .block_weights = 256, .block_bytes = 82, .error = 0.2418f,
          ENCODED(iq2_s), UNPACKED(iq2_s),
          .group = 16, .code_min = -43, .code_max = 43),
    LEVEL(iq2_xs,
          .description =
              "codebook of 512 eights, 4-bit scale per 16 weights: 2.3125 bits per weight",
          .block_weights = 256, .block_bytes = 74, .error = 0.2911f,
          ENCODED(iq2_xs), UNPACKED(iq2_xs),
          .group = 16, .code_min = -43, .code_max = 43),
    LEVEL(iq2_xxs,
          .description =
              "codebook of 256 eights, 4-bit scale per 32 weights: 2.0625 bits per weight",
          .block_weights = 256, .block_bytes = 66, .error = 0.3380f,
          ENCODED(iq2_xxs), UNPACKED(iq2_xxs),
          .group = 32, .code_min = -43, .code_max = 43),
    LEVEL(f32,
          .description = "IEEE single precision: 32 bits per weight",
          .block_weights = 1, .block_bytes = 4,
          ENCODED(f32)),
    LEVEL(f16,
          .description = "IEEE half precision: 16 bits per weight",
          .block_weights = 1, .block_bytes = 2, .error = 0.00021f,
          ENCODED(f16)),
    LEVEL(bf16,
          .description = "bfloat16: 16 bits per weight",
          .block_weights = 1, .block_bytes = 2, .error = 0.00166f,
          ENCODED(bf16)),
    W4(w4g32, 32, "4-bit codes, one bf16 scale per 32 weights: 4.5 bits per weight",
       .band_rows = 1, .error = 0.0867f),
    W4(w4g64, 64, "4-bit codes, one bf16 scale per 64 weights: 4.25 bits per weight",
       .band_rows = 1, .error = 0.0951f),
    W4(w4g128, 128, "4-bit codes, one bf16 scale per 128 weights: 4.125 bits per weight",
       .alias = "w4a16", .band_rows = 1, .error = 0.103f),
    W4(w4c, 128, "4-bit codes, one bf16 scale per row: 4.125 bits per weight",
       BANDED(w4c, 1), .error = 0.108f),
    W8(w8g32, 32, "8-bit codes, one bf16 scale per 32 weights: 8.5 bits per weight",
       .band_rows = 1, .error = 0.00498f),
    W8(w8g64, 64, "8-bit codes, one bf16 scale per 64 weights: 8.25 bits per weight",
       .band_rows = 1, .error = 0.00564f),
    W8(w8g128, 128, "8-bit codes, one bf16 scale per 128 weights: 8.125 bits per weight",
       .alias = "w8a16", .band_rows = 1, .error = 0.00637f),
    W8(w8c, 128, "8-bit codes, one bf16 scale per row: 8.125 bits per weight",
       BANDED(w8c, 1), .error = 0.00753f),
    ROW_OF(fp8b, f8_e4m3,
           .description =
               "8-bit floats (E4M3), one scale per 128 x 128 weights, for vLLM and SGLang: 8.25 bits per weight",
           .block_weights = 128, .block_bytes = 132, .error = 0.026f,
           .quantized = true, .wide_scales = true, BANDED(fp8b, 128), ENCODED(fp8b),
           .attention = "fp8b", .embeddings = MQ_AS_IN_SOURCE),
    MLX(mlx2g32, 2, 32, "mlx8g64", 0.297f, .code_max = 3),
    MLX(mlx2g64, 2, 64, "mlx8g64", 0.323f, .alias = "mlx2", .code_max = 3),
    MLX(mlx2g128, 2, 128, "mlx8g64", 0.338f, .code_max = 3),
    MLX(mlx3g32, 3, 32, "mlx8g64", 0.143f, .code_max = 7),
    MLX(mlx3g64, 3, 64, "mlx8g64", 0.164f, .alias = "mlx3", .code_max = 7),
    MLX(mlx3g128, 3, 128, "mlx8g64", 0.183f, .code_max = 7),
    MLX(mlx4g32, 4, 32, "mlx8g64", 0.0682f, .code_max = 15),
    MLX(mlx4g64, 4, 64, "mlx8g64", 0.0809f, .alias = "mlx4", .code_max = 15),
    MLX(mlx4g128, 4, 128, "mlx8g64", 0.0925f, .code_max = 15),
    MLX(mlx5g32, 5, 32, "mlx8g64", 0.0331f, .code_max = 31),
    MLX(mlx5g64, 5, 64, "mlx8g64", 0.0396f, .alias = "mlx5", .code_max = 31),
    MLX(mlx5g128, 5, 128, "mlx8g64", 0.0459f, .code_max = 31),
    MLX(mlx6g32, 6, 32, "mlx8g64", 0.0179f, .code_max = 63),
    MLX(mlx6g64, 6, 64, "mlx8g64", 0.0207f, .alias = "mlx6", .code_max = 63),
    MLX(mlx6g128, 6, 128, "mlx8g64", 0.0238f, .code_max = 63),
    MLX(mlx8g32, 8, 32, "mlx8g32", 0.00442f, .code_min = -128, .code_max = 127),
    MLX(mlx8g64, 8, 64, "mlx8g64", 0.00511f, .alias = "mlx8", .code_min = -128, .code_max = 127),
    MLX(mlx8g128, 8, 128, "mlx8g128", 0.00579f, .code_min = -128, .code_max = 127),
    LEVEL(q4_0,
          .description = "4-bit codes, one scale per 32 weights: 4.5 bits per weight; read only",
          .block_weights = 32, .block_bytes = 18,
          UNPACKED(q4_0),
          .group = 32, .code_min = -8, .code_max = 7),
    LEVEL(q4_1,
          .description =
              "4-bit codes, one scale and minimum per 32 weights: 5 bits per weight; read only",
          .block_weights = 32, .block_bytes = 20,
          UNPACKED(q4_1),
          .group = 32, .has_mins = true, .code_min = 0, .code_max = 15),
    LEVEL(q5_0,
          .description = "5-bit codes, one scale per 32 weights: 5.5 bits per weight; read only",
          .block_weights = 32, .block_bytes = 22,
          UNPACKED(q5_0),
          .group = 32, .code_min = -16, .code_max = 15),
    LEVEL(q5_1,
          .description =
              "5-bit codes, one scale and minimum per 32 weights: 6 bits per weight; read only",
          .block_weights = 32, .block_bytes = 24,
          UNPACKED(q5_1),
          .group = 32, .has_mins = true, .code_min = 0, .code_max = 31),
    LEVEL(mxfp4,
          .description =
              "4-bit floats, a power of two per 32 weights: 4.25 bits per weight; read only",
          .block_weights = 32, .block_bytes = 17,
          UNPACKED(mxfp4),
          .group = 32, .code_min = -12, .code_max = 12),
    LEVEL(f8_e4m3,
          .description =
              "8-bit floats, one f32 scale per 128 weights: 8.25 bits per weight; read only",
          .block_weights = 128, .block_bytes = 132,
          .quantized = true, .may_be_cut = true),
    LEVEL(i4_32,
          .description =
              "4-bit codes, one f32 scale per 32 weights: 5 bits per weight; read only",
          .block_weights = 32, .block_bytes = 20,
          UNPACKED(i4_32),
          .group = 32, .code_min = -8, .code_max = 7),
    LEVEL(i8_32,
          .description =
              "8-bit codes, one f32 scale per 32 weights: 9 bits per weight; read only",
          .block_weights = 32, .block_bytes = 36,
          UNPACKED(i8_32),
          .group = 32, .code_min = -128, .code_max = 127),
    LEVEL(a8_32,
          .description =
              "8-bit codes, one f32 scale and bias per 32 weights: 10 bits per weight; read only",
          .block_weights = 32, .block_bytes = 40,
          .quantized = true),
    LEVEL(iq1_m,
          .description =
              "codebook of 2048 ternary eights, 3-bit scale per 16 weights: 1.75 bits per weight; read only",
          .block_weights = 256, .block_bytes = 56,
          UNPACKED(iq1_m),
          .group = 16, .code_min = -9, .code_max = 9),
    LEVEL(iq1_s,
          .description =
              "codebook of 2048 ternary eights, 3-bit scale per 32 weights: 1.5625 bits per weight; read only",
          .block_weights = 256, .block_bytes = 50,
          UNPACKED(iq1_s),
          .group = 32, .code_min = -9, .code_max = 9),
    LEVEL(tq1_0,
          .description =
              "ternary codes, five in a byte, one scale per 256 weights: 1.6875 bits per weight; read only",
          .block_weights = 256, .block_bytes = 54,
          UNPACKED(tq1_0),
          .group = 32, .code_min = -1, .code_max = 1),
    LEVEL(tq2_0,
          .description =
              "2-bit codes, one scale per 256 weights: 2.0625 bits per weight; read only",
          .block_weights = 256, .block_bytes = 66,
          UNPACKED(tq2_0),
          .group = 32, .code_min = -1, .code_max = 2),
    LEVEL(nvfp4,
          .description =
              "4-bit floats, an 8-bit float per 16 weights: 4.5 bits per weight; read only",
          .block_weights = 64, .block_bytes = 36,
          UNPACKED(nvfp4),
          .group = 16, .code_min = -12, .code_max = 12),
};
/* clang-format on */
const size_t mq_levels_count = sizeof mq_levels / sizeof mq_levels[0];

static const char *const effort_names[MQ_EFFORT_COUNT] = {"default", "best"};

const char *mq_effort_name(enum mq_effort effort)
{
    return effort_names[effort];
}

bool mq_effort_find(const char *name, enum mq_effort *effort)
{
    for (int i = 0; i < MQ_EFFORT_COUNT; i++)
        if (strcmp(name, effort_names[i]) == 0) {
            *effort = (enum mq_effort)i;
            return true;
        }
    return false;
}

/* Asked for every tensor of a plan: the first letter tells most apart. */
static bool is_name(const char *name, const char *of_level)
{
    return of_level && name[0] == of_level[0] && strcmp(name, of_level) == 0;
}

const struct mq_level *mq_level_find(const char *name)
{
    for (size_t i = 0; i < mq_levels_count; i++) {
        const struct mq_level *level = &mq_levels[i];
        if (is_name(name, level->name) || is_name(name, level->alias))
            return level;
    }
    return NULL;
}

#define CARRIED(id, type, storage, weights, bytes, file_type) \
    {.name = #storage, .block_weights = weights, .block_bytes = bytes, .quantized = true, .band_rows = 1},

const struct mq_level *mq_level_of_storage(const char *storage)
{
    static const struct mq_level carried[] = {MQ_GGUF_TYPE_LIST(CARRIED)};
    const struct mq_level *level = mq_level_find(storage);
    if (level && strcmp(level->name, storage) == 0)
        return level;
    for (size_t i = 0; i < sizeof carried / sizeof *carried; i++)
        if (strcmp(carried[i].name, storage) == 0)
            return &carried[i];
    return NULL;
}

bool mq_level_can_decode(const struct mq_level *level)
{
    return level->decode[0] != NULL;
}

bool mq_level_can_encode(const struct mq_level *level)
{
    return level->encode[0] != NULL;
}

/* What a row is made of: blocks of the level, then q8_0, then f16. */
enum { PART_BLOCKS, PART_Q8_0, PART_F16, PARTS };
struct part {
    const struct mq_level *level;
    uint64_t weights; /* whole blocks of it, but for a level that may be cut; often 0 */
};

static void parts_of(const struct mq_level *level, uint64_t cols, struct part parts[PARTS])
{
    const struct mq_level *q8_0 = &mq_levels[ROW_q8_0], *f16 = &mq_levels[ROW_f16];
    const uint64_t tail = level->may_be_cut ? 0 : cols % level->block_weights;
    const uint64_t odd = tail % q8_0->block_weights;
    parts[PART_BLOCKS] = (struct part){level, cols - tail};
    parts[PART_Q8_0] = (struct part){q8_0, tail - odd};
    parts[PART_F16] = (struct part){f16, odd};
}

/* Cannot overflow before 2^59 weights. */
static uint64_t part_bytes(const struct part *part)
{
    const uint32_t weights = part->level->block_weights;
    const uint64_t whole = part->weights / weights * part->level->block_bytes;
    const uint64_t cut = part->weights % weights;
    return cut ? whole + part->level->block_bytes - (weights - cut) : whole;
}

uint64_t mq_level_row_bytes(const struct mq_level *level, uint64_t cols)
{
    struct part parts[PARTS];
    parts_of(level, cols, parts);
    return part_bytes(&parts[PART_BLOCKS]) + part_bytes(&parts[PART_Q8_0]) +
           part_bytes(&parts[PART_F16]);
}

double mq_level_row_bits(const struct mq_level *level, uint64_t cols)
{
    return cols ? 8.0 * (double)mq_level_row_bytes(level, cols) / (double)cols : 0.0;
}

/* The blocks of rows that share scales: of `part`, the first of each row. */
static void encode_bands(const struct mq_level *level, enum mq_isa isa, enum mq_effort effort,
                         const float *importance, const float *weights, size_t rows, size_t cols,
                         const struct part *part, uint8_t *bytes)
{
    const size_t row_bytes = mq_level_row_bytes(level, cols);
    for (size_t r = 0; r < rows && part->weights; r += level->band_rows) {
        const size_t left = rows - r;
        const struct mq_band band = {
            .weights = weights + r * cols,
            .importance = importance,
            .rows = left < level->band_rows ? left : level->band_rows,
            .n = part->weights,
            .stride = cols,
            .blocks = bytes + r * row_bytes,
            .row_bytes = row_bytes,
        };
        level->encode_band[isa](&band, effort);
    }
}

void mq_level_encode_rows(const struct mq_level *level, enum mq_isa isa, enum mq_effort effort,
                          const float *importance, const float *weights, size_t rows, size_t cols,
                          uint8_t *bytes)
{
    struct part parts[PARTS];
    parts_of(level, cols, parts);
    const bool banded = level->encode_band[isa] != NULL;
    if (banded)
        encode_bands(level, isa, effort, importance, weights, rows, cols, &parts[PART_BLOCKS], bytes);
    else if (!importance && parts[PART_BLOCKS].weights == cols) { /* no tails: one run of blocks */
        level->encode[isa](weights, rows * cols, NULL, effort, bytes);
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        const float *of_part = importance;
        for (const struct part *p = parts; p < parts + PARTS; p++) {
            if (!banded || p->level != level)
                p->level->encode[isa](weights, p->weights, of_part, effort, bytes);
            weights += p->weights;
            of_part = of_part ? of_part + p->weights : NULL;
            bytes += part_bytes(p);
        }
    }
}

void mq_level_decode_rows(const struct mq_level *level, enum mq_isa isa, const uint8_t *bytes,
                          size_t rows, size_t cols, float *weights)
{
    struct part parts[PARTS];
    parts_of(level, cols, parts);
    if (parts[PART_BLOCKS].weights == cols && cols % level->block_weights == 0) {
        level->decode[isa](bytes, rows * cols, weights);
        return;
    }
    for (size_t r = 0; r < rows; r++)
        for (const struct part *p = parts; p < parts + PARTS; p++) {
            p->level->decode[isa](bytes, p->weights, weights);
            weights += p->weights;
            bytes += part_bytes(p);
        }
}

/* n scales of 32 weights -> 2 n scales of 16, in place. */
static void repeat_each(float *scales, size_t n)
{
    while (n-- > 0)
        scales[2 * n] = scales[2 * n + 1] = scales[n];
}

void mq_level_unpack_rows(const struct mq_level *level, enum mq_isa isa, const uint8_t *bytes,
                          size_t rows, size_t cols, int8_t *codes, float *scales, float *mins,
                          float *tails)
{
    struct part parts[PARTS];
    parts_of(level, cols, parts);
    const struct part *f16 = &parts[PART_F16];
    for (size_t r = 0; r < rows; r++) {
        for (const struct part *p = parts; p < f16; p++) {
            p->level->unpack[isa](bytes, p->weights, codes, scales, mins);
            if (p->level->group > level->group) {
                repeat_each(scales, p->weights / p->level->group);
                repeat_each(mins, p->weights / p->level->group);
            }
            bytes += part_bytes(p);
            codes += p->weights;
            scales += p->weights / level->group;
            mins += p->weights / level->group;
        }
        f16->level->decode[isa](bytes, f16->weights, tails);
        bytes += part_bytes(f16);
        tails += f16->weights;
    }
}

size_t mq_first_not_finite(enum mq_isa isa, const float *weights, size_t n)
{
    static size_t (*const variants[MQ_ISA_COUNT])(const float *, size_t) =
        MQ_ISA_TABLE(mq_not_finite);
    return variants[isa](weights, n);
}
