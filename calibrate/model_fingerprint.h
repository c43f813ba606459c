/* model_fingerprint.h: what tells a model's weights from another's, however they are stored. */
#ifndef MQ_MODEL_FINGERPRINT_H
#define MQ_MODEL_FINGERPRINT_H

#include "context.h"
#include "model_view.h"

/*
 * A CRC-32 of the shapes of all tensors, and of what norms and routers hold, which no format quantizes: rounded
 * to multiples of 2^-10, as GGUF files keep 1 + w of some norms. So a folder and what is made of it have the
 * same; a fine-tuned model has another, unless its norms and routers were left as they were.
 */
moeq_status mq_model_fingerprint(const struct mq_context *context, const struct mq_view *view,
                                 uint32_t *fingerprint, moeq_error *err);

#endif
