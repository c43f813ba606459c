/* Reports of documents made by hand: the verdict, the numbers' form, escaping, what happens to
 * nulls and missing parts, and that the pages are well-formed and load nothing. */
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

/* ---- the verdict ---- */

START_TEST(bands_follow_the_published_levels)
{
    ck_assert_int_eq(mq_quality_of(0), MQ_QUALITY_IDENTICAL);
    ck_assert_int_eq(mq_quality_of(0.0019), MQ_QUALITY_NEAR_LOSSLESS);
    ck_assert_int_eq(mq_quality_of(0.002), MQ_QUALITY_EXCELLENT);
    ck_assert_int_eq(mq_quality_of(0.01), MQ_QUALITY_GOOD);
    ck_assert_int_eq(mq_quality_of(0.1), MQ_QUALITY_FAIR);
    ck_assert_int_eq(mq_quality_of(0.31), MQ_QUALITY_POOR);
    ck_assert_int_eq(mq_quality_of(NAN), MQ_QUALITY_UNKNOWN);
}
END_TEST

static struct mq_verdict verdict_of(double kld, double kld_se, double same_top, double routing)
{
    return mq_verdict_of(
        &(struct mq_verdict_figures){{kld, kld_se}, {same_top, 0.001}, {routing, 0.001}});
}

START_TEST(a_class_is_the_worst_of_three)
{
    /* A mean divergence of 4 bits, beside every seventh top token and every eighth route changed. */
    struct mq_verdict v = verdict_of(0.0278, 0.0004, 0.866, 0.938);
    ck_assert_int_eq(v.quality, MQ_QUALITY_FAIR);
    ck_assert_str_eq(v.because, "same top token");
    v = verdict_of(0.0278, 0.0004, 0.93, 0.94);
    ck_assert_int_eq(v.quality, MQ_QUALITY_FAIR);
    ck_assert_str_eq(v.because, "routing");
    v = verdict_of(0.0278, 0.0004, 0.93, NAN); /* a dense model has no routes */
    ck_assert_int_eq(v.quality, MQ_QUALITY_GOOD);
    ck_assert(!mq_verdict_is_open(&v));
    v = verdict_of(0.012, 0.02, 0.95, 0.97);
    ck_assert_int_eq(v.best, MQ_QUALITY_EXCELLENT);
    ck_assert_int_eq(v.worst, MQ_QUALITY_FAIR);
    ck_assert(mq_verdict_is_open(&v));
    v = verdict_of(0, 0, 1, 1);
    ck_assert_int_eq(v.quality, MQ_QUALITY_IDENTICAL);
    ck_assert(!mq_verdict_is_open(&v));
    v = verdict_of(NAN, NAN, 0.5, 0.5);
    ck_assert_int_eq(v.quality, MQ_QUALITY_UNKNOWN);
    for (int q = MQ_QUALITY_NEAR_LOSSLESS; q < MQ_QUALITY_COUNT; q++) {
        ck_assert(mq_quality_bands[q].below > mq_quality_bands[q - 1].below);
        ck_assert(mq_quality_bands[q].same_top_from < mq_quality_bands[q - 1].same_top_from);
        ck_assert(mq_quality_bands[q].routing_from < mq_quality_bands[q - 1].routing_from);
    }
}
END_TEST

START_TEST(changed_top_tokens_are_not_recommended)
{
    cJSON *document = sweep_document("m"), *rows = cJSON_GetObjectItem(document, "rows");
    add_row(rows, "mix2", 2.8e9, 0.0278, 0.875);
    add_row(rows, "q4_k", 4.5e9, 0.0031, 0.978);
    cJSON *mix2 = cJSON_GetArrayItem(rows, 1);
    cJSON_ReplaceItemInObject(mix2, "same_top_rate",
                              cJSON_Parse("{\"value\": 0.866, \"se\": 0.002}"));
    struct mq_page report;
    moeq_error err = {0};
    ck_assert_ok(mq_report_read(document, &report, &err));
    ck_assert_str_eq(report.recommended->name, "q4_k");
    struct mq_buffer words = {0};
    mq_report_sentence(&report.arms[1], &words);
    ck_assert_ptr_nonnull(
        strstr(words.data, "clear change of the output by its same top token (KLD 0.028"));
    mq_buffer_free(&words);
    cJSON_Delete(document);
}
END_TEST

