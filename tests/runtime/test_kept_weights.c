/* Weights that are quantized on the fly and kept: the second product has the bits of the first one and reads nothing of
 * the source, wherever they are kept, and has them also where there is no place. */
#include "kept_weights.h"
#include "test_support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { TOKENS = 20, ROWS = 300, COLS = 256, MATRICES = 2, ARMS = 4, THREADS = 3 };

/* Two matrices of f32, each with several arms: of levels, of rows that are encoded together, of integers. */
struct sample {
    char path[4096];
    struct mq_source_file file;
    struct mq_view view;
    struct mq_tensor tensors[MATRICES];
    float x[TOKENS * COLS];
    float y[MATRICES * ARMS][TOKENS * ROWS];
    void *int8;
    struct mq_context context;
    struct mq_linear *linear;
    struct mq_kept_weights *kept;
};

static const char *const levels[ARMS] = {"q4_k", "fp8b", "q8_0", "q4_k"}; /* the last: of integers */

static void write_source(const struct sample *s, bool zeros)
{
    uint64_t seed = 1;
    FILE *f = fopen(s->path, "wb");
    ck_assert_ptr_nonnull(f);
    for (size_t i = 0; i < (size_t)MATRICES * ROWS * COLS; i++) {
        const float weight = zeros ? 0.0f : mq_test_gauss(&seed);
        ck_assert_uint_eq(fwrite(&weight, sizeof weight, 1, f), 1);
    }
    ck_assert_int_eq(fclose(f), 0);
}

static void set_up(struct sample *s, const char *scratch)
{
    moeq_error err = {0};
    uint64_t seed = 2;
    const struct mq_linear_sizes sizes = {.rows = ROWS,
                                          .cols = COLS,
                                          .row_bytes = 4 * COLS + 64,
                                          .arms = ARMS,
                                          .int8 = true,
                                          .band_rows = mq_level_find("fp8b")->band_rows};
    memset(s, 0, sizeof *s);
    snprintf(s->path, sizeof s->path, "%s", mq_test_temporary("kept"));
    write_source(s, false);
    ck_assert_ok(mq_file_open(s->path, &s->file.file, &err));
    s->view = (struct mq_view){.kind = MQ_VIEW_FOLDER,
                               .files = &s->file,
                               .files_count = 1,
                               .tensors = s->tensors,
                               .tensors_count = MATRICES};
    for (uint64_t i = 0; i < MATRICES; i++)
        s->tensors[i] = (struct mq_tensor){.name = "matrix",
                                           .dims = 2,
                                           .rows = ROWS,
                                           .cols = COLS,
                                           .storage = "f32",
                                           .row_bytes = 4 * COLS,
                                           .offset = i * 4 * ROWS * COLS};
    for (size_t i = 0; i < sizeof s->x / sizeof *s->x; i++)
        s->x[i] = mq_test_gauss(&seed);
    s->context =
        (struct mq_context){.isa = mq_isa_detect(), .threads = THREADS, .scratch = scratch};
    s->int8 = calloc(MATRICES * ARMS * TOKENS, mq_linear_int8_bytes(COLS));
    ck_assert_ptr_nonnull(s->int8);
    ck_assert_ok(mq_linear_create(&s->context, &sizes, &s->linear, &err));
}

static void keep(struct sample *s, uint64_t room)
{
    moeq_error err = {0};
    ck_assert_ok(mq_kept_weights_create(&s->context, MQ_KEPT_ENCODED, room, &s->kept, &err));
    mq_linear_keep(s->linear, s->kept);
}

static void tear_down(struct sample *s)
{
    mq_linear_destroy(s->linear);
    mq_kept_weights_destroy(s->kept);
    mq_file_close(&s->file.file);
    free(s->int8);
}

/* Rows [first, first + count) of the products of all arms with `tokens` tokens; measure: with errors, of which those
 * of the first arm are given. */
static double apply(struct sample *s, uint64_t first, uint64_t count, size_t tokens, bool measure)
{
    moeq_error err = {0};
    struct mq_linear_arm arms[MATRICES * ARMS];
    for (size_t i = 0; i < MATRICES * ARMS; i++)
        arms[i] = (struct mq_linear_arm){
            .weights = {.view = &s->view,
                        .tensor = &s->tensors[i / ARMS],
                        .storage = mq_level_find("f32"),
                        .level = mq_level_find(levels[i % ARMS])},
            .x = s->x,
            .ldx = COLS,
            .tokens = tokens,
            .y = s->y[i] + first,
            .ldy = ROWS,
            .compute = i % ARMS == ARMS - 1 ? MQ_COMPUTE_INT8 : MQ_COMPUTE_F32,
            .int8 = (char *)s->int8 + i * TOKENS * mq_linear_int8_bytes(COLS),
            .first_row = first,
            .rows_count = count == ROWS ? 0 : count,
            .measure = measure};
    ck_assert_ok(mq_linear_apply(s->linear, MQ_LINEAR_STORE, arms, ARMS, MATRICES, &err));
    return arms[0].squares.lost;
}

