/* report_html_routing.h: the page's sections on routing. */
#ifndef MQ_REPORT_HTML_ROUTING_H
#define MQ_REPORT_HTML_ROUTING_H

#include "report_doc.h"

/* Nothing of a dense model. */
void mq_html_routing(const struct mq_page *r, struct mq_buffer *out);

#endif
