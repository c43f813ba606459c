/* view_tokenizer.h: the tokenizer of a model, loaded. */
#ifndef MQ_VIEW_TOKENIZER_H
#define MQ_VIEW_TOKENIZER_H

#include "model_view.h"
#include "tokenizer.h"

/* A model's tokenizer, the caller's to free, and the token that it begins every text with (-1 if none). */
moeq_status mq_view_tokenizer(const struct mq_view *view, struct mq_tokenizer **tokenizer,
                              int32_t *bos, moeq_error *err);

#endif
