/* Windows and scored positions of both protocols; texts that are too short. */
#include "test_support.h"
#include "protocol.h"
#include "stored.h"
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

static int32_t *counting(size_t n)
{
    int32_t *ids = malloc(n * sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)i;
    return ids;
}

START_TEST(half)
{
    int32_t *ids = counting(19208);
    struct mq_protocol_options options = {0};
    struct mq_text_windows t;
    moeq_error err = {0};
    ck_assert_ok(mq_protocol_windows(&options, ids, 19208, 77, "text", &t, &err));
    ck_assert_uint_eq(t.windows.length, 512);
    ck_assert_uint_eq(t.windows.count, 37);
    ck_assert_uint_eq(t.first_scored, 256);
    ck_assert_uint_eq(t.scored_window, 255);
    ck_assert_uint_eq(mq_scored_tokens(&t), 9435);
    for (size_t i = 0; i < 37 * 512; i++)
        ck_assert_int_eq(t.windows.ids[i], i % 512 ? (int32_t)i : 77);
    mq_text_windows_free(&t);
    options.max_tokens = 1100;
    ck_assert_ok(mq_protocol_windows(&options, ids, 19208, -1, "text", &t, &err));
    ck_assert_uint_eq(t.windows.count, 2);
    ck_assert_int_eq(t.windows.ids[512], 512); /* no BOS, nothing replaced */
    ck_assert_int_eq(t.bos, -1);
    mq_text_windows_free(&t);
    options.context = 7; /* odd: positions 3..5 predict 4..6 */
    ck_assert_ok(mq_protocol_windows(&options, ids, 19208, 77, "text", &t, &err));
    ck_assert_uint_eq(t.first_scored, 3);
    ck_assert_uint_eq(t.scored_window, 3);
    mq_text_windows_free(&t);
    free(ids);
}
END_TEST

START_TEST(full)
{
    int32_t *ids = counting(19208);
    const struct mq_protocol_options options = {.protocol = MQ_PROTOCOL_FULL};
    struct mq_text_windows t;
    moeq_error err = {0};
    ck_assert_ok(mq_protocol_windows(&options, ids, 19208, 77, "text", &t, &err));
    ck_assert_uint_eq(t.windows.length, 2048);
    ck_assert_uint_eq(t.windows.count, 9);
    ck_assert_uint_eq(t.first_scored, 0);
    ck_assert_uint_eq(mq_scored_tokens(&t), 18423);
    for (size_t i = 0; i < 9 * 2048; i++)
        ck_assert_int_eq(t.windows.ids[i], (int32_t)i); /* BOS only where the tokenizer put it */
    mq_text_windows_free(&t);
    free(ids);
}
END_TEST

START_TEST(refusals)
{
    int32_t *ids = counting(600);
    struct mq_protocol_options options = {0};
    struct mq_text_windows t;
    moeq_error err = {0};
    ck_assert_int_eq(mq_protocol_windows(&options, ids, 511, 1, "a.txt", &t, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "a.txt"));
    ck_assert_ptr_nonnull(strstr(err.message, "needs 512 tokens (--context), found 511"));
    memset(&err, 0, sizeof err);
    options.max_tokens = 100;
    ck_assert_int_eq(mq_protocol_windows(&options, ids, 600, 1, "a.txt", &t, &err),
                     MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "found 100 (limited by --tokens)"));
    options.max_tokens = 0;
    for (options.context = 1; options.context < 3; options.context++) {
        memset(&err, 0, sizeof err);
        ck_assert_int_eq(mq_protocol_windows(&options, ids, 600, 1, "a.txt", &t, &err),
                         MOEQ_INVALID_ARGUMENT);
    }
    free(ids);
}
END_TEST

START_TEST(names)
{
    enum mq_protocol p;
    ck_assert(mq_protocol_find("half", &p) && p == MQ_PROTOCOL_HALF);
    ck_assert(mq_protocol_find("full", &p) && p == MQ_PROTOCOL_FULL);
    ck_assert(!mq_protocol_find("Half", &p));
    ck_assert_str_eq(mq_protocol_name(MQ_PROTOCOL_FULL), "full");
    ck_assert_uint_eq(mq_protocol_default_context(MQ_PROTOCOL_FULL), 2048);
}
END_TEST

START_TEST(demo_text)
{
    struct mq_view *view;
    moeq_error err = {0};
    struct mq_text_windows t;
    struct mq_protocol_options options = {0};
    ck_assert_ok(mq_model_open(mq_test_source("demo/model"), &view, &err));
    ck_assert_msg(mq_protocol_text(&options, view, mq_test_text(mq_test_source("demo/text.txt")),
                                   &t, &err) == MOEQ_OK,
                  "%s", err.message);
    ck_assert_uint_eq(t.text_tokens, 19208);
    ck_assert_int_eq(t.bos, 1);
    ck_assert_int_eq(t.windows.ids[512], 1);
    mq_text_windows_free(&t);
    options.context = 40000; /* the model has 32768 positions */
    ck_assert_int_eq(
        mq_protocol_text(&options, view, mq_test_text(mq_test_source("demo/text.txt")), &t, &err),
        MOEQ_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "32768"));
    mq_view_close(view);
}
END_TEST

START_TEST(no_tokenizer)
{
    struct mq_view *view;
    moeq_error err = {0};
    struct mq_text_windows t;
    const struct mq_protocol_options options = {0};
    ck_assert_ok(mq_model_open(mq_test_source("tests/fixtures/oracles/mixtral"), &view, &err));
    ck_assert_int_eq(
        mq_protocol_text(&options, view, mq_test_text(mq_test_source("demo/text.txt")), &t, &err),
        MOEQ_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "no tokenizer.json"));
    mq_view_close(view);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, half);
    tcase_add_test(tests, full);
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, names);
    tcase_add_test(tests, demo_text);
    tcase_add_test(tests, no_tokenizer);
}

int main(void)
{
    return mq_test_main("protocol", add);
}
