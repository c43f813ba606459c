/* report_tasks.c: see report_tasks.h. */
#include "report_tasks.h"

#include "json.h"

#include <stdio.h>

enum { COLUMNS = 8 }; /* figures at most */

static void put_row(const struct mq_page *page, const char *name, const cJSON *tasks,
                    const struct mq_report_table *t)
{
    const struct mq_figure *f;
    mq_report_table_row(t, name);
    for (size_t i = 0; i < COLUMNS && (f = mq_table_figure(page, MQ_SECTION_TASKS, i)); i++)
        mq_report_table_cell(t, mq_json_get(tasks, mq_figure_key(f))
                                    ? mq_words_figure(f, mq_report_figure_in(tasks, f)).s
                                    : "—"); /* the baseline's agreement with itself */
    mq_report_table_end_row(t);
}

/* All tasks, and those of each file where there are several. */
static void put_arm(const struct mq_page *page, const struct mq_report_arm *arm,
                    const struct mq_report_table *t)
{
    const cJSON *tasks = mq_json_get(arm->json, "tasks"), *files = mq_report_array(tasks, "files");
    if (!cJSON_IsObject(tasks))
        return;
    put_row(page, arm->name, tasks, t);
    for (const cJSON *file = files && files->child && files->child->next ? files->child : NULL;
         file; file = file->next) {
        char name[160];
        snprintf(name, sizeof name, "%.60s, %.60s", arm->name, mq_report_string(file, "name"));
        put_row(page, name, file, t);
    }
}

void mq_report_tasks(const struct mq_page *page, const struct mq_report_table *t)
{
    const cJSON *asked = mq_json_get(page->document, "task_files");
    struct mq_words headings[COLUMNS];
    const char *heads[COLUMNS + 1] = {"Model, tasks"};
    const struct mq_figure *f;
    char caption[400];
    size_t n = 0;
    for (; n < COLUMNS && (f = mq_table_figure(page, MQ_SECTION_TASKS, n)); n++) {
        headings[n] = mq_words_heading(f);
        heads[1 + n] = headings[n].s;
    }
    if (!n)
        return;
    snprintf(caption, sizeof caption,
             "%s with %s: the most likely choice behind its context is the model's. "
             "Agreement with "
             "the original's choice, right or wrong, sees changes that cancel out in the accuracy.",
             mq_words_counted(mq_report_number(asked, "count"), "task").s,
             mq_words_counted(mq_report_number(asked, "choices"), "choice").s);
    mq_report_table_open(t, "tasks", "Tasks", caption, heads, n + 1);
    for (size_t i = 0; i < page->arms_count; i++) {
        put_arm(page, &page->arms[i], t);
        if (page->arms[i].int8)
            put_arm(page, page->arms[i].int8, t);
    }
    mq_report_table_end(t);
    mq_report_table_close(t);
}
