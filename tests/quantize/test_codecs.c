/*
 * test_codecs.c: decoders against an independent implementation's goldens; every instruction set
 * against the reference, byte for byte; encoders on weights of every shape.
 */
#include "gguf_names.h"
#include "levels.h"
#include "weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MAX_WEIGHTS = 4096 };

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

/* data/gguf_<level>.bin and, of what GGUF files cannot have, source_<level>.bin, written by
 * tests/data/make_gguf_goldens.py and make_runtime_goldens.py: blocks, then their weights or, of levels with codebooks, the CRC-32 of these. Of
 * every quantized level. */
START_TEST(decoders_give_what_gguf_gives)
{
    size_t checked = 0;
    for (size_t i = 0; i < mq_levels_count; i++) {
        const struct mq_level *level = &mq_levels[i];
        if (!level->quantized)
            continue;
        char name[64];
        snprintf(name, sizeof name, "tests/quantize/data/%s_%s.bin",
                 mq_gguf_type_by_storage(level->name) ? "gguf" : "source", level->name);
        size_t size;
        uint8_t *golden = read_file(mq_test_source(name), &size);
        const size_t record = level->block_bytes + 4 * (size_t)level->block_weights;
        const bool crc_only = size % record != 0;
        const size_t blocks = crc_only ? size / level->block_bytes : size / record;
        const size_t n = blocks * level->block_weights;
        const uint8_t *expected = golden + blocks * level->block_bytes;
        ck_assert(!crc_only || size == blocks * level->block_bytes + sizeof(uint32_t));
        for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
            if (!mq_isa_available((enum mq_isa)isa))
                continue;
            float *weights = mq_test_guarded(n * sizeof *weights);
            uint8_t *in = mq_test_guarded(blocks * level->block_bytes);
            memcpy(in, golden, blocks * level->block_bytes);
            level->decode[isa](in, n, weights);
            const uint32_t crc = (uint32_t)crc32_z(0, (const uint8_t *)weights, 4 * n);
            ck_assert_msg((crc_only ? memcmp(&crc, expected, sizeof crc)
                                    : memcmp(weights, expected, 4 * n)) == 0,
                          "%s, %s", level->name, mq_isa_name((enum mq_isa)isa));
            checked += blocks;
        }
        free(golden);
    }
    ck_assert_uint_ge(checked, 3 * 64);
}
END_TEST

/* Encodes with every variant; all bytes and all decoded floats are the reference's. */
static void check_variants(const struct mq_level *level, enum mq_effort effort, const char *what,
                           const float *importance, const float *weights, size_t n)
{
    static uint8_t reference[4 * MAX_WEIGHTS], bytes[4 * MAX_WEIGHTS];
    static float expected[MAX_WEIGHTS], decoded[MAX_WEIGHTS];
    const size_t size = mq_level_row_bytes(level, n);
    mq_level_encode_rows(level, MQ_ISA_GENERIC, effort, importance, weights, 1, n, reference);
    mq_level_decode_rows(level, MQ_ISA_GENERIC, reference, 1, n, expected);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(isfinite(expected[i]), "%s %s: weight %zu: %g became %g", level->name, what,
                      i, (double)weights[i], (double)expected[i]);
    for (int isa = MQ_ISA_GENERIC + 1; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        memset(bytes, 0xa5, size);
        mq_level_encode_rows(level, (enum mq_isa)isa, effort, importance, weights, 1, n, bytes);
        ck_assert_msg(memcmp(bytes, reference, size) == 0, "%s/%s of %zu %s weights%s: %s differs",
                      level->name, mq_effort_name(effort), n, what, importance ? ", weighted" : "",
                      mq_isa_name((enum mq_isa)isa));
        mq_level_decode_rows(level, (enum mq_isa)isa, reference, 1, n, decoded);
        ck_assert_msg(memcmp(decoded, expected, 4 * n) == 0, "%s decoder, %s: %s differs",
                      level->name, what, mq_isa_name((enum mq_isa)isa));
    }
}

