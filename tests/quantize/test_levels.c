/* test_levels.c: the level table; rows, their tails and their bytes. */
#include "levels.h"
#include "weights.h"

#include <string.h>

static const size_t columns[] = {1, 31, 32, 33, 255, 256, 257, 300, 511, 512, 1000, 14336};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

START_TEST(names_are_found)
{
    for (size_t i = 0; i < mq_levels_count; i++) {
        const struct mq_level *level = &mq_levels[i];
        ck_assert_ptr_eq(mq_level_find(level->name), level);
        if (level->alias)
            ck_assert_ptr_eq(mq_level_find(level->alias), level);
        ck_assert_int_eq(level->quantized, level->block_weights > 1);
        ck_assert_uint_le(strlen(level->name), 8); /* what plan_shards.c counts with */
        for (int isa = 0; isa < MQ_ISA_COUNT; isa++)
            ck_assert(level->decode[isa] && !level->encode[isa] != mq_level_can_encode(level));
    }
    static const char *const read_only[] = {"q4_0",    "q4_1",  "q5_0",  "q5_1", "mxfp4",
                                            "f8_e4m3", "i4_32", "i8_32", "a8_32"};
    for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++)
        ck_assert(!mq_level_can_encode(mq_level_find(read_only[i])));
    ck_assert_ptr_null(mq_level_find("q7"));
    ck_assert_ptr_null(mq_level_find(""));
    for (int i = 0; i < MQ_EFFORT_COUNT; i++) {
        enum mq_effort effort = MQ_EFFORT_COUNT;
        ck_assert(mq_effort_find(mq_effort_name((enum mq_effort)i), &effort));
        ck_assert_int_eq((int)effort, i);
    }
    enum mq_effort untouched = MQ_EFFORT_BEST;
    ck_assert(!mq_effort_find("bester", &untouched));
    ck_assert_int_eq(untouched, MQ_EFFORT_BEST);
}
END_TEST