START_TEST(recommends_the_smallest_usable_level)
{
    cJSON *document = three_levels("m");
    struct mq_page report;
    moeq_error err = {0};
    ck_assert_ok(mq_report_read(document, &report, &err));
    ck_assert_str_eq(report.recommended->name, "q4_k");
    ck_assert(report.recommended_is_usable);
    ck_assert_ptr_null(report.lighter);
    ck_assert_str_eq(report.closer->name, "q8_0");
    /* A better class for at most a quarter more memory is worth it. */
    add_row(cJSON_GetObjectItem(document, "rows"), "q5_k", 5.5e9, 0.009, 0.99);
    ck_assert_ok(mq_report_read(document, &report, &err));
    ck_assert_str_eq(report.recommended->name, "q5_k");
    ck_assert_str_eq(report.lighter->name, "q4_k");
    struct mq_buffer words = {0};
    mq_report_headline(&report, &words);
    ck_assert_str_eq(words.data, "Take q5_k: 34.4\u00a0% of the memory, output almost unchanged.");
    mq_buffer_clear(&words);
    mq_report_sentence(&report.arms[2], &words);
    ck_assert_str_eq(words.data,
                     "28.1\u00a0% of the size (4.19\u00a0GiB), small change of the output "
                     "(KLD 0.031, 95.3\u00a0% same top token, perplexity +0.30\u00a0%), "
                     "97.8\u00a0% of expert choices intact.");
    mq_buffer_free(&words);
    cJSON_Delete(document);
}
END_TEST

/* Levels computed with as integers besides: in the tables, not in the verdict. */
START_TEST(other_arithmetic)
{
    cJSON *document = three_levels("m"), *int8 = cJSON_CreateArray();
    add_row(int8, "q3_k int8", 1, 0.0001, 0.9);
    cJSON_AddItemToObject(cJSON_GetArrayItem(cJSON_GetObjectItem(document, "rows"), 3), "int8",
                          cJSON_DetachItemFromArray(int8, 0));
    cJSON_Delete(int8);
    struct mq_page report;
    moeq_error err = {0};
    ck_assert_ok(mq_report_read(document, &report, &err));
    ck_assert_str_eq(report.recommended->name, "q4_k");
    ck_assert_ptr_null(report.arms[2].int8);
    ck_assert_double_eq(report.arms[3].int8->file_bytes, 3.4e9);
    char *md = rendered(document, MQ_REPORT_MARKDOWN), *html = rendered(document, MQ_REPORT_HTML);
    ck_assert_ptr_null(strstr(md, "Arithmetic:")); /* the document says nothing */
    ck_assert_ptr_nonnull(strstr(md, "| q3_k int8 | 3.17\u00a0GiB | 21.2\u00a0% | 4.500 | 0.0001"));
    ck_assert_ptr_nonnull(strstr(html, "<tr><th scope=\"row\">q3_k int8</th>"));
    free(md);
    free(html);
    cJSON_AddStringToObject(document, "compute", "f32");
    md = rendered(document, MQ_REPORT_MARKDOWN), html = rendered(document, MQ_REPORT_HTML);
    static const char words[] =
        "Arithmetic: f32. Rows named int8: the level above them, computed in int8.";
    ck_assert_ptr_nonnull(strstr(md, words));
    ck_assert_ptr_nonnull(strstr(html, words));
    ck_assert_ptr_nonnull(strstr(html, "; in f32</p>"));
    free(md);
    free(html);
    cJSON_Delete(document);
    document = verification(false, false);
    cJSON_AddStringToObject(document, "compute", "int8");
    cJSON *against = cJSON_GetObjectItem(document, "against");
    cJSON_AddStringToObject(against, "compute", "f32");
    cJSON_AddFalseToObject(against, "same_compute");
    md = rendered(document, MQ_REPORT_MARKDOWN);
    ck_assert_ptr_nonnull(strstr(md, "Arithmetic: int8. The recording was made with f32: the "));
    ck_assert_ptr_nonnull(strstr(md, "| Arithmetic of the recording | f32 |"));
    free(md);
    cJSON_Delete(document);
}
END_TEST

