/* report_table.h: a section with a table, in HTML or Markdown: what both formats say alike is written once. */
#ifndef MQ_REPORT_TABLE_H
#define MQ_REPORT_TABLE_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>

struct mq_report_table {
    struct mq_buffer *out;
    bool html;
    void (*text)(struct mq_buffer *out, const char *text); /* appends it escaped */
};

/* Title, id of the section and caption are ours; heads are escaped. The first column is of text. */
void mq_report_table_open(const struct mq_report_table *t, const char *id, const char *title,
                          const char *caption, const char *const *heads, size_t n);
void mq_report_table_row(const struct mq_report_table *t, const char *name);
void mq_report_table_cell(const struct mq_report_table *t, const char *text);
void mq_report_table_end_row(const struct mq_report_table *t);
/* Ends the table; paragraphs may follow before the section is closed. */
void mq_report_table_end(const struct mq_report_table *t);
void mq_report_table_note(const struct mq_report_table *t, const char *strong, const char *text);
void mq_report_table_close(const struct mq_report_table *t);

#endif
