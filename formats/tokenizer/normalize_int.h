/* normalize_int.h: the normalizer steps that have a file of their own, sp_normalize.c. */
#ifndef MQ_NORMALIZE_INT_H
#define MQ_NORMALIZE_INT_H

#include "tokenizer_int.h"

/* "the tokenizer's normalizer makes more than N bytes of text" */
moeq_status mq_normalizer_fail_limit(size_t limit, moeq_error *err);

moeq_status mq_sp_normalizer_load(struct mq_load *load, const cJSON *json,
                                  struct mq_normalizer_step *step);
/* Each appends to `out`, of `limit` bytes at most. */
moeq_status mq_sp_normalize(const struct mq_tokenizer *tokenizer,
                            const struct mq_normalizer_step *step, bool at_start,
                            const struct mq_buffer *text, size_t limit, struct mq_buffer *out,
                            moeq_error *err);
moeq_status mq_precompiled_normalize(const struct mq_normalizer_step *step,
                                     const struct mq_buffer *text, size_t limit,
                                     struct mq_buffer *out, moeq_error *err);

#endif
