/* report_html_pieces.c: see report_html_pieces.h. */
#include "report_html_pieces.h"

#include "report_svg.h"
#include "report_words.h"

#include <math.h>
#include <string.h>

void mq_html_put(struct mq_buffer *out, const char *markup)
{
    mq_buffer_puts(out, markup);
}

void mq_html_say(const struct mq_page *r, struct mq_buffer *out, const char *markup)
{
    mq_report_say(r, markup, out);
}

void mq_html_element(struct mq_buffer *out, const char *open, const char *text, const char *close)
{
    mq_html_put(out, open);
    mq_html_text(out, text);
    mq_html_put(out, close);
}

void mq_html_open_table(const struct mq_page *r, struct mq_buffer *out, const char *label,
                        const char *words)
{
    mq_html_element(out, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"",
                    label, "\">\n<table>\n<caption><span><b>");
    mq_html_text(out, label);
    mq_html_element(out, ".</b> ", mq_report_phrase(r, words).s, "</span></caption>\n");
}

void mq_html_close_table(struct mq_buffer *out)
{
    mq_html_put(out, "</tbody>\n</table>\n</div>\n");
}

void mq_html_head_cell(struct mq_buffer *out, const char *text)
{
    char name[96];
    mq_html_put(out, *text == '<' ? "<th scope=\"col\" class=\"text\">" : "<th scope=\"col\">");
    text += *text == '<';
    const size_t n = strcspn(text, "|");
    if (n < sizeof name) {
        memcpy(name, text, n);
        name[n] = '\0';
        mq_html_text(out, name);
    }
    if (text[n])
        mq_html_element(out, "<small>", text + n + 1, "</small>");
    mq_html_put(out, "</th>");
}

void mq_html_open_head(struct mq_buffer *out)
{
    mq_html_put(out, "<thead><tr>");
}

void mq_html_close_head(struct mq_buffer *out)
{
    mq_html_put(out, "</tr></thead>\n<tbody>\n");
}

void mq_html_figure_head(struct mq_buffer *out, const struct mq_figure *figure)
{
    mq_html_element(out, "<th scope=\"col\"><abbr title=\"", figure->means, "\">");
    mq_html_element(out, "", mq_words_heading(figure).s, "</abbr>");
    if (figure->unit == MQ_UNIT_NATS)
        mq_html_element(out, "<small>", mq_unit_name(figure->unit), "</small>");
    mq_html_put(out, "</th>");
}

void mq_html_head_row(const struct mq_page *r, struct mq_buffer *out, const char *const *cells,
                      size_t n)
{
    mq_html_open_head(out);
    for (size_t i = 0; i < n; i++)
        mq_html_head_cell(out, mq_report_phrase(r, cells[i]).s);
    mq_html_close_head(out);
}

void mq_html_cell(struct mq_buffer *out, const char *text)
{
    mq_html_element(out, "<td>", text, "</td>");
}

void mq_html_estimate(struct mq_buffer *out, struct mq_words words)
{
    static const char sign[] = " ± ", unit[] = "\u00a0%";
    char *error = strstr(words.s, sign);
    const bool percent = strstr(words.s, unit) != NULL;
    if (error) {
        *error = '\0';
        error += strlen(" ");
    }
    mq_html_text(out, words.s);
    if (error)
        mq_html_element(out, percent ? "\u00a0%<small>" : "<small>", error, "</small>");
}

void mq_html_estimate_cell(struct mq_buffer *out, struct mq_words words)
{
    mq_html_put(out, "<td>");
    mq_html_estimate(out, words);
    mq_html_put(out, "</td>");
}

void mq_html_open_row(struct mq_buffer *out, const char *name, bool marked)
{
    mq_html_element(out,
                    marked ? "<tr class=\"take\"><th scope=\"row\">" : "<tr><th scope=\"row\">",
                    name, "</th>");
}

void mq_html_close_row(struct mq_buffer *out)
{
    mq_html_put(out, "</tr>\n");
}

void mq_html_section(struct mq_buffer *out, const char *id, const char *title)
{
    mq_buffer_printf(out, "<section aria-labelledby=\"%s\">\n<h2 id=\"%s\">", id, id);
    mq_html_element(out, "", title, "</h2>\n");
}

void mq_html_end_section(struct mq_buffer *out)
{
    mq_html_put(out, "</section>\n");
}

void mq_html_figure_cell(struct mq_buffer *out, const struct mq_figure *figure,
                         struct mq_estimate e)
{
    if (isfinite(e.value))
        mq_html_estimate_cell(out, mq_words_figure(figure, e));
    else
        mq_html_put(out, "<td>—</td>");
}
