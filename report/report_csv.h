/* report_csv.h: a result as comma-separated values, a row for each level or file. */
#ifndef MQ_REPORT_CSV_H
#define MQ_REPORT_CSV_H

#include "report_doc.h"

/* Appends the header and the rows: name, file, what it is (baseline, level, file; with int8 where it is
 * computed so), then every figure of a model by its id, with ".se" the standard error where it has one. What
 * is not defined is empty. */
void mq_report_csv(const struct mq_page *report, struct mq_buffer *out);

#endif
