/* gguf_writer.c: the header of a GGUF file, piece by piece. */
#include "gguf_writer.h"

#include "error.h"

#include <string.h>

/* The `bytes` low bytes of a value, little-endian. */
static void put(struct mq_buffer *b, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        mq_buffer_putc(b, (char)(value >> (8 * i) & 0xff));
}

static void put_text(struct mq_buffer *b, const char *text, size_t n)
{
    put(b, n, 8);
    mq_buffer_append(b, text, n);
}

/* The key, with the architecture's name for %s, and its type. */
static void begin(struct mq_gguf_writer *w, const char *key, enum mq_gguf_value_type type)
{
    struct mq_buffer *b = &w->metadata;
    const bool of_architecture = strncmp(key, "%s", 2) == 0;
    const char *prefix = of_architecture ? w->architecture : "", *rest = key + 2 * of_architecture;
    put(b, strlen(prefix) + strlen(rest), 8);
    mq_buffer_puts(b, prefix);
    mq_buffer_puts(b, rest);
    mq_buffer_printf(&w->names, "%s%s%s\n", w->names.size ? "" : "\n", prefix, rest);
    put(b, type, 4);
    w->keys_count++;
}

void mq_gguf_put_string(struct mq_gguf_writer *w, const char *key, const char *text, size_t n)
{
    begin(w, key, MQ_GGUF_STRING);
    put_text(&w->metadata, text, n);
}

void mq_gguf_put_u16(struct mq_gguf_writer *w, const char *key, uint16_t value)
{
    begin(w, key, MQ_GGUF_U16);
    put(&w->metadata, value, 2);
}

void mq_gguf_put_u32(struct mq_gguf_writer *w, const char *key, uint32_t value)
{
    begin(w, key, MQ_GGUF_U32);
    put(&w->metadata, value, 4);
}

void mq_gguf_put_i32(struct mq_gguf_writer *w, const char *key, int32_t value)
{
    begin(w, key, MQ_GGUF_I32);
    mq_gguf_append_i32(w, value);
}

void mq_gguf_put_f32(struct mq_gguf_writer *w, const char *key, float value)
{
    begin(w, key, MQ_GGUF_F32);
    mq_gguf_append_f32(w, value);
}

void mq_gguf_put_bool(struct mq_gguf_writer *w, const char *key, bool value)
{
    begin(w, key, MQ_GGUF_BOOL);
    put(&w->metadata, value, 1);
}

void mq_gguf_begin_array(struct mq_gguf_writer *w, const char *key, enum mq_gguf_value_type type,
                         uint64_t count)
{
    begin(w, key, MQ_GGUF_ARRAY);
    put(&w->metadata, type, 4);
    put(&w->metadata, count, 8);
}

void mq_gguf_put_value(struct mq_gguf_writer *w, const char *key, enum mq_gguf_value_type type,
                       enum mq_gguf_value_type element, uint64_t count, const void *bytes, size_t n)
{
    if (type == MQ_GGUF_ARRAY)
        mq_gguf_begin_array(w, key, element, count);
    else
        begin(w, key, type);
    mq_buffer_append(&w->metadata, bytes, n);
}

bool mq_gguf_writer_has(const struct mq_gguf_writer *w, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = w->names.data; at && (at = strstr(at, name)); at++)
        if (at[-1] == '\n' && at[n] == '\n')
            return true;
    return false;
}

void mq_gguf_append_string(struct mq_gguf_writer *w, const char *text, size_t n)
{
    put_text(&w->metadata, text, n);
}

void mq_gguf_append_i32(struct mq_gguf_writer *w, int32_t value)
{
    put(&w->metadata, (uint32_t)value, 4);
}

void mq_gguf_append_bool(struct mq_gguf_writer *w, bool value)
{
    put(&w->metadata, value, 1);
}

void mq_gguf_append_f32(struct mq_gguf_writer *w, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put(&w->metadata, bits, 4);
}

void mq_gguf_put_tensor(struct mq_gguf_writer *w, const char *name, uint32_t dims,
                        const uint64_t *ne, uint32_t type, uint64_t offset)
{
    struct mq_buffer *b = &w->tensors;
    put_text(b, name, strlen(name));
    put(b, dims, 4);
    for (uint32_t i = 0; i < dims; i++)
        put(b, ne[i], 8);
    put(b, type, 4);
    put(b, offset, 8);
    w->tensors_count++;
}

moeq_status mq_gguf_writer_finish(struct mq_gguf_writer *w, struct mq_buffer *header,
                                  moeq_error *err)
{
    mq_buffer_clear(header);
    mq_buffer_puts(header, MQ_GGUF_MAGIC);
    put(header, MQ_GGUF_VERSION, 4);
    put(header, w->tensors_count, 8);
    put(header, w->keys_count, 8);
    mq_buffer_append(header, w->metadata.data, w->metadata.size);
    mq_buffer_append(header, w->tensors.data, w->tensors.size);
    while (mq_buffer_ok(header) && header->size % MQ_GGUF_ALIGNMENT)
        mq_buffer_putc(header, 0);
    const bool ok = mq_buffer_ok(&w->metadata) && mq_buffer_ok(&w->tensors) &&
                    mq_buffer_ok(&w->names) && mq_buffer_ok(header);
    mq_gguf_writer_free(w);
    return ok ? MOEQ_OK : mq_fail_memory(err, "writing a GGUF header");
}

void mq_gguf_writer_free(struct mq_gguf_writer *w)
{
    mq_buffer_free(&w->metadata);
    mq_buffer_free(&w->tensors);
    mq_buffer_free(&w->names);
}
