/* Pages of verifications, of files beside levels, warnings and gates, by documents made by hand. */
#include "report_documents.h"
#include "test_support.h"

#include "file.h"
#include "report.h"
#include "report_doc.h"
#include "report_svg.h"
#include "report_words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_headline(cJSON *document, const char *expected)
{
    struct mq_page report;
    struct mq_buffer words = {0};
    moeq_error err = {0};
    ck_assert_ok(mq_report_read(document, &report, &err));
    ck_assert(report.is_verification);
    ck_assert_ptr_null(report.recommended);
    mq_report_headline(&report, &words);
    ck_assert_str_eq(words.data, expected);
    mq_buffer_free(&words);
    cJSON_Delete(document);
}

START_TEST(verdict_of_a_verification)
{
    check_headline(verification(false, false), "new.moeq: good: 28.1\u00a0% of the memory, small "
                                               "change of the output.");
    check_headline(verification(false, true), "new.moeq fails the gate: 1 of 2 limits broken.");
    cJSON *document = verification(true, true);
    cJSON *limits = cJSON_GetObjectItem(cJSON_GetObjectItem(document, "gate"), "limits");
    cJSON_DeleteItemFromArray(limits, 0);
    check_headline(document, "B (new.moeq) passes the gate: 1 of 1 limit kept. B (new.moeq) is "
                             "closer to the original than A (old.moeq).");
    /* an interval with 0 in it; and none */
    document = verification(true, false);
    cJSON *kld = cJSON_GetObjectItem(
        cJSON_GetObjectItem(cJSON_GetObjectItem(document, "b_minus_a"), "figures"), "kld_nats");
    cJSON_ReplaceItemInObject(kld, "ci95", cJSON_Parse("[-0.03, 0.01]"));
    check_headline(document, "A (old.moeq) and B (new.moeq) are equally close to the original, as "
                             "far as this text can tell.");
    document = verification(true, false);
    cJSON_DeleteItemFromObject(document, "b_minus_a");
    check_headline(document, "A (old.moeq) is good, B (new.moeq) is good; too little text to "
                             "compare them.");
}
END_TEST

/* found `expected`, whose absence is a failure, in both forms of a report */
static void check_words(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(strstr(text, words[i]), "the report lacks '%s'", words[i]);
}

START_TEST(page_of_a_verification)
{
    static const char *const one[] = {"<h1>Against the original: new.moeq</h1>",
                                      "Broken limits",
                                      "kld.mean",
                                      "0.030900",
                                      "0.011",
                                      "Limits that were kept",
                                      "<b>new.moeq</b>",
                                      "<th scope=\"row\">new</th>", /* as the terminal calls it */
                                      "Shift of expert load at new.",
                                      "<td>max 0.02</td>",
                                      "How often a file changes",
                                      "dir/ref.moeqref",
                                      "against a recording of the original"};
    static const char *const two[] = {"B minus A",          "mean KL divergence",
                                      "B is closer",        "no clear difference",
                                      "−0.0200\u00a0nats",  "+0.700\u00a0pp",
                                      "&lt;odd {x",         "id=\"kld-t\"",
                                      "seed 20260101",      "<th scope=\"row\">A old</th>",
                                      "<b>B: new.moeq</b>", "B new · 4.5 bits"};
    cJSON *document = verification(false, true);
    char *html = rendered(document, MQ_REPORT_HTML), *md = rendered(document, MQ_REPORT_MARKDOWN);
    check_page(html);
    check_words(html, one, sizeof one / sizeof *one);
    ck_assert_ptr_null(strstr(html, "id=\"kld-t\"")); /* one file is no frontier */
    ck_assert_ptr_null(strstr(html, "Rule of the recommendation"));
    ck_assert_ptr_null(strstr(html, "{level}"));
    ck_assert_ptr_nonnull(strstr(md, "| kld.mean | 0.03090 ± 0.00080 | max 0.02 | 0.011 |"));
    free(html);
    free(md);
    cJSON_Delete(document);
    document = verification(true, false);
    html = rendered(document, MQ_REPORT_HTML);
    md = rendered(document, MQ_REPORT_MARKDOWN);
    check_page(html);
    check_words(html, two, sizeof two / sizeof *two);
    ck_assert_ptr_nonnull(strstr(md, "| B is closer |"));
    forget_numbers(document);
    free(html);
    free(md);
    html = rendered(document, MQ_REPORT_HTML);
    check_page(html);
    free(html);
    cJSON_Delete(document);
}
END_TEST