/* On a card what fits it and is closest to the original, however small others are; where nothing fits,
 * what is closest, and that it does not. */
START_TEST(for_a_card)
{
    static const char name[] = "GeForce RTX 4090";
    cJSON *document = three_levels("m"), *card = cJSON_CreateObject();
    cJSON *rows = cJSON_GetObjectItem(document, "rows");
    cJSON_AddStringToObject(card, "name", name);
    cJSON_AddNumberToObject(card, "context_tokens", 8192);
    cJSON_AddItemToObject(document, "card", card);
    for (int fitting = 1; fitting >= 0; fitting--) {
        struct mq_page report;
        moeq_error err = {0};
        struct mq_buffer words = {0};
        const char *smallest =
            cJSON_GetObjectItem(cJSON_GetArrayItem(rows, 3), "name")->valuestring;
        for (int i = 0; i < cJSON_GetArraySize(rows); i++) {
            cJSON *row = cJSON_GetArrayItem(rows, i), *of_row = cJSON_CreateObject();
            cJSON_AddBoolToObject(of_row, "fits", fitting && i >= 2);
            cJSON_AddNumberToObject(of_row, "max_context_tokens", 12288);
            cJSON_AddNumberToObject(of_row, "tokens_per_second_bound", 140);
            cJSON_DeleteItemFromObject(row, "card");
            cJSON_AddItemToObject(row, "card", of_row);
        }
        ck_assert_ok(mq_report_read(document, &report, &err));
        mq_report_headline(&report, &words);
        if (fitting) {
            ck_assert_str_ne(report.recommended->name, smallest);
            ck_assert_ptr_nonnull(strstr(
                words.data, "GiB, fits GeForce RTX 4090 with a context of up to 12,288 tokens, at "
                            "most 140 tokens/s; "));
        } else {
            ck_assert(!report.recommended_is_usable);
            ck_assert_ptr_nonnull(strstr(
                words.data, "does not fit GeForce RTX 4090 with a context of 8,192 tokens."));
        }
        mq_buffer_free(&words);
    }
    char *md = rendered(document, MQ_REPORT_MARKDOWN);
    ck_assert_ptr_nonnull(strstr(md, "of what fits the card, the level with the lowest"));
    free(md);
    cJSON_Delete(document);
}
END_TEST

START_TEST(says_so_when_no_level_is_usable)
{
    cJSON *document = sweep_document("m");
    add_row(cJSON_GetObjectItem(document, "rows"), "q2_k", 2e9, 0.4, 0.8);
    add_row(cJSON_GetObjectItem(document, "rows"), "q3_k", 3e9, 0.2, 0.9);
    struct mq_page report;
    moeq_error err = {0};
    ck_assert_ok(mq_report_read(document, &report, &err));
    ck_assert_str_eq(report.recommended->name, "q3_k");
    ck_assert(!report.recommended_is_usable);
    cJSON_Delete(document);
}
END_TEST

START_TEST(refuses_other_documents)
{
    static const char *const texts[] = {"{}", "[]", "{\"moeq_result\": \"eval\", \"rows\": [{}]}",
                                        "{\"moeq_result\": \"sweep\", \"rows\": []}",
                                        "{\"moeq_result\": \"sweep\", \"rows\": [3]}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cJSON *document = cJSON_Parse(texts[i]);
        struct mq_buffer out = {0};
        moeq_error err = {0};
        ck_assert_int_eq(mq_report_render(document, MQ_REPORT_HTML, &out, &err), MOEQ_MALFORMED);
        ck_assert_ptr_nonnull(strstr(err.message, "report: "));
        mq_buffer_free(&out);
        cJSON_Delete(document);
    }
}
END_TEST

/* ---- numbers ---- */