/* Codebooks of hundreds of entries take the reference long: these meet fewer weights. */
static bool has_codebook(const struct mq_level *level)
{
    return strncmp(level->name, "iq", 2) == 0 && mq_level_row_bits(level, 256) < 4;
}

/* Of the many levels that differ by a number: a few of each kind of weights, other ones of the next. */
static bool is_left_out(size_t level, int kind)
{
    return mq_levels[level].family && !getenv("MOEQ_TEST_ALL") && (level + (size_t)kind) % 4;
}

START_TEST(every_instruction_set_gives_the_same_bytes)
{
    static const size_t lengths[] = {2048, 256, 768 + 32 * 5 + 7, 31};
    static float weights[MAX_WEIGHTS];
    for (int kind = 0; kind < MQ_TEST_KIND_COUNT; kind++)
        for (size_t i = 0; i < mq_levels_count; i++)
            for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++)
                for (int effort = 0; effort < MQ_EFFORT_COUNT && mq_level_can_encode(&mq_levels[i]) &&
                                     !is_left_out(i, kind);
                     effort++) {
                    if (has_codebook(&mq_levels[i]) && lengths[k] > (effort && kind % 3   ? 31u
                                                                     : effort || kind % 2 ? 256u
                                                                                          : 1000u))
                        continue;
                    mq_test_fill((enum mq_test_kind)kind, k + 1, weights, lengths[k]);
                    check_variants(&mq_levels[i], (enum mq_effort)effort, mq_test_kind_names[kind],
                                   NULL, weights, lengths[k]);
                }
}
END_TEST

START_TEST(every_instruction_set_weighs_alike)
{
    enum { N = 512 + 32 * 3 + 7 };
    static float weights[N], importance[N];
    for (int kind = 0; kind < MQ_TEST_KIND_COUNT; kind++)
        for (int of = 0; of < MQ_TEST_IMPORTANCE_COUNT; of++)
            for (size_t i = 0; i < mq_levels_count; i++)
                for (int effort = 0; effort < MQ_EFFORT_COUNT; effort++) {
                    if (!mq_level_can_encode(&mq_levels[i]) || is_left_out(i, kind + of) ||
                        (has_codebook(&mq_levels[i]) && (effort || (kind + of) % 8)))
                        continue;
                    mq_test_fill((enum mq_test_kind)kind, 7, weights, N);
                    mq_test_fill_importance((enum mq_test_importance)of, 8, importance, N);
                    check_variants(&mq_levels[i], (enum mq_effort)effort, mq_test_kind_names[kind],
                                   importance, weights, N);
                }
}
END_TEST

/* Only the columns' relative importance counts, and of what nothing is known all count alike. */
START_TEST(importance_is_relative_and_may_be_nothing)
{
    enum { N = 512 + 32 * 3 + 7 };
    static const float all[] = {1, 0, 0x1p-120f, 0x1p-60f, 0x1p120f};
    static float weights[N], importance[N];
    static uint8_t bytes[2][4 * N];
    mq_test_fill(MQ_TEST_student_t5, 7, weights, N);
    for (size_t l = 0; l < mq_levels_count; l++) {
        const struct mq_level *level = &mq_levels[l];
        for (size_t k = 0; k < sizeof all / sizeof *all && mq_level_can_encode(level); k++) {
            for (size_t i = 0; i < N; i++)
                importance[i] = all[k];
            mq_level_encode_rows(level, mq_isa_detect(), MQ_EFFORT_DEFAULT, importance, weights, 1,
                                 N, bytes[k > 0]);
            ck_assert_mem_eq(bytes[k > 0], bytes[0], mq_level_row_bytes(level, N));
        }
    }
}
END_TEST

