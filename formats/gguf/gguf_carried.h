/*
 * gguf_carried.h: the metadata of a GGUF file that a model came from, kept for the GGUF file that
 * may be made of it again.
 *
 * A view has them as a GGUF file without tensors (MQ_SIDE_GGUF_METADATA), and so does a moeq file
 * (`moeq.gguf_metadata`): every key as it was, of whatever type, in its order. Left out are those
 * that describe the file and not the model: general.alignment and split.*. So ids of special
 * tokens, chat templates of any name, licences and notes on the making survive, and a tokenizer
 * does that moeq cannot read.
 */
#ifndef MQ_GGUF_CARRIED_H
#define MQ_GGUF_CARRIED_H

#include "gguf.h"
#include "gguf_writer.h"

/* Of a source's first file, into view->side[MQ_SIDE_GGUF_METADATA]. A note, where they are too large to keep. */
moeq_status mq_gguf_carry(const struct mq_gguf *gguf, struct mq_view *view, moeq_error *err);

/* Reads view->side[MQ_SIDE_GGUF_METADATA], which must not be empty. Close *gguf, also on failure. */
moeq_status mq_gguf_read_carried(const struct mq_view *view, struct mq_arena *arena,
                                 struct mq_gguf *gguf, moeq_error *err);

/* general.file_type as it was; false if there is none. */
bool mq_gguf_kept_file_type(const struct mq_gguf *carried, uint32_t *file_type);

/* general.file_type, where `file_type` is what follows from the tensors: the carried value if it is
 * a mix that is mostly of that (Q4_K_M where Q4_K_S would follow). */
uint32_t mq_gguf_file_type(const struct mq_gguf *carried, uint32_t file_type);

/* Adds every carried key that w does not have yet. */
void mq_gguf_put_carried(struct mq_gguf_writer *w, const struct mq_gguf *carried);

#endif