START_TEST(numbers_as_text)
{
    ck_assert_str_eq(mq_words_sig(0.00309249, 5).s, "0.0030925");
    ck_assert_str_eq(mq_words_sig(12345678, 5).s, "12345678");
    ck_assert_str_eq(mq_words_sig(1e-9, 3).s, "1.00e-09");
    ck_assert_str_eq(mq_words_sig(0, 5).s, "0");
    ck_assert_str_eq(mq_words_sig(NAN, 5).s, "not defined");
    ck_assert_str_eq(mq_words_sig(INFINITY, 5).s, "not defined");
    ck_assert_str_eq(mq_words_estimate((struct mq_estimate){0.0030925, 0.000136}, 5).s,
                     "0.00309 ± 0.00014");
    ck_assert_str_eq(mq_words_estimate((struct mq_estimate){2, NAN}, 3).s, "2.00");
    ck_assert_str_eq(mq_words_percent(0.9778).s, "97.8\u00a0%");
    ck_assert_str_eq(mq_words_percent(0.99997).s, "99.997\u00a0%"); /* not 100 % */
    ck_assert_str_eq(mq_words_percent(0.00004).s, "0.004\u00a0%");
    ck_assert_str_eq(mq_words_percent(1).s, "100\u00a0%");
    ck_assert_str_eq(mq_words_percent_estimate((struct mq_estimate){0.97785, 0.00063}).s,
                     "97.785 ± 0.063\u00a0%");
    ck_assert_str_eq(mq_words_percent_estimate((struct mq_estimate){0.5, 1e308}).s, "50.0\u00a0%");
    ck_assert_str_eq(mq_words_bytes(4.5 * 0x1p30).s, "4.50\u00a0GiB");
    ck_assert_str_eq(mq_words_count(1234567).s, "1,234,567");
    ck_assert_str_eq(mq_words_count(999).s, "999");
}
END_TEST

START_TEST(axes_end_at_round_numbers)
{
    struct mq_axis linear = {0}, logarithmic = {.logarithmic = true}, whole = {0};
    mq_axis_fit(&linear, 3.1, 6.6);
    ck_assert(linear.min == 3 && linear.max == 7);
    ck_assert_str_eq(linear.ticks[1].label, "4");
    mq_axis_fit(&logarithmic, 0.00013, 0.016);
    ck_assert_double_eq_tol(logarithmic.min, 1e-4, 1e-12);
    ck_assert_double_eq_tol(logarithmic.max, 0.02, 1e-12);
    mq_axis_fit_integers(&whole, 0, 31);
    ck_assert_str_eq(whole.ticks[1].label, "5");
    mq_axis_fit_integers(&whole, 1e300, 1e300);
    ck_assert(whole.ticks_count >= 2);
    /* What is not finite, or has no extent, still gives an axis. */
    const double odd[][2] = {{NAN, NAN}, {INFINITY, -INFINITY}, {2, 2}, {0, 0}, {-1e308, 1e308}};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        for (int k = 0; k < 2; k++) {
            struct mq_axis axis = {.logarithmic = k};
            mq_axis_fit(&axis, odd[i][0], odd[i][1]);
            ck_assert(axis.max > axis.min && axis.ticks_count >= 2);
        }
}
END_TEST

/* ---- the page ---- */

