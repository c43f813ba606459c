/* test_model_card.c: what is read of a README.md's metadata, and that anything else is passed over. */
#include "model_card.h"
#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mq_model_card parse(const char *text)
{
    struct mq_model_card card = {.license = ""};
    mq_model_card_parse(text, strlen(text), &card);
    return card;
}

START_TEST(keys_are_read)
{
    struct mq_model_card card =
        parse("\xef\xbb\xbf---\r\nlicense: other # as it is\r\nlicense_name: \"a \\\"b\\\"\"\r\n"
              "license_link: 'it''s # here'\r\nlanguage: \r\n- en\r\n  - \"no\"\r\n"
              "tags:\r\n- x\r\npipeline_tag: text-generation\r\n---\r\nlicense: mit\r\n");
    ck_assert_str_eq(card.license, "other");
    ck_assert_str_eq(card.license_name, "a \"b\"");
    ck_assert_str_eq(card.license_link, "it's # here");
    ck_assert_str_eq(card.pipeline_tag, "text-generation");
    ck_assert_uint_eq(card.languages_count, 2);
    ck_assert_str_eq(card.languages[0], "en");
    ck_assert_str_eq(card.languages[1], "no");
    card = parse("---\nlanguage: [en, 'fr' , de]\nlicense:apache-2.0\n");
    ck_assert_uint_eq(card.languages_count, 3);
    ck_assert_str_eq(card.languages[1], "fr");
    ck_assert_str_eq(card.languages[2], "de");
    card = parse("---\nlanguage: en\n---\n");
    ck_assert_str_eq(card.languages[0], "en");
}
END_TEST

START_TEST(what_is_no_text_of_one_line_is_empty)
{
    static const char *const texts[] = {
        "license: mit\n",
        "# A model\n---\nlicense: mit\n---\n",
        "---\n---\nlicense: mit\n",
        "---\n  license: mit\n",
        "---\nlicense: |\n  mit\n",
        "---\nlicense: &a mit\n",
        "---\nlicense: \"a\tb\"\n",
        "---\nlicense: \xff\xfe\n",
        "---\nlicense:\n- mit\n",
        "---\nlicenses: mit\n",
        "---\nlicense",
        "---",
        "",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct mq_model_card card = parse(texts[i]);
        ck_assert_msg(!card.license[0], "%s: '%s'", texts[i], card.license);
        ck_assert_uint_eq(card.languages_count, 0);
    }
}
END_TEST

/* Texts longer than there is room for, more languages than are kept, and brackets without end. */
START_TEST(what_is_too_much_is_left_out)
{
    enum { LONG = 5000 };
    char *text = malloc(3 * LONG);
    size_t n = (size_t)sprintf(text, "---\nlicense: ");
    memset(text + n, 'x', LONG);
    n += LONG;
    n += (size_t)sprintf(text + n, "\nlanguage: [");
    for (int i = 0; i < 1000; i++)
        n += (size_t)sprintf(text + n, "l%d,", i % 10);
    struct mq_model_card card = {.license = ""};
    mq_model_card_parse(text, n, &card);
    ck_assert_str_eq(card.license, "");
    ck_assert_uint_eq(card.languages_count, MQ_CARD_LANGUAGES);
    free(text);
}
END_TEST

START_TEST(a_folder_says_where_it_is_from)
{
    struct mq_model_card card;
    char folder[600], path[700];
    snprintf(folder, sizeof folder, "%s/models--some-one--A.b/snapshots/0", MQ_TEST_BINARY_DIR);
    snprintf(path, sizeof path, "mkdir -p '%s'", folder);
    ck_assert_int_eq(system(path), 0);
    ck_assert_int_eq(mq_model_card_read(folder, &card, NULL), MOEQ_OK);
    ck_assert_str_eq(card.repository, "some-one/A.b");
    snprintf(folder, sizeof folder, "%s/card-folder", MQ_TEST_BINARY_DIR);
    snprintf(path, sizeof path, "mkdir -p '%s'", folder);
    ck_assert_int_eq(system(path), 0);
    static const struct {
        const char *name, *repository;
    } cases[] = {{"mistralai/Mixtral-8x7B-v0.1", "mistralai/Mixtral-8x7B-v0.1"},
                 {"/home/me/model", ""},
                 {"./a/b", ""},
                 {"a/b/c", ""},
                 {"a/../b", ""},
                 {"a/b c", ""},
                 {"name", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(path, sizeof path, "%s/config.json", folder);
        FILE *f = fopen(path, "w");
        ck_assert_ptr_nonnull(f);
        fprintf(f, "{\"_name_or_path\": \"%s\"}", cases[i].name);
        fclose(f);
        ck_assert_int_eq(mq_model_card_read(folder, &card, NULL), MOEQ_OK);
        ck_assert_str_eq(card.repository, cases[i].repository);
    }
    ck_assert_int_eq(mq_model_card_read("/no/such/folder", &card, NULL), MOEQ_OK);
    ck_assert_str_eq(card.license, "");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, keys_are_read);
    tcase_add_test(tests, what_is_no_text_of_one_line_is_empty);
    tcase_add_test(tests, what_is_too_much_is_left_out);
    tcase_add_test(tests, a_folder_says_where_it_is_from);
}

int main(void)
{
    return mq_test_main("test_model_card", add_tests);
}
