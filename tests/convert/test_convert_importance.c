/* test_convert_importance.c: what is known of columns reaches every encoder, in the order that the file
 * has them in. */
#include "test_model.h"

#include "convert.h"
#include "gguf_form.h"
#include "stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOURCE "/some/where/text.cal"

/* Of every second matrix. */
static struct mq_importance *table_of(const struct mq_view *view, uint64_t seed)
{
    struct mq_importance *table;
    moeq_error err = {0};
    ck_assert_ok(mq_importance_create(SOURCE, &table, &err));
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        float *columns = malloc(t->cols * sizeof *columns);
        ck_assert_ptr_nonnull(columns);
        for (uint64_t c = 0; c < t->cols; c++)
            columns[c] = mq_test_uniform(&seed) * mq_test_uniform(&seed);
        if (t->dims == 2 && i % 2 == 0)
            ck_assert_ok(mq_importance_add(table, t->name, columns, t->cols, 100, &err));
        free(columns);
    }
    return table;
}

static struct mq_policy policy_of(const char *level, const struct mq_importance *importance)
{
    struct mq_policy policy = mq_policy_default(mq_level_find(level));
    policy.importance = importance;
    return policy;
}

/* cancelled after so many steps of progress, if not 0 */
static moeq_status convert(const struct mq_plan *plan, const char *path, int steps,
                           struct mq_convert_result *result, moeq_error *err)
{
    struct test_stopper stopper = {.left = steps};
    const struct mq_context context = {.isa = mq_isa_detect(),
                                       .threads = 1,
                                       .progress = steps ? test_stop_progress : NULL,
                                       .progress_user = &stopper,
                                       .cancel = &stopper.cancel};
    const struct mq_convert_options options = {.output = path, .replace = true};
    return mq_convert(&context, plan, &options, result, err);
}

/* Rows of a source that is not quantized. */
static float *weights_of(const struct mq_view *view, const struct mq_tensor *t)
{
    const struct mq_level *level = mq_level_find(t->storage);
    moeq_error err = {0};
    uint8_t *bytes = malloc(t->rows * t->row_bytes);
    float *weights = malloc(t->rows * t->cols * sizeof *weights);
    ck_assert(bytes && weights && level);
    ck_assert_ok(mq_view_read_rows(view, t, 0, t->rows, bytes, &err));
    mq_level_decode_rows(level, MQ_ISA_GENERIC, bytes, t->rows, t->cols, weights);
    free(bytes);
    return weights;
}

static bool encodes_to(const struct mq_plan_entry *e, const float *importance, const float *weights,
                       const uint8_t *expected)
{
    uint8_t *bytes = malloc(e->size_bytes);
    ck_assert_ptr_nonnull(bytes);
    mq_level_encode_rows(e->level, mq_isa_detect(), MQ_EFFORT_DEFAULT, importance, weights,
                         e->tensor->rows, e->tensor->cols, bytes);
    const bool same = memcmp(bytes, expected, e->size_bytes) == 0;
    free(bytes);
    return same;
}

START_TEST(moeq_files_are_weighed)
{
    struct mq_view *view;
    struct mq_plan *plan;
    struct mq_convert_result result;
    moeq_error err = {0};
    char path[1024];
    strcpy(path, mq_test_temporary("weighed.moeq"));
    ck_assert_ok(mq_model_open(mq_test_source(MIXTRAL), &view, &err));
    struct mq_importance *table = table_of(view, 1);
    const struct mq_policy policy = policy_of("q4_k", table);
    ck_assert_ok(mq_plan_create(view, &policy, &plan, &err));
    ck_assert_msg(convert(plan, path, 0, &result, &err) == MOEQ_OK, "%s", err.message);
    struct mq_buffer file = test_read(path);
    char expected[64];
    snprintf(expected, sizeof expected, "effort=default; importance=text.cal %08x\"",
             mq_importance_fingerprint(table));
    ck_assert_ptr_nonnull(memmem(file.data, file.size, expected, strlen(expected)));
    size_t known = 0, differ = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        const float *importance = mq_importance_columns(table, e->tensor);
        if (!e->level->quantized)
            continue;
        float *weights = weights_of(view, e->tensor);
        const uint8_t *bytes = (const uint8_t *)file.data + e->offset;
        ck_assert_msg(encodes_to(e, importance, weights, bytes), "%s", e->tensor->name);
        known += importance != NULL;
        differ += importance && !encodes_to(e, NULL, weights, bytes);
        free(weights);
    }
    ck_assert(known > 4 && differ == known);
    mq_buffer_free(&file);
    mq_plan_free(plan);
    mq_importance_destroy(table);
    mq_view_close(view);
}
END_TEST

