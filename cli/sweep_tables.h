/* sweep_tables.h: the tables of sweep and verify: what stands beside the baseline, row by row. */
#ifndef MQ_SWEEP_TABLES_H
#define MQ_SWEEP_TABLES_H

#include "comparison.h"
#include "row_label.h"
#include "table_choice.h"

void mq_print_sweep_tables(const struct mq_comparison *result,
                           const struct mq_table_choice *choice);

/* What tables call a row: a level, "baseline", a file by its name without its ending, of several behind its letter. */
enum { MQ_ROW_NAME = MQ_ROW_LABEL, MQ_ROW_WIDTH = 20 };
void mq_row_name(const struct mq_comparison *result, size_t row, char name[MQ_ROW_NAME]);
/* Of the column of names, at most MQ_ROW_WIDTH. */
int mq_row_name_width(const struct mq_comparison *result);

#endif
