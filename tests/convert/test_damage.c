/* test_damage.c: damage of a moeq file is found by whoever reads it, and what a level cannot hold is never silent. */
#include "error.h"
#include "stored.h"
#include "test_model.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPERT "model.layers.1.block_sparse_moe.experts.2.w2.weight"

static const char *out(const char *name)
{
    static char paths[4][1024];
    static unsigned next;
    char *path = paths[next++ % 4], part[1100];
    snprintf(path, sizeof paths[0], "%s", mq_test_temporary(name));
    unlink(path);
    snprintf(part, sizeof part, "%s.part", path);
    unlink(part);
    snprintf(part, sizeof part, "%s.part.journal", path);
    unlink(part);
    return path;
}

static const char *converted(const char *name, const char *level)
{
    const char *path = out(name);
    moeq_error err = {0};
    ck_assert_msg(test_convert(mq_test_source(MIXTRAL), level, path, NULL, NULL, &err) == MOEQ_OK,
                  "%s", err.message);
    return path;
}

static const struct mq_tensor *find(const struct mq_view *view, const char *name)
{
    for (size_t i = 0; i < view->tensors_count; i++)
        if (strcmp(view->tensors[i].name, name) == 0)
            return &view->tensors[i];
    ck_abort_msg("no tensor '%s'", name);
    return NULL;
}

/* Overwrites n bytes that stand `at` bytes into a tensor. */
static void put(const char *model, const char *tensor, uint64_t at, const void *bytes, size_t n)
{
    struct mq_view *view = test_open(model);
    const struct mq_tensor *t = find(view, tensor);
    const int fd = open(view->files[t->file].file.path, O_WRONLY);
    ck_assert_int_eq(pwrite(fd, bytes, n, (off_t)(t->offset + at)), (ssize_t)n);
    close(fd);
    mq_view_close(view);
}

static moeq_status run(const char *model, const struct mq_open_options *open,
                       const struct mq_convert_options *how, const char *level,
                       struct mq_convert_result *result, moeq_error *err)
{
    const struct mq_context context = {.isa = mq_isa_detect(), .threads = 2};
    const struct mq_policy policy = mq_policy_default(mq_level_find(level));
    struct mq_view *view;
    struct mq_plan *plan;
    MQ_TRY(mq_model_open_with(model, open, &view, err));
    ck_assert_ok(mq_convert_plan(&context, view, &policy, NULL, 0, &plan, err));
    const moeq_status status = mq_convert(&context, plan, how, result, err);
    mq_plan_free(plan);
    mq_view_close(view);
    return status;
}

/* ---- checksums ---- */

START_TEST(damage_is_not_converted)
{
    static const char *const tensors[] = {EXPERT, "model.embed_tokens.weight", "model.norm.weight",
                                          "model.layers.0.block_sparse_moe.gate.weight"};
    static const char *const names[] = {"layer 1, expert 2, expert_down: its ", ": embedding: its ",
                                        ": output_norm: its ", ": layer 0, router: its "};
    const struct mq_open_options unchecked = {.no_check = true};
    const char *path = converted("damaged.moeq", "q8_0"), *to = out("laundered.moeq");
    for (size_t i = 0; i < 4; i++) {
        moeq_error err = {0};
        struct mq_convert_result result;
        const struct mq_convert_options how = {.output = to, .replace = true};
        uint16_t good, bad;
        struct mq_view *view = test_open(path);
        const struct mq_tensor *t = find(view, tensors[i]);
        const int fd = open(path, O_RDONLY);
        ck_assert_int_eq(pread(fd, &good, 2, (off_t)t->offset + 6), 2);
        close(fd);
        mq_view_close(view);
        bad = good ^ 0x10;
        put(path, tensors[i], 6, &bad, 2);
        ck_assert_int_eq(run(path, NULL, &how, "q4_k", &result, &err), MOEQ_CORRUPT);
        ck_assert_msg(strstr(err.message, names[i]) && strstr(err.message, tensors[i]) &&
                          strstr(err.message, "have CRC-32 ") && strstr(err.message, ", expected "),
                      "%s", err.message);
        ck_assert_int_ne(access(to, F_OK), 0);
        memset(&err, 0, sizeof err);
        ck_assert_msg(run(path, &unchecked, &how, "q4_k", &result, &err) == MOEQ_OK, "%s",
                      err.message);
        ck_assert_int_eq(unlink(to), 0);
        put(path, tensors[i], 6, &good, 2);
        ck_assert_msg(run(path, NULL, &how, "q4_k", &result, &err) == MOEQ_OK, "%s", err.message);
        ck_assert_int_eq(unlink(to), 0);
    }
}
END_TEST