/* Three files against the original, each against the first. */
static cJSON *three_files(void)
{
    static const char figures[] =
        "{\"model\": \"%s\", \"minus\": \"A\", \"bootstrap\": {\"windows\": 37, \"resamples\": "
        "1000, "
        "\"generator\": \"splitmix64\", \"seed\": 1}, \"figures\": {\"kld_nats\": {\"mean\": %s, "
        "\"se\": 0.001, \"ci95\": [%s, %s]}}}";
    char text[1024];
    cJSON *document = verification(true, true), *list = cJSON_CreateArray();
    cJSON_DeleteItemFromObject(document, "b_minus_a");
    add_row(cJSON_GetObjectItem(document, "rows"), "C", 4.9e9, 0.0400, 0.96);
    cJSON_AddItemToArray(cJSON_GetObjectItem(document, "models"),
                         cJSON_CreateString("dir/<third>.gguf"));
    snprintf(text, sizeof text, figures, "B", "-0.02", "-0.022", "-0.018");
    cJSON_AddItemToArray(list, cJSON_Parse(text));
    snprintf(text, sizeof text, figures, "C", "0.01", "0.008", "0.012");
    cJSON_AddItemToArray(list, cJSON_Parse(text));
    cJSON_AddItemToObject(document, "differences", list);
    return document;
}

START_TEST(any_number_of_files)
{
    static const char *const words[] = {
        "<h1>Against the original: old.moeq, new.moeq and &lt;third&gt;.gguf</h1>",
        "C (&lt;third&gt;.gguf) fails the gate: 1 of 2 limits broken. Of 3 files, B (new.moeq) is "
        "the closest to the original.</p>",
        "<b>B minus A.</b>",
        "<b>C minus A.</b>",
        "B is closer",
        "A is closer",
        "File C"};
    cJSON *document = three_files();
    char *html = rendered(document, MQ_REPORT_HTML), *md = rendered(document, MQ_REPORT_MARKDOWN);
    check_page(html);
    check_words(html, words, sizeof words / sizeof *words);
    ck_assert_ptr_nonnull(strstr(md, "| C minus A | mean "));
    free(html);
    free(md);
    for (int i = 0; i < 2; i++)
        add_row(cJSON_GetObjectItem(document, "rows"), "D", 4.9e9, 0.05, 0.96);
    cJSON_AddItemToArray(cJSON_GetObjectItem(document, "models"), cJSON_CreateString("4th"));
    html = rendered(document, MQ_REPORT_HTML);
    ck_assert_ptr_nonnull(strstr(html, "old.moeq, new.moeq, &lt;third&gt;.gguf and 2 more</h1>"));
    free(html);
    cJSON_Delete(document);
}
END_TEST

/* Files beside levels: the verdict is about both. */
START_TEST(files_beside_levels)
{
    struct mq_page page;
    struct mq_buffer words = {0};
    moeq_error err = {0};
    cJSON *document = three_levels("m"),
          *row = cJSON_GetArrayItem(cJSON_GetObjectItem(document, "rows"), 2);
    cJSON_AddItemToObject(row, "path", cJSON_CreateString("dir/a.gguf"));
    ck_assert_ok(mq_report_read(document, &page, &err));
    ck_assert_str_eq(page.arms[2].file, "a.gguf");
    ck_assert_str_eq(mq_report_phrase(&page, "{Level}, {level}").s, "Level or file, level or file");
    page.recommended = &page.arms[2];
    mq_report_headline(&page, &words);
    ck_assert_msg(strstr(words.data, " (a.gguf): ") != NULL, "%s", words.data);
    mq_buffer_free(&words);
    char *html = rendered(document, MQ_REPORT_HTML);
    check_page(html);
    free(html);
    cJSON_Delete(document);
}
END_TEST

