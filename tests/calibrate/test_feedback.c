/*
 * test_feedback.c: covariance, factor, error feedback and descent against an independent computation in
 * float64 that moves errors as GPTQ does (data/feedback.txt, by tests/data/make_feedback_goldens.py); and
 * what whole matrices lose.
 */
#include "f16.h"
#include "feedback.h"
#include "feedback_kernels.h"
#include "test_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As make_feedback_goldens.py has them. */
enum { ROWS = 16, COLS = 512, INPUTS = 1536, SEED = 14, FAR = 167, PASSES = 2 };
static const double damping = 0.03;

static struct mq_context context;
static float x[INPUTS][COLS], noisy[INPUTS][COLS], w[ROWS][COLS];
static struct mq_covariance factor;

static void draw_inputs(uint64_t *state)
{
    for (size_t t = 0; t < INPUTS; t++) {
        float walk[2 * COLS], before = 0.0f;
        for (size_t c = 0; c < 2 * COLS; c++) {
            before = before * 0.875f;
            walk[c] = before = before + (mq_test_uniform(state) - 0.5f);
        }
        const float weight = 0.5f + 0.5f * mq_test_uniform(state);
        for (size_t c = 0; c < COLS; c++) {
            const float sum = walk[c] + walk[COLS + c * FAR % COLS];
            x[t][c] = sum * (c % 61 == 7 ? 4.0f : 1.0f) * weight;
        }
    }
}

static void set_up(void)
{
    uint64_t state = SEED;
    moeq_error err = {0};
    context = (struct mq_context){.isa = mq_isa_detect(), .threads = 2};
    draw_inputs(&state);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLS; c++) {
            const float a = mq_test_uniform(&state), b = mq_test_uniform(&state);
            w[r][c] = (a + b + mq_test_uniform(&state) - 1.5f) * 0.0625f;
        }
    for (size_t t = 0; t < INPUTS; t++)
        for (size_t c = 0; c < COLS; c++)
            noisy[t][c] = x[t][c] + (mq_test_uniform(&state) - 0.5f) * 0.25f;
    ck_assert_ok(mq_covariance_create(&context, COLS, &factor, &err));
    mq_covariance_add(&factor, x[0], COLS, INPUTS);
    mq_covariance_finish(&factor, damping);
    ck_assert(mq_covariance_factor(&factor));
}

static void tear_down(void)
{
    mq_covariance_destroy(&factor);
}

/* ---- the goldens ---- */

static FILE *open_goldens(void)
{
    FILE *f = fopen(mq_test_source("tests/calibrate/data/feedback.txt"), "r");
    size_t sizes[4] = {0};
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fscanf(f, "sizes %zu %zu %zu %zu", &sizes[0], &sizes[1], &sizes[2], &sizes[3]),
                     4);
    const size_t expected[] = {ROWS, COLS, INPUTS, SEED};
    ck_assert_mem_eq(sizes, expected, sizeof sizes);
    return f;
}

/* The next line begins with this name and has so many numbers. */
static void read_line(FILE *f, const char *name, size_t count, double *values)
{
    char found[16];
    ck_assert_int_eq(fscanf(f, "%15s", found), 1);
    ck_assert_str_eq(found, name);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(fscanf(f, "%lf", &values[i]), 1);
}

/* Leaves the file at what follows the last line of that name's beginning. */
static void seek_line(FILE *f, const char *beginning)
{
    char line[16 * COLS];
    while (fgets(line, sizeof line, f))
        if (strncmp(line, beginning, strlen(beginning)) == 0 &&
            strchr("\n ", line[strlen(beginning)]))
            return;
    ck_abort_msg("no line '%s' in the goldens", beginning);
}

static double h_at(size_t i, size_t j)
{
    return (double)(i < j ? factor.a[j * COLS + i] : factor.a[i * COLS + j]);
}

START_TEST(factor_is_gptqs)
{
    double h[COLS], D[COLS], f[COLS];
    FILE *file = open_goldens();
    read_line(file, "h", COLS, h);
    read_line(file, "D", COLS, D);
    read_line(file, "f", COLS, f);
    fclose(file);
    for (size_t i = 0; i < COLS; i++) {
        const size_t k = i + 1 + i * 29 % 97;
        ck_assert_double_eq_tol(h_at(i * 5 % COLS, i * 37 % COLS), h[i], 1e-6 * h_at(0, 0));
        ck_assert_double_eq_tol((double)factor.D[i] / D[i], 1.0, 1e-5);
        if (k < COLS)
            ck_assert_double_eq_tol((double)factor.a[i * COLS + k], f[i], 1e-5);
    }
}
END_TEST

