/* report_csv.c: RFC 4180: lines end with CR LF, quotes are doubled. Columns are those of the table of figures. */
#include "report_csv.h"

#include "escape.h"

#include <math.h>
#include <string.h>

static void quoted_char(struct mq_buffer *out, const char *text, size_t i)
{
    const unsigned char c = (unsigned char)text[i];
    if (c == '"')
        mq_buffer_putc(out, '"');
    mq_buffer_putc(out, (char)(c < 32 || c == 127 ? ' ' : c));
}

/* A text from outside. A spreadsheet would compute what begins as a formula does: it gets an apostrophe. */
static void put_text(struct mq_buffer *out, const char *text)
{
    mq_buffer_putc(out, '"');
    if (*text && strchr("=+-@\t\r", *text))
        mq_buffer_putc(out, '\'');
    mq_escape(out, text, quoted_char);
    mq_buffer_putc(out, '"');
}

static void put_number(struct mq_buffer *out, double x)
{
    mq_buffer_putc(out, ',');
    if (isfinite(x))
        mq_buffer_printf(out, "%.17g", x);
}

static void put_row(const struct mq_report_arm *arm, const char *what, struct mq_buffer *out)
{
    put_text(out, arm->is_baseline ? arm->name : arm->id);
    mq_buffer_putc(out, ',');
    put_text(out, arm->file);
    mq_buffer_printf(out, ",%s", what);
    for (int i = 0; i < MQ_FIGURE_COUNT; i++) {
        const struct mq_figure *f = &mq_figures[i];
        if (f->scope != MQ_OF_MODEL)
            continue;
        const struct mq_estimate e = mq_report_figure(arm->json, f);
        put_number(out, e.value);
        if (f->has_error)
            put_number(out, e.se);
    }
    mq_buffer_puts(out, "\r\n");
}

void mq_report_csv(const struct mq_page *report, struct mq_buffer *out)
{
    mq_buffer_puts(out, "name,file,what");
    for (int i = 0; i < MQ_FIGURE_COUNT; i++)
        if (mq_figures[i].scope == MQ_OF_MODEL)
            mq_buffer_printf(out, ",%s%s%s%s", mq_figures[i].id, mq_figures[i].has_error ? "," : "",
                             mq_figures[i].has_error ? mq_figures[i].id : "",
                             mq_figures[i].has_error ? ".se" : "");
    mq_buffer_puts(out, "\r\n");
    for (size_t i = 0; i < report->arms_count; i++) {
        const struct mq_report_arm *a = &report->arms[i];
        put_row(a, a->is_baseline ? "baseline" : a->file[0] ? "file" : "level", out);
        if (a->int8)
            put_row(a->int8, a->file[0] ? "file int8" : "level int8", out);
    }
    if (report->has_noise)
        put_row(&report->noise, "noise floor", out);
}
