/* report_html.h: a page as one HTML file: no script, nothing loaded from elsewhere. */
#ifndef MQ_REPORT_HTML_H
#define MQ_REPORT_HTML_H

#include "report_doc.h"

/* Appends the whole page. The same document gives the same bytes. */
void mq_report_html(const struct mq_page *report, struct mq_buffer *out);

#endif
