/* test_sums_list.c: lists of SHA-256 sums, as sha256sum writes them and as nobody should. */
#include "sums_list.h"
#include "test_support.h"

#include <stdlib.h>
#include <string.h>

#define A "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" /* of no bytes */
#define B "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" /* of "abc" */
#define B_LARGE "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"

/* The examples of FIPS 180-2, appendix B. */
START_TEST(sums_are_those_of_the_standard)
{
    static const struct {
        const char *text, *sum;
        int times;
    } known[] = {
        {"", A, 1},
        {"abc", B, 1},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", 1},
        {"aaaaaaaaaa", "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", 100000},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct mq_sha256 s;
        char text[MQ_SHA256_TEXT];
        mq_sha256_begin(&s);
        for (int k = 0; k < known[i].times; k++)
            mq_sha256_add(&s, known[i].text, strlen(known[i].text));
        mq_sha256_end(&s, text);
        ck_assert_str_eq(text, known[i].sum);
    }
}
END_TEST

START_TEST(every_form_is_read)
{
    static const char text[] =
        "# a comment\r\n" A "  a.safetensors\r\n" B_LARGE " *./sub/b c.gguf\n\n"
        "SHA256 (d (1) = e) = " B "\n"
        "\\" A "  back\\\\slash\\nline\n"
        "\\SHA256 (\\r) = " B "\n" A "  a.safetensors\n" B "   spaces ";
    static const struct mq_sum expected[] = {
        {"a.safetensors", A, 2},     {"sub/b c.gguf", B, 3}, {"d (1) = e", B, 5},
        {"back\\slash\nline", A, 6}, {"\r", B, 7},           {" spaces ", B, 9}};
    struct mq_arena *arena = mq_arena_create();
    struct mq_sums sums;
    moeq_error err = {0};
    ck_assert_msg(mq_sums_parse("L", text, sizeof text - 1, arena, &sums, &err) == MOEQ_OK, "%s",
                  err.message);
    ck_assert_uint_eq(sums.count, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < sums.count; i++) {
        ck_assert_str_eq(sums.rows[i].name, expected[i].name);
        ck_assert_str_eq(sums.rows[i].sha256, expected[i].sha256);
        ck_assert_uint_eq(sums.rows[i].line, expected[i].line);
    }
    mq_arena_destroy(arena);
}
END_TEST

START_TEST(what_is_written_is_read)
{
    static const char *const names[] = {"a", "b c", "back\\slash", "end\n", "\r\n"};
    struct mq_buffer text = {0};
    struct mq_arena *arena = mq_arena_create();
    struct mq_sums sums;
    moeq_error err = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        mq_sums_put(&text, i % 2 ? A : B, names[i]);
    ck_assert(mq_sums_is(text.data, text.size));
    ck_assert_ok(mq_sums_parse("L", text.data, text.size, arena, &sums, &err));
    for (size_t i = 0; i < sums.count; i++)
        ck_assert_str_eq(sums.rows[i].name, names[i]);
    mq_buffer_free(&text);
    mq_arena_destroy(arena);
}
END_TEST

START_TEST(other_lists_are_refused)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "found none"},
        {"# only this\n", "found none"},
        {A "  a\nhello\n", "line 2: expected 64 hexadecimal digits"},
        {"e3b0  a\n", "line 1: expected 64"},
        {A "g  a\n", "line 1: expected 64"},
        {A " a\n", "line 1: expected 64"},
        {A "  \n", "line 1: expected 64"},
        {"SHA256 () = " A "\n", "line 1: expected 64"},
        {"SHA256 (a) = e3b0\n", "line 1: expected 64"},
        {"SHA1 (a) = " A "\n", "line 1: expected 64"},
        {A "  a\n" B "  ./a\n", "line 2: the name stands there before, with another sum"},
        {A "  /etc/passwd\n", "line 1: the name leads out of the folder"},
        {A "  ./../x\n", "line 1: the name leads out of the folder"},
        {A "  a/..\n", "line 1: the name leads out of the folder"},
        {A "  ..\n", "line 1: the name leads out of the folder"},
        {A "  ./\n", "line 1: the name is that of the folder"},
        {A "  ././/./", "line 1: the name is that of the folder"},
        {"\\" A "  .\\x\n", "line 1: expected \\\\, \\n or \\r"},
        {"\\" A "  a\\\n", "line 1: expected \\\\, \\n or \\r"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mq_arena *arena = mq_arena_create();
        struct mq_sums sums;
        moeq_error err = {0};
        ck_assert_msg(mq_sums_parse("L", bad[i].text, strlen(bad[i].text), arena, &sums, &err) ==
                          MOEQ_MALFORMED,
                      "%zu", i);
        ck_assert_msg(strstr(err.message, bad[i].message) != NULL, "%s", err.message);
        ck_assert_str_eq(err.path, "L");
        mq_arena_destroy(arena);
    }
}
END_TEST

/* Bytes that are no text, and a name that is longer than a path may be. */
START_TEST(hostile_bytes_are_refused)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_sums sums;
    moeq_error err = {0};
    ck_assert_int_eq(mq_sums_parse("L", A "  a\0b\n", sizeof A + 5, arena, &sums, &err),
                     MOEQ_MALFORMED);
    char *text = calloc(1, 1 << 16);
    memset(text, 'x', (1 << 16) - 1);
    memcpy(text, A "  ", sizeof A + 1);
    err = (moeq_error){0};
    ck_assert_int_eq(mq_sums_parse("L", text, 1 << 16, arena, &sums, &err), MOEQ_MALFORMED);
    free(text);
    mq_arena_destroy(arena);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, sums_are_those_of_the_standard);
    tcase_add_test(tests, every_form_is_read);
    tcase_add_test(tests, what_is_written_is_read);
    tcase_add_test(tests, other_lists_are_refused);
    tcase_add_test(tests, hostile_bytes_are_refused);
}

int main(void)
{
    return mq_test_main("sums_list", add_tests);
}
