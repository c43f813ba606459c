/* test_calibration.c: sums of squares against numpy's; exact however they are formed; and the file of them. */
#include "calibration_importance.h"
#include "collect.h"
#include "coverage.h"
#include "error.h"
#include "family.h"
#include "gguf_imatrix.h"
#include "golden.h"
#include "imatrix.h"
#include "kernels.h"
#include "model_fingerprint.h"
#include "test_model.h"
#include "text_match.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CORPUS "tests/fuzz/corpus/calibration/"
#define DEEPSEEK "tests/fixtures/families/deepseek_v3"

enum { LENGTH = 16, WINDOWS = 6, MOST_COLS = 256 };

static struct mq_context plain = {.threads = 1}; /* main sets the rest */

/* What a run is of: windows [first, first + count) of the same ids, the last `held` held out. */
struct run {
    const struct mq_view *view;
    struct mq_windows windows;
    size_t held;
    const struct mq_calibration_text *texts;
    size_t texts_count;
};

static struct run run_of(const struct mq_view *view, size_t first, size_t count)
{
    static const struct mq_calibration_text text = {.name = "a", .tokens = 1, .context = LENGTH};
    static int32_t ids[WINDOWS * LENGTH];
    uint64_t state = 3;
    for (int i = 0; i < WINDOWS * LENGTH; i++)
        ids[i] = (int32_t)(mq_test_random(&state) % view->hparams.vocab);
    return (struct run){.view = view,
                        .windows = {ids + first * LENGTH, count, LENGTH},
                        .texts = &text,
                        .texts_count = 1};
}

/* Runs it into a file, and what is held out into another. */
static moeq_status run_to(const struct mq_context *context, const struct run *run, const char *path,
                          const char *apart_path, moeq_error *err)
{
    struct mq_calibration_writer whole = MQ_CALIBRATION_WRITER_NONE,
                                 apart = MQ_CALIBRATION_WRITER_NONE;
    struct mq_calibration_origin origin = {.view = run->view,
                                           .model_name = mq_base_name(run->view->path),
                                           .texts = run->texts,
                                           .texts_count = run->texts_count};
    const struct mq_collect_options options = {.view = run->view,
                                               .windows = &run->windows,
                                               .held_out = run->held,
                                               .whole = &whole,
                                               .apart = run->held ? &apart : NULL};
    moeq_status status;
    MQ_TRY_OUT(mq_model_fingerprint(context, run->view, &origin.fingerprint, err));
    MQ_TRY_OUT(mq_calibration_create(context, &origin, path, &whole, err));
    if (run->held)
        MQ_TRY_OUT(mq_calibration_create(context, &origin, apart_path, &apart, err));
    MQ_TRY_OUT(mq_collect(context, &options, err));
    MQ_TRY_OUT(mq_calibration_finish(&whole, err));
    if (run->held)
        MQ_TRY_OUT(mq_calibration_finish(&apart, err));
out:
    mq_calibration_writer_free(&whole);
    mq_calibration_writer_free(&apart);
    return status;
}

static const char *run_good(const struct mq_context *context, const struct run *run,
                            const char *name)
{
    const char *path = mq_test_temporary(name);
    moeq_error err = {0};
    ck_assert_msg(run_to(context, run, path, NULL, &err) == MOEQ_OK, "%s", err.message);
    return path;
}

static struct mq_calibration *open_good(const char *path)
{
    struct mq_calibration *c;
    moeq_error err = {0};
    ck_assert_msg(mq_calibration_open(&plain, path, &c, &err) == MOEQ_OK, "%s", err.message);
    return c;
}

/* ---- against numpy ---- */

static const struct mq_tensor *by_name(const struct mq_view *view, const char *name)
{
    for (size_t i = 0; i < view->tensors_count; i++)
        if (strcmp(view->tensors[i].name, name) == 0)
            return &view->tensors[i];
    return NULL;
}

static bool is_near(double found, double expected, double unit)
{
    return fabs(found - expected) <= 1e-5 * expected + unit;
}

