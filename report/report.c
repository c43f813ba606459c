/* report.c: which report a file is to be, and writing it. */
#include "report.h"

#include "error.h"
#include "file.h"
#include "json.h"
#include "json_tree.h"
#include "new_file.h"
#include "report_card.h"
#include "report_csv.h"
#include "report_check.h"
#include "report_doc.h"
#include "report_figures.h"
#include "report_html.h"
#include "report_md.h"
#include "report_words.h"
#include "text_match.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *ending;
    enum mq_report_format format;
} endings[] = {{".html", MQ_REPORT_HTML},   {".htm", MQ_REPORT_HTML},
               {".md", MQ_REPORT_MARKDOWN}, {".markdown", MQ_REPORT_MARKDOWN},
               {".csv", MQ_REPORT_CSV},     {".svg", MQ_REPORT_SVG}};

bool mq_report_format_of(const char *path, enum mq_report_format *format)
{
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(mq_extension(path), endings[i].ending) == 0) {
            *format = endings[i].format;
            return true;
        }
    return false;
}

moeq_status mq_report_parse(const char *text, size_t n, const char *name, cJSON **document,
                            moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = 32, .values = MQ_REPORT_MOST_VALUES};
    if (n > MQ_REPORT_MOST_BYTES)
        return mq_fail_file(err, MOEQ_LIMIT, name, "%zu bytes: expected at most %d", n,
                            MQ_REPORT_MOST_BYTES);
    MQ_TRY(mq_json_parse(text, n, &limits, name, 0, document, err));
    const moeq_status status = mq_report_check(*document, name, err);
    if (status != MOEQ_OK) {
        cJSON_Delete(*document);
        *document = NULL;
    }
    return status;
}

static moeq_status render(const struct mq_page *page, enum mq_report_format format,
                          struct mq_buffer *out, moeq_error *err)
{
    switch (format) {
    case MQ_REPORT_HTML:
        mq_report_html(page, out);
        break;
    case MQ_REPORT_MARKDOWN:
        mq_report_markdown(page, out);
        break;
    case MQ_REPORT_CSV:
        mq_report_csv(page, out);
        break;
    case MQ_REPORT_SVG:
        if (!mq_report_frontier_svg(page, out))
            return mq_fail(
                err, MOEQ_MALFORMED,
                "there is nothing to draw: no size and KL divergence of a level or file");
        break;
    }
    return MOEQ_OK;
}

/* The document as a page, which the caller frees. */
static moeq_status read_page(const cJSON *document, struct mq_page **page, moeq_error *err)
{
    *page = malloc(sizeof **page);
    return *page ? mq_report_read(document, *page, err) : mq_fail_memory(err, "the report");
}

moeq_status mq_report_render(const cJSON *document, enum mq_report_format format,
                             struct mq_buffer *out, moeq_error *err)
{
    struct mq_page *page;
    moeq_status status = read_page(document, &page, err);
    if (status == MOEQ_OK)
        status = render(page, format, out, err);
    if (status == MOEQ_OK && !mq_buffer_ok(out))
        status = mq_fail_memory(err, "the report");
    free(page);
    return status;
}

bool mq_report_card_chart(const char *card, char chart[PATH_MAX])
{
    const int n = snprintf(chart, PATH_MAX, "%.*s.svg", (int)(mq_extension(card) - card), card);
    return n >= 0 && n < PATH_MAX;
}

