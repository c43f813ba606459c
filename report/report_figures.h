/* report_figures.h: the charts of a sweep's report, each drawn into a buffer as one <figure>. */
#ifndef MQ_REPORT_FIGURES_H
#define MQ_REPORT_FIGURES_H

#include "report_doc.h"

/* Each appends nothing and returns false if the document lacks what it shows. */
bool mq_figure_kld(const struct mq_report *report, struct mq_buffer *out);
bool mq_figure_perplexity(const struct mq_report *report, struct mq_buffer *out);
bool mq_figure_layers(const struct mq_report *report, struct mq_buffer *out);
bool mq_figure_margins(const struct mq_report *report, struct mq_buffer *out);
bool mq_figure_changed_layers(const struct mq_report *report, struct mq_buffer *out);
bool mq_figure_loads(const struct mq_report *report, struct mq_buffer *out); /* one an arm */

/* The arms that a figure may show: all but the baseline, numbered as their marks are. */
int mq_figure_style(const struct mq_report *report, const struct mq_report_arm *arm);

#endif
