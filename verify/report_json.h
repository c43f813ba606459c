/*
 * report_json.h: results as JSON documents: the one form that tables, HTML and gates are made of.
 *
 * Every document begins with "moeq_result" (its kind) and "result_version". Field names carry
 * their units; rates are fractions of 1; an estimate is {"value", "se"}; what does not exist or is
 * not defined (an error of one token) is null. Fields are added, never renamed, within a version.
 */
#ifndef MQ_REPORT_JSON_H
#define MQ_REPORT_JSON_H

#include "integrity.h"
#include "perplexity.h"
#include "shards_check.h"
#include "sweep.h"
#include "weights_check.h"

#include <cjson/cJSON.h>

#define MQ_RESULT_VERSION 1

/* Each returns a tree that the caller cJSON_Deletes, or NULL when out of memory. */
cJSON *mq_eval_json(const struct mq_eval_result *result);
cJSON *mq_sweep_json(const struct mq_sweep_result *result);
cJSON *mq_integrity_json(const struct mq_integrity_result *result);
/* The same of several files: "files" holds one such object for each, with its "problem", and the
 * counts above them are sums. */
cJSON *mq_shards_json(const struct mq_shards_result *result);

/* Of a model without checksums. */
cJSON *mq_weights_json(const struct mq_view *view, const struct mq_weights_result *result);

/* What was noted of how a model was read: an array of sentences; NULL when out of memory. */
cJSON *mq_view_notes_list(const struct mq_view *view);

/* Parts, for further documents. */
cJSON *mq_protocol_json(const struct mq_text_windows *text);
/* [{"name", "bytes", "header_crc32"}]: what tells a model from another of the same name */
cJSON *mq_files_json(const struct mq_view *view);
cJSON *mq_estimate_json(struct mq_estimate estimate);
cJSON *mq_arm_result_json(const struct mq_arm_result *result, bool is_baseline);

#endif
