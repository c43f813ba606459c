/* Products of stored rows with few tokens: the bits of packed products, for every level, width and instruction
 * set; and rows that are not finite are found, also behind an activation's limit. */
#include "linear.h"
#include "panel_product.h"
#include "test_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_product(const struct mq_level *level, enum mq_isa isa, const uint8_t *rows,
                          size_t count, size_t cols, const float *x, const float *expected)
{
    const struct mq_kernels *kernels = mq_kernels_get(isa);
    for (size_t m = 1; m <= MQ_FEW_TOKENS; m++) {
        float *y = mq_test_guarded(m * count * sizeof(float));
        mq_panel_product(kernels, level, isa, rows, count, cols, x, cols, m, y, count);
        ck_assert_mem_eq(y, expected, m * count * sizeof(float));
    }
}

static void check_level(const struct mq_level *level, size_t count, size_t cols)
{
    uint64_t seed = cols;
    const size_t n = MQ_PANEL * cols;
    float *w = calloc(n, sizeof *w), *packed = aligned_alloc(64, n * sizeof *w);
    float *x = calloc(MQ_FEW_TOKENS * cols, sizeof *x), expected[MQ_FEW_TOKENS * MQ_PANEL];
    uint8_t *rows = mq_test_guarded(count * mq_level_row_bytes(level, cols));
    ck_assert(w && packed && x);
    for (size_t i = 0; i < n; i++)
        w[i] = mq_test_gauss(&seed);
    for (size_t i = 0; i < MQ_FEW_TOKENS * cols; i++)
        x[i] = mq_test_gauss(&seed);
    mq_level_encode_rows(level, MQ_ISA_GENERIC, MQ_EFFORT_DEFAULT, NULL, w, count, cols, rows);
    mq_level_decode_rows(level, MQ_ISA_GENERIC, rows, count, cols, w);
    const struct mq_kernels *generic = mq_kernels_get(MQ_ISA_GENERIC);
    generic->pack(w, cols, count, cols, packed);
    generic->multiply(x, cols, MQ_FEW_TOKENS, packed, n, cols, count, expected, count);
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++)
        if (mq_isa_available((enum mq_isa)isa))
            check_product(level, (enum mq_isa)isa, rows, count, cols, x, expected);
    free(w);
    free(x);
    free(packed);
}

START_TEST(levels)
{
    static const size_t widths[] = {1, 40, 67, 256, 300, 800};
    for (size_t l = 0; l < mq_levels_count; l++)
        for (size_t i = 0; mq_level_can_encode(&mq_levels[l]) && i < sizeof widths / sizeof *widths;
             i++)
            check_level(&mq_levels[l], i % 2 ? MQ_PANEL : 5, widths[i]);
}
END_TEST

enum { ROWS = 40, COLS = 32 };

/* One token's product with a matrix that has an infinity in row 33. */
static moeq_status apply(enum mq_linear_output output, moeq_error *err)
{
    const char *path = mq_test_temporary("panel");
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 1};
    float w[ROWS * COLS] = {0}, x[COLS], y[ROWS] = {0};
    struct mq_source_file file = {0};
    struct mq_view view = {.kind = MQ_VIEW_FOLDER, .files = &file, .files_count = 1};
    const struct mq_tensor tensor = {.name = "odd",
                                     .dims = 2,
                                     .rows = ROWS,
                                     .cols = COLS,
                                     .storage = "f32",
                                     .row_bytes = COLS * sizeof(float)};
    w[33 * COLS + 7] = INFINITY;
    for (size_t i = 0; i < COLS; i++)
        x[i] = 1;
    FILE *f = fopen(path, "wb");
    ck_assert(f && fwrite(w, sizeof w, 1, f) == 1 && fclose(f) == 0);
    ck_assert_ok(mq_file_open(path, &file.file, err));
    struct mq_linear_arm arm = {
        .weights = {.view = &view, .tensor = &tensor, .storage = mq_level_find("f32")},
        .x = x,
        .ldx = COLS,
        .tokens = 1,
        .y = y,
        .ldy = ROWS,
        .activation = MQ_ACTIVATION_SWIGLU_OAI,
        .activation_limit = 7};
    const struct mq_linear_sizes sizes = {
        .rows = ROWS, .cols = COLS, .row_bytes = COLS * sizeof(float), .arms = 1};
    struct mq_linear *linear = NULL;
    ck_assert_ok(mq_linear_create(&context, &sizes, &linear, err));
    const moeq_status status = mq_linear_apply(linear, output, &arm, 1, 1, err);
    mq_linear_destroy(linear);
    mq_file_close(&file.file);
    return status;
}

START_TEST(not_finite)
{
    for (int output = MQ_LINEAR_STORE; output <= MQ_LINEAR_GATE; output++) {
        moeq_error err = {0};
        ck_assert_int_eq(apply((enum mq_linear_output)output, &err), MOEQ_MALFORMED);
        ck_assert_ptr_nonnull(strstr(err.message, "row 33, column 7 as stored"));
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, levels);
    tcase_add_test(tests, not_finite);
}

int main(void)
{
    return mq_test_main("panel_product", add_tests);
}