START_TEST(page_holds_every_part)
{
    cJSON *document = three_levels("mixtral");
    char *html = rendered(document, MQ_REPORT_HTML), *again = rendered(document, MQ_REPORT_HTML);
    check_page(html);
    ck_assert_str_eq(html, again);
    static const char *const parts[] = {"Take q4_k",
                                        "id=\"kld-t\"",
                                        "id=\"ppl-t\"",
                                        "id=\"layers-t\"",
                                        "99 %",
                                        "id=\"margins-t\"",
                                        "id=\"changed-t\"",
                                        "id=\"load-1-t\"",
                                        "@media print",
                                        "prefers-color-scheme:dark"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        ck_assert_msg(strstr(html, parts[i]), "the page lacks '%s'", parts[i]);
    free(html);
    free(again);
    cJSON_Delete(document);
}
END_TEST

/* A figure's title is spelled the same in every table, and its value is where the table says. */
START_TEST(columns_are_the_tables)
{
    cJSON *document = three_levels("m");
    char *html = rendered(document, MQ_REPORT_HTML), *md = rendered(document, MQ_REPORT_MARKDOWN);
    struct mq_page page;
    const struct mq_figure *f;
    moeq_error err = {0};
    size_t columns = 0;
    ck_assert_ok(mq_report_read(document, &page, &err));
    ck_assert_ptr_eq(mq_table_figure(&page, MQ_SECTION_ROUTING, 0),
                     &mq_figures[MQ_FIGURE_EXACT_SET]);
    ck_assert_ptr_null(mq_table_figure(&page, MQ_SECTION_ROUTING, 1)); /* no arm has another */
    for (; (f = mq_summary_figure(&page, columns)) != NULL; columns++) {
        char head[128];
        const char *unit = f->unit == MQ_UNIT_NATS ? " (nats)" : "";
        snprintf(head, sizeof head, " | %.60s%s |", f->title, unit);
        ck_assert_msg(strstr(md, head) != NULL, "Markdown lacks '%s'", head);
        snprintf(head, sizeof head, "\">%s<", mq_words_heading(f).s);
        ck_assert_msg(strstr(html, head) != NULL, "HTML lacks '%s'", head);
        snprintf(head, sizeof head, "<dt>%s: ", mq_words_heading(f).s);
        ck_assert_msg(strstr(html, head) != NULL, "no term '%s'", head);
    }
    ck_assert_uint_ge(columns, 5);
    ck_assert_ptr_nonnull(strstr(md, "| q4_k | 4.19\u00a0GiB | 28.1\u00a0% | 4.500 | 0.030900 ± "
                                     "0.000010 | 95.30 ± 0.20\u00a0% | 5.00 ± 0.10 | 1.00300 ± "
                                     "0.00050 | 97.80 ± 0.10\u00a0% | good |"));
    ck_assert_ptr_nonnull(strstr(md, "| original | 14.9\u00a0GiB | 100\u00a0% | 16.00 | 0 | — | "
                                     "4.98 ± 0.10 | 1 | — | reference |"));
    free(html);
    free(md);
    cJSON_Delete(document);
}
END_TEST

/* Puts a figure's value where the table says. */
static void set_figure(cJSON *row, const struct mq_figure *f, double value)
{
    char part[64];
    const char *path = f->json;
    for (;;) {
        const size_t n = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        cJSON *child = cJSON_GetObjectItemCaseSensitive(row, part);
        path += n + (path[n] == '.');
        if (!*path) {
            cJSON *item = cJSON_CreateNumber(value);
            if (f->has_error) {
                cJSON *estimate = cJSON_CreateObject();
                cJSON_AddItemToObject(estimate, "value", item);
                cJSON_AddItemToObject(estimate, "se", cJSON_CreateNumber(0));
                item = estimate;
            }
            cJSON_DeleteItemFromObjectCaseSensitive(row, part);
            cJSON_AddItemToObject(row, part, item);
            return;
        }
        row = child ? child : cJSON_AddObjectToObject(row, part);
    }
}

/* Every figure of a whole model that is to be shown is: its value, not its name alone. (Markdown, which
 * is to stay short, has routing in its summary only.) */
START_TEST(every_shown_figure_is_on_pages)
{
    cJSON *document = three_levels("DIR");
    cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItem(document, "rows"), 2);
    for (size_t i = 0; i < MQ_FIGURE_COUNT; i++)
        if (mq_figures[i].section != MQ_SECTION_MEMORY && mq_figures[i].scope == MQ_OF_MODEL)
            set_figure(row, &mq_figures[i], 0.31007 + 0.00213 * (double)i);
    char *html = rendered(document, MQ_REPORT_HTML), *md = rendered(document, MQ_REPORT_MARKDOWN);
    for (size_t i = 0; i < MQ_FIGURE_COUNT; i++) {
        const struct mq_figure *f = &mq_figures[i];
        if (f->section == MQ_SECTION_MEMORY || f->scope != MQ_OF_MODEL || f->shown == MQ_NOT_SHOWN)
            continue;
        const struct mq_words w = mq_words_figure(f, mq_report_figure(row, f));
        char value[64]; /* without its error and unit */
        snprintf(value, sizeof value, "%.*s", (int)strcspn(w.s, " "), w.s);
        ck_assert_msg(strstr(html, value), "%s: %s is not in the HTML", f->id, value);
        ck_assert_msg(f->section != MQ_SECTION_OUTPUT || strstr(md, value),
                      "%s: %s is not in the Markdown", f->id, value);
    }
    free(html);
    free(md);
    cJSON_Delete(document);
}
END_TEST

