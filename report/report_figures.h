/* report_figures.h: a page's charts as SVG files that stand alone: well-formed XML with a style sheet of their own. */
#ifndef MQ_REPORT_FIGURES_H
#define MQ_REPORT_FIGURES_H

#include "report_doc.h"

/* The chart of memory against fidelity, by which levels are chosen; false where the document lacks it. */
bool mq_report_frontier_svg(const struct mq_page *report, struct mq_buffer *out);

/* Calls write for every chart that the document has, each with a name of its own ("kld", "load-1"). Stops at the first
 * failure. */
moeq_status mq_report_figures(const struct mq_page *report,
                              moeq_status (*write)(void *user, const char *name,
                                                   const struct mq_buffer *svg, moeq_error *err),
                              void *user, moeq_error *err);

#endif
