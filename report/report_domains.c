/* report_domains.c: see report_domains.h. */
#include "report_domains.h"

#include "json.h"

#include <stdio.h>

static const enum mq_figure_id columns[] = {MQ_FIGURE_KLD_MEAN, MQ_FIGURE_SAME_TOP,
                                            MQ_FIGURE_EXACT_SET, MQ_FIGURE_PPL_RATIO};
enum { COLUMNS = sizeof columns / sizeof *columns };

static void put_domains(const struct mq_report_arm *arm, const struct mq_report_table *t)
{
    const cJSON *list = mq_report_array(arm->json, "domains");
    for (const cJSON *d = list ? list->child : NULL; d && !arm->is_baseline; d = d->next) {
        char name[160];
        snprintf(name, sizeof name, "%.60s, %.60s", arm->name, mq_report_string(d, "name"));
        mq_report_table_row(t, name);
        for (size_t i = 0; i < COLUMNS; i++) {
            const struct mq_figure *f = &mq_figures[columns[i]];
            mq_report_table_cell(t, mq_words_figure(f, mq_report_figure(d, f)).s);
        }
        mq_report_table_cell(t, mq_report_string(d, "state"));
        mq_report_table_end_row(t);
    }
}

void mq_report_domains(const struct mq_page *page, const struct mq_report_table *t)
{
    const cJSON *texts = mq_report_array(page->document, "text_domains");
    struct mq_words headings[COLUMNS];
    const char *heads[COLUMNS + 2] = {"Model, text"};
    if (!texts || !texts->child || !texts->child->next)
        return;
    for (size_t i = 0; i < COLUMNS; i++) {
        headings[i] = mq_words_heading(&mq_figures[columns[i]]);
        heads[1 + i] = headings[i].s;
    }
    heads[1 + COLUMNS] = "By the rule";
    mq_report_table_open(
        t, "texts", "Text by text",
        "Each text was cut into windows by itself. Fine: the 95 % interval of the mean KL "
        "divergence, by block bootstrap over the text's windows, is wholly below 0.05 nats; "
        "not fine: wholly at or above.",
        heads, COLUMNS + 2);
    for (size_t i = 0; i < page->arms_count; i++) {
        put_domains(&page->arms[i], t);
        if (page->arms[i].int8)
            put_domains(page->arms[i].int8, t);
    }
    mq_report_table_end(t);
    for (size_t i = 0; i < page->arms_count; i++) {
        const char *warning = mq_report_string(page->arms[i].json, "domains_warning");
        struct mq_buffer strong = {0};
        mq_buffer_printf(&strong, "⚠ %s:", page->arms[i].name);
        if (warning[0] && mq_buffer_ok(&strong))
            mq_report_table_note(t, strong.data, warning);
        mq_buffer_free(&strong);
    }
    mq_report_table_close(t);
}
