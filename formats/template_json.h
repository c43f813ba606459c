/* template_json.h: the post-processor of a tokenizer.json that is made of something else: what is
 * put around a text, of which GGUF files and SentencePiece models know BOS and EOS alone. */
#ifndef MQ_TEMPLATE_JSON_H
#define MQ_TEMPLATE_JSON_H

#include "buffer.h"

#include <stdint.h>

/* A special token: its text (UTF-8) and id; id -1: none. */
struct mq_end_token {
    const char *text;
    size_t size;
    int64_t id;
};

/* Appends "post_processor": a TemplateProcessing with BOS in front and EOS behind, or null. */
void mq_put_template(struct mq_buffer *json, const struct mq_end_token *bos,
                     const struct mq_end_token *eos);

#endif