/* Parts of unexpected kinds, and lists that would take quadratic time. */
START_TEST(hostile_verifications)
{
    static const char *const keys[] = {"against", "models",    "model_files",
                                       "gate",    "b_minus_a", "differences"};
    static const char *const values[] = {
        "3",
        "null",
        "\"{level}{Level}{\"",
        "[]",
        "{}",
        "[[[1]], null, {\"limits\": 3}]",
        "[{\"figures\": {\"kld_nats\": {\"ci95\": [1, 2]}}, \"model\": 3}, {\"figures\": []}]",
        "{\"limits\": [1, null, {}, []], \"figures\": {\"kld_nats\": [], \"x\": {\"ci95\": 1}}, "
        "\"bootstrap\": [], \"kind\": {}, \"path\": []}"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            cJSON *document = verification(true, true);
            cJSON_DeleteItemFromObject(document, keys[k]);
            cJSON_AddItemToObject(document, keys[k], cJSON_Parse(values[v]));
            char *html = rendered(document, MQ_REPORT_HTML);
            char *md = rendered(document, MQ_REPORT_MARKDOWN);
            check_balanced(html);
            free(html);
            free(md);
            cJSON_Delete(document);
        }
}
END_TEST

/* A list in the row of a model, by its keys; of lists on the way the first entry. */
static void check_too_long(const char *const *path)
{
    cJSON *document = verification(false, false);
    cJSON *list = cJSON_GetArrayItem(cJSON_GetObjectItem(document, "rows"), 1);
    for (; *path; path++)
        list = cJSON_IsArray(list) ? cJSON_GetObjectItem(list->child, *path)
                                   : cJSON_GetObjectItem(list, *path);
    ck_assert(cJSON_IsArray(list));
    while (cJSON_GetArraySize(list) <= MQ_REPORT_ENTRIES)
        for (int i = 0; i < 1000; i++)
            cJSON_AddItemToArray(list, cJSON_CreateObject());
    struct mq_buffer out = {0};
    moeq_error err = {0};
    ck_assert_int_eq(mq_report_render(document, MQ_REPORT_HTML, &out, &err), MOEQ_MALFORMED);
    ck_assert_ptr_nonnull(strstr(err.message, "at most 4096 entries"));
    mq_buffer_free(&out);
    cJSON_Delete(document);
}

START_TEST(lists_that_no_model_has_are_refused)
{
    static const char *const paths[][5] = {{"routing", "layers"},
                                           {"routing", "kld_by_changed_layers"},
                                           {"routing", "layers", "expert_load", "baseline"},
                                           {"routing", "layers", "expert_load", "arm"}};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        check_too_long(paths[i]);
}
END_TEST

