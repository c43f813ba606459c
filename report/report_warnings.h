/* report_warnings.h: what speaks against believing a result: plain UTF-8, to be escaped by the caller. */
#ifndef MQ_REPORT_WARNINGS_H
#define MQ_REPORT_WARNINGS_H

#include "report_doc.h"

/* Calls put for each sentence; the most serious one first. */
void mq_report_warnings(const struct mq_page *report, struct mq_buffer *out,
                        void (*put)(struct mq_buffer *out, const char *sentence));

#endif
