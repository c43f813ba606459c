/* report_card.h: a result as a model card: the README.md of a repository of quantized files on the Hugging Face Hub. */
#ifndef MQ_REPORT_CARD_H
#define MQ_REPORT_CARD_H

#include "report_doc.h"

/* Appends the card. chart: the name of the frontier's SVG file beside it; NULL: there is none. What is known of the
 * original is the document's "source_card": base_model, base_model_from, license, license_name, license_link,
 * pipeline_tag, language. */
void mq_report_card(const struct mq_page *report, const char *chart, struct mq_buffer *out);

#endif