/* Sub-blocks that no input has reached lose something for the others, but are not given up. */
START_TEST(unknown_columns_are_kept)
{
    enum { N = 4096 };
    static const struct {
        const char *level;
        double bound; /* relative RMSE in the columns of importance 0 */
    } rows[] = {{"q8_0", .01}, {"q6_k", .03}, {"q5_k", .06},
                {"q4_k", .12}, {"q3_k", .25}, {"q2_k", .50}};
    static float weights[N], importance[N], decoded[N];
    static uint8_t bytes[4 * N];
    const enum mq_isa isa = mq_isa_detect();
    mq_test_fill(MQ_TEST_gauss, 7, weights, N);
    mq_test_fill_importance(MQ_TEST_IMPORTANCE_zero_sub_blocks, 8, importance, N);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        const struct mq_level *level = mq_level_find(rows[r].level);
        double error = 0, norm = 0;
        mq_level_encode_rows(level, isa, MQ_EFFORT_DEFAULT, importance, weights, 1, N, bytes);
        mq_level_decode_rows(level, isa, bytes, 1, N, decoded);
        for (size_t i = 0; i < N; i++) {
            const double w = (double)weights[i], e = (double)decoded[i] - w;
            error += importance[i] > 0 ? 0 : e * e;
            norm += importance[i] > 0 ? 0 : w * w;
        }
        ck_assert_msg(sqrt(error / norm) < rows[r].bound, "%s: %g", level->name,
                      sqrt(error / norm));
    }
}
END_TEST

/* A row of FP8 may end within a block, and NaN stays one, where the next step finds it. */
START_TEST(f8_rows_are_cut_and_nan_is_nan)
{
    enum { COLS = 130, ROWS = 2, ROW = COLS + 2 * 4 };
    const struct mq_level *f8 = mq_level_find("f8_e4m3");
    ck_assert_uint_eq(mq_level_row_bytes(f8, COLS), ROW);
    ck_assert_uint_eq(mq_level_row_bytes(f8, 256), 2 * 132);
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        uint8_t *rows = mq_test_guarded(ROWS * ROW);
        float *weights = mq_test_guarded(ROWS * COLS * sizeof *weights);
        const float scales[] = {2, 0.5f};
        for (int r = 0; r < ROWS; r++) {
            memcpy(rows + r * ROW, &scales[0], 4);
            memset(rows + r * ROW + 4, 0x38, 128); /* 1 */
            memcpy(rows + r * ROW + 132, &scales[1], 4);
            rows[r * ROW + 136] = 0x7e; /* 448 */
            rows[r * ROW + 137] = r ? 0xff : 0x80;
        }
        mq_level_decode_rows(f8, (enum mq_isa)isa, rows, ROWS, COLS, weights);
        for (int r = 0; r < ROWS; r++) {
            ck_assert(weights[r * COLS] == 2 && weights[r * COLS + 127] == 2);
            ck_assert(weights[r * COLS + 128] == 224);
        }
        ck_assert(weights[129] == 0 && isnan(weights[COLS + 129]));
        ck_assert_uint_eq(mq_first_not_finite((enum mq_isa)isa, weights, ROWS * COLS),
                          ROWS * COLS - 1);
    }
}
END_TEST

/* A block's bytes depend on its own weights alone, wherever it stands and whatever is beside it. */
START_TEST(blocks_do_not_depend_on_their_neighbours)
{
    enum { N = 4096 };
    static float weights[N], importance[N], lonely[256], own[256];
    static uint8_t all[4 * N], one[1024];
    uint64_t seed = 5;
    for (size_t i = 0; i < N; i++) /* neighbours of quite different kinds */
        weights[i] = mq_test_weight((enum mq_test_kind)(i / 256 % MQ_TEST_KIND_COUNT), i, &seed);
    mq_test_fill_importance(MQ_TEST_IMPORTANCE_usual, 6, importance, N);
    const enum mq_isa isa = mq_isa_detect();
    for (size_t l = 0; l < mq_levels_count; l++) {
        const struct mq_level *level = &mq_levels[l];
        for (int k = 0; k < 2 * MQ_EFFORT_COUNT && mq_level_can_encode(level) &&
                        !level->encode_band[isa]; /* whose blocks share a scale */
             k++) {
            const enum mq_effort effort = (enum mq_effort)(k / 2);
            level->encode[isa](weights, N, k % 2 ? importance : NULL, effort, all);
            for (size_t at = 0; at < N; at += level->block_weights) {
                memcpy(lonely, weights + at, level->block_weights * sizeof *lonely);
                memcpy(own, importance + at, level->block_weights * sizeof *own);
                level->encode[isa](lonely, level->block_weights, k % 2 ? own : NULL, effort, one);
                ck_assert_mem_eq(one, all + at / level->block_weights * level->block_bytes,
                                 level->block_bytes);
            }
        }
    }
}
END_TEST

