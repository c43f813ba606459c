/* report_check.h: whether a result can be true: versions, figures and counts that no run gives. */
#ifndef MQ_REPORT_CHECK_H
#define MQ_REPORT_CHECK_H

#include "moeq.h"

#include <cjson/cJSON.h>

/* Of results of sweep and verify; others pass. A message names the file, the key, what was expected and found. */
moeq_status mq_report_check(const cJSON *document, const char *name, moeq_error *err);

#endif