START_TEST(text_from_files_is_escaped)
{
    cJSON *document = three_levels("<script>alert(1)</script>&\"'\x01\xff|`*");
    cJSON_ReplaceItemInObject(cJSON_GetArrayItem(cJSON_GetObjectItem(document, "rows"), 2), "name",
                              cJSON_CreateString("\"><img src=x onerror=y>|<"));
    char *html = rendered(document, MQ_REPORT_HTML), *md = rendered(document, MQ_REPORT_MARKDOWN);
    ck_assert_ptr_null(strstr(html, "<script"));
    ck_assert_ptr_null(strstr(html, "<img"));
    ck_assert_ptr_nonnull(
        strstr(html, "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;\ufffd\ufffd|"));
    check_balanced(html);
    ck_assert_ptr_null(strstr(md, "<script"));
    ck_assert_ptr_null(strstr(md, "<img"));
    ck_assert_ptr_nonnull(strstr(md, "\\|\\`\\*"));
    free(html);
    free(md);
    cJSON_Delete(document);
}
END_TEST

/* What is counted by one has no plural. */
START_TEST(one_of_each)
{
    cJSON *document = three_levels("m"), *protocol = cJSON_GetObjectItem(document, "protocol");
    cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItem(document, "rows"), 1);
    cJSON *groups =
        cJSON_GetObjectItem(cJSON_GetObjectItem(row, "routing"), "kld_by_changed_layers");
    cJSON_SetNumberValue(cJSON_GetObjectItem(protocol, "windows"), 1);
    cJSON_SetNumberValue(cJSON_GetObjectItem(protocol, "scored_tokens"), 1);
    cJSON_SetNumberValue(cJSON_GetObjectItem(cJSON_GetArrayItem(groups, 1), "scored_tokens"), 1);
    cJSON_SetNumberValue(cJSON_GetObjectItem(cJSON_GetObjectItem(document, "model"), "layers"), 1);
    char *html = rendered(document, MQ_REPORT_HTML), *md = rendered(document, MQ_REPORT_MARKDOWN);
    ck_assert_ptr_nonnull(strstr(html, "<a href=\"#terms\">")); /* the glossary is a click away */
    static const char *const plural[] = {">1 tokens", " 1 windows", " 1 layers", " 1 predictions"};
    for (size_t i = 0; i < sizeof plural / sizeof *plural; i++) {
        ck_assert_msg(!strstr(html, plural[i]), "%s", plural[i]);
        ck_assert_msg(!strstr(md, plural[i]), "%s", plural[i]);
    }
    ck_assert_ptr_nonnull(strstr(html, "<small>1 token</small>"));
    ck_assert_ptr_nonnull(strstr(html, "mixtral, 1 layer, 2 experts, 1 for each token; measured on "
                                       "1 prediction of wiki.txt"));
    free(html);
    free(md);
    cJSON_Delete(document);
}
END_TEST

/* Labels stand beside their points as long as they find room; more stand to the right of the plot. */
START_TEST(crowded_points_are_named_aside)
{
    cJSON *document = three_levels("m"), *rows = cJSON_GetObjectItem(document, "rows");
    char *html = rendered(document, MQ_REPORT_HTML);
    ck_assert_ptr_nonnull(strstr(html, ">q4_k · 4.5 bits</text>"));
    free(html);
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "near-%d", i);
        add_row(rows, name, 4.5e9 + 1e7 * i, 0.031 + 1e-4 * i, 0.97);
    }
    html = rendered(document, MQ_REPORT_HTML);
    ck_assert_ptr_null(strstr(html, ">q4_k · 4.5 bits</text>"));
    ck_assert_ptr_nonnull(strstr(html, "class=\"name small\""));
    check_page(html);
    free(html);
    cJSON_Delete(document);
}
END_TEST