START_TEST(rows_have_the_bytes_of_their_segments)
{
    static const struct {
        const char *level;
        uint64_t cols, bytes;
    } rows[] = {
        {"q8_0", 1, 2},
        {"q8_0", 31, 62},
        {"q8_0", 32, 34},
        {"q8_0", 33, 36},
        {"q8_0", 4096, 4352},
        {"q4_k", 1, 2},
        {"q4_k", 31, 62},
        {"q4_k", 32, 34},
        {"q4_k", 255, 7 * 34 + 62},
        {"q4_k", 256, 144},
        {"q4_k", 257, 146},
        {"q4_k", 300, 144 + 34 + 24},
        {"q4_k", 14336, 56 * 144},
        {"q6_k", 256, 210},
        {"q6_k", 300, 210 + 34 + 24},
        {"q5_k", 256, 176},
        {"q5_k", 300, 176 + 34 + 24},
        {"q3_k", 256, 110},
        {"q3_k", 300, 110 + 34 + 24},
        {"q3_k", 14336, 56 * 110},
        {"q2_k", 256, 84},
        {"q2_k", 300, 84 + 34 + 24},
        {"q4_0", 64, 36},
        {"q4_1", 64, 40},
        {"q5_0", 64, 44},
        {"q5_1", 64, 48},
        {"iq4_nl", 64, 36},
        {"iq4_xs", 256, 136},
        {"iq3_s", 300, 110 + 34 + 24},
        {"iq2_xxs", 512, 132},
        {"nvfp4", 128, 72},
        {"f32", 7, 28},
        {"f16", 7, 14},
        {"bf16", 7, 14},
        {"q4_k", 0, 0},
        {"f32", UINT64_C(1) << 40, UINT64_C(1) << 42},
        {"q3_k", UINT64_C(1) << 48, (UINT64_C(1) << 40) * 110},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_uint_eq(mq_level_row_bytes(mq_level_find(rows[i].level), rows[i].cols),
                          rows[i].bytes);
    ck_assert_double_eq(mq_level_row_bits(mq_level_find("q8_0"), 4096), 8.5);
    ck_assert_double_eq(mq_level_row_bits(mq_level_find("q4_k"), 4096), 4.5);
    ck_assert_double_eq(mq_level_row_bits(mq_level_find("q6_k"), 4096), 6.5625);
    ck_assert_double_eq(mq_level_row_bits(mq_level_find("q5_k"), 4096), 5.5);
    ck_assert_double_eq(mq_level_row_bits(mq_level_find("q3_k"), 4096), 3.4375);
    ck_assert_double_eq(mq_level_row_bits(mq_level_find("q2_k"), 4096), 2.625);
    ck_assert_double_eq(mq_level_row_bits(mq_level_find("q3_k"), 1), 16);
    ck_assert_double_eq(mq_level_row_bits(mq_level_find("q3_k"), 0), 0);
}
END_TEST

/* The largest error of one weight, relative to its row's largest: 2^-bits would be half a step of a
 * format that had no scales to store; they, and clipping the extremes, take as much again; and codebooks, which
 * have no steps, more. */
static double worst_error(const struct mq_level *level)
{
    const bool codebook = strncmp(level->name, "iq", 2) == 0;
    if (level->encode_band[0]) /* outliers of long rows are cut; a float's error is a part of it */
        return level->band_rows > 1 ? 1.0 / 16 : level->block_bytes < 100 ? 0.7 : 0.1;
    return level->quantized ? (level->wide_scales ? 5 : codebook ? 3 : 2.1) * exp2(-mq_level_row_bits(level, 1 << 20))
           : strcmp(level->name, "bf16") == 0 ? 1.0 / 256
           : strcmp(level->name, "f16") == 0  ? 1.0 / 2048
                                              : 0;
}

/* Guarded buffers: one byte read or written past an end faults. */
START_TEST(rows_survive_the_round_trip)
{
    enum { ROWS = 3 };
    for (size_t l = 0; l < mq_levels_count; l++)
        for (size_t c = 0; c < COLUMNS; c++)
            for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
                const struct mq_level *level = &mq_levels[l];
                const size_t cols = columns[c], n = ROWS * cols;
                if (!mq_level_can_encode(level) || !mq_isa_available((enum mq_isa)isa) ||
                    (isa == MQ_ISA_GENERIC && cols > 1000))
                    continue;
                const size_t row_bytes = mq_level_row_bytes(level, cols);
                float *weights = mq_test_guarded(n * sizeof *weights);
                float *decoded = mq_test_guarded(n * sizeof *decoded);
                uint8_t *bytes = mq_test_guarded(ROWS * row_bytes);
                mq_test_fill(MQ_TEST_gauss, cols, weights, n);
                mq_level_encode_rows(level, (enum mq_isa)isa, MQ_EFFORT_DEFAULT, NULL, weights,
                                     ROWS, cols, bytes);
                mq_level_decode_rows(level, (enum mq_isa)isa, bytes, ROWS, cols, decoded);
                double largest = 0, worst = 0;
                for (size_t i = 0; i < n; i++) {
                    /* no fmax: GCC 12 for arm64 fails on two of them in a loop */
                    const double size = fabs((double)weights[i]);
                    const double error = fabs((double)weights[i] - (double)decoded[i]);
                    largest = size > largest ? size : largest;
                    worst = error > worst ? error : worst;
                }
                ck_assert_msg(worst <= worst_error(level) * largest,
                              "%s, %zu columns: error %g of %g", level->name, cols, worst, largest);
            }
}
END_TEST

/* A tail is what the level of the tail makes of it: whole blocks of the level, q8_0, f16. */
START_TEST(tails_are_q8_0_and_f16)
{
    enum { COLS = 256 + 32 * 3 + 5 };
    const enum mq_isa isa = mq_isa_detect();
    const struct mq_level *q8_0 = mq_level_find("q8_0"), *f16 = mq_level_find("f16");
    static float weights[COLS], importance[COLS];
    static uint8_t row[1024], segment[512];
    mq_test_fill(MQ_TEST_laplace, 2, weights, COLS);
    mq_test_fill_importance(MQ_TEST_IMPORTANCE_usual, 3, importance, COLS);
    for (size_t l = 0; l < 2 * mq_levels_count; l++) {
        const struct mq_level *level = &mq_levels[l / 2];
        const float *of_blocks = l % 2 ? importance : NULL;
        const float *of_tail = l % 2 ? importance + 256 : NULL;
        if (level->block_weights != 256 || !mq_level_can_encode(level))
            continue;
        mq_level_encode_rows(level, isa, MQ_EFFORT_BEST, of_blocks, weights, 1, COLS, row);
        level->encode[isa](weights, 256, of_blocks, MQ_EFFORT_BEST, segment);
        ck_assert_mem_eq(row, segment, level->block_bytes);
        q8_0->encode[isa](weights + 256, 96, of_tail, MQ_EFFORT_BEST, segment);
        ck_assert_mem_eq(row + level->block_bytes, segment, 3 * 34);
        f16->encode[isa](weights + 352, 5, NULL, MQ_EFFORT_BEST, segment);
        ck_assert_mem_eq(row + level->block_bytes + 3 * 34, segment, 10);
    }
}
END_TEST