/* Rows [first, first + n) of `t`; MOEQ_CORRUPT where that says so. */
static moeq_status read_some(const struct mq_view *view, const struct mq_tensor *t, uint64_t first,
                             uint64_t n)
{
    void *bytes = malloc((size_t)(n * t->row_bytes) + 1);
    const moeq_status status = mq_view_read_rows(view, t, first, n, bytes, NULL);
    free(bytes);
    return status;
}

/* In any order and pieces that overlap: it is the row that is read last that says so, and every reading of it then. */
START_TEST(pieces_are_joined)
{
    const char *path = converted("pieces.moeq", "q8_0");
    uint64_t state = 7;
    for (int bad = 0; bad < 2; bad++) {
        if (bad)
            put(path, EXPERT, 11, "Z", 1);
        for (int round = 0; round < 200; round++) {
            struct mq_view *view = test_open(path);
            const struct mq_tensor *t = find(view, EXPERT);
            bool seen[1024] = {0};
            uint64_t left = t->rows;
            moeq_status status = MOEQ_OK;
            ck_assert_uint_le(t->rows, 1024);
            while (left) {
                const uint64_t first = mq_test_random(&state) % t->rows;
                const uint64_t n = 1 + mq_test_random(&state) %
                                           (round % 2 ? t->rows - first
                                                      : (t->rows - first < 3 ? t->rows - first : 3));
                status = read_some(view, t, first, n);
                for (uint64_t r = first; r < first + n; r++) {
                    left -= !seen[r];
                    seen[r] = true;
                }
                /* of single rows here and there some are forgotten, and read again: never too early */
                if (left)
                    ck_assert_int_eq(status, MOEQ_OK);
            }
            if (status == MOEQ_OK)
                status = mq_view_read_rest(view, NULL);
            ck_assert_int_eq(status, bad ? MOEQ_CORRUPT : MOEQ_OK);
            mq_view_close(view);
        }
    }
}
END_TEST

START_TEST(part_of_a_tensor_is_not_judged)
{
    const char *path = converted("part.moeq", "q8_0");
    put(path, EXPERT, 11, "Z", 1);
    struct mq_view *view = test_open(path);
    const struct mq_tensor *t = find(view, EXPERT);
    ck_assert_ok(read_some(view, t, 0, t->rows - 1));
    ck_assert_ok(read_some(view, t, 0, t->rows - 1));
    ck_assert_int_eq(read_some(view, t, t->rows - 1, 1), MOEQ_CORRUPT);
    ck_assert_int_eq(read_some(view, t, 0, t->rows), MOEQ_CORRUPT);
    mq_view_close(view);
}
END_TEST

START_TEST(header_and_checksums_are_compared)
{
    static const char *const said[] = {"the header is damaged: it has CRC-32 ",
                                       "the checksums are damaged: they have CRC-32 "};
    for (int i = 0; i < 2; i++) {
        const char *path = converted("header.moeq", "q8_0");
        struct mq_buffer b = test_read(path);
        const struct mq_open_options unchecked = {.no_check = true};
        struct mq_view *view;
        moeq_error err = {0};
        /* the producer's version: nothing depends on it */
        char *at = i ? b.data + b.size - 9 : memmem(b.data, b.size, "\"moeq.producer\":\"moeq ", 22);
        at[i ? 0 : 22] ^= 1;
        test_write(path, b.data, b.size);
        mq_buffer_free(&b);
        ck_assert_int_eq(mq_model_open(path, &view, &err), MOEQ_CORRUPT);
        ck_assert_msg(strstr(err.message, said[i]) != NULL, "%s", err.message);
        ck_assert_ok(mq_model_open_with(path, &unchecked, &view, &err));
        mq_view_close(view);
    }
}
END_TEST

/* ---- what a level cannot hold ---- */

/* A copy of the model in which an expert's matrix is `scale` times what it was. */
static const char *scaled(const char *name, float scale)
{
    static char model[1024];
    snprintf(model, sizeof model, "%s", test_model_copy(MIXTRAL, name));
    struct mq_view *view = test_open(model);
    const struct mq_tensor *t = find(view, EXPERT);
    ck_assert_str_eq(t->storage, "bf16");
    const size_t n = (size_t)(t->rows * t->cols);
    uint16_t *w = malloc(n * sizeof *w);
    ck_assert_ok(mq_view_read_rows(view, t, 0, t->rows, w, NULL));
    mq_view_close(view);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)w[i] << 16;
        float x;
        memcpy(&x, &bits, sizeof x);
        x *= scale;
        memcpy(&bits, &x, sizeof x);
        w[i] = (uint16_t)(bits >> 16);
    }
    put(model, EXPERT, 0, w, n * sizeof *w);
    free(w);
    return model;
}

