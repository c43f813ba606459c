/* report_tasks.h: the section on multiple choice. */
#ifndef MQ_REPORT_TASKS_H
#define MQ_REPORT_TASKS_H

#include "report_doc.h"
#include "report_table.h"

/* Nothing where no arm has figures of tasks. */
void mq_report_tasks(const struct mq_page *page, const struct mq_report_table *table);

#endif
