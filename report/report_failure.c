/* report_failure.c: so that what a CI shows is never the page of an earlier, better run. */
#include "report_failure.h"

#include "error.h"
#include "new_file.h"
#include "report_judgement.h"
#include "report_md.h"
#include "report_style.h"
#include "report_svg.h"

static void html(const char *what, const char *reason, struct mq_buffer *out)
{
    mq_buffer_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                        "<link rel=\"icon\" href=\"data:,\">\n<title>Not verified: ");
    mq_html_text(out, what);
    mq_buffer_puts(out, "</title>\n<style>\n");
    mq_buffer_puts(out, mq_report_style);
    mq_buffer_puts(out, "</style>\n</head>\n<body>\n<header>\n<h1>Verification of ");
    mq_html_text(out, what);
    mq_buffer_puts(out, "</h1>\n</header>\n<main>\n<p class=\"headline broken\">");
    mq_html_cross(out);
    mq_buffer_puts(out, "The verification could not be done.</p>\n<p class=\"warning\">");
    mq_html_text(out, reason);
    mq_buffer_puts(
        out,
        "</p>\n<p>Nothing was measured: this says nothing of the model, neither good nor bad.</p>\n"
        "</main>\n</body>\n</html>\n");
}

moeq_status mq_report_write_failure(const char *what, const char *reason, const char *path,
                                    moeq_error *err)
{
    enum mq_report_format format;
    struct mq_buffer out = {0};
    if (!mq_report_format_of(path, &format) ||
        (format != MQ_REPORT_HTML && format != MQ_REPORT_MARKDOWN))
        return MOEQ_OK;
    if (format == MQ_REPORT_HTML) {
        html(what, reason, &out);
    } else {
        mq_buffer_puts(&out, "## Verification of ");
        mq_markdown_text(&out, what);
        mq_buffer_puts(&out, "\n\n**❌ The verification could not be done.**\n\n> ");
        mq_markdown_text(&out, reason);
        mq_buffer_puts(
            &out,
            "\n\nNothing was measured: this says nothing of the model, neither good nor bad.\n");
    }
    const moeq_status status = mq_buffer_ok(&out) ? mq_file_replace(path, out.data, out.size, err)
                                                  : mq_fail_memory(err, "the report");
    mq_buffer_free(&out);
    return status;
}