START_TEST(what_a_level_cannot_hold_is_an_error)
{
    static const float scales[] = {1e30f, 1e10f, 1e9f, 1e-7f, 1e-9f, 1e-30f};
    static const char *const levels[] = {"q8_0", "f16"};
    const char *to = out("lossy.moeq");
    for (size_t i = 0; i < 6; i++)
        for (size_t l = 0; l < 2; l++) {
            moeq_error err = {0};
            struct mq_convert_result result;
            struct mq_convert_options how = {.output = to, .replace = true};
            const char *model = scaled("scaled", scales[i]);
            ck_assert_int_eq(run(model, NULL, &how, levels[l], &result, &err), MOEQ_UNSUPPORTED);
            if (l == 1 && scales[i] > 1)
                continue; /* the weight itself is named */
            ck_assert_msg(strstr(err.message, EXPERT) &&
                              strstr(err.message, "layer 1, expert 2, expert_down: at ") &&
                              strstr(err.message, ", expected 0.0") &&
                              strstr(err.message, "(--tensor '" EXPERT "=bf16'), or go on with "
                                                  "--allow-loss"),
                          "%g at %s: %s", (double)scales[i], levels[l], err.message);
            ck_assert_int_ne(access(to, F_OK), 0);
            how.allow_loss = true;
            memset(&err, 0, sizeof err);
            ck_assert_msg(run(model, NULL, &how, levels[l], &result, &err) == MOEQ_OK, "%s",
                          err.message);
            ck_assert_uint_eq(result.losses.count, 1);
            ck_assert_uint_eq(result.losses.far_count, 1);
            struct mq_view *view = test_open(to); /* its header, note and all, has the checksum */
            ck_assert_uint_eq(view->notes_count, 1);
            ck_assert_msg(strstr(view->notes[0], "1 matrix lost more than usual at its level: '" EXPERT),
                          "%s", view->notes[0]);
            mq_view_close(view);
            ck_assert_int_eq(unlink(to), 0);
        }
}
END_TEST

