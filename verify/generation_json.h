/* generation_json.h: continuations as JSON, of generate and of sweep's samples. */
#ifndef MQ_GENERATION_JSON_H
#define MQ_GENERATION_JSON_H

#include "generation.h"
#include "json_tree.h"

/* {"tokens", "ids", "logprobs", "text", "end", "end_id", ...}; text of `size` bytes is UTF-8. */
cJSON *mq_generation_json(struct mq_json_tree *tree, const struct mq_generation *generation,
                          const char *text);
/* {"token", "base": {...}, "other": {...}}, or null where they do not part. Tokens' texts come from
 * the tokenizer. */
cJSON *mq_parting_json(struct mq_json_tree *tree, const struct mq_tokenizer *tokenizer,
                       const struct mq_parting *parting);

#endif
