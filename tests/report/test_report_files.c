/* test_report_files.c: tables, charts as files, model cards and joined results, of documents made by hand and of hostile
 * ones. */
#include "test_support.h"

#include "report.h"
#include "report_card.h"
#include "report_doc.h"
#include "report_join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What ends a line, a word, a cell, a comment or a block in each of the formats; a control of Latin 1, a byte order mark,
 * what is no UTF-8, and letters beyond 16 bits. */
static const char hostile[] = "=1+1|\"'`</text></style>\n---\n```\n# x: [y](z) $(a) \\ "
                              "\xc2\x85\xef\xbb\xbf\xff\xf0\x9f\x98\x80";

static cJSON *document(const char *name, const char *path)
{
    cJSON *d = cJSON_Parse("{\"moeq_result\": \"sweep\", \"compute\": \"f32\", \"model\": "
                           "{\"family\": \"mixtral\", \"experts\": 8, \"files\": "
                           "[{\"name\": \"m\", \"header_crc32\": \"0\"}]}, \"protocol\": "
                           "{\"name\": \"half\", \"context_tokens\": 512, "
                           "\"token_ids_crc32\": \"1\", \"scored_tokens\": 255}, \"source_card\": "
                           "{}, \"model_files\": [[]], \"rows\": "
                           "[{\"name\": \"source\", \"is_baseline\": true, \"file_bytes\": 9e9}, "
                           "{\"is_baseline\": false, \"file_bytes\": 4e9, "
                           "\"bits_per_weight\": 4.5, \"kld_nats\": {\"mean\": {\"value\": 0.01, "
                           "\"se\": 0.001}}, \"same_top_rate\": "
                           "{\"value\": 0.9, \"se\": null}}]}");
    ck_assert_ptr_nonnull(d);
    cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItem(d, "rows"), 1);
    cJSON *card = cJSON_GetObjectItem(d, "source_card");
    cJSON_AddStringToObject(row, "name", name);
    if (path)
        cJSON_AddStringToObject(row, "path", path);
    cJSON_AddStringToObject(cJSON_GetObjectItem(d, "model"), "path", name);
    cJSON_AddStringToObject(d, "text", name);
    static const char *const keys[] = {"base_model", "license", "license_name", "pipeline_tag"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        cJSON_AddStringToObject(card, keys[i], name);
    cJSON *language = cJSON_AddArrayToObject(card, "language");
    cJSON_AddItemToArray(language, cJSON_CreateString(name));
    return d;
}

static char *render(const cJSON *d, enum mq_report_format format)
{
    struct mq_buffer out = {0};
    moeq_error err = {0};
    ck_assert_ok(mq_report_render(d, format, &out, &err));
    return out.data;
}

static char *card_of(const cJSON *d, const char *chart)
{
    struct mq_page *page = malloc(sizeof *page);
    struct mq_buffer out = {0};
    moeq_error err = {0};
    ck_assert_ok(mq_report_read(d, page, &err));
    mq_report_card(page, chart, &out);
    ck_assert(mq_buffer_ok(&out));
    free(page);
    return out.data;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}

START_TEST(hostile_texts_stay_texts)
{
    cJSON *d = document(hostile, hostile);
    char *csv = render(d, MQ_REPORT_CSV), *svg = render(d, MQ_REPORT_SVG),
         *card = card_of(d, hostile);
    ck_assert_uint_eq(count(csv, "\n"), 3); /* header and two rows */
    ck_assert_uint_eq(count(csv, "\"="), 0);
    ck_assert_uint_eq(count(svg, "</style>"), 1);
    ck_assert_uint_eq(count(svg, "</svg>"), 1);
    ck_assert_uint_eq(count(card, "\n---\n"), 1); /* the first is at the beginning */
    const char *end = strstr(card, "\n---\n");
    for (const char *c = card; c < end; c++)
        ck_assert_msg(*c == '\n' || (*c >= 32 && *c < 127), "byte %d in the front matter", *c);
    ck_assert_uint_eq(count(card, "\n```"),
                      8); /* four blocks of commands, in which nothing begins a line */
    for (const char *at = end; *at;) {
        const size_t n = strcspn(at, "\n");
        const bool command =
            strchr("lmop", *at) != NULL; /* llama-server, lms, moeq, ollama, printf */
        const char *link = strstr(at, "](z)");
        ck_assert_msg(!link || link > at + n || link[-1] == '\\' || command, "%.*s", (int)n, at);
        at += n + (at[n] == '\n');
    }
    ck_assert_ptr_nonnull(strstr(card, "license: \"=1+1|\\\"'`</text></style>\\u000a---"));
    ck_assert_ptr_nonnull(strstr(card, "\\u0085\\ufeff\\ufffd\\U0001f600\""));
    free(csv);
    free(svg);
    free(card);
    cJSON_Delete(d);
}
END_TEST

