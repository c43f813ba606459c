/*
 * result_json.h: results as JSON documents: the one form that tables, HTML and gates are made of.
 *
 * Every document begins with "moeq_result" (its kind) and "result_version". Field names carry
 * their units; rates are fractions of 1; an estimate is {"value", "se"}; what does not exist or is
 * not defined (an error of one token) is null. Fields are added, never renamed, within a version.
 */
#ifndef MQ_RESULT_JSON_H
#define MQ_RESULT_JSON_H

#include "comparison.h"
#include "perplexity.h"

#include <cjson/cJSON.h>

/* Each returns a tree that the caller cJSON_Deletes, or NULL when out of memory. */
cJSON *mq_eval_json(const struct mq_eval_result *result);
/* What the documents of all comparisons have; `kind`: "sweep". See comparison_json.h. */
cJSON *mq_rows_json(const struct mq_comparison *comparison, const char *kind);

/* Parts, for further documents. */
cJSON *mq_protocol_json(const struct mq_text_windows *text);
cJSON *mq_estimate_json(struct mq_estimate estimate);
cJSON *mq_arm_result_json(const struct mq_arm_result *result, bool is_baseline);

#endif
