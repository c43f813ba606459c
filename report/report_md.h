/* report_md.h: a page as GitHub-flavoured Markdown, for a pull request. */
#ifndef MQ_REPORT_MD_H
#define MQ_REPORT_MD_H

#include "report_doc.h"

/* Appends the whole page. The same document gives the same bytes. */
void mq_report_markdown(const struct mq_page *report, struct mq_buffer *out);

/* A text from outside, in a line or a table's cell: no character of it means anything. */
void mq_markdown_text(struct mq_buffer *out, const char *text);

/* The limits of the gate that are broken, as a table; nothing where none is. */
void mq_markdown_limits(const struct mq_page *report, struct mq_buffer *out);

#endif
