/* report_charts.h: the charts of a page, each drawn into a buffer as one <figure>. */
#ifndef MQ_REPORT_CHARTS_H
#define MQ_REPORT_CHARTS_H

#include "report_doc.h"

/* Each appends nothing and returns false if the document lacks what it shows. */
bool mq_draw_kld(const struct mq_page *report, struct mq_buffer *out);
bool mq_draw_perplexity(const struct mq_page *report, struct mq_buffer *out);
bool mq_draw_layers(const struct mq_page *report, struct mq_buffer *out);
bool mq_draw_margins(const struct mq_page *report, struct mq_buffer *out);
bool mq_draw_changed_layers(const struct mq_page *report, struct mq_buffer *out);
bool mq_draw_loads(const struct mq_page *report, struct mq_buffer *out); /* one an arm */

/* The number of an arm's colour and mark: arms count from 0 without the baseline. */
int mq_arm_style(const struct mq_page *report, const struct mq_report_arm *arm);

#endif
