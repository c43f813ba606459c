/* test_importance.c: the table from tensors to the importance of their columns. */
#include "importance.h"
#include "test_support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MODEL "tests/fixtures/oracles/mixtral"
enum { MAX_COLS = 1024 };

static struct mq_view *open_model(void)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_view_open(mq_test_source(MODEL), &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

static struct mq_importance *new_table(void)
{
    struct mq_importance *table;
    moeq_error err = {0};
    ck_assert_ok(mq_importance_create("model.cal", &table, &err));
    return table;
}

static void fill(float *columns, size_t cols, uint64_t seed)
{
    for (size_t c = 0; c < cols; c++)
        columns[c] = mq_test_uniform(&seed);
}

/* Every matrix of the view, from the last one or from the first. */
static struct mq_importance *table_of(const struct mq_view *view, bool backwards, uint64_t inputs)
{
    struct mq_importance *table = new_table();
    moeq_error err = {0};
    for (size_t k = 0; k < view->tensors_count; k++) {
        const size_t i = backwards ? view->tensors_count - 1 - k : k;
        const struct mq_tensor *t = &view->tensors[i];
        float columns[MAX_COLS];
        ck_assert_uint_le(t->cols, MAX_COLS);
        fill(columns, t->cols, i + 1);
        if (t->dims == 2)
            ck_assert_ok(mq_importance_add(table, t->name, columns, t->cols, inputs, &err));
    }
    return table;
}

START_TEST(every_matrix_finds_its_own)
{
    struct mq_view *view = open_model();
    struct mq_importance *table = table_of(view, false, 1000);
    moeq_error err = {0};
    ck_assert_ok(mq_importance_check(table, view, &err));
    size_t found = 0;
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        const float *columns = mq_importance_columns(table, t);
        float expected[MAX_COLS];
        fill(expected, t->cols, i + 1);
        ck_assert((columns != NULL) == (t->dims == 2));
        if (columns)
            ck_assert_mem_eq(columns, expected, t->cols * sizeof *columns);
        found += columns != NULL;
        ck_assert_ptr_null(mq_importance_columns(NULL, t));
    }
    ck_assert_uint_eq(mq_importance_count(table), found);
    ck_assert_str_eq(mq_importance_source(table), "model.cal");
    mq_importance_destroy(table);
    mq_view_close(view);
}
END_TEST

START_TEST(fingerprints_tell_contents_not_orders)
{
    struct mq_view *view = open_model();
    struct mq_importance *a = table_of(view, false, 9), *b = table_of(view, true, 9);
    moeq_error err = {0};
    ck_assert_uint_eq(mq_importance_fingerprint(a), mq_importance_fingerprint(b));
    const float one = 1;
    ck_assert_ok(mq_importance_add(b, "another", &one, 1, 9, &err));
    ck_assert_uint_ne(mq_importance_fingerprint(a), mq_importance_fingerprint(b));
    mq_importance_destroy(a);
    mq_importance_destroy(b);
    mq_view_close(view);
}
END_TEST

static void check_refused(const char *name, const float *columns, size_t cols, const char *message)
{
    struct mq_importance *table = new_table();
    moeq_error err = {0};
    ck_assert_ok(mq_importance_add(table, "a", (const float[]){1, 2}, 2, 3, &err));
    ck_assert_int_eq(mq_importance_add(table, name, columns, cols, 3, &err), MOEQ_MALFORMED);
    ck_assert_msg(strstr(err.message, message) != NULL, "%s", err.message);
    ck_assert_uint_eq(mq_importance_count(table), 1);
    mq_importance_destroy(table);
}

START_TEST(bad_columns_are_refused)
{
    check_refused("b", (const float[]){1, -1}, 2,
                  "model.cal: 'b', column 1: expected a mean square, found -1");
    check_refused("b", (const float[]){NAN}, 1, "'b', column 0");
    check_refused("b", (const float[]){1, 2, INFINITY}, 3, "'b', column 2");
    check_refused("b", NULL, 0, "'b' has no columns");
    check_refused("a", (const float[]){1}, 1, "'a' is there twice");
}
END_TEST

START_TEST(another_models_table_is_refused)
{
    struct mq_view *view = open_model();
    struct mq_importance *table = new_table();
    const struct mq_tensor *t = mq_view_find(view, MQ_ROLE_EXPERT_DOWN, 0, 1);
    const float columns[3] = {1, 2, 3};
    moeq_error err = {0}, none = {0};
    ck_assert_int_eq(mq_importance_check(table, view, &none), MOEQ_INVALID_ARGUMENT);
    ck_assert_msg(strstr(none.message, "none of its 0 matrices is in ") != NULL, "%s",
                  none.message);
    ck_assert_ok(mq_importance_add(table, t->name, columns, 3, 3, &err));
    ck_assert_ptr_null(mq_importance_columns(table, t));
    ck_assert_int_eq(mq_importance_check(table, view, &err), MOEQ_INVALID_ARGUMENT);
    char expected[256];
    snprintf(expected, sizeof expected, "model.cal: '%s' has 3 columns, in %s it has %d", t->name,
             view->path, (int)t->cols);
    ck_assert_msg(strstr(err.message, expected) == err.message, "%s", err.message);
    mq_importance_destroy(table);
    mq_view_close(view);
}
END_TEST

