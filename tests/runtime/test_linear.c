/* Products of matrices that are stored transposed: the bits of those of the same matrix stored plainly, for any
 * number of threads, and of rows that are read together. */
#include "assembly.h"
#include "linear.h"
#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 3, PRODUCTS = 2, ARMS = 3, THREADS = 3 };

/* Of a file that holds the matrices twice: row after row, and then as columns of every second (or each) number
 * of a longer row. */
struct sample {
    const char *storage;
    uint32_t size, rows, cols, parts;
    struct mq_source_file file;
    struct mq_view view;
    struct mq_assembly assembly;
    struct mq_tensor plain[PRODUCTS], turned[PRODUCTS];
};

static void write_sample(const struct sample *s, const char *path)
{
    uint64_t seed = s->rows + s->cols;
    const size_t n = (size_t)PRODUCTS * s->rows * s->cols;
    char *w = malloc((1 + s->parts) * n * s->size), *columns = w + n * s->size;
    ck_assert_ptr_nonnull(w);
    for (size_t i = 0; i < (1 + s->parts) * n; i++) { /* bf16 are the upper bytes of a float */
        const float value = mq_test_gauss(&seed);
        memcpy(w + i * s->size, (const char *)&value + sizeof value - s->size, s->size);
    }
    for (size_t p = 0; p < PRODUCTS; p++)
        for (size_t r = 0; r < s->rows; r++)
            for (size_t c = 0; c < s->cols; c++)
                memcpy(columns + (((p * s->cols + c) * s->rows + r + 1) * s->parts - 1) * s->size,
                       w + ((p * s->rows + r) * s->cols + c) * s->size, s->size);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(w, s->size, (1 + s->parts) * n, f), (1 + s->parts) * n);
    ck_assert_int_eq(fclose(f), 0);
    free(w);
}

static void open_sample(struct sample *s)
{
    moeq_error err = {0};
    const char *path = mq_test_temporary("linear");
    const uint64_t one = (uint64_t)s->rows * s->cols * s->size;
    write_sample(s, path);
    ck_assert_ok(mq_file_open(path, &s->file.file, &err));
    s->view = (struct mq_view){.kind = MQ_VIEW_FOLDER, .files = &s->file, .files_count = 1};
    s->assembly = (struct mq_assembly){.transposed = true,
                                       .weight_bytes = s->size,
                                       .stored_row_bytes = s->parts * s->rows * s->size,
                                       .first = s->parts - 1,
                                       .step = s->parts};
    for (uint32_t p = 0; p < PRODUCTS; p++) {
        struct mq_tensor *t = &s->plain[p];
        *t = (struct mq_tensor){.name = "plain",
                                .dims = 2,
                                .rows = s->rows,
                                .cols = s->cols,
                                .storage = s->storage,
                                .row_bytes = s->cols * s->size,
                                .offset = p * one};
        s->turned[p] = *t;
        s->turned[p].offset = PRODUCTS * one + p * s->parts * one;
        s->turned[p].assembly = &s->assembly;
    }
}

/* Outputs [product][arm][token][rows] and the errors of quantizing. Of the arms the second quantizes, and the third
 * has its numbers from elsewhere: from the plain matrix where the others have the turned one. */
static float *products(const struct sample *s, const struct mq_tensor *tensors, unsigned threads,
                       double errors[PRODUCTS])
{
    moeq_error err = {0};
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = threads};
    const size_t ldx = s->cols, ldy = s->rows;
    float *x = calloc(TOKENS * ldx, sizeof *x);
    float *y = calloc((size_t)PRODUCTS * ARMS * TOKENS * ldy, sizeof *y);
    struct mq_linear_arm arms[PRODUCTS * ARMS];
    uint64_t seed = 1;
    for (size_t i = 0; i < TOKENS * ldx; i++)
        x[i] = mq_test_gauss(&seed);
    for (size_t i = 0; i < PRODUCTS * ARMS; i++)
        arms[i] = (struct mq_linear_arm){
            .weights = {.view = &s->view,
                        .tensor = i % ARMS == 2 ? &s->plain[i / ARMS] : &tensors[i / ARMS],
                        .storage = mq_level_find(s->storage),
                        .level = i % ARMS == 1 ? mq_level_find("q4_k") : NULL},
            .x = x,
            .ldx = ldx,
            .tokens = TOKENS,
            .y = y + i * TOKENS * ldy,
            .ldy = ldy,
            .measure = i % ARMS == 1};
    const struct mq_linear_sizes sizes = {
        .rows = s->rows, .cols = s->cols, .row_bytes = 4 * s->cols + 64, .arms = ARMS};
    struct mq_linear *linear = NULL;
    ck_assert_ok(mq_linear_create(&context, &sizes, &linear, &err));
    ck_assert_ok(mq_linear_apply(linear, MQ_LINEAR_STORE, arms, ARMS, PRODUCTS, &err));
    for (size_t p = 0; p < PRODUCTS; p++)
        errors[p] = arms[p * ARMS + 1].squares.lost;
    mq_linear_destroy(linear);
    free(x);
    return y;
}

static void check_sample(const char *storage, uint32_t rows, uint32_t cols, uint32_t parts)
{
    struct sample s = {.storage = storage,
                       .size = strcmp(storage, "f32") == 0 ? 4 : 2,
                       .rows = rows,
                       .cols = cols,
                       .parts = parts};
    const size_t n = (size_t)PRODUCTS * ARMS * TOKENS * rows;
    double expected_errors[PRODUCTS], errors[PRODUCTS];
    open_sample(&s);
    float *expected = products(&s, s.plain, 1, expected_errors);
    for (unsigned threads = 1; threads <= THREADS; threads++) {
        float *found = products(&s, s.turned, threads, errors);
        ck_assert_mem_eq(found, expected, n * sizeof *found);
        ck_assert_mem_eq(errors, expected_errors, sizeof errors);
        free(found);
    }
    free(expected);
    mq_file_close(&s.file.file);
}

/* More rows than are read together, and than a task has; widths that are no multiple of a block of columns. */
START_TEST(transposed)
{
    check_sample("f32", 2600, 67, 1);
    check_sample("bf16", 2603, 67, 1);
    check_sample("bf16", 1201, 300, 2);
    check_sample("bf16", 300, 40, 3);
    check_sample("f32", 5, 1000, 1); /* stored rows of a few bytes */
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, transposed);
}

int main(void)
{
    return mq_test_main("linear", add_tests);
}
