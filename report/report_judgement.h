/* report_judgement.h: the head of the HTML page: what was found, as it is to look, and the table of classes. */
#ifndef MQ_REPORT_JUDGEMENT_H
#define MQ_REPORT_JUDGEMENT_H

#include "report_doc.h"

/* The headline: red with a cross where a gate is broken, green with a tick where all of it is kept; below it what
 * speaks against believing the result. */
void mq_html_headline(const struct mq_page *report, struct mq_buffer *out);

/* Its cross alone. */
void mq_html_cross(struct mq_buffer *out);

/* What the classes mean, folded. */
void mq_html_classes(struct mq_buffer *out);

#endif