/* Losses of tensors that an interrupted run has finished are known to the next one: the same file. */
START_TEST(losses_outlive_an_interruption)
{
    const char *model = scaled("scaled.interrupted", 1e-9f), *to = out("lossy.again.moeq"),
               *whole = out("lossy.whole.moeq");
    const struct mq_convert_options how[] = {{.output = to, .allow_loss = true},
                                             {.output = whole, .allow_loss = true}};
    moeq_error err = {0};
    struct mq_convert_result result;
    ck_assert_ok(run(model, NULL, &how[1], "q8_0", &result, &err));
    /* the error, after which the output is kept */
    const struct mq_convert_options strict = {.output = to};
    ck_assert_int_eq(run(model, NULL, &strict, "q8_0", &result, &err), MOEQ_UNSUPPORTED);
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(run(model, NULL, &strict, "q8_0", &result, &err), MOEQ_UNSUPPORTED);
    memset(&err, 0, sizeof err);
    ck_assert_msg(run(model, NULL, &how[0], "q8_0", &result, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_uint_gt(result.tensors_resumed, 0);
    ck_assert_uint_eq(result.losses.far_count, 1);
    ck_assert(test_files_equal(to, whole));
}
END_TEST

/* Every level's expected error is what Gaussian rows have, on every instruction set the same; and rows that trained
 * models have are no false alarm at any level. */
enum { ROWS = 8, COLS = 512, KINDS = 9 };

static float weight_of(int kind, int row, int col, uint64_t *state)
{
    const float x = 0.02f * mq_test_gauss(state), u = mq_test_uniform(state);
    const bool one = col == row * 7;
    switch (kind) {
    case 1: return one ? 20 * x : x;
    case 2: return one ? 200 * x : x;
    case 3: return u < 0.9f ? 0 : x;
    case 4: return one ? x : 0;
    case 5: return 0.037f;
    case 6: return 0.01f * (float)(row + 1);
    case 7: return row % 4 ? 1e-3f * x : x;
    case 8: return 0;
    default: return x;
    }
}

START_TEST(usual_errors_are_usual)
{
    static float w[ROWS * COLS], scratch[4096];
    static uint8_t blocks[ROWS * COLS * 4];
    for (size_t l = 0; l < mq_levels_count; l++) {
        const struct mq_level *level = &mq_levels[l];
        for (int kind = 0; mq_level_can_encode(level) && kind < KINDS; kind++) {
            uint64_t state = 3;
            double first = 0;
            for (int i = 0; i < ROWS * COLS; i++)
                w[i] = weight_of(kind, i / COLS, i % COLS, &state);
            mq_level_encode_rows(level, MQ_ISA_GENERIC, MQ_EFFORT_DEFAULT, NULL, w, ROWS, COLS, blocks);
            for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
                struct mq_square_sums sums = {0};
                if (!mq_isa_available((enum mq_isa)isa))
                    continue;
                mq_level_add_error(level, (enum mq_isa)isa, MQ_EFFORT_DEFAULT, NULL, w, blocks, ROWS,
                                   COLS, scratch, 4096, &sums);
                const double e = mq_relative_error(&sums);
                first = isa ? first : e;
                ck_assert(e == first);
                ck_assert_msg(!mq_level_error_far(level, &sums), "%s, kind %d: %g", level->name,
                              kind, e);
                if (!kind)
                    ck_assert_msg(fabs(e - (double)level->error) <= 0.06 * (double)level->error,
                                  "%s: %g, expected %g", level->name, e, (double)level->error);
            }
        }
    }
}
END_TEST

/* What the range of a level's scales costs is told of at every scale of the weights where it costs something, whatever
 * their form and wherever they stand in a row; and nowhere else. */
static void check_scale(const struct mq_level *level, int kind, int power, uint64_t cols, double *at_1)
{
    static float w[ROWS * COLS], scratch[4096];
    static uint8_t blocks[ROWS * COLS * 4];
    struct mq_square_sums sums = {0};
    uint64_t state = 3;
    for (uint64_t i = 0; i < ROWS * cols; i++) /* kind 2 is heavy-tailed */
        w[i] = weight_of(kind == 2 ? 0 : kind, (int)(i / cols), (int)(i % cols), &state) *
               (kind == 2 ? 1 / (0.05f + mq_test_uniform(&state)) : 1) * powf(10, (float)power);
    mq_level_encode_rows(level, mq_isa_detect(), MQ_EFFORT_DEFAULT, NULL, w, ROWS, cols, blocks);
    mq_level_add_error(level, mq_isa_detect(), MQ_EFFORT_DEFAULT, NULL, w, blocks, ROWS, cols, scratch,
                       4096, &sums);
    const double e = mq_relative_error(&sums);
    *at_1 = power ? *at_1 : e;
    const bool noted = mq_level_error_noted(level, &sums), far = mq_level_error_far(level, &sums);
    if (e > 1.15 * *at_1)
        ck_assert_msg(noted, "%s, kind %d, 1e%d: %g, at 1 %g", level->name, kind, power, e, *at_1);
    if (e > 4 * *at_1 && e > 0.05)
        ck_assert_msg(far, "%s, kind %d, 1e%d: %g, at 1 %g", level->name, kind, power, e, *at_1);
    /* heavy tails are worth a note where many weights share a scale */
    if (e < 1.05 * *at_1 && !(kind == 2 && level->wide_scales))
        ck_assert_msg(!noted, "%s, kind %d, 1e%d: %g, at 1 %g", level->name, kind, power, e, *at_1);
}

START_TEST(what_the_range_costs_is_told_of)
{
    static const int kinds[] = {0, 2, 7}, powers[] = {0, -4, -5, -6, -7, -8, 5, 6, 7, 8};
    for (size_t l = 0; l < mq_levels_count; l++)
        for (size_t k = 0; mq_levels[l].quantized && mq_level_can_encode(&mq_levels[l]) && k < 3; k++) {
            double at_1 = 0;
            for (size_t p = 0; p < sizeof powers / sizeof *powers; p++) /* of one kind, rows with tails */
                check_scale(&mq_levels[l], kinds[k], powers[p], k == 1 ? COLS - 96 : COLS, &at_1);
        }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, damage_is_not_converted);
    tcase_add_test(tests, pieces_are_joined);
    tcase_add_test(tests, part_of_a_tensor_is_not_judged);
    tcase_add_test(tests, header_and_checksums_are_compared);
    tcase_add_test(tests, what_a_level_cannot_hold_is_an_error);
    tcase_add_test(tests, losses_outlive_an_interruption);
    tcase_add_test(tests, usual_errors_are_usual);
    tcase_add_test(tests, what_the_range_costs_is_told_of);
}

int main(void)
{
    return mq_test_main("test_damage", add_tests);
}
