/* report.c: which report a file is to be, and writing it. */
#include "report.h"

#include "error.h"
#include "file.h"
#include "json.h"
#include "new_file.h"
#include "report_doc.h"
#include "report_html.h"
#include "report_md.h"
#include "report_words.h"
#include "text_match.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *ending;
    enum mq_report_format format;
} endings[] = {{".html", MQ_REPORT_HTML},
               {".htm", MQ_REPORT_HTML},
               {".md", MQ_REPORT_MARKDOWN},
               {".markdown", MQ_REPORT_MARKDOWN}};

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
    return mq_json_parse(text, n, &limits, name, 0, document, err);
}

moeq_status mq_report_render(const cJSON *document, enum mq_report_format format,
                             struct mq_buffer *out, moeq_error *err)
{
    struct mq_page *report = malloc(sizeof *report);
    if (!report)
        return mq_fail_memory(err, "the report");
    moeq_status status = mq_report_read(document, report, err);
    if (status == MOEQ_OK) {
        if (format == MQ_REPORT_HTML)
            mq_report_html(report, out);
        else
            mq_report_markdown(report, out);
        if (!mq_buffer_ok(out))
            status = mq_fail_memory(err, "the report");
    }
    free(report);
    return status;
}

moeq_status mq_report_verdict(const cJSON *document, struct mq_buffer *out, moeq_error *err)
{
    struct mq_page *report = calloc(1, sizeof *report);
    if (!report)
        return mq_fail_memory(err, "the report");
    const moeq_status status = mq_report_read(document, report, err);
    if (status == MOEQ_OK)
        mq_report_headline(report, out);
    free(report);
    return status == MOEQ_OK && !mq_buffer_ok(out) ? mq_fail_memory(err, "the report") : status;
}

moeq_status mq_report_write(const cJSON *document, const char *path, moeq_error *err)
{
    enum mq_report_format format;
    if (!mq_report_format_of(path, &format))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, path,
                            "a report's name ends in .html or .md");
    struct mq_buffer text = {0};
    moeq_status status = mq_report_render(document, format, &text, err);
    if (status == MOEQ_OK)
        status = mq_file_replace(path, text.data, text.size, err);
    mq_buffer_free(&text);
    return status;
}
