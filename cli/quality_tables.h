/* quality_tables.h: figures of each named text, and of tasks, on the terminal. */
#ifndef MQ_QUALITY_TABLES_H
#define MQ_QUALITY_TABLES_H

#include "comparison.h"
#include "perplexity.h"

/* A row for each level and text, and what is fine in one and not in another; nothing where texts have no names. */
void mq_print_domain_table(const struct mq_comparison *result);
/* A row for each level, and for each of several files; nothing without tasks. */
void mq_print_task_table(const struct mq_comparison *result);
/* Both of one model. */
void mq_print_eval_tables(const struct mq_eval_result *result);

#endif
