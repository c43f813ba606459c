/* test_text_match.c: the parts of names and paths, and patterns. */
#include "test_support.h"

#include "text_match.h"

START_TEST(parts_of_paths)
{
    static const struct {
        const char *path, *name, *extension;
    } cases[] = {
        {"model.moeq", "model.moeq", ".moeq"},
        {"a.b/model", "model", ""},
        {"/a/model.tar.gz", "model.tar.gz", ".gz"},
        {"a/.hidden", ".hidden", ""},
        {".hidden", ".hidden", ""},
        {"a/.hidden.md", ".hidden.md", ".md"},
        {"models/", "models/", ""},
        {"dot.", "dot.", "."},
        {"", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_str_eq(mq_base_name(cases[i].path), cases[i].name);
        ck_assert_str_eq(mq_extension(cases[i].path), cases[i].extension);
    }
}
END_TEST

START_TEST(ends)
{
    ck_assert(mq_ends_with("model.safetensors", ".safetensors"));
    ck_assert(mq_ends_with(".json", ".json"));
    ck_assert(mq_ends_with("any", ""));
    ck_assert(!mq_ends_with("json", ".json"));
    ck_assert(!mq_ends_with("a.json.part", ".json"));
}
END_TEST

START_TEST(patterns)
{
    ck_assert(mq_text_matches("*", ""));
    ck_assert(mq_text_matches("a*c", "abcbc"));
    ck_assert(mq_text_matches("*.w1.*", "experts.2.w1.weight"));
    ck_assert(!mq_text_matches("a*c", "abcb"));
    ck_assert(!mq_text_matches("", "a"));
    ck_assert(!mq_text_matches("a", ""));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, parts_of_paths);
    tcase_add_test(tests, ends);
    tcase_add_test(tests, patterns);
}

int main(void)
{
    return mq_test_main("text_match", add);
}