START_TEST(few_inputs_lean_on_the_prior)
{
    float columns[] = {1, 2, 0};
    const float prior[] = {3, 2, 4};
    mq_importance_blend(columns, 3, 128, prior);
    ck_assert(columns[0] == 2 && columns[1] == 2 && columns[2] == 2);
    mq_importance_blend(columns, 3, UINT64_MAX, prior);
    ck_assert(columns[0] == 2 && columns[1] == 2 && columns[2] == 2);
    mq_importance_blend(columns, 3, 0, prior);
    ck_assert_mem_eq(columns, prior, sizeof prior);
}
END_TEST

/* Experts of a layer with 0, 128, 256, ... inputs, whose columns are all 1, 2, 3, ... but the first, 0. */
static struct mq_importance *experts_of(const struct mq_view *view, enum mq_role role, double *mean)
{
    struct mq_importance *table = new_table();
    const struct mq_tensor *t;
    double sum = 0, inputs = 0;
    moeq_error err = {0};
    for (int32_t e = 0; (t = mq_view_find(view, role, 0, e)) != NULL; e++) {
        float columns[MAX_COLS] = {0};
        for (size_t c = 1; c < t->cols; c++)
            columns[c] = (float)(e + 1);
        sum += 128.0 * e * (e + 1);
        inputs += 128.0 * e;
        ck_assert_ok(mq_importance_add(table, t->name, columns, t->cols, 128 * (uint64_t)e, &err));
    }
    *mean = sum / inputs;
    ck_assert_ok(mq_importance_blend_experts(table, view, &err));
    ck_assert_ok(
        mq_importance_blend_experts(table, view, &err)); /* the second time nothing happens */
    return table;
}

START_TEST(experts_lean_on_their_layer_or_on_their_own_mean)
{
    static const enum mq_role roles[] = {MQ_ROLE_EXPERT_GATE, MQ_ROLE_EXPERT_UP,
                                         MQ_ROLE_EXPERT_DOWN};
    struct mq_view *view = open_model();
    for (int r = 0; r < 3; r++) {
        double mean;
        struct mq_importance *table = experts_of(view, roles[r], &mean);
        const struct mq_tensor *t;
        for (int32_t e = 0; (t = mq_view_find(view, roles[r], 0, e)) != NULL; e++) {
            const double cols = (double)t->cols, own = e + 1, share = e / (e + 1.0);
            const double prior = r < 2 ? mean : own * (cols - 1) / cols;
            const float *columns = mq_importance_columns(table, t);
            ck_assert_double_eq_tol((double)columns[1], share * own + (1 - share) * prior, 1e-6);
            ck_assert_double_eq_tol((double)columns[0], r < 2 ? 0 : (1 - share) * prior, 1e-6);
        }
        mq_importance_destroy(table);
    }
    mq_view_close(view);
}
END_TEST

START_TEST(every_column_counts_a_little)
{
    static const float columns[4] = {0, 0, 4, 0};
    struct mq_view *view = open_model();
    struct mq_importance *table;
    moeq_error err = {0};
    struct mq_tensor t = {.name = "matrix", .cols = 4};
    ck_assert_ok(mq_importance_create("here", &table, &err));
    ck_assert_ok(mq_importance_add(table, t.name, columns, 4, 10, &err));
    mq_importance_raise(table);
    for (size_t c = 0; c < 4; c++)
        ck_assert_double_eq_tol((double)mq_importance_columns(table, &t)[c],
                                (double)columns[c] + MQ_IMPORTANCE_FLOOR, 1e-6);
    mq_importance_destroy(table);
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, every_matrix_finds_its_own);
    tcase_add_test(tests, fingerprints_tell_contents_not_orders);
    tcase_add_test(tests, bad_columns_are_refused);
    tcase_add_test(tests, another_models_table_is_refused);
    tcase_add_test(tests, few_inputs_lean_on_the_prior);
    tcase_add_test(tests, experts_lean_on_their_layer_or_on_their_own_mean);
    tcase_add_test(tests, every_column_counts_a_little);
}

int main(void)
{
    return mq_test_main("test_importance", add_tests);
}
