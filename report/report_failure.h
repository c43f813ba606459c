/* report_failure.h: the page of a verification that could not be done: red, with the reason, and no figure. */
#ifndef MQ_REPORT_FAILURE_H
#define MQ_REPORT_FAILURE_H

#include "report.h"

/* `what` was to be verified; `reason` is the error's message. Formats without words for it (.csv, .svg) are not
 * written. */
moeq_status mq_report_write_failure(const char *what, const char *reason, const char *path,
                                    moeq_error *err);

#endif
