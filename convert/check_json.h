/* check_json.h: what checks found, as JSON documents. Each returns a tree that the caller
 * cJSON_Deletes, or NULL when out of memory. */
#ifndef MQ_CHECK_JSON_H
#define MQ_CHECK_JSON_H

#include "against.h"
#include "manifest.h"
#include "shards_check.h"
#include "weights_check.h"

#include <cjson/cJSON.h>

cJSON *mq_integrity_json(const struct mq_integrity_result *result);
/* The same of several files: "files" holds one such object for each, with its "problem", and the
 * counts above them are sums. */
cJSON *mq_shards_json(const struct mq_shards_result *result);
/* Of a model without checksums. */
cJSON *mq_weights_json(const struct mq_view *view, const struct mq_weights_result *result);

/* What files are by their SHA-256, and should be. */
cJSON *mq_manifest_json(const char *path, const char *list, const struct mq_manifest *manifest);

/* Whether a file is what its source gives. */
cJSON *mq_against_json(const struct mq_view *output, const struct mq_view *source,
                       const struct mq_against_result *result);

#endif