moeq_status mq_report_write_card(const cJSON *document, const char *path,
                                 const struct mq_claims *claims, moeq_error *err)
{
    struct mq_page *page;
    struct mq_buffer card = {0}, svg = {0};
    char chart[PATH_MAX];
    moeq_status status = read_page(document, &page, err);
    if (status == MOEQ_OK && !mq_report_card_chart(path, chart))
        status = mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path, "the path is too long");
    if (status == MOEQ_OK) {
        const bool drawn = mq_report_frontier_svg(page, &svg);
        mq_report_card(page, drawn ? mq_base_name(chart) : NULL, &card);
        if (!mq_buffer_ok(&card) || !mq_buffer_ok(&svg))
            status = mq_fail_memory(err, "the model card");
        if (status == MOEQ_OK && drawn)
            status = mq_file_replace(chart, svg.data, svg.size, err);
    }
    if (status == MOEQ_OK)
        status = mq_file_replace_claimed(path, card.data, card.size, claims, err);
    mq_buffer_free(&card);
    mq_buffer_free(&svg);
    free(page);
    return status;
}

struct charts {
    const char *folder;
    size_t count;
};

static moeq_status write_chart(void *user, const char *name, const struct mq_buffer *svg,
                               moeq_error *err)
{
    struct charts *charts = user;
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s.svg", charts->folder, name) >= (int)sizeof path)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, charts->folder, "the path is too long");
    charts->count++;
    return mq_file_replace(path, svg->data, svg->size, err);
}

moeq_status mq_report_write_charts(const cJSON *document, const char *folder, size_t *count,
                                   moeq_error *err)
{
    struct charts charts = {.folder = folder};
    struct mq_page *page;
    moeq_status status = read_page(document, &page, err);
    if (status == MOEQ_OK && mkdir(folder, 0777) != 0 && !mq_path_is_folder(folder))
        status = mq_fail_file(err, MOEQ_IO, folder, "cannot be made: %s", strerror(errno));
    if (status == MOEQ_OK)
        status = mq_report_figures(page, write_chart, &charts, err);
    free(page);
    *count = charts.count;
    return status;
}

/* Of a sentence of a page: spaces that it does not break at (U+00A0) are spaces. */
static void unbind(struct mq_buffer *text)
{
    for (char *p = text->data; p && (p = strstr(p, "\u00a0")) != NULL;) {
        *p = ' ';
        memmove(p + 1, p + 2, strlen(p + 2) + 1);
        text->size--;
    }
}

static void put_name(struct mq_json_tree *b, cJSON *o, const char *key,
                     const struct mq_report_arm *arm)
{
    mq_json_put_text(b, o, key, arm ? arm->id : NULL);
}

moeq_status mq_report_put_verdict(cJSON *document, moeq_error *err)
{
    struct mq_json_tree b = {0};
    struct mq_page *page;
    struct mq_buffer text = {0};
    moeq_status status = read_page(document, &page, err);
    if (status == MOEQ_OK) {
        cJSON *o = mq_json_object(&b);
        mq_report_headline(page, &text);
        unbind(&text);
        mq_json_put_text(&b, o, "sentence", text.data);
        if (!page->is_verification) {
            put_name(&b, o, "take", page->recommended_is_usable ? page->recommended : NULL);
            put_name(&b, o, "least_damage", page->recommended_is_usable ? NULL : page->recommended);
            put_name(&b, o, "lighter", page->lighter);
            put_name(&b, o, "closer", page->closer);
        }
        mq_json_put(&b, document, "verdict", o);
        if (b.failed || !mq_buffer_ok(&text))
            status = mq_fail_memory(err, "the verdict");
    }
    mq_buffer_free(&text);
    free(page);
    return status;
}

const char *mq_report_verdict(const cJSON *document)
{
    return mq_report_string(mq_json_get(document, "verdict"), "sentence");
}

moeq_status mq_report_write(const cJSON *document, const char *path, const struct mq_claims *claims,
                            moeq_error *err)
{
    enum mq_report_format format;
    if (!mq_report_format_of(path, &format))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "a report's name ends in " MQ_REPORT_ENDINGS);
    struct mq_buffer text = {0};
    moeq_status status = mq_report_render(document, format, &text, err);
    if (status == MOEQ_OK)
        status = mq_file_replace_claimed(path, text.data, text.size, claims, err);
    mq_buffer_free(&text);
    return status;
}