/* The first token's of the first arm alone. */
static void apply_few(struct sample *s)
{
    moeq_error err = {0};
    struct mq_linear_arm arm = {.weights = {.view = &s->view,
                                            .tensor = &s->tensors[0],
                                            .storage = mq_level_find("f32"),
                                            .level = mq_level_find(levels[0])},
                                .x = s->x,
                                .ldx = COLS,
                                .tokens = 1,
                                .y = s->y[0],
                                .ldy = ROWS};
    memset(s->y[0], 0, sizeof s->y[0]);
    ck_assert_ok(mq_linear_apply(s->linear, MQ_LINEAR_STORE, &arm, 1, 1, &err));
}

/* The bits without anything kept. */
static double expect(float (*y)[TOKENS * ROWS])
{
    struct sample *s = malloc(sizeof *s);
    ck_assert_ptr_nonnull(s);
    set_up(s, NULL);
    const double lost = apply(s, 0, ROWS, TOKENS, true);
    memcpy(y, s->y, sizeof s->y);
    tear_down(s);
    free(s);
    return lost;
}

/* Twice, the second time with parts of other sizes and a source of zeros. */
static void check(const char *scratch, uint64_t room, bool has_place)
{
    struct sample *s = malloc(sizeof *s);
    float(*expected)[TOKENS * ROWS] = malloc(sizeof s->y);
    ck_assert(s && expected);
    const double lost = expect(expected);
    set_up(s, scratch);
    keep(s, room);
    ck_assert(apply(s, 0, ROWS, TOKENS, true) == lost);
    ck_assert_mem_eq(s->y, expected, sizeof s->y);
    write_source(s, true);
    memset(s->y, 0, sizeof s->y);
    apply(s, 0, 100, TOKENS, false);
    apply(s, 100, ROWS - 100, TOKENS, false);
    ck_assert_int_eq(memcmp(s->y, expected, sizeof s->y) == 0, has_place);
    tear_down(s);
    free(expected);
    free(s);
}

START_TEST(with_room)
{
    check("/nonexistent", UINT64_MAX, true);
}
END_TEST

START_TEST(without_room)
{
    check(NULL, 0, true);
    check("/tmp", (uint64_t)3 * ROWS * COLS, true); /* some in memory */
}
END_TEST

/* No folder; a disk that is full from the beginning, or when some rows are there already. */
START_TEST(without_a_place)
{
    struct rlimit before, full;
    struct sample *s = malloc(sizeof *s);
    float(*expected)[TOKENS * ROWS] = malloc(sizeof s->y);
    ck_assert(s && expected);
    check("/nonexistent", 0, false);
    expect(expected);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    full = (struct rlimit){0, before.rlim_max};
    for (int some = 0; some < 2; some++) {
        set_up(s, NULL);
        keep(s, 0);
        if (some)
            apply(s, 0, 100, TOKENS, false);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &full), 0);
        for (int i = 0; i < 3; i++) {
            memset(s->y, 0, sizeof s->y);
            apply(s, 0, ROWS, TOKENS, false);
            ck_assert_mem_eq(s->y, expected, sizeof s->y);
        }
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
        tear_down(s);
    }
    free(expected);
    free(s);
}
END_TEST

/* Parts of a matrix are there before the rest is; a few tokens take another way. */
START_TEST(parts)
{
    struct sample *s = malloc(sizeof *s);
    float(*expected)[TOKENS * ROWS] = malloc(sizeof s->y);
    ck_assert(s && expected);
    expect(expected);
    for (int in_memory = 0; in_memory < 2; in_memory++) {
        set_up(s, NULL);
        keep(s, in_memory ? UINT64_MAX : 0);
        apply(s, 200, 100, TOKENS, false);
        apply(s, 0, 130, TOKENS, false);
        apply(s, 120, 90, TOKENS, false);
        ck_assert_mem_eq(s->y, expected, sizeof s->y);
        write_source(s, true);
        memset(s->y, 0, sizeof s->y);
        apply(s, 0, ROWS, TOKENS, false);
        ck_assert_mem_eq(s->y, expected, sizeof s->y);
        apply_few(s);
        ck_assert_mem_eq(s->y[0], expected[0], ROWS * sizeof(float));
        tear_down(s);
    }
    free(expected);
    free(s);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, with_room);
    tcase_add_test(tests, without_room);
    tcase_add_test(tests, without_a_place);
    tcase_add_test(tests, parts);
}

int main(void)
{
    return mq_test_main("kept_weights", add_tests);
}