START_TEST(nulls_and_absent_parts)
{
    cJSON *document = three_levels("m");
    forget_numbers(document);
    char *html = rendered(document, MQ_REPORT_HTML), *md = rendered(document, MQ_REPORT_MARKDOWN);
    check_page(html);
    ck_assert_ptr_nonnull(strstr(html, "not defined"));
    ck_assert_ptr_null(strstr(html, "<svg"));
    free(html);
    free(md);
    cJSON_Delete(document);

    /* A dense model: no routing, no sections about it. */
    document = three_levels("m");
    cJSON *row;
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(document, "rows"))
        cJSON_DeleteItemFromObject(row, "routing");
    html = rendered(document, MQ_REPORT_HTML);
    check_page(html);
    ck_assert_uint_eq(count(html, "<svg "), 2);
    ck_assert_ptr_null(strstr(html, "same experts?"));
    free(html);
    cJSON_Delete(document);
}
END_TEST

START_TEST(swap_table_and_shares)
{
    cJSON *document = three_levels("m");
    cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItem(document, "rows"), 2);
    cJSON_AddItemToObject(
        row, "swap",
        cJSON_Parse("{\"own_weights_baseline_routes\": {\"ppl_ratio\": {\"value\": 1.0018, \"se\": "
                    "0.0004}}, \"baseline_weights_own_routes\": {\"ppl_ratio\": {\"value\": 1.001, "
                    "\"se\": 0.0004}}, \"shares_of_ln_ppl_ratio\": null, \"shares_of_kld_mean\": "
                    "{\"weights\": {\"value\": 0.6, \"se\": 0.01}, \"routes\": {\"value\": 0.3, "
                    "\"se\": 0.01}, \"interaction\": {\"value\": 0.1, \"se\": 0.01}}}"));
    struct mq_page report;
    moeq_error err = {0};
    ck_assert_ok(mq_report_read(document, &report, &err));
    ck_assert(mq_report_share(&report.arms[2], "kld_mean", "routes").value == 0.3);
    ck_assert(isnan(mq_report_share(&report.arms[2], "ln_ppl_ratio", "routes").value));
    ck_assert(isnan(mq_report_share(&report.arms[1], "kld_mean", "routes").value));
    char *html = rendered(document, MQ_REPORT_HTML), *md = rendered(document, MQ_REPORT_MARKDOWN);
    check_page(html);
    ck_assert_ptr_nonnull(strstr(html, "30.0\u00a0%<small>± 1.0\u00a0%"));
    ck_assert_ptr_nonnull(strstr(md, "60.0\u00a0% of the KLD"));
    free(html);
    free(md);
    cJSON_Delete(document);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, bands_follow_the_published_levels);
    tcase_add_test(tests, a_class_is_the_worst_of_three);
    tcase_add_test(tests, changed_top_tokens_are_not_recommended);
    tcase_add_test(tests, recommends_the_smallest_usable_level);
    tcase_add_test(tests, other_arithmetic);
    tcase_add_test(tests, for_a_card);
    tcase_add_test(tests, says_so_when_no_level_is_usable);
    tcase_add_test(tests, refuses_other_documents);
    tcase_add_test(tests, numbers_as_text);
    tcase_add_test(tests, axes_end_at_round_numbers);
    tcase_add_test(tests, page_holds_every_part);
    tcase_add_test(tests, columns_are_the_tables);
    tcase_add_test(tests, every_shown_figure_is_on_pages);
    tcase_add_test(tests, text_from_files_is_escaped);
    tcase_add_test(tests, one_of_each);
    tcase_add_test(tests, crowded_points_are_named_aside);
    tcase_add_test(tests, nulls_and_absent_parts);
    tcase_add_test(tests, swap_table_and_shares);
}

int main(void)
{
    return mq_test_main("report", add_tests);
}