/* A line of the goldens; false for a matrix that is none of ours. */
static bool check_line(const struct mq_calibration *c, const char *line)
{
    char name[256];
    long tokens;
    double outputs, weights, mean;
    int cols, at;
    struct mq_calibration_sums sums;
    struct mq_exact_sum columns[MOST_COLS];
    moeq_error err = {0};
    ck_assert_int_eq(
        sscanf(line, "%*s %255s %ld %lf %lf %d%n", name, &tokens, &outputs, &weights, &cols, &at),
        5);
    const struct mq_tensor *t = by_name(c->view, name);
    const struct mq_calibration_group *g = t ? mq_calibration_group_of(&c->groups, t) : NULL;
    if (!g)
        return false;
    ck_assert_uint_eq(g->cols, (uint64_t)cols);
    ck_assert_int_le(cols, MOST_COLS);
    ck_assert_ok(
        mq_calibration_read(c, g, t->expert < 0 ? 0 : (uint32_t)t->expert, &sums, columns, &err));
    ck_assert_msg(sums.tokens == tokens, "%s: %ld tokens", name, (long)sums.tokens);
    ck_assert_msg(is_near(mq_exact_sum_value(&sums.outputs), outputs, 0), "%s: outputs %g", name,
                  mq_exact_sum_value(&sums.outputs));
    ck_assert_msg(is_near(mq_exact_sum_value(&sums.weights), weights, 0), "%s: weights %g", name,
                  mq_exact_sum_value(&sums.weights));
    for (int i = 0, n; i < cols; i++, at += n) {
        ck_assert_int_eq(sscanf(line + at, "%lf%n", &mean, &n), 1);
        const double found = mq_exact_sum_value(&columns[i]) / (double)tokens;
        ck_assert_msg(is_near(found, mean, 1e-12), "%s, column %d: %.9g, expected %.9g", name, i,
                      found, mean);
    }
    return true;
}

static const char *const golden_models[] = {DEEPSEEK, "tests/fixtures/families/qwen2_moe"};

START_TEST(sums_are_numpys)
{
    const char *model = golden_models[_i];
    struct mq_view *view = test_open(mq_test_source(model));
    struct golden golden;
    golden_open(test_path(mq_test_source(model), "golden.safetensors"), &golden);
    struct run run = run_of(view, 0, 1);
    run.windows = golden.windows;
    struct mq_calibration *c = open_good(run_good(&plain, &run, "golden"));
    FILE *f = fopen(mq_test_source("tests/calibrate/data/calibration.txt"), "r");
    ck_assert_ptr_nonnull(f);
    static char line[1 << 14];
    size_t checked = 0, matrices = 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, model, strlen(model)) == 0)
            checked += check_line(c, line);
    fclose(f);
    for (size_t i = 0; i < c->groups.count; i++)
        matrices += c->groups.all[i].experts;
    ck_assert_uint_eq(checked, matrices);
    mq_calibration_close(c);
    golden_close(&golden);
    mq_view_close(view);
}
END_TEST

/* ---- exact ---- */

/* Kernels are the header's definition, number by number: of any size, and of what is no number. */
START_TEST(kernels_are_the_definition)
{
    enum { ROWS = 131, COLS = 37, LD = 40 };
    static float x[ROWS * LD];
    uint64_t state = 5;
    for (int i = 0; i < ROWS * LD; i++) {
        x[i] = mq_test_gauss(&state) * ldexpf(1, (int)(mq_test_random(&state) % 60) - 40);
        x[i] = i % 97 == 3 ? NAN : i % 89 == 5 ? INFINITY : x[i];
    }
    struct mq_exact_sum columns[COLS] = {{0}}, all = {0};
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLS; j++) {
            const double v = (double)x[i * LD + j];
            mq_exact_sum_add(&columns[j], v * v);
            mq_exact_sum_add(&all, v * v);
        }
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        const struct mq_kernels *kernels = mq_kernels_get((enum mq_isa)isa);
        struct mq_exact_sum found[COLS] = {{0}}, sum = {0};
        int64_t parts[2] = {0};
        if (!mq_isa_available((enum mq_isa)isa))
            continue;
        kernels->exact_column_squares(x, LD, ROWS, COLS, found);
        ck_assert_mem_eq(found, columns, sizeof found);
        kernels->exact_squares(x, LD, ROWS, COLS, parts);
        mq_exact_sum_join(&sum, parts[0], parts[1]);
        ck_assert_mem_eq(&sum, &all, sizeof sum);
    }
}
END_TEST

static const char *const models[] = {
    DEEPSEEK,
    "tests/fixtures/oracles/mixtral",
    "tests/fixtures/families/qwen3_next",
    "tests/fixtures/families/llama4",
    "tests/fixtures/families/nemotron_h",
    "tests/fixtures/families/granitemoe",
};