/* ---- a matrix by the kernels, what lies between blocks in plain loops ---- */

struct matrix {
    const struct mq_level *level;
    const struct mq_block_form *form;
    const struct mq_feedback_kernels *kernels;
    struct mq_feedback_block blocks[COLS / 32];
    double delta[ROWS][COLS]; /* w - q */
};

static void read_first_scales(FILE *f, const struct mq_block_form *form,
                              struct mq_feedback_block *block)
{
    const size_t subs = form->weights / form->sub_weights;
    for (size_t r = 0; r < ROWS; r++) {
        double v[2 + 2 * MQ_PARTS_SUBS];
        read_line(f, "first", 2 + 2 * subs, v);
        block->d[r] = mq_f16_to_f32((uint16_t)v[0]);
        block->dmin[r] = mq_f16_to_f32((uint16_t)v[1]);
        for (size_t j = 0; j < subs; j++) {
            block->s[j][r] = (float)v[2 + j];
            block->m[j][r] = (float)v[2 + subs + j];
        }
    }
}

static void feed(struct matrix *q, FILE *goldens)
{
    const size_t width = q->form->weights;
    for (size_t begin = 0; begin < COLS; begin += width) {
        struct mq_feedback_block *block = &q->blocks[begin / width];
        float lanes_w[MQ_PARTS_WEIGHTS][16], lanes_x[MQ_PARTS_WEIGHTS][16];
        float delta[MQ_PARTS_WEIGHTS][16];
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < width; c++) {
                double sum = (double)w[r][begin + c];
                for (size_t i = 0; i < begin; i++)
                    sum += q->delta[r][i] * (double)factor.a[i * COLS + begin + c];
                lanes_w[c][r] = w[r][begin + c];
                lanes_x[c][r] = (float)sum;
            }
        read_first_scales(goldens, q->form, block);
        q->kernels->feed(q->form, NULL, lanes_w[0], lanes_x[0], factor.a + begin * COLS + begin,
                         COLS, factor.D + begin, block, delta[0]);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < width; c++)
                q->delta[r][begin + c] = (double)delta[c][r];
    }
}

/* g = delta H */
static void slopes(const struct matrix *q, double g[ROWS][COLS])
{
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLS; c++) {
            g[r][c] = 0.0;
            for (size_t i = 0; i < COLS; i++)
                g[r][c] += q->delta[r][i] * h_at(i, c);
        }
}

static void descend(struct matrix *q, double g[ROWS][COLS])
{
    static float h[MQ_PARTS_WEIGHTS * MQ_PARTS_WEIGHTS];
    const size_t width = q->form->weights;
    for (size_t begin = 0; begin < COLS; begin += width) {
        float lanes[MQ_PARTS_WEIGHTS][16], change[MQ_PARTS_WEIGHTS][16] = {{0}};
        for (size_t i = 0; i < width; i++) {
            for (size_t r = 0; r < ROWS; r++)
                lanes[i][r] = (float)g[r][begin + i];
            for (size_t k = 0; k < width; k++)
                h[i * width + k] = (float)h_at(begin + i, begin + k);
        }
        q->kernels->descend(q->form, NULL, h, width, lanes[0], change[0],
                            &q->blocks[begin / width]);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t i = 0; i < width; i++) {
                const double moved = (double)change[i][r];
                q->delta[r][begin + i] -= moved;
                for (size_t c = 0; c < COLS && moved != 0.0; c++)
                    g[r][c] -= moved * h_at(begin + i, c);
            }
    }
}

/* The loss of each row as its blocks decode. */
static void losses(const struct matrix *q, double loss[ROWS])
{
    const size_t width = q->form->weights, subs = width / q->form->sub_weights;
    for (size_t r = 0; r < ROWS; r++) {
        uint8_t bytes[2 * COLS];
        float decoded[COLS];
        for (size_t b = 0; b < COLS / width; b++) {
            const struct mq_feedback_block *block = &q->blocks[b];
            struct mq_block_parts parts = {.d = block->d[r], .dmin = block->dmin[r]};
            for (size_t j = 0; j < subs; j++) {
                parts.s[j] = (int16_t)block->s[j][r];
                parts.m[j] = (int16_t)block->m[j][r];
            }
            for (size_t i = 0; i < width; i++)
                parts.codes[i] = block->codes[i][r];
            q->form->write(&parts, bytes + b * q->level->block_bytes);
        }
        mq_level_decode_rows(q->level, context.isa, bytes, 1, COLS, decoded);
        loss[r] = mq_feedback_loss(&factor, w[r], decoded, 1);
    }
}

