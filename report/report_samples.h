/* report_samples.h: what the original and quantized models say after a few prompts, as a section. */
#ifndef MQ_REPORT_SAMPLES_H
#define MQ_REPORT_SAMPLES_H

#include "report_doc.h"

/* Nothing where the document has no samples. */
void mq_report_samples_html(const struct mq_page *page, struct mq_buffer *out);
/* `text` escapes what it writes. */
void mq_report_samples_markdown(const struct mq_page *page,
                                void (*text)(struct mq_buffer *out, const char *text),
                                struct mq_buffer *out);

#endif
