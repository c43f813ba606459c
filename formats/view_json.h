/* view_json.h: what results say of the model that they are about. Each returns a tree that the caller
 * cJSON_Deletes, or NULL when out of memory. */
#ifndef MQ_VIEW_JSON_H
#define MQ_VIEW_JSON_H

#include "json_tree.h"
#include "model_view.h"

/* What tells models apart, under the names that all documents have for it: "path", "family",
 * "layers", "experts", "experts_per_token", "vocabulary" and the notes. */
void mq_view_put_json(struct mq_json_tree *tree, cJSON *object, const struct mq_view *view);

/* [{"name", "bytes", "header_crc32"}]: what tells a model from another of the same name */
cJSON *mq_view_files_json(const struct mq_view *view);

/* What was noted of how the model was read: an array of sentences. */
cJSON *mq_view_notes_json(const struct mq_view *view);

#endif