/* What the encoders search for is their own business, but once files exist it must not change
 * unnoticed: CRC-32 of the blocks of weights that no library's rounding touches (sums of uniform
 * numbers, with tails that are heavier in some blocks than in others). Every quantized level has
 * its line here: a new one's is what this test says that its CRC is. */
START_TEST(bytes_are_pinned)
{
    static const struct {
        const char *level;
        uint32_t crc[2][MQ_EFFORT_COUNT]; /* without and with importance */
    } pinned[] = {
        {"q8_0", {{0x539e79d5, 0xad35c3f1}, {0xffc650c4, 0x66cdb13a}}},
        {"q6_k", {{0xdfb11c8a, 0x43cd1aca}, {0x79cfa27b, 0xfd5fc515}}},
        {"q5_k", {{0x7e8ea81d, 0x48b72768}, {0x22f83491, 0x889fce24}}},
        {"q4_k", {{0x854d2d96, 0x069d3648}, {0x52f1355d, 0x3419a422}}},
        {"q3_k", {{0x3cc359f9, 0x681a4a77}, {0xa184d08c, 0xde8422dd}}},
        {"q2_k", {{0xfdb6fe2a, 0xa2449704}, {0x1ff7780c, 0x033e7c6e}}},
        {"iq4_nl", {{0x346996b1, 0xacf1ea31}, {0x432f6301, 0x092c20fb}}},
        {"iq4_xs", {{0x1abe133e, 0x3d4e8be3}, {0xfd6df01a, 0xfc2678d1}}},
        {"iq3_s", {{0x8cdc350f, 0xa4c8f52d}, {0x4709bebb, 0x0b2421b7}}},
        {"iq3_xxs", {{0xd18a08c4, 0xa4013035}, {0xf313e8b2, 0x30201630}}},
        {"iq2_s", {{0x594c8c77, 0x8c0e75ed}, {0x5f977398, 0xf88450db}}},
        {"iq2_xs", {{0x6d993077, 0x5b4e7a1f}, {0x40a24520, 0xf86f6e52}}},
        {"iq2_xxs", {{0x7f85285d, 0x1b10f807}, {0x167be0d9, 0x63f3af2a}}},
        {"w4g32", {{0x1c786cb9, 0xc59fbf32}, {0x60ab095c, 0x6fe1a89a}}},
        {"w4g64", {{0x65b6a012, 0x9df67062}, {0x46e1d7a3, 0xbb9389ec}}},
        {"w4g128", {{0x0fc9c3d6, 0xea3665ba}, {0xa5df9190, 0xe00762c6}}},
        {"w4c", {{0x1427cdb7, 0x9ad9a149}, {0x0a0e596b, 0x6dc377f5}}},
        {"w8g32", {{0xeb93885f, 0xf92f49cc}, {0x9c12088a, 0x1916099d}}},
        {"w8g64", {{0xf39cfa8c, 0x168f274e}, {0x8cc329a4, 0xb0604e88}}},
        {"w8g128", {{0xf48a94a3, 0x78aceb75}, {0x59ebc732, 0xa03588c5}}},
        {"w8c", {{0x2f7ff8a4, 0x2f7ff8a4}, {0xaa475894, 0xf745adec}}},
        {"fp8b", {{0xfc8f3dc9, 0xed45d133}, {0xc515e759, 0x78ff8053}}},
        {"mlx2g32", {{0x66f53d2d, 0x156b0731}, {0xe2bfa1ed, 0x4c6cfec6}}},
        {"mlx2g64", {{0xf71db1ee, 0x645ef35f}, {0x29a5727c, 0x0c9a3869}}},
        {"mlx2g128", {{0x79bdeb68, 0x71ddafb1}, {0x5fba60b6, 0x8a1f2219}}},
        {"mlx3g32", {{0xc2474680, 0x05849386}, {0x572fcd34, 0xd0b8413b}}},
        {"mlx3g64", {{0xd9a092b9, 0x7d0d34f3}, {0xe9e2dfc0, 0xc4f5106a}}},
        {"mlx3g128", {{0xd73b5f31, 0x1c902317}, {0x8f3f5a70, 0xa044343a}}},
        {"mlx4g32", {{0xc36a0497, 0xf1557721}, {0xa6c8bf60, 0xbbe8efc0}}},
        {"mlx4g64", {{0x9037fb09, 0x837a2c36}, {0x7cad1135, 0xbb72f7ff}}},
        {"mlx4g128", {{0x3facf8d6, 0xcadf557a}, {0xb76639af, 0x61389f32}}},
        {"mlx5g32", {{0x3938b9e0, 0x76efa4fe}, {0x17dda271, 0x6475a37b}}},
        {"mlx5g64", {{0xe2360a6e, 0xbc69a622}, {0xe311edb5, 0xd011cad8}}},
        {"mlx5g128", {{0x174011a3, 0xa5d058ab}, {0x59b42b7d, 0x460c550a}}},
        {"mlx6g32", {{0x18dcd565, 0xe68493ff}, {0x59e82ac0, 0xa45f7bba}}},
        {"mlx6g64", {{0xa7021a11, 0x4960832d}, {0xd73cccc8, 0xf4f8c74d}}},
        {"mlx6g128", {{0x0a931283, 0x1689cc2c}, {0xfb8ef54c, 0x496bfb66}}},
        {"mlx8g32", {{0x5ba8372d, 0xf750327c}, {0xc7b10e8e, 0xf99bfe60}}},
        {"mlx8g64", {{0xd61bf239, 0xc17440c3}, {0x50eb4a99, 0x94674e94}}},
        {"mlx8g128", {{0x2f3646f2, 0xa6417eeb}, {0x5f8483d8, 0xca6db3d5}}},
    };
    enum { N = 4096 };
    static float weights[N], importance[N];
    static uint8_t bytes[4 * N];
    uint64_t seed = 11;
    for (size_t i = 0; i < N; i++) {
        float x = 0;
        for (int k = 0; k < 3; k++)
            x += mq_test_uniform(&seed);
        weights[i] = (x - 1.5f) * (i / 256 % 3 ? 1.0f : x * x);
        importance[i] = x * x;
    }
    enum { PINNED = sizeof pinned / sizeof *pinned };
    for (size_t l = 0; l < mq_levels_count; l++) {
        const struct mq_level *level = &mq_levels[l];
        if (!level->quantized || !mq_level_can_encode(level))
            continue;
        size_t row = 0;
        while (row < PINNED && strcmp(pinned[row].level, level->name) != 0)
            row++;
        uint32_t crc[2][MQ_EFFORT_COUNT];
        for (int k = 0; k < 2 * MQ_EFFORT_COUNT; k++) {
            mq_level_encode_rows(level, mq_isa_detect(), (enum mq_effort)(k / 2),
                                 k % 2 ? importance : NULL, weights, 1, N, bytes);
            crc[k % 2][k / 2] = (uint32_t)crc32_z(0, bytes, mq_level_row_bytes(level, N));
        }
        ck_assert_msg(row < PINNED && memcmp(crc, pinned[row].crc, sizeof crc) == 0,
                      "not as pinned: {\"%s\", {{0x%08x, 0x%08x}, {0x%08x, 0x%08x}}}", level->name,
                      crc[0][0], crc[0][1], crc[1][0], crc[1][1]);
    }
}
END_TEST

