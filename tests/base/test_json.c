/* test_json.c: the grammar, what is refused beyond it, memory, members one by one. */
#include "test_support.h"

#include "json.h"
#include "json_string.h"

#include <stdlib.h>
#include <string.h>

static const struct mq_json_limits limits = {.depth = 4, .values = 20};

static moeq_status parse(const char *text, const struct mq_json_limits *with, moeq_error *err)
{
    cJSON *tree = NULL;
    memset(err, 0, sizeof *err);
    const moeq_status status = mq_json_parse(text, strlen(text), with, "x", 0, &tree, err);
    ck_assert_int_eq(tree != NULL, status == MOEQ_OK);
    cJSON_Delete(tree);
    return status;
}

START_TEST(good)
{
    static const char *const texts[] = {
        "0",
        " -0.5e+10 ",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\"",
        "[]",
        "{}",
        "[[], {}, [1, -2.5, 1E5, true, false, null]]",
        "{\"a\": {\"\": [\"\"]}, \"b\":0}\r\n\t",
        "\xef\xbb\xbf[1]",
        "[NaN, Infinity, -Infinity]",
        "\"\xf0\x9f\x98\x80\"",
        "100000000000000000000000000000000000000000000000000000000000000000000000000000000",
    };
    moeq_error err;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ck_assert_msg(parse(texts[i], &limits, &err) == MOEQ_OK, "%s: %s", texts[i], err.message);
}
END_TEST

START_TEST(bad)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "byte 0: found nothing"},
        {"  ", "byte 2: found nothing"},
        {"[", "byte 1: found the end inside an array or object"},
        {"[1", "byte 2: found the end inside an array or object"},
        {"{\"a\"", "byte 4: found the end inside an array or object"},
        {"[1}", "byte 2: found a closing bracket of the other kind"},
        {"]", "byte 0: found a closing bracket without an opening one"},
        {"[1,]", "byte 3: found a closing bracket where a value or key is due"},
        {"{\"a\":}", "byte 5: found a closing bracket where a value or key is due"},
        {"{\"a\":1,}", "byte 7: found a closing bracket where a value or key is due"},
        {"[,1]", "byte 1: found a comma where none is due"},
        {"[1,,2]", "byte 3: found a comma where none is due"},
        {",", "byte 0: found a comma where none is due"},
        {"[1:2]", "byte 2: found a colon where none is due"},
        {"{\"a\" 1}", "byte 5: found no colon behind a key"},
        {"{1:2}", "byte 1: found something else than a key"},
        {"[1 2]", "byte 3: found no comma between values"},
        {"[\"a\"\"b\"]", "byte 4: found no comma between values"},
        {"1 2", "byte 2: found text after the end"},
        {"{}[]", "byte 2: found text after the end"},
        {"01", "byte 0: found a number with a leading zero"},
        {"-", "byte 0: found text that is no JSON value"},
        {"+1", "byte 0: found text that is no JSON value"},
        {".5", "byte 0: found text that is no JSON value"},
        {"1.", "byte 0: found text that is no JSON value"},
        {"1e", "byte 0: found text that is no JSON value"},
        {"1x", "byte 0: found text that is no JSON value"},
        {"tru", "byte 0: found text that is no JSON value"},
        {"nulls", "byte 0: found text that is no JSON value"},
        {"\"a", "byte 0: found a string without an end"},
        {"\"a\\\"", "byte 0: found a string without an end"},
        {"\"\n\"", "byte 1: found a control character inside a string"},
        {"\"\\x\"", "byte 1: found a backslash that begins no escape"},
        {"\"\\u12g4\"", "byte 1: found \\u without four hexadecimal digits"},
        {"\"\\u12\"", "byte 1: found \\u without four hexadecimal digits"},
        {"\"\\ud800\"", "byte 1: found half of a surrogate pair"},
        {"\"\\udc00\"", "byte 1: found half of a surrogate pair"},
        {"\"\\ud800\\u0041\"", "byte 1: found half of a surrogate pair"},
        {"\"\xff\"", "byte 1: invalid UTF-8"},
        {"[[[[[1]]]]]", "byte 4: found nesting deeper than any such file needs"},
        {"[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0]",
         "byte 39: found more values than any such file needs"},
        {"{\"a\\u0000b\": 1}", "byte 3: found the character U+0000 in a name"},
        {"{\"a\": [\"b\\u0000\"]}", "byte 9: found the character U+0000 in a text"},
    };
    moeq_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_msg(parse(cases[i].text, &limits, &err) != MOEQ_OK, "%s", cases[i].text);
        ck_assert_str_eq(err.message + strlen("x: JSON at "), cases[i].message);
    }
}
END_TEST

/* A caller that takes texts from the text itself may have any character in them, but not in names. */
START_TEST(nul)
{
    const struct mq_json_limits kept = {.depth = 4, .values = 20, .nul_in_texts = true};
    static const char text[] = "{\"a\": \"b\\u0000\\\\u0000\"}";
    struct mq_buffer value = {0};
    moeq_error err;
    bool found;
    ck_assert_int_eq(parse(text, &kept, &err), MOEQ_OK);
    ck_assert_ok(mq_json_string_member(text, strlen(text), "a", &value, &found, &err));
    ck_assert_int_eq(value.size, 8);
    ck_assert_mem_eq(value.data, "b\0\\u0000", 8);
    mq_buffer_free(&value);
    ck_assert_int_eq(parse("{\"\\u0000\": 1}", &kept, &err), MOEQ_MALFORMED);
    ck_assert_int_eq(parse("[\"\\\\u0000\"]", &limits, &err), MOEQ_OK); /* no escape of it */
}
END_TEST

