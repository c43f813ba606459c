/* view_json.h: what results say of the model that they are about. Each returns a tree that the caller
 * cJSON_Deletes, or NULL when out of memory. */
#ifndef MQ_VIEW_JSON_H
#define MQ_VIEW_JSON_H

#include "model_view.h"

#include <cjson/cJSON.h>

/* [{"name", "bytes", "header_crc32"}]: what tells a model from another of the same name */
cJSON *mq_view_files_json(const struct mq_view *view);

/* What was noted of how the model was read: an array of sentences. */
cJSON *mq_view_notes_json(const struct mq_view *view);

#endif
