/* gguf_model.h: what a model's GGUF files store otherwise than its Hugging Face folder. */
#ifndef MQ_GGUF_MODEL_H
#define MQ_GGUF_MODEL_H

#include "model_view.h"

/* In how many heads the rows of a matrix are interleaved in a GGUF file, as
 * mq_tensor.stored_interleaved has it: as many as q or k has, 0 for all others and where the
 * family's architecture keeps their order. */
uint32_t mq_gguf_interleaved_heads(const struct mq_view *view, const struct mq_tensor *tensor);

/* Of a matrix or a bias of q, k or v, the name of the tensor that may hold all three of a layer, how many
 * rows (of a bias: numbers) of it stand before the tensor's, and how many there are; NULL of others. */
const char *mq_gguf_joint(const struct mq_view *view, const struct mq_tensor *tensor,
                          uint64_t *before, uint64_t *all);

/* The word of GGUF for how positions are stretched; NULL: it has none, or needs none. */
const char *mq_gguf_rope_word(enum mq_rope_type type);

/* What Llama 3's scaling divides frequency i of a head by: element i of MQ_GGUF_ROPE_FREQS. */
double mq_gguf_rope_factor(const struct mq_rope *rope, uint32_t head_dim, size_t i);

/* Of YaRN: mscale_all_dim, by what scores are multiplied by twice; and what llama.cpp multiplies cosines
 * and sines by with it. */
struct mq_gguf_arch;
double mq_gguf_yarn_log(const struct mq_rope *rope, double score);
double mq_gguf_yarn_magnitude(const struct mq_gguf_arch *arch, double factor, double all);

/* gguf_check.c: fails if a model's keys, read again, are not the model: `header` holds n bytes of a GGUF file
 * without tensors. */
moeq_status mq_gguf_check_model(const struct mq_view *view, const void *header, size_t n,
                                moeq_error *err);

#endif
