/* verify_json.h: a verification as a JSON document: a sweep's, and what is more. */
#ifndef MQ_VERIFY_JSON_H
#define MQ_VERIFY_JSON_H

#include "gate.h"

#include <cjson/cJSON.h>

/*
 * As mq_sweep_json, with the models as rows; then
 *
 *     against      {"path", "kind": "model" or "recording"}: all but the paths is the same for both
 *     models       [path of each]
 *     model_files  [for each: [{"name", "bytes", "header_crc32"}]]
 *     b_minus_a    with two models: {"bootstrap": {...}, "figures": {name: {"mean", "se", "ci95"}}}
 *     metrics      of the last model, by the names that gates use: {name: {"value", "se"}}
 *     gate         if one was judged (NULL: none): {"file", "broken", "limits": [...]}
 *
 * A tree that the caller cJSON_Deletes; NULL when out of memory.
 */
cJSON *mq_verify_json(const struct mq_verify_result *result, const struct mq_gate *gate);

#endif