START_TEST(the_same_bytes_everywhere)
{
    struct mq_view *view = test_open(mq_test_source(models[_i]));
    const struct run run = run_of(view, 0, WINDOWS);
    struct mq_context context = plain;
    const char *first = run_good(&context, &run, "first");
    context.threads = 2;
    context.memory_bytes = 4 << 20; /* several passes */
    ck_assert(test_files_equal(run_good(&context, &run, "small"), first));
    context = plain;
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        context.isa = (enum mq_isa)isa;
        if (mq_isa_available(context.isa))
            ck_assert(test_files_equal(run_good(&context, &run, "isa"), first));
    }
    mq_view_close(view);
}
END_TEST

static const char *merge_good(const char *a, const char *b, const char *name)
{
    struct mq_calibration *parts[] = {open_good(a), open_good(b)};
    struct mq_calibration_writer writer;
    const char *path = mq_test_temporary(name);
    moeq_error err = {0};
    ck_assert_msg(mq_calibration_merge(&plain, parts, 2, &writer, path, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_ok(mq_calibration_finish(&writer, &err));
    mq_calibration_writer_free(&writer);
    mq_calibration_close(parts[0]);
    mq_calibration_close(parts[1]);
    return path;
}

START_TEST(parts_add_up_to_the_whole)
{
    static const struct mq_calibration_text texts[] = {
        {.name = "b", .tokens = 2, .context = LENGTH, .ids_crc32 = 7},
        {.name = "a", .tokens = 1, .context = LENGTH, .bytes = 5, .crc32 = 0xfedc}};
    struct mq_view *view = test_open(mq_test_source(models[_i]));
    struct run run = run_of(view, 0, WINDOWS);
    run.texts = texts;
    run.texts_count = 2;
    const char *whole = run_good(&plain, &run, "whole");
    run = run_of(view, 0, 1);
    run.texts = texts;
    const char *a = run_good(&plain, &run, "part-a");
    run = run_of(view, 1, WINDOWS - 1);
    run.texts = texts + 1;
    const char *b = run_good(&plain, &run, "part-b");
    ck_assert(test_files_equal(merge_good(a, b, "merged"), whole));
    ck_assert(test_files_equal(merge_good(b, a, "merged"), whole));
    mq_view_close(view);
}
END_TEST

START_TEST(what_is_held_out_stands_apart)
{
    struct mq_view *view = test_open(mq_test_source(models[_i]));
    struct run run = run_of(view, 0, WINDOWS);
    moeq_error err = {0};
    run.held = 2;
    ck_assert_ok(run_to(&plain, &run, mq_test_temporary("rest"), mq_test_temporary("held"), &err));
    run = run_of(view, 0, WINDOWS - 2);
    ck_assert(test_files_equal(mq_test_temporary("rest"), run_good(&plain, &run, "alone")));
    /* but for the squares of weights, which are the rest's */
    run = run_of(view, WINDOWS - 2, 2);
    struct mq_calibration *held = open_good(mq_test_temporary("held")),
                          *alone = open_good(run_good(&plain, &run, "alone"));
    for (size_t i = 0; i < held->groups.count; i++)
        for (uint32_t e = 0; e < held->groups.all[i].experts; e++) {
            struct mq_calibration_sums a, b;
            struct mq_exact_sum x[MOST_COLS], y[MOST_COLS];
            ck_assert_ok(mq_calibration_read(held, &held->groups.all[i], e, &a, x, &err));
            ck_assert_ok(mq_calibration_read(alone, &alone->groups.all[i], e, &b, y, &err));
            a.weights = b.weights;
            ck_assert_mem_eq(&a, &b, sizeof a);
            ck_assert_mem_eq(x, y, held->groups.all[i].cols * sizeof *x);
        }
    struct mq_coverage coverage;
    struct mq_calibration *rest = open_good(mq_test_temporary("rest"));
    ck_assert_ok(mq_coverage_measure(rest, held, &coverage, &err));
    for (size_t i = 0; i < coverage.roles_count; i++) {
        const struct mq_coverage_role *r = &coverage.roles[i];
        const bool gate = r->role == MQ_ROLE_EXPERT_GATE || r->role == MQ_ROLE_MLP_GATE ||
                          r->role == MQ_ROLE_SHARED_GATE;
        ck_assert(gate ? isnan(r->distance_mean)
                       : r->distance_mean > 0.01 && r->distance_mean < 0.8);
        ck_assert(r->seen > 0 && r->alignment_least > 0.05 && r->alignment_most < 20);
        ck_assert(r->alignment_least <= r->alignment_mean &&
                  r->alignment_mean <= r->alignment_most);
    }
    /* no expert of so few tokens has seen many */
    ck_assert_int_eq(coverage.held_out_visits, coverage.held_out_few);
    ck_assert_uint_eq(coverage.few + coverage.without, coverage.experts);
    int64_t routed = 0;
    for (size_t l = 0; l < coverage.layers_count; l++)
        for (uint32_t e = 0; e < coverage.layers[l].experts; e++) {
            routed += coverage.layers[l].tokens[e];
            ck_assert(coverage.layers[l].tokens[e] > 0 ? coverage.layers[l].routing[e] > 0
                                                       : coverage.layers[l].routing[e] <= 0);
        }
    ck_assert(coverage.layers_count == 0 || routed > 0);
    mq_coverage_free(&coverage);
    mq_calibration_close(rest);
    mq_calibration_close(held);
    mq_calibration_close(alone);
    mq_view_close(view);
}
END_TEST

/* ---- the file ---- */

static void refused(const char *path, moeq_status status, const char *message)
{
    struct mq_calibration *c;
    moeq_error err = {0};
    ck_assert_int_eq(mq_calibration_open(&plain, path, &c, &err), status);
    ck_assert_msg(strstr(err.message, message), "%s", err.message);
    ck_assert_ptr_null(c);
}

START_TEST(other_files_are_refused)
{
    struct mq_view *view = test_open(mq_test_source(DEEPSEEK));
    const struct run run = run_of(view, 0, 1);
    const char *path = run_good(&plain, &run, "sound");
    struct mq_buffer bytes = test_read(path);
    bool yes;
    moeq_error err = {0};
    ck_assert_ok(mq_is_calibration(path, &yes, &err));
    ck_assert(yes);
    ck_assert_ok(
        mq_is_calibration(test_path(mq_test_source(DEEPSEEK), "model.safetensors"), &yes, &err));
    ck_assert(!yes);
    bytes.data[bytes.size / 2] ^= 1;
    const char *damaged = mq_test_temporary("damaged");
    test_write(damaged, bytes.data, bytes.size);
    refused(damaged, MOEQ_CORRUPT, "CRC");
    test_write(damaged, bytes.data, bytes.size / 2);
    refused(damaged, MOEQ_MALFORMED, "");
    mq_buffer_free(&bytes);
    refused(test_path(mq_test_source(DEEPSEEK), "model.safetensors"), MOEQ_UNSUPPORTED,
            "no checksums");
    const char *model = mq_test_temporary("model.moeq");
    struct mq_convert_result result;
    ck_assert_ok(test_convert(mq_test_source(DEEPSEEK), "q8_0", model, NULL, &result, &err));
    refused(model, MOEQ_UNSUPPORTED, "is no calibration");
    mq_view_close(view);
}
END_TEST

/* A model, what is made of it, and another of the same shape. */
START_TEST(fingerprints_tell_models_apart)
{
    uint32_t of_folder, of_file, of_other;
    const char *path = mq_test_temporary("model.moeq");
    struct mq_convert_result result;
    moeq_error err = {0};
    ck_assert_ok(test_convert(mq_test_source(DEEPSEEK), "q4_k", path, NULL, &result, &err));
    struct mq_view *folder = test_open(mq_test_source(DEEPSEEK)), *file = test_open(path);
    ck_assert_ok(mq_model_fingerprint(&plain, folder, &of_folder, &err));
    ck_assert_ok(mq_model_fingerprint(&plain, file, &of_file, &err));
    ck_assert_uint_eq(of_folder, of_file);
    /* one number of a norm is another */
    const char *copy = test_model_copy(DEEPSEEK, "other");
    struct mq_buffer bytes = test_read(test_path(copy, "model.safetensors"));
    const struct mq_tensor *norm = mq_view_find(folder, MQ_ROLE_FFN_NORM, 1, -1);
    bytes.data[norm->offset + 1] ^= 1;
    test_write(test_path(copy, "model.safetensors"), bytes.data, bytes.size);
    mq_buffer_free(&bytes);
    struct mq_view *other = test_open(copy);
    ck_assert_ok(mq_model_fingerprint(&plain, other, &of_other, &err));
    ck_assert_uint_ne(of_folder, of_other);
    struct run run = run_of(folder, 0, 1);
    struct mq_calibration *parts[2] = {open_good(run_good(&plain, &run, "one")), NULL};
    run.view = other;
    parts[1] = open_good(run_good(&plain, &run, "two"));
    struct mq_calibration_writer writer;
    ck_assert_int_eq(mq_calibration_merge(&plain, parts, 2, &writer, mq_test_temporary("x"), &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_msg(strstr(err.message, "is of another model"), "%s", err.message);
    mq_calibration_close(parts[0]);
    mq_calibration_close(parts[1]);
    mq_view_close(folder);
    mq_view_close(file);
    mq_view_close(other);
}
END_TEST

/* ---- imatrix ---- */

START_TEST(an_imatrix_says_the_same)
{
    struct mq_view *view = test_open(mq_test_source(models[_i]));
    const struct run run = run_of(view, 0, WINDOWS);
    struct mq_calibration *c = open_good(run_good(&plain, &run, "cal"));
    const char *path = mq_test_temporary("imatrix.gguf");
    struct mq_imatrix m;
    moeq_error err = {0};
    size_t found_all = 0;
    if (!view->family->gguf_architecture) {
        ck_assert_int_eq(mq_calibration_to_imatrix(c, path, &err), MOEQ_UNSUPPORTED);
        mq_calibration_close(c);
        mq_view_close(view);
        return;
    }
    ck_assert_msg(mq_calibration_to_imatrix(c, path, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_ok(mq_imatrix_open(path, &m, &err));
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        const struct mq_calibration_group *g = mq_calibration_group_of(&c->groups, t);
        struct mq_calibration_sums sums;
        struct mq_exact_sum columns[MOST_COLS];
        float means[MOST_COLS];
        uint64_t inputs;
        bool found;
        if (!g)
            continue;
        ck_assert_msg(mq_imatrix_read(&m, view, t, &found, means, &inputs, &err) == MOEQ_OK, "%s",
                      err.message);
        ck_assert_msg(found || t->role == MQ_ROLE_ATTN_KV_B, "%s", t->name);
        found_all += found;
        if (!found)
            continue;
        ck_assert_ok(mq_calibration_read(c, g, t->expert < 0 ? 0 : (uint32_t)t->expert, &sums,
                                         columns, &err));
        ck_assert_uint_eq(inputs, (uint64_t)sums.tokens);
        for (uint64_t k = 0; k < t->cols && inputs; k++) {
            const double expected = mq_exact_sum_value(&columns[k]) / (double)inputs;
            ck_assert_msg(fabs((double)means[k] - expected) <= 1e-6 * expected, "%s", t->name);
        }
    }
    ck_assert_uint_gt(found_all, 10);
    mq_imatrix_close(&m);
    mq_calibration_close(c);
    mq_view_close(view);
}
END_TEST

/* ---- importance ---- */

static struct mq_importance *importance_good(struct mq_view *view, const char *path)
{
    struct mq_importance *importance;
    moeq_error err = {0};
    ck_assert_msg(mq_calibration_importance(&plain, path, view, &importance, &err) == MOEQ_OK, "%s",
                  err.message);
    return importance;
}

/* Of both kinds of file; and of a matrix that many tokens meet, the means themselves. */
START_TEST(importance_is_the_mean)
{
    struct mq_view *view = test_open(mq_test_source(models[_i]));
    const struct run run = run_of(view, 0, WINDOWS);
    const char *path = run_good(&plain, &run, "cal"), *gguf = mq_test_temporary("imatrix.gguf");
    struct mq_calibration *c = open_good(path);
    struct mq_importance *own = importance_good(view, path), *its = NULL;
    moeq_error err = {0};
    if (view->family->gguf_architecture) {
        ck_assert_ok(mq_calibration_to_imatrix(c, gguf, &err));
        its = importance_good(view, gguf);
    }
    size_t matrices = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        const struct mq_calibration_group *g = mq_calibration_group_of(&c->groups, t);
        const float *a = mq_importance_columns(own, t), *b = mq_importance_columns(its, t);
        ck_assert_int_eq(a != NULL, g != NULL);
        for (uint64_t k = 0; a && b && k < t->cols; k++)
            ck_assert_msg(fabsf(a[k] - b[k]) <= 1e-6f * a[k], "%s", t->name);
        matrices += g != NULL;
        struct mq_calibration_sums sums;
        struct mq_exact_sum columns[MOST_COLS];
        if (!g || t->expert >= 0)
            continue;
        ck_assert_ok(mq_calibration_read(c, g, 0, &sums, columns, &err));
        double raise = 0.0;
        for (uint64_t k = 0; k < t->cols; k++)
            raise += MQ_IMPORTANCE_FLOOR * mq_exact_sum_value(&columns[k]) / (double)t->cols;
        for (uint64_t k = 0; k < t->cols; k++)
            ck_assert(fabs((double)a[k] - (mq_exact_sum_value(&columns[k]) + raise) /
                                              (double)sums.tokens) <= 2e-6 * (double)a[k]);
    }
    ck_assert_uint_eq(mq_importance_count(own), matrices);
    mq_importance_destroy(own);
    mq_importance_destroy(its);
    mq_calibration_close(c);
    mq_view_close(view);
}
END_TEST

/* An imatrix of no matrix. */
static void write_nothing(const struct mq_view *view, const char *path)
{
    const struct mq_imatrix_source source = {.chunk_size = 1};
    moeq_error err = {0};
    ck_assert_ok(mq_imatrix_write(view, path, NULL, 0, &source, &err));
}

static void importance_refused(const char *model, const char *path, const char *message)
{
    struct mq_view *view = test_open(mq_test_source(model));
    struct mq_importance *importance;
    moeq_error err = {0};
    ck_assert_int_eq(mq_calibration_importance(&plain, path, view, &importance, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_msg(strstr(err.message, message), "%s", err.message);
    ck_assert_ptr_null(importance);
    mq_view_close(view);
}

START_TEST(importance_of_another_model_is_refused)
{
    struct mq_view *view = test_open(mq_test_source(DEEPSEEK));
    const struct run run = run_of(view, 0, 1);
    const char *path = run_good(&plain, &run, "cal"), *gguf = mq_test_temporary("imatrix.gguf");
    struct mq_calibration *c = open_good(path);
    moeq_error err = {0};
    ck_assert_ok(mq_calibration_to_imatrix(c, gguf, &err));
    importance_refused("tests/fixtures/oracles/mixtral", path,
                       "is of another model (deepseek_v3): expected attn_q of layer 0");
    importance_refused("tests/fixtures/oracles/mixtral", gguf,
                       "the model has 64 columns in 1 matrices");
    write_nothing(view, gguf);
    importance_refused(DEEPSEEK, gguf, "has nothing for 'model.layers.0.mlp.gate_proj.weight'");
    importance_refused("tests/fixtures/families/deepseek_v3-tied", path, "is of another model");
    mq_calibration_close(c);
    mq_view_close(view);
}
END_TEST

/* ---- what is wrong with a file is told: those of the fuzzer's corpus ---- */

static struct mq_calibration *open_corpus(const char *name, moeq_error *err)
{
    struct mq_calibration *c;
    char path[128];
    snprintf(path, sizeof path, CORPUS "%s", name);
    mq_calibration_open(NULL, mq_test_source(path), &c, err); /* they have no checksums */
    return c;
}

START_TEST(wrong_files_are_told)
{
    static const struct {
        const char *file, *message;
    } wrong[] = {
        {"wide", "tensor 'attn_q.0.in_sum2' at byte"},
        {"lacking", "tensor 'expert_up.0.sums' is missing"},
        {"no_texts", "moeqcal.texts is no list of 1 to 4096 texts"},
    };
    struct mq_calibration_sums sums;
    struct mq_exact_sum columns[MOST_COLS];
    moeq_error err = {0};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        moeq_error why = {0};
        ck_assert_ptr_null(open_corpus(wrong[i].file, &why));
        ck_assert_msg(strstr(why.message, wrong[i].message), "%s", why.message);
    }
    struct mq_calibration *c = open_corpus("sound", &err);
    ck_assert_msg(c != NULL, "%s", err.message);
    ck_assert_ok(mq_calibration_read(c, &c->groups.all[0], 0, &sums, columns, &err));
    ck_assert_int_eq(sums.tokens, 9);
    ck_assert_int_eq(columns[2].fine, 5);
    ck_assert_str_eq(c->texts[0].name, "t");
    mq_calibration_close(c);
    c = open_corpus("negative", &err);
    ck_assert_int_eq(mq_calibration_read(c, &c->groups.all[0], 0, &sums, columns, &err),
                     MOEQ_MALFORMED);
    ck_assert_msg(strstr(err.message, "attn_q of layer 0, expert 0: expected sums of squares"),
                  "%s", err.message);
    mq_calibration_close(c);
}
END_TEST

/* Of each of its matrices one thing is wrong. */
START_TEST(wrong_matrices_are_told)
{
    static const struct {
        enum mq_role role;
        const char *message;
    } wrong[] = {
        {MQ_ROLE_ATTN_Q, "expected a number of inputs, found nan"},
        {MQ_ROLE_ATTN_K, "expected a sum of squares, found -1"},
        {MQ_ROLE_ATTN_V, "expected F32, found F16"},
        {MQ_ROLE_ATTN_O,
         "has 'blk.0.attn_output.weight.in_sum2', but no 'blk.0.attn_output.weight.counts'"},
        {MQ_ROLE_EXPERT_UP, "the model has 32 columns in 2 matrices, found 62 numbers"},
    };
    struct mq_imatrix m;
    moeq_error err = {0};
    float means[MOST_COLS];
    uint64_t inputs;
    bool found;
    struct mq_calibration *c = open_corpus("sound", &err);
    ck_assert_ok(mq_imatrix_open(mq_test_source(CORPUS "odd"), &m, &err));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const bool routed = wrong[i].role == MQ_ROLE_EXPERT_UP;
        moeq_error why = {0};
        ck_assert_int_ne(mq_imatrix_read(&m, c->view,
                                         mq_view_find(c->view, wrong[i].role, 0, routed ? 1 : -1),
                                         &found, means, &inputs, &why),
                         MOEQ_OK);
        ck_assert_msg(strstr(why.message, wrong[i].message), "%s", why.message);
    }
    mq_imatrix_close(&m);
    /* one count for all experts */
    ck_assert_ok(mq_imatrix_open(mq_test_source(CORPUS "older"), &m, &err));
    ck_assert_ok(mq_imatrix_read(&m, c->view, mq_view_find(c->view, MQ_ROLE_EXPERT_DOWN, 0, 1),
                                 &found, means, &inputs, &err));
    ck_assert(found && inputs == 3 && fabsf(means[47] - 1.0f / 3) < 1e-6f);
    mq_imatrix_close(&m);
    /* the form before GGUF */
    ck_assert_ok(mq_imatrix_open(mq_test_source(CORPUS "dat"), &m, &err));
    ck_assert_ok(mq_imatrix_read(&m, c->view, mq_view_find(c->view, MQ_ROLE_EXPERT_DOWN, 0, 1),
                                 &found, means, &inputs, &err));
    ck_assert(found && inputs == UINT64_MAX && fabsf(means[47] - 95.0f) < 1e-6f);
    mq_imatrix_close(&m);
    ck_assert_int_eq(mq_imatrix_open(mq_test_source(CORPUS "dat_cut"), &m, &err), MOEQ_MALFORMED);
    ck_assert_msg(
        strstr(err.message, "'blk.0.ffn_down_exps.weight' has 96 values, but the file ends"), "%s",
        err.message);
    ck_assert_int_ne(mq_imatrix_open(mq_test_source(CORPUS "sound"), &m, NULL), MOEQ_OK);
    mq_calibration_close(c);
}
END_TEST

static void add_tests(TCase *tests)
{
    enum { MODELS = sizeof models / sizeof *models };
    tcase_add_loop_test(tests, sums_are_numpys, 0, sizeof golden_models / sizeof *golden_models);
    tcase_add_test(tests, kernels_are_the_definition);
    tcase_add_loop_test(tests, the_same_bytes_everywhere, 0, MODELS);
    tcase_add_loop_test(tests, parts_add_up_to_the_whole, 0, MODELS);
    tcase_add_loop_test(tests, what_is_held_out_stands_apart, 0, MODELS);
    tcase_add_test(tests, other_files_are_refused);
    tcase_add_test(tests, fingerprints_tell_models_apart);
    tcase_add_loop_test(tests, importance_is_the_mean, 0, MODELS);
    tcase_add_test(tests, importance_of_another_model_is_refused);
    tcase_add_test(tests, wrong_files_are_told);
    tcase_add_test(tests, wrong_matrices_are_told);
    tcase_add_loop_test(tests, an_imatrix_says_the_same, 0, MODELS);
}

int main(void)
{
    plain.isa = mq_isa_detect();
    return mq_test_main("calibration", add_tests);
}