static double relative_error(const struct mq_level *level, enum mq_effort effort,
                             enum mq_test_kind kind)
{
    enum { N = 2048 };
    static float weights[N], decoded[N];
    static uint8_t bytes[4 * N];
    const enum mq_isa isa = mq_isa_detect();
    double error = 0, norm = 0;
    mq_test_fill(kind, 9, weights, N);
    mq_level_encode_rows(level, isa, effort, NULL, weights, 1, N, bytes);
    mq_level_decode_rows(level, isa, bytes, 1, N, decoded);
    for (size_t i = 0; i < N; i++) {
        const double e = (double)decoded[i] - (double)weights[i];
        error += e * e;
        norm += (double)weights[i] * (double)weights[i];
    }
    return norm > 0 ? sqrt(error / norm) : sqrt(error);
}

/* Odd blocks are not merely survived: each has a bound that follows from the format. */
START_TEST(odd_weights_are_kept_as_well_as_the_format_can)
{
    enum { LEVELS = 13 };
    static const char *const levels[LEVELS] = {"q8_0",  "q6_k",   "q5_k",   "q4_k",  "q3_k",
                                               "q2_k",  "iq4_nl", "iq4_xs", "iq3_s", "iq3_xxs",
                                               "iq2_s", "iq2_xs", "iq2_xxs"};
    static const struct {
        enum mq_test_kind kind;
        double bound[LEVELS]; /* relative RMSE allowed */
    } rows[] = {
        {MQ_TEST_zeros, {0}},
        {MQ_TEST_negative_zeros, {0}},
        /* half a unit in the last place of d: 2^-11; of q6_k's scales, where rounding errors decide
         * which code a sub-block's weights get: 2^-8; codebooks have few entries of equal magnitudes */
        {MQ_TEST_constant,
         {5e-4, 5e-4, 5e-4, 5e-4, 5e-4, 5e-4, 5e-4, 5e-4, .13, 5e-4, 5e-4, 5e-4, .39}},
        {MQ_TEST_negative_constant,
         {5e-4, 5e-4, 5e-4, 5e-4, 5e-4, 5e-4, 5e-4, 5e-4, .13, 5e-4, 5e-4, 5e-4, .39}},
        {MQ_TEST_nearly_constant,
         {5e-4, .003, 5e-4, 5e-4, 5e-4, 5e-4, 5e-4, .0075, .13, 5e-4, 5e-4, 5e-4, .39}},
        /* minima have 6 bits for half of the range */
        {MQ_TEST_alternating,
         {5e-4, .001, .002, .03, .01, .001, .048, .048, .13, 5e-4, 5e-4, 5e-4, .39}},
        {MQ_TEST_positive, {.006, .014, .016, .06, .14, .16, .068, .068, .14, .17, .24, .27, .34}},
        {MQ_TEST_negative, {.006, .014, .016, .06, .14, .11, .068, .068, .14, .17, .24, .27, .34}},
        {MQ_TEST_sparse, {.01, .005, .015, .1, .2, .1, .053, .054, .4, .43, .67, .67, .8}},
        {MQ_TEST_one_outlier, {.002, .001, .001, .02, .02, .001, .05, .05, .47, .45, .7, .7, .85}},
        {MQ_TEST_small,
         {.02, .022, .04, .10, .17, .3, .1, .097, .15, .21, .28, .33,
          .38}}, /* scales are subnormal halves */
        /* a unit of d is 6e-8, a fifth of the deviation */
        {MQ_TEST_tiny, {.08, .07, .07, .25, .3, .3, .72, .8, 1.1, 1.1, 1.1, 1.1, 1.1}},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
        for (size_t l = 0; l < LEVELS; l++)
            for (int effort = 0; effort < MQ_EFFORT_COUNT; effort++) {
                const double error =
                    relative_error(mq_level_find(levels[l]), (enum mq_effort)effort, rows[r].kind);
                ck_assert_msg(error <= rows[r].bound[l], "%s/%s of %s weights: relative RMSE %g",
                              levels[l], mq_effort_name((enum mq_effort)effort),
                              mq_test_kind_names[rows[r].kind], error);
            }
}
END_TEST

START_TEST(q8_0_never_uses_minus_128)
{
    static float weights[MAX_WEIGHTS];
    static uint8_t bytes[MAX_WEIGHTS / 32 * 34];
    for (int kind = 0; kind < MQ_TEST_KIND_COUNT; kind++)
        for (int effort = 0; effort < MQ_EFFORT_COUNT; effort++) {
            mq_test_fill((enum mq_test_kind)kind, 3, weights, MAX_WEIGHTS);
            mq_level_find("q8_0")->encode[mq_isa_detect()](weights, MAX_WEIGHTS, NULL,
                                                           (enum mq_effort)effort, bytes);
            for (size_t i = 0; i < sizeof bytes; i++)
                ck_assert(i % 34 < 2 || bytes[i] != 0x80);
        }
}
END_TEST

/* Plain types: what formats/base/f16.h does one by one, but never infinite. */
START_TEST(narrowing_rounds_and_saturates)
{
    static float weights[MAX_WEIGHTS];
    static uint8_t f16[2 * MAX_WEIGHTS], bf16[2 * MAX_WEIGHTS];
    static float f16_back[MAX_WEIGHTS], bf16_back[MAX_WEIGHTS];
    mq_test_fill(MQ_TEST_any_bits, 4, weights, MAX_WEIGHTS);
    weights[0] = 65519.0f, weights[1] = 65520.0f, weights[2] = -FLT_MAX, weights[3] = FLT_MAX;
    const enum mq_isa isa = mq_isa_detect();
    mq_level_encode_rows(mq_level_find("f16"), isa, MQ_EFFORT_DEFAULT, NULL, weights, 1,
                         MAX_WEIGHTS, f16);
    mq_level_encode_rows(mq_level_find("bf16"), isa, MQ_EFFORT_DEFAULT, NULL, weights, 1,
                         MAX_WEIGHTS, bf16);
    mq_level_decode_rows(mq_level_find("f16"), isa, f16, 1, MAX_WEIGHTS, f16_back);
    mq_level_decode_rows(mq_level_find("bf16"), isa, bf16, 1, MAX_WEIGHTS, bf16_back);
    for (size_t i = 0; i < MAX_WEIGHTS; i++) {
        const double x = (double)weights[i], a = fabs(x);
        ck_assert(isfinite(f16_back[i]) && isfinite(bf16_back[i]));
        ck_assert(fabs((double)bf16_back[i] - x) <= fmax(a / 256, 0x1p-134) || a > 3.38e38);
        if (a < 65504)
            ck_assert(fabs((double)f16_back[i] - x) <= fmax(a / 2048, 0x1p-25));
        else
            ck_assert(fabsf(f16_back[i]) == 65504.0f);
    }
}
END_TEST

START_TEST(the_first_weight_that_is_not_finite_is_found)
{
    static const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
    enum { N = 200 };
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        float *weights = mq_test_guarded(N * sizeof *weights);
        mq_test_fill(MQ_TEST_any_bits, 6, weights, N);
        for (size_t n = 0; n <= N; n++)
            ck_assert_uint_eq(mq_first_not_finite((enum mq_isa)isa, weights + N - n, n), n);
        for (size_t i = 0; i < N; i++) {
            const float kept = weights[i];
            weights[i] = bad[i % 4];
            ck_assert_uint_eq(mq_first_not_finite((enum mq_isa)isa, weights, N), i);
            weights[N - 1] = weights[N - 1]; /* a later one changes nothing */
            weights[i] = kept;
        }
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, decoders_give_what_gguf_gives);
    tcase_add_test(tests, f8_rows_are_cut_and_nan_is_nan);
    tcase_add_test(tests, every_instruction_set_gives_the_same_bytes);
    tcase_add_test(tests, every_instruction_set_weighs_alike);
    tcase_add_test(tests, importance_is_relative_and_may_be_nothing);
    tcase_add_test(tests, unknown_columns_are_kept);
    tcase_add_test(tests, bytes_are_pinned);
    tcase_add_test(tests, blocks_do_not_depend_on_their_neighbours);
    tcase_add_test(tests, odd_weights_are_kept_as_well_as_the_format_can);
    tcase_add_test(tests, q8_0_never_uses_minus_128);
    tcase_add_test(tests, narrowing_rounds_and_saturates);
    tcase_add_test(tests, the_first_weight_that_is_not_finite_is_found);
}

int main(void)
{
    return mq_test_main("test_codecs", add_tests);
}