/* Of a row whose choices are all the same, to what f32 resolves: of all rows but `apart`, where
 * something may lie midway between two codes. */
static void check_losses(const struct matrix *q, FILE *goldens, const char *stage, int apart)
{
    double expected[ROWS], found[ROWS], sum = 0.0, sum_expected = 0.0;
    int differ = 0;
    read_line(goldens, stage, ROWS, expected);
    losses(q, found);
    for (size_t r = 0; r < ROWS; r++) {
        differ += fabs(found[r] / expected[r] - 1.0) > 1e-5;
        sum += found[r];
        sum_expected += expected[r];
    }
    ck_assert_msg(differ <= apart, "%s %s: %d rows differ, the sum by %g", q->level->name, stage,
                  differ, sum / sum_expected - 1.0);
    ck_assert_double_eq_tol(sum / sum_expected, 1.0, 1e-2);
}

static const char *const levels[] = {"q8_0",  "q6_k",   "q5_k",   "q4_k",  "q3_k",
                                     "q2_k",  "iq4_nl", "iq4_xs", "iq3_s", "iq3_xxs",
                                     "iq2_s", "iq2_xs", "iq2_xxs"};
enum { LEVELS = sizeof levels / sizeof *levels, SCALAR_LEVELS = 8 };

START_TEST(choices_are_gptqs_and_descend_alike)
{
    static double g[ROWS][COLS];
    char beginning[32];
    struct matrix *q = calloc(1, sizeof *q);
    ck_assert_ptr_nonnull(q);
    q->level = mq_level_find(levels[_i]);
    q->form = mq_block_form_of(q->level);
    q->kernels = mq_feedback_kernels_get(context.isa);
    FILE *goldens = open_goldens();
    snprintf(beginning, sizeof beginning, "level %s", levels[_i]);
    seek_line(goldens, beginning);
    feed(q, goldens);
    check_losses(q, goldens, "fed", 1);
    slopes(q, g);
    for (int pass = 0; pass < PASSES; pass++)
        descend(q, g);
    check_losses(q, goldens, "descended", 2);
    fclose(goldens);
    free(q);
}
END_TEST

START_TEST(cross_target_is_the_solution)
{
    enum { STEP = 7, KEPT = (COLS + STEP - 1) / STEP };
    static double expected[ROWS * KEPT];
    static float target[ROWS * COLS];
    moeq_error err = {0};
    struct mq_covariance cross, of_noisy;
    FILE *goldens = open_goldens();
    char line[32];
    do
        ck_assert_ptr_nonnull(fgets(line, sizeof line, goldens));
    while (strncmp(line, "cross ", 6) != 0);
    fseek(goldens, 6 - (long)strlen(line), SEEK_CUR);
    for (size_t i = 0; i < ROWS * KEPT; i++)
        ck_assert_int_eq(fscanf(goldens, "%lf", &expected[i]), 1);
    fclose(goldens);

    ck_assert_ok(mq_covariance_create(&context, COLS, &of_noisy, &err));
    ck_assert_ok(mq_covariance_create(&context, COLS, &cross, &err));
    mq_covariance_add(&of_noisy, noisy[0], COLS, INPUTS);
    mq_covariance_add_cross(&cross, x[0], noisy[0], COLS, INPUTS);
    double trace = 0.0;
    for (size_t i = 0; i < COLS; i++)
        trace += (double)of_noisy.a[i * COLS + i];
    mq_covariance_finish(&of_noisy, damping);
    for (size_t i = 0; i < (size_t)COLS * COLS; i++)
        cross.a[i] = cross.a[i] / INPUTS +
                     (i % (COLS + 1) == 0 ? (float)(damping * trace / INPUTS / COLS) : 0.0f);
    ck_assert(mq_covariance_factor(&of_noisy));
    memcpy(target, w, sizeof w);
    ck_assert_ok(mq_feedback_cross_target(&of_noisy, &cross, target, ROWS, &err));
    for (size_t i = 0; i < ROWS * KEPT; i++)
        ck_assert_double_eq_tol((double)target[i / KEPT * COLS + i % KEPT * STEP], expected[i],
                                1e-5);
    mq_covariance_destroy(&cross);
    mq_covariance_destroy(&of_noisy);
}
END_TEST