/* Whatever a file is called: a shell reads its name back, and each command stays one line. */
START_TEST(commands_of_odd_names)
{
    static const struct {
        const char *path, *command;
    } names[] = {
        {"plain-q4_k.gguf", "\nllama-server -m plain-q4_k.gguf -ngl"},
        {"a b.gguf", "\nllama-server -m 'a b.gguf' -ngl"},
        {"it's`x`$(y).gguf", "\nllama-server -m 'it'\\''s`x`$(y).gguf' -ngl"},
        {"two\nlines'\\.gguf", "\nllama-server -m $'two\\nlines\\'\\\\.gguf' -ngl"},
        {"-x.gguf", "\nllama-server -m ./-x.gguf -ngl"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cJSON *d = document("A", names[i].path);
        char *card = card_of(d, NULL);
        ck_assert_msg(strstr(card, names[i].command) != NULL, "%s: %s", names[i].command, card);
        free(card);
        cJSON_Delete(d);
    }
}
END_TEST

START_TEST(what_is_absent_is_left_out)
{
    cJSON *d = cJSON_Parse("{\"moeq_result\": \"sweep\", \"rows\": [{\"is_baseline\": true}, {}]}");
    char *csv = render(d, MQ_REPORT_CSV), *card = card_of(d, NULL);
    struct mq_buffer out = {0};
    moeq_error err = {0};
    size_t charts = 0;
    ck_assert_int_eq(mq_report_render(d, MQ_REPORT_SVG, &out, &err), MOEQ_MALFORMED);
    ck_assert_ptr_nonnull(strstr(err.message, "nothing to draw"));
    ck_assert_ok(mq_report_write_charts(d, MQ_TEST_BINARY_DIR "/no-charts", &charts, &err));
    ck_assert_uint_eq(charts, 0);
    ck_assert_uint_eq(count(csv, "nan"), 0);
    ck_assert_ptr_null(strstr(card, "!["));
    ck_assert_ptr_nonnull(strstr(card, "# base_model: OWNER/NAME"));
    ck_assert_ptr_nonnull(strstr(card, "base_model_relation: quantized\n"));
    free(csv);
    free(card);
    mq_buffer_free(&out);
    cJSON_Delete(d);
}
END_TEST

/* Joins a document with another one of which a place has another value. */
static moeq_status join_changed(const char *object, const char *key, const char *value,
                                cJSON **joined, moeq_error *err)
{
    cJSON *a = document("q4_k", NULL), *b = document("q3_k", NULL);
    cJSON *in = object ? cJSON_GetObjectItem(b, object) : b;
    if (key) {
        cJSON_DeleteItemFromObject(in, key);
        if (value)
            cJSON_AddItemToObject(in, key, cJSON_Parse(value));
    }
    const moeq_status status = mq_report_join((const cJSON *[]){a, b},
                                              (const char *[]){"a.json", "b.json"}, 2, joined, err);
    cJSON_Delete(a);
    cJSON_Delete(b);
    return status;
}

START_TEST(joins_what_is_about_the_same)
{
    static const struct {
        const char *object, *key, *value, *message;
    } others[] = {
        {"model", "family", "\"llama\"",
         "b.json: is about another original than a.json: \"model.family\" is llama, and mixtral "
         "there"},
        {"model", "files", "[]", "its files are others"},
        {"model", "files", NULL, "its files are others"},
        {"protocol", "name", "\"full\"", "another protocol"},
        {"protocol", "token_ids_crc32", "\"2\"", "another text"},
        {"protocol", "context_tokens", "128", "is 128, and 512 there"},
        {NULL, "compute", "\"int8\"", "\"compute\" is int8, and f32 there"},
        {NULL, "moeq_result", "\"fit\"", "no result of a sweep"},
        {NULL, "rows", "[1]", "a row that is no object"},
    };
    cJSON *joined = NULL;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        moeq_error err = {0};
        ck_assert_int_ne(
            join_changed(others[i].object, others[i].key, others[i].value, &joined, &err), MOEQ_OK);
        ck_assert_msg(strstr(err.message, others[i].message) != NULL, "%s", err.message);
        ck_assert_ptr_null(joined);
    }
    moeq_error err = {0};
    ck_assert_ok(join_changed(NULL, NULL, NULL, &joined, &err));
    ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(joined, "rows")), 3);
    char *csv = render(joined, MQ_REPORT_CSV);
    ck_assert_ptr_nonnull(strstr(csv, "\"q4_k\",\"\",level,"));
    ck_assert_ptr_nonnull(strstr(csv, "\"q3_k\",\"\",level,"));
    free(csv);
    cJSON_Delete(joined);
}
END_TEST

/* More rows than a page has. */
START_TEST(too_many_rows_are_refused)
{
    enum { MANY = 70 };
    cJSON *all[MANY], *joined;
    const char *names[MANY];
    char name[16];
    moeq_error err = {0};
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "l%d", i);
        all[i] = document(name, NULL);
        names[i] = "x.json";
    }
    ck_assert_int_eq(mq_report_join((const cJSON *const *)all, names, MANY, &joined, &err),
                     MOEQ_LIMIT);
    for (int i = 0; i < MANY; i++)
        cJSON_Delete(all[i]);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, hostile_texts_stay_texts);
    tcase_add_test(tests, commands_of_odd_names);
    tcase_add_test(tests, what_is_absent_is_left_out);
    tcase_add_test(tests, joins_what_is_about_the_same);
    tcase_add_test(tests, too_many_rows_are_refused);
}

int main(void)
{
    return mq_test_main("test_report_files", add_tests);
}
