/*
 * gguf_writer.h: the header of a GGUF file, piece by piece; its layout is drawn in gguf.h.
 *
 * Metadata and tensor infos are collected apart, since the counts stand before both. Out of memory
 * is sticky in the buffers; mq_gguf_writer_finish tells.
 */
#ifndef MQ_GGUF_WRITER_H
#define MQ_GGUF_WRITER_H

#include "buffer.h"
#include "gguf_names.h"

struct mq_gguf_writer {
    const char *architecture; /* what %s in a key stands for */
    struct mq_buffer metadata, tensors;
    struct mq_buffer names; /* of the keys so far, each after a newline; one behind the last */
    uint64_t keys_count, tensors_count;
};

/* One key and its value. */
void mq_gguf_put_string(struct mq_gguf_writer *w, const char *key, const char *text, size_t n);
void mq_gguf_put_u16(struct mq_gguf_writer *w, const char *key, uint16_t value);
void mq_gguf_put_u32(struct mq_gguf_writer *w, const char *key, uint32_t value);
void mq_gguf_put_i32(struct mq_gguf_writer *w, const char *key, int32_t value);
void mq_gguf_put_f32(struct mq_gguf_writer *w, const char *key, float value);
void mq_gguf_put_bool(struct mq_gguf_writer *w, const char *key, bool value);

/* A key whose value is an array of `count` elements, which the caller appends. */
void mq_gguf_begin_array(struct mq_gguf_writer *w, const char *key, enum mq_gguf_value_type type,
                         uint64_t count);
void mq_gguf_append_string(struct mq_gguf_writer *w, const char *text, size_t n);
void mq_gguf_append_i32(struct mq_gguf_writer *w, int32_t value);
void mq_gguf_append_bool(struct mq_gguf_writer *w, bool value);
void mq_gguf_append_f32(struct mq_gguf_writer *w, float value);

/* A key whose value, or of an array the elements, are bytes as a file has them. */
void mq_gguf_put_value(struct mq_gguf_writer *w, const char *key, enum mq_gguf_value_type type,
                       enum mq_gguf_value_type element, uint64_t count, const void *bytes,
                       size_t n);

/* Whether there is a key of this name (in full) already. */
bool mq_gguf_writer_has(const struct mq_gguf_writer *w, const char *name);

/* A tensor of `dims` dimensions, ne[0] the fastest, `offset` bytes behind the start of the data. */
void mq_gguf_put_tensor(struct mq_gguf_writer *w, const char *name, uint32_t dims,
                        const uint64_t *ne, uint32_t type, uint64_t offset);

/* The whole header, with zeros up to a multiple of MQ_GGUF_ALIGNMENT. The writer's buffers are
 * freed. */
moeq_status mq_gguf_writer_finish(struct mq_gguf_writer *w, struct mq_buffer *header,
                                  moeq_error *err);
void mq_gguf_writer_free(struct mq_gguf_writer *w);

#endif