START_TEST(gguf_files_say_so)
{
    /* the key, that it is text (8), of 8 bytes */
    static const char said[] = "quantize.imatrix.file\10\0\0\0\10\0\0\0\0\0\0\0text.cal";
    static const char entries[] = "quantize.imatrix.entries_count";
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    struct mq_importance *table = table_of(view, 1);
    const struct mq_gguf_options gguf = {.unify_up = true};
    for (int k = 0; k < 2; k++) {
        struct mq_plan *plan;
        const struct mq_policy policy = policy_of("q4_k", k ? table : NULL);
        ck_assert_msg(mq_plan_create_gguf(view, &policy, &gguf, &plan, &err) == MOEQ_OK, "%s",
                      err.message);
        const char *header = plan->files[0].header;
        const uint64_t size = plan->files[0].header_bytes;
        ck_assert((memmem(header, size, said, sizeof said - 1) != NULL) == k);
        ck_assert((memmem(header, size, entries, sizeof entries - 1) != NULL) == k);
        mq_plan_free(plan);
    }
    mq_importance_destroy(table);
    mq_view_close(view);
}
END_TEST

/* Where a file has columns in another order, importance follows: a plan whose matrices are to have
 * their halves the other way round. */
START_TEST(importance_follows_its_columns)
{
    struct mq_view *view;
    struct mq_plan *plan;
    struct mq_convert_result result;
    moeq_error err = {0};
    char path[1024];
    strcpy(path, mq_test_temporary("turned.moeq"));
    ck_assert_ok(mq_model_open(mq_test_source(MIXTRAL), &view, &err));
    struct mq_importance *table = table_of(view, 2);
    const struct mq_policy policy = policy_of("q4_k", table);
    ck_assert_ok(mq_plan_create(view, &policy, &plan, &err));
    struct mq_plan_entry *e = NULL;
    for (size_t i = 0; i < view->tensors_count; i++)
        if (plan->entries[i].tensor->role == MQ_ROLE_EXPERT_UP &&
            mq_importance_columns(table, plan->entries[i].tensor))
            e = &plan->entries[i];
    ck_assert_ptr_nonnull(e);
    const uint64_t cols = e->tensor->cols, half = cols / 2;
    const struct mq_form_run runs[] = {{0, half, half, 0}, {half, half, 0, 0}};
    const struct mq_form form = {.what = MQ_FORM_COLUMNS, .columns = runs, .columns_count = 2};
    e->form = &form;
    ck_assert_msg(convert(plan, path, 0, &result, &err) == MOEQ_OK, "%s", err.message);
    struct mq_buffer file = test_read(path);
    float *weights = weights_of(view, e->tensor), *turned = weights_of(view, e->tensor);
    float *columns = malloc(cols * sizeof *columns);
    for (uint64_t r = 0; r < e->tensor->rows; r++)
        mq_form_columns(&form, 1, sizeof(float), false, weights + r * cols, turned + r * cols);
    mq_form_columns(&form, 1, sizeof(float), false, mq_importance_columns(table, e->tensor),
                    columns);
    const uint8_t *bytes = (const uint8_t *)file.data + e->offset;
    ck_assert(encodes_to(e, columns, turned, bytes));
    ck_assert(!encodes_to(e, mq_importance_columns(table, e->tensor), turned, bytes));
    free(weights);
    free(turned);
    free(columns);
    mq_buffer_free(&file);
    mq_plan_free(plan);
    mq_importance_destroy(table);
    mq_view_close(view);
}
END_TEST

/* What was encoded by another table is encoded anew. */
START_TEST(another_importance_is_another_conversion)
{
    struct mq_view *view;
    char path[1024];
    moeq_error err = {0}, stopped = {0};
    strcpy(path, mq_test_temporary("continued.moeq"));
    ck_assert_ok(mq_model_open(mq_test_source(MIXTRAL), &view, &err));
    struct mq_importance *tables[] = {table_of(view, 1), table_of(view, 1), table_of(view, 3)};
    struct mq_convert_result result;
    for (size_t k = 1; k < 3; k++) {
        struct mq_plan *first, *second;
        const struct mq_policy begun = policy_of("q3_k", tables[0]);
        const struct mq_policy other = policy_of("q3_k", tables[k]);
        ck_assert_ok(mq_plan_create(view, &begun, &first, &err));
        ck_assert_ok(mq_plan_create(view, &other, &second, &err));
        ck_assert_int_eq(convert(first, path, 20, &result, &stopped), MOEQ_CANCELLED);
        ck_assert_ok(convert(second, path, 0, &result, &err));
        ck_assert((result.tensors_resumed > 0) == (k == 1));
        ck_assert_int_eq(unlink(path), 0);
        mq_plan_free(first);
        mq_plan_free(second);
    }
    for (size_t k = 0; k < 3; k++)
        mq_importance_destroy(tables[k]);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, moeq_files_are_weighed);
    tcase_add_test(tests, gguf_files_say_so);
    tcase_add_test(tests, importance_follows_its_columns);
    tcase_add_test(tests, another_importance_is_another_conversion);
}

int main(void)
{
    return mq_test_main("test_convert_importance", add_tests);
}