static int countdown;

static void *allocate(size_t n)
{
    return --countdown == 0 ? NULL : malloc(n);
}

/* Memory that is missing inside cJSON is no fault of the text. */
START_TEST(out_of_memory)
{
    cJSON_Hooks hooks = {allocate, free};
    moeq_error err;
    moeq_status status = MOEQ_NO_MEMORY;
    int n = 0;
    cJSON_InitHooks(&hooks);
    while (status == MOEQ_NO_MEMORY) {
        countdown = ++n;
        status = parse("{\"a\": [1, \"two\", {\"b\": null}]}", &limits, &err);
        if (status != MOEQ_OK)
            ck_assert_str_eq(err.message, "out of memory while reading JSON");
    }
    cJSON_InitHooks(NULL);
    ck_assert_int_eq(status, MOEQ_OK);
    ck_assert_int_gt(n, 8);
}
END_TEST

START_TEST(members)
{
    static const char text[] =
        " { \"a\" : [1,{\"b\":2}] ,\"\\u0062\":\"}\\\"]\", \"c\":true,\"d\":-1.5 , \"e\":{}} ";
    static const char *const expected[][2] = {
        {"a", "[1,{\"b\":2}]"}, {"b", "\"}\\\"]\""}, {"c", "true"}, {"d", "-1.5"}, {"e", "{}"}};
    static const char *const empty[] = {"{}", " { } ", "[1]", "[{\"a\":1}]", "\"{\"", "1"};
    const struct mq_json_limits roomy = {.depth = 4, .values = 40};
    struct mq_json_walk walk = {0};
    struct mq_buffer key = {0};
    moeq_error err = {0};
    uint64_t count;
    ck_assert_ok(mq_json_check(text, strlen(text), &roomy, "x", 0, &walk, &count, &err));
    ck_assert_uint_eq(count, 5);
    for (size_t i = 0; i < 5; i++) {
        ck_assert(mq_json_walk_next(&walk));
        mq_buffer_clear(&key);
        mq_json_decode_string(text, walk.key, walk.key_end, &key);
        ck_assert_str_eq(key.data, expected[i][0]);
        ck_assert_uint_eq(walk.value_end - walk.value, strlen(expected[i][1]));
        ck_assert_mem_eq(text + walk.value, expected[i][1], strlen(expected[i][1]));
    }
    ck_assert(!mq_json_walk_next(&walk));
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        walk = (struct mq_json_walk){0};
        ck_assert_ok(
            mq_json_check(empty[i], strlen(empty[i]), &roomy, "x", 0, &walk, &count, &err));
        ck_assert_uint_eq(count, 0);
        ck_assert(!mq_json_walk_next(&walk));
    }
    mq_buffer_free(&key);
}
END_TEST

START_TEST(values_are_the_same)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"1", "1.0", true},
        {"1", "2", false},
        {"1", "\"1\"", false},
        {"true", "true", true},
        {"true", "false", false},
        {"null", "null", true},
        {"[1, [2]]", "[1, [2]]", true},
        {"[1, 2]", "[2, 1]", false},
        {"[1]", "[1, 2]", false},
        {"{\"a\": 1, \"b\": {\"c\": \"d\"}}", "{\"b\": {\"c\": \"d\"}, \"a\": 1}", true},
        {"{\"a\": 1}", "{\"A\": 1}", false},
        {"{\"a\": 1}", "{\"a\": 1, \"b\": 1}", false},
        {"{\"a\": 1, \"b\": 1}", "{\"a\": 1}", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cJSON *a = cJSON_Parse(cases[i].a), *b = cJSON_Parse(cases[i].b);
        ck_assert(a && b);
        ck_assert_msg(mq_json_same(a, b) == cases[i].same, "%s, %s", cases[i].a, cases[i].b);
        cJSON_Delete(a);
        cJSON_Delete(b);
    }
    ck_assert(!mq_json_same(NULL, NULL));
}
END_TEST

/* Of {"k0": 0, "k1": 1, ...}, forwards or backwards. */
static cJSON *long_object(int n, bool backwards)
{
    struct mq_buffer text = {0};
    for (int i = 0; i < n; i++)
        mq_buffer_printf(&text, "%s\"k%d\": %d", i ? ", " : "{", backwards ? n - 1 - i : i,
                         backwards ? n - 1 - i : i);
    mq_buffer_puts(&text, "}");
    cJSON *o = cJSON_Parse(text.data);
    ck_assert_ptr_nonnull(o);
    mq_buffer_free(&text);
    return o;
}

/* One after the other it would be 10^10 comparisons, which no test waits for. */
START_TEST(long_objects_are_compared_at_once)
{
    enum { MEMBERS = 100000 };
    cJSON *a = long_object(MEMBERS, false), *b = long_object(MEMBERS, true);
    ck_assert(mq_json_same(a, b));
    cJSON_SetNumberHelper(b->child, -1);
    ck_assert(!mq_json_same(a, b));
    cJSON_Delete(a);
    cJSON_Delete(b);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, values_are_the_same);
    tcase_add_test(tests, long_objects_are_compared_at_once);
    tcase_add_test(tests, good);
    tcase_add_test(tests, bad);
    tcase_add_test(tests, nul);
    tcase_add_test(tests, out_of_memory);
    tcase_add_test(tests, members);
}

int main(void)
{
    return mq_test_main("test_json", add_tests);
}