START_TEST(rows_one_by_one_are_rows_at_once)
{
    enum { ROWS = 5, MAX = ROWS * 1000 };
    static float weights[MAX], importance[1000], at_once[MAX], alone[MAX];
    static uint8_t all[4 * MAX], one[4 * MAX];
    const enum mq_isa isa = mq_isa_detect();
    mq_test_fill_importance(MQ_TEST_IMPORTANCE_usual, 3, importance, 1000);
    for (size_t l = 0; l < mq_levels_count; l++)
        for (size_t c = 0; c < COLUMNS; c++)
            for (int k = 0; k < 2 * MQ_EFFORT_COUNT; k++) {
                const enum mq_effort effort = (enum mq_effort)(k / 2);
                const float *columns_importance = k % 2 ? importance : NULL;
                const struct mq_level *level = &mq_levels[l];
                const size_t cols = columns[c], row_bytes = mq_level_row_bytes(level, cols);
                if (cols > 1000 || !mq_level_can_encode(level) || level->band_rows > 1)
                    continue;
                mq_test_fill(MQ_TEST_student_t5, cols, weights, ROWS * cols);
                mq_level_encode_rows(level, isa, effort, columns_importance, weights, ROWS, cols,
                                     all);
                mq_level_decode_rows(level, isa, all, ROWS, cols, at_once);
                for (size_t r = 0; r < ROWS; r++) {
                    mq_level_encode_rows(level, isa, effort, columns_importance,
                                         weights + r * cols, 1, cols, one + r * row_bytes);
                    mq_level_decode_rows(level, isa, all + r * row_bytes, 1, cols,
                                         alone + r * cols);
                }
                ck_assert_mem_eq(all, one, ROWS * row_bytes);
                ck_assert_mem_eq(at_once, alone, ROWS * cols * sizeof *alone);
            }
}
END_TEST

/* Where a level has one scale for a row, or for a block's columns of several rows, all of their blocks have it, in every
 * row that is not of a tail; a band that the matrix ends within is a band; and all instruction sets agree. */
START_TEST(bands_share_their_scales)
{
    enum { ROWS = 130, COLS = 256 + 32 + 5, ROOM = 4 * COLS };
    static float weights[ROWS * COLS], importance[COLS];
    static uint8_t first[ROWS * ROOM], bytes[ROWS * ROOM];
    mq_test_fill(MQ_TEST_student_t5, 5, weights, ROWS * COLS);
    mq_test_fill_importance(MQ_TEST_IMPORTANCE_usual, 6, importance, COLS);
    for (size_t l = 0; l < mq_levels_count; l++) {
        const struct mq_level *level = &mq_levels[l];
        const size_t row_bytes = mq_level_row_bytes(level, COLS), block = level->block_bytes;
        const size_t scale = block == 132 ? 4 : 2; /* f32 or bf16 */
        for (int k = 0; k < 2 && level->encode_band[0]; k++) {
            const float *columns_importance = k ? importance : NULL;
            mq_level_encode_rows(level, MQ_ISA_GENERIC, MQ_EFFORT_DEFAULT, columns_importance,
                                 weights, ROWS, COLS, first);
            for (int isa = MQ_ISA_GENERIC + 1; isa < MQ_ISA_COUNT; isa++) {
                if (!mq_isa_available((enum mq_isa)isa))
                    continue;
                mq_level_encode_rows(level, (enum mq_isa)isa, MQ_EFFORT_DEFAULT, columns_importance,
                                     weights, ROWS, COLS, bytes);
                ck_assert_mem_eq(bytes, first, ROWS * row_bytes);
            }
            for (size_t r = 0; r < ROWS; r++) {
                const uint8_t *row = first + r * row_bytes;
                const uint8_t *top = first + r / level->band_rows * level->band_rows * row_bytes;
                ck_assert_mem_eq(row, top, scale);
                ck_assert_mem_eq(row + block, top + block, scale);
                if (level->band_rows == 1)
                    ck_assert_mem_eq(row + block, row, scale);
            }
            if (level->band_rows == 1)
                continue;
            ck_assert_mem_ne(first, first + block, scale); /* another column, another band: another scale */
            ck_assert_mem_ne(first, first + 128 * row_bytes, scale);
        }
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, names_are_found);
    tcase_add_test(tests, rows_have_the_bytes_of_their_segments);
    tcase_add_test(tests, rows_survive_the_round_trip);
    tcase_add_test(tests, tails_are_q8_0_and_f16);
    tcase_add_test(tests, rows_one_by_one_are_rows_at_once);
    tcase_add_test(tests, bands_share_their_scales);
}

int main(void)
{
    return mq_test_main("test_levels", add_tests);
}
