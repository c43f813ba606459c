/* report_md.h: a sweep's report as GitHub-flavoured Markdown, for a pull request. */
#ifndef MQ_REPORT_MD_H
#define MQ_REPORT_MD_H

#include "report_doc.h"

void mq_report_markdown(const struct mq_report *report, struct mq_buffer *out);

#endif
