/* report_table.c: see report_table.h. */
#include "report_table.h"

static void put(const struct mq_report_table *t, const char *html, const char *markdown)
{
    mq_buffer_puts(t->out, t->html ? html : markdown);
}

void mq_report_table_open(const struct mq_report_table *t, const char *id, const char *title,
                          const char *caption, const char *const *heads, size_t n)
{
    if (t->html)
        mq_buffer_printf(t->out,
                         "<section aria-labelledby=\"%s\">\n<h2 id=\"%s\">%s</h2>\n"
                         "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"%s\">\n"
                         "<table>\n<caption><span><b>%s.</b> %s</span></caption>\n<thead><tr>",
                         id, id, title, title, title, caption);
    else
        mq_buffer_puts(t->out, "\n|");
    for (size_t i = 0; i < n; i++) {
        put(t, i ? "<th scope=\"col\">" : "<th scope=\"col\" class=\"text\">", " ");
        t->text(t->out, heads[i]);
        put(t, "</th>", " |");
    }
    put(t, "</tr></thead>\n<tbody>\n", "\n|:--|");
    for (size_t i = 1; i < n && !t->html; i++)
        mq_buffer_puts(t->out, "--:|");
    put(t, "", "\n");
}

void mq_report_table_row(const struct mq_report_table *t, const char *name)
{
    put(t, "<tr><th scope=\"row\">", "| ");
    t->text(t->out, name);
    put(t, "</th>", " |");
}

void mq_report_table_cell(const struct mq_report_table *t, const char *text)
{
    put(t, "<td>", " ");
    t->text(t->out, text);
    put(t, "</td>", " |");
}

void mq_report_table_end_row(const struct mq_report_table *t)
{
    put(t, "</tr>\n", "\n");
}

void mq_report_table_end(const struct mq_report_table *t)
{
    put(t, "</tbody>\n</table>\n</div>\n", "");
}

void mq_report_table_note(const struct mq_report_table *t, const char *strong, const char *text)
{
    put(t, "<p class=\"note\"><strong>", "\n**");
    t->text(t->out, strong);
    put(t, "</strong> ", "** ");
    t->text(t->out, text);
    put(t, "</p>\n", "\n");
}

void mq_report_table_close(const struct mq_report_table *t)
{
    put(t, "</section>\n", "");
}