/* The original worse than guessing, by tokens or by bytes; and too few tokens. */
START_TEST(warns_of_what_is_not_to_be_believed)
{
    ck_assert(mq_byte_entropy("abcdabcd", 8) == 2);
    cJSON *document = three_levels("m"), *model = cJSON_GetObjectItem(document, "model");
    char *html = rendered(document, MQ_REPORT_HTML);
    ck_assert_ptr_null(strstr(html, "class=\"warning\""));
    free(html);
    cJSON_AddNumberToObject(model, "vocabulary", 4);
    cJSON *protocol = cJSON_GetObjectItem(document, "protocol");
    cJSON_ReplaceItemInObject(protocol, "scored_tokens", cJSON_CreateNumber(510));
    cJSON *q4_k = cJSON_GetArrayItem(cJSON_GetObjectItem(document, "rows"), 2);
    cJSON_ReplaceItemInObject(cJSON_GetObjectItem(q4_k, "kld_nats"), "mean",
                              cJSON_Parse("{\"value\": 0.0309, \"se\": 0.15}"));
    html = rendered(document, MQ_REPORT_HTML);
    check_page(html);
    ck_assert_ptr_nonnull(
        strstr(html, "its perplexity, 4.98, is above its vocabulary of 4 tokens"));
    ck_assert_ptr_nonnull(strstr(html, "Only 510 tokens stand behind"));
    ck_assert_ptr_nonnull(strstr(html, "tell the class of q4_k (excellent to poor)"));
    free(html);
    /* 1.6 nats a token of 2 bytes: 1.16 bits a byte */
    cJSON_ReplaceItemInObject(model, "vocabulary", cJSON_CreateNumber(32000));
    cJSON_AddItemToObject(cJSON_GetArrayItem(cJSON_GetObjectItem(document, "rows"), 0), "nll_nats",
                          cJSON_Parse("{\"value\": 1.6, \"se\": 0.1}"));
    cJSON_AddNumberToObject(protocol, "text_tokens", 1000);
    cJSON_AddNumberToObject(protocol, "text_bytes", 2000);
    cJSON_AddNumberToObject(protocol, "text_byte_entropy_bits", 1.1);
    char *md = rendered(document, MQ_REPORT_MARKDOWN);
    ck_assert_ptr_nonnull(strstr(md, "needs 1.15 bits for a byte of the text"));
    free(md);
    cJSON_ReplaceItemInObject(protocol, "text_byte_entropy_bits", cJSON_CreateNumber(4.3));
    md = rendered(document, MQ_REPORT_MARKDOWN);
    ck_assert_ptr_null(strstr(md, "looks broken"));
    free(md);
    cJSON_Delete(document);
}
END_TEST

/* Good figures beside a broken gate are not called good. */
START_TEST(a_broken_gate_looks_like_it)
{
    cJSON *document = verification(false, true);
    cJSON *kld = cJSON_GetObjectItem(
        cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(document, "rows"), 1),
                            "kld_nats"),
        "mean");
    cJSON_SetNumberValue(cJSON_GetObjectItem(kld, "value"), 0.003);
    char *html = rendered(document, MQ_REPORT_HTML), *md = rendered(document, MQ_REPORT_MARKDOWN);
    check_page(html);
    ck_assert_ptr_nonnull(strstr(html, "<p class=\"headline broken\"><svg class=\"icon\""));
    ck_assert_ptr_nonnull(strstr(html, "<span class=\"class q6\">fails the gate</span>"));
    *strstr(html, "What the classes mean") = '\0';
    ck_assert_ptr_null(strstr(strstr(html, "<body"), "excellent"));
    ck_assert_ptr_nonnull(strstr(md, "**❌ new.moeq fails the gate"));
    ck_assert_ptr_null(strstr(md, "excellent"));
    free(html);
    free(md);
    cJSON *limits = cJSON_GetObjectItem(cJSON_GetObjectItem(document, "gate"), "limits");
    cJSON_DeleteItemFromArray(limits, 0);
    html = rendered(document, MQ_REPORT_HTML);
    ck_assert_ptr_nonnull(strstr(html, "<p class=\"headline kept\"><svg class=\"icon\""));
    ck_assert_ptr_nonnull(strstr(html, ">excellent</span>"));
    free(html);
    cJSON_Delete(document);
}
END_TEST