/* ---- whole matrices ---- */

static double loss_of(const struct mq_level *level, const uint8_t *bytes)
{
    static float decoded[ROWS][COLS];
    mq_level_decode_rows(level, context.isa, bytes, ROWS, COLS, decoded[0]);
    return mq_feedback_loss(&factor, w[0], decoded[0], ROWS);
}

/* Against the level's own search, and against the goldens' matrices, whose first scales are simpler. */
START_TEST(whole_matrices_lose_less)
{
    const struct mq_level *level = mq_level_find(levels[_i]);
    static uint8_t bytes[2 * ROWS * COLS];
    double expected[ROWS], sum = 0.0, fed = 0.0;
    char beginning[32];
    moeq_error err = {0};
    FILE *goldens = open_goldens();
    snprintf(beginning, sizeof beginning, "level %s", levels[_i]);
    seek_line(goldens, beginning);
    seek_line(goldens, "fed");
    read_line(goldens, "descended", ROWS, expected);
    fclose(goldens);
    for (size_t r = 0; r < ROWS; r++)
        sum += expected[r];
    mq_level_encode_rows(level, context.isa, MQ_EFFORT_DEFAULT, NULL, w[0], ROWS, COLS, bytes);
    const double plain = loss_of(level, bytes);
    for (int passes = 0; passes <= PASSES; passes += PASSES) {
        const struct mq_feedback_options options = {.passes = passes};
        ck_assert_ok(mq_feedback_encode(&factor, level, &options, w[0], ROWS, bytes, &err));
        const double loss = loss_of(level, bytes);
        ck_assert_msg(loss < 0.6 * plain, "%s: %g of plain", level->name, loss / plain);
        ck_assert_msg(passes == 0 || loss < fed, "%s: descent to %g", level->name, loss / fed);
        ck_assert_msg(passes == 0 || loss < 1.03 * sum, "%s: %g of the goldens", level->name,
                      loss / sum);
        if (getenv("MQ_TEST_SHOW"))
            printf("%s %d passes: %.4f of plain, %.4f of the goldens\n", level->name, passes,
                   loss / plain, loss / sum);
        fed = loss;
    }
}
END_TEST

/* Levels of other runtimes, which no goldens are of: bf16 scales, biases, groups of up to 128. */
START_TEST(runtime_levels_lose_less)
{
    static const char *const names[] = {"w4g32", "w4g128", "w8g64", "mlx2g64", "mlx4g64", "mlx6g128"};
    static uint8_t bytes[2 * ROWS * COLS], found[2 * ROWS * COLS];
    moeq_error err = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct mq_level *level = mq_level_find(names[i]);
        const size_t size = ROWS * mq_level_row_bytes(level, COLS);
        double fed = 0.0;
        mq_level_encode_rows(level, context.isa, MQ_EFFORT_DEFAULT, NULL, w[0], ROWS, COLS, bytes);
        const double plain = loss_of(level, bytes);
        for (int passes = 0; passes <= PASSES; passes += PASSES) {
            const struct mq_feedback_options options = {.passes = passes};
            ck_assert_ok(mq_feedback_encode(&factor, level, &options, w[0], ROWS, bytes, &err));
            const double loss = loss_of(level, bytes);
            ck_assert_msg(loss < 0.7 * plain, "%s: %g of plain", level->name, loss / plain);
            ck_assert_msg(passes == 0 || loss < fed, "%s: descent to %g", level->name, loss / fed);
            fed = loss;
        }
        memcpy(found, bytes, size);
        context.isa = MQ_ISA_GENERIC;
        const struct mq_feedback_options options = {.passes = PASSES};
        if (i % 3 == 0) { /* the same bytes from the reference */
            ck_assert_ok(mq_feedback_encode(&factor, level, &options, w[0], ROWS, bytes, &err));
            ck_assert_mem_eq(bytes, found, size);
        }
        context.isa = mq_isa_detect();
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_unchecked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, factor_is_gptqs);
    tcase_add_loop_test(tests, choices_are_gptqs_and_descend_alike, 0, SCALAR_LEVELS);
    tcase_add_test(tests, cross_target_is_the_solution);
    tcase_add_loop_test(tests, whole_matrices_lose_less, 0, LEVELS);
    tcase_add_test(tests, runtime_levels_lose_less);
}

int main(void)
{
    return mq_test_main("feedback", add_tests);
}
