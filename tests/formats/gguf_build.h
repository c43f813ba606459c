/* gguf_build.h: GGUF files byte by byte, for tests that need wrong ones. */
#ifndef MQ_GGUF_BUILD_H
#define MQ_GGUF_BUILD_H

#include "buffer.h"
#include "gguf_names.h"

struct gguf_build {
    struct mq_buffer keys, infos, data;
    uint64_t keys_count, tensors_count;
    uint32_t version, alignment;
    /* What to do otherwise than told: a key or tensor that is left out; a tensor whose description
     * is changed (its data stay as they were). */
    const char *drop;
    const char *change;
    enum gguf_change { GGUF_TYPE, GGUF_DIMS, GGUF_NE0, GGUF_OFFSET } field;
    uint64_t value;
};

/* Zero the struct first; version and alignment 0 are 3 and 32. */
void gguf_key_raw(struct gguf_build *b, const char *key, uint32_t type, const void *bytes,
                  size_t n);
void gguf_key_text(struct gguf_build *b, const char *key, const char *text);
void gguf_key_u32(struct gguf_build *b, const char *key, uint32_t value);
void gguf_key_f32(struct gguf_build *b, const char *key, float value);
void gguf_key_bool(struct gguf_build *b, const char *key, bool value);
void gguf_key_strings(struct gguf_build *b, const char *key, const char *const *texts, size_t n);
void gguf_key_array(struct gguf_build *b, const char *key, uint32_t element, const void *elements,
                    size_t element_bytes, size_t n);

/* ne: fastest first. */
void gguf_tensor(struct gguf_build *b, const char *name, uint32_t type, uint32_t dims,
                 const uint64_t *ne, const void *bytes, size_t n);

/* Header and data; the builder is empty afterwards. */
struct mq_buffer gguf_finish(struct gguf_build *b);
void gguf_write(struct gguf_build *b, const char *path); /* the same into a file */

/* A model of the architecture `llama`: one layer, hidden 8, two heads of 4 with one of keys, ffn 8,
 * vocabulary 4, all F32; with experts: two of them, of which a token uses one. No tokenizer. */
void gguf_small_model(struct gguf_build *b, bool experts);

#endif