/* 64 layers of 256 experts at 30 levels: below 1 MB, and each series is told from the others. */
START_TEST(a_large_page_stays_small)
{
    enum { LAYERS = 64, EXPERTS = 256, LEVELS = 30 };
    cJSON *document = sweep_document("m"), *rows = cJSON_GetObjectItem(document, "rows");
    struct mq_buffer text = {0};
    for (int level = 0; level < LEVELS; level++) {
        char name[16];
        snprintf(name, sizeof name, "level%d", level);
        add_row(rows, name, 8.5e9 - 1e8 * level, 0.001 * (level + 1), 0.99 - 0.01 * level);
        cJSON *layers = cJSON_CreateArray();
        for (int l = 0; l < LAYERS; l++) {
            mq_buffer_clear(&text);
            mq_buffer_printf(&text,
                             "{\"layer\": %d, \"exact_set_rate\": {\"value\": %g, \"se\": 0.001}, "
                             "\"expert_load\": {\"baseline\": [",
                             l, 0.99 - 0.005 * level - 0.001 * (l % 7));
            for (int e = 0; e < EXPERTS; e++)
                mq_buffer_printf(&text, "%s0.00390625", e ? "," : "");
            mq_buffer_puts(&text, "], \"arm\": [");
            for (int e = 0; e < EXPERTS; e++)
                mq_buffer_printf(&text, "%s%g", e ? "," : "",
                                 0.0039 + 1e-6 * level * ((l * 31 + e * 17) % 97 - 48));
            mq_buffer_puts(&text, "]}}");
            cJSON_AddItemToArray(layers, cJSON_Parse(text.data));
        }
        cJSON_ReplaceItemInObject(
            cJSON_GetObjectItem(cJSON_GetArrayItem(rows, level + 1), "routing"), "layers", layers);
    }
    mq_buffer_free(&text);
    char *html = rendered(document, MQ_REPORT_HTML);
    check_page(html);
    ck_assert_uint_lt(strlen(html), 1000000);
    ck_assert_ptr_nonnull(strstr(html, "A cell is 32 experts"));
    ck_assert_ptr_nonnull(strstr(html, ">level29</text>"));
    ck_assert_ptr_nonnull(strstr(html, "<summary>The other 2"));
    free(html);
    cJSON_Delete(document);
}
END_TEST

/* No pair of colour and shape comes twice among 64 series. */
START_TEST(marks_do_not_repeat)
{
    struct mq_buffer seen[64] = {{0}};
    for (int i = 0; i < 64; i++) {
        struct mq_chart c = {
            .out = &seen[i], .plot = {0, 0, 1, 1}, .x = {.max = 1}, .y = {.max = 1}};
        mq_chart_series(&c, i, false);
        mq_chart_point(&c, 0.5, 0.5, NAN, NULL);
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(seen[k].data, seen[i].data);
    }
    for (int i = 0; i < 64; i++)
        mq_buffer_free(&seen[i]);
}
END_TEST

START_TEST(file_names_decide_the_format)
{
    enum mq_report_format format;
    ck_assert(mq_report_format_of("a/b.html", &format) && format == MQ_REPORT_HTML);
    ck_assert(mq_report_format_of("b.HTM", &format) && format == MQ_REPORT_HTML);
    ck_assert(mq_report_format_of("b.md", &format) && format == MQ_REPORT_MARKDOWN);
    ck_assert(!mq_report_format_of("b.pdf", &format));
    ck_assert(!mq_report_format_of("b", &format));
    ck_assert(!mq_report_format_of("a.html/b", &format));
    ck_assert(!mq_report_format_of(".html", &format));
    cJSON *document = three_levels("m");
    moeq_error err = {0};
    const char *path = mq_test_temporary("report.md");
    ck_assert_ok(mq_report_write(document, path, NULL, &err));
    struct mq_buffer bytes = {0};
    ck_assert_ok(mq_file_read_all(path, 1 << 20, &bytes, &err));
    ck_assert_ptr_nonnull(strstr(bytes.data, "## What quantization costs: m"));
    mq_buffer_free(&bytes);
    ck_assert_int_eq(mq_report_write(document, "x.pdf", NULL, &err), MOEQ_INVALID_ARGUMENT);
    cJSON_Delete(document);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, warns_of_what_is_not_to_be_believed);
    tcase_add_test(tests, a_broken_gate_looks_like_it);
    tcase_add_test(tests, a_large_page_stays_small);
    tcase_add_test(tests, marks_do_not_repeat);
    tcase_add_test(tests, verdict_of_a_verification);
    tcase_add_test(tests, page_of_a_verification);
    tcase_add_test(tests, any_number_of_files);
    tcase_add_test(tests, files_beside_levels);
    tcase_add_test(tests, hostile_verifications);
    tcase_add_test(tests, lists_that_no_model_has_are_refused);
    tcase_add_test(tests, file_names_decide_the_format);
}

int main(void)
{
    return mq_test_main("report_verify", add_tests);
}
