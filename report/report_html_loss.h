/* report_html_loss.h: the page's sections on where a loss comes from; each nothing where it was not measured. */
#ifndef MQ_REPORT_HTML_LOSS_H
#define MQ_REPORT_HTML_LOSS_H

#include "report_doc.h"

/* Weights with the original's routes, and the other way round. */
void mq_html_swap(const struct mq_page *r, struct mq_buffer *out);
/* Parts of the model quantized alone. */
void mq_html_attribution(const struct mq_page *r, struct mq_buffer *out);

#endif
