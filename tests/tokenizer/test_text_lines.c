/* Texts as lines of JSON: which lines there are, and how far each goes. */
#include "test_support.h"

#include "text_lines.h"

#include <string.h>

struct reader {
    struct mq_buffer lines;
    struct mq_text_line line;
    size_t at;
};

static moeq_status next(struct reader *r, bool *more, moeq_error *err)
{
    memset(err, 0, sizeof *err);
    return mq_text_line_next("t.jsonl", &r->lines, &r->at, &r->line, more, err);
}

static void close_reader(struct reader *r)
{
    mq_buffer_free(&r->lines);
    mq_buffer_free(&r->line.text);
}

START_TEST(lines_are_read_one_by_one)
{
    static const char lines[] =
        "{\"text\": \"a\\u0000b\"}\n \t\r\n"
        "{\"text\": \"\", \"add_special_tokens\": false}\r\n{\"text\": \"c\"}";
    static const struct {
        const char *text;
        size_t size;
        bool special;
    } expected[] = {{"a\0b", 3, true}, {"", 0, false}, {"c", 1, true}};
    struct reader r = {0};
    moeq_error err;
    bool more;
    mq_buffer_puts(&r.lines, lines);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        ck_assert_ok(next(&r, &more, &err));
        ck_assert(more);
        ck_assert_uint_eq(r.line.text.size, expected[i].size);
        if (expected[i].size)
            ck_assert_int_eq(memcmp(r.line.text.data, expected[i].text, expected[i].size), 0);
        ck_assert_int_eq(r.line.add_special_tokens, expected[i].special);
    }
    ck_assert_ok(next(&r, &more, &err));
    ck_assert(!more);
    ck_assert_uint_eq(r.at, sizeof lines - 1);
    close_reader(&r);
}
END_TEST

START_TEST(what_is_no_text_is_refused_by_its_place)
{
    struct reader r = {0};
    moeq_error err;
    bool more;
    mq_buffer_puts(&r.lines, "{\"text\": \"a\"}\n{\"text\": 1}\n");
    ck_assert_ok(next(&r, &more, &err));
    ck_assert_int_eq(next(&r, &more, &err), MOEQ_MALFORMED);
    ck_assert_str_eq(err.message, "t.jsonl: JSON at byte 14: no \"text\"");
    close_reader(&r);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, lines_are_read_one_by_one);
    tcase_add_test(tc, what_is_no_text_is_refused_by_its_place);
}

int main(void)
{
    return mq_test_main("test_text_lines", add_tests);
}
