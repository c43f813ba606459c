/* gguf_build.c: GGUF files byte by byte, for tests that need wrong ones. */
#include "gguf_build.h"

#include "test_support.h"

#include <stdio.h>
#include <string.h>

static void put(struct mq_buffer *b, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        mq_buffer_putc(b, (char)(value >> (8 * i)));
}

static void put_string(struct mq_buffer *b, const char *text)
{
    put(b, strlen(text), 8);
    mq_buffer_puts(b, text);
}

static bool dropped(const struct gguf_build *b, const char *name)
{
    return b->drop && strcmp(b->drop, name) == 0;
}

void gguf_key_raw(struct gguf_build *b, const char *key, uint32_t type, const void *bytes, size_t n)
{
    if (dropped(b, key))
        return;
    put_string(&b->keys, key);
    put(&b->keys, type, 4);
    mq_buffer_append(&b->keys, bytes, n);
    b->keys_count++;
}

void gguf_key_text(struct gguf_build *b, const char *key, const char *text)
{
    struct mq_buffer value = {0};
    put_string(&value, text);
    gguf_key_raw(b, key, MQ_GGUF_STRING, value.data, value.size);
    mq_buffer_free(&value);
}

void gguf_key_u32(struct gguf_build *b, const char *key, uint32_t value)
{
    gguf_key_raw(b, key, MQ_GGUF_U32, &value, 4);
}

void gguf_key_f32(struct gguf_build *b, const char *key, float value)
{
    gguf_key_raw(b, key, MQ_GGUF_F32, &value, 4);
}

void gguf_key_bool(struct gguf_build *b, const char *key, bool value)
{
    gguf_key_raw(b, key, MQ_GGUF_BOOL, &(uint8_t){value}, 1);
}

void gguf_key_array(struct gguf_build *b, const char *key, uint32_t element, const void *elements,
                    size_t element_bytes, size_t n)
{
    struct mq_buffer value = {0};
    put(&value, element, 4);
    put(&value, n, 8);
    mq_buffer_append(&value, elements, n * element_bytes);
    gguf_key_raw(b, key, MQ_GGUF_ARRAY, value.data, value.size);
    mq_buffer_free(&value);
}

void gguf_key_strings(struct gguf_build *b, const char *key, const char *const *texts, size_t n)
{
    struct mq_buffer value = {0};
    put(&value, MQ_GGUF_STRING, 4);
    put(&value, n, 8);
    for (size_t i = 0; i < n; i++)
        put_string(&value, texts[i]);
    gguf_key_raw(b, key, MQ_GGUF_ARRAY, value.data, value.size);
    mq_buffer_free(&value);
}

void gguf_tensor(struct gguf_build *b, const char *name, uint32_t type, uint32_t dims,
                 const uint64_t *ne, const void *bytes, size_t n)
{
    const bool change = b->change && strcmp(b->change, name) == 0;
    const uint32_t alignment = b->alignment ? b->alignment : MQ_GGUF_ALIGNMENT;
    if (dropped(b, name))
        return;
    while (b->data.size % alignment)
        mq_buffer_putc(&b->data, 0);
    put_string(&b->infos, name);
    put(&b->infos, change && b->field == GGUF_DIMS ? b->value : dims, 4);
    for (uint32_t d = 0; d < dims; d++)
        put(&b->infos, change && b->field == GGUF_NE0 && d == 0 ? b->value : ne[d], 8);
    put(&b->infos, change && b->field == GGUF_TYPE ? b->value : type, 4);
    put(&b->infos, change && b->field == GGUF_OFFSET ? b->value : b->data.size, 8);
    mq_buffer_append(&b->data, bytes, n);
    b->tensors_count++;
}

struct mq_buffer gguf_finish(struct gguf_build *b)
{
    const uint32_t alignment = b->alignment ? b->alignment : MQ_GGUF_ALIGNMENT;
    struct mq_buffer out = {0};
    mq_buffer_puts(&out, MQ_GGUF_MAGIC);
    put(&out, b->version ? b->version : MQ_GGUF_VERSION, 4);
    put(&out, b->tensors_count, 8);
    put(&out, b->keys_count, 8);
    mq_buffer_append(&out, b->keys.data, b->keys.size);
    mq_buffer_append(&out, b->infos.data, b->infos.size);
    while (out.size % alignment)
        mq_buffer_putc(&out, 0);
    mq_buffer_append(&out, b->data.data, b->data.size);
    mq_buffer_free(&b->keys);
    mq_buffer_free(&b->infos);
    mq_buffer_free(&b->data);
    memset(b, 0, sizeof *b);
    return out;
}

void gguf_write(struct gguf_build *b, const char *path)
{
    struct mq_buffer out = gguf_finish(b);
    FILE *f = fopen(path, "wb");
    ck_assert(f && fwrite(out.data, 1, out.size, f) == out.size && fclose(f) == 0);
    mq_buffer_free(&out);
}

/* Weights that differ from one another: 0.25, 0.5, ... */
static void add_f32(struct gguf_build *b, const char *name, uint64_t cols, uint64_t rows,
                    uint64_t experts)
{
    float weights[256];
    const uint64_t ne[] = {cols, rows, experts};
    const size_t n = cols * (rows ? rows : 1) * (experts ? experts : 1);
    for (size_t i = 0; i < n; i++)
        weights[i] = 0.25f * (float)(i + 1);
    gguf_tensor(b, name, 0, experts ? 3 : rows ? 2 : 1, ne, weights, n * sizeof *weights);
}

void gguf_small_model(struct gguf_build *b, bool experts)
{
    gguf_key_text(b, MQ_GGUF_KEY_ARCHITECTURE, "llama");
    gguf_key_u32(b, "llama.vocab_size", 4);
    gguf_key_u32(b, "llama.context_length", 64);
    gguf_key_u32(b, "llama.embedding_length", 8);
    gguf_key_u32(b, "llama.block_count", 1);
    gguf_key_u32(b, "llama.feed_forward_length", 8);
    gguf_key_u32(b, "llama.attention.head_count", 2);
    gguf_key_u32(b, "llama.attention.head_count_kv", 1);
    gguf_key_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    if (experts) {
        gguf_key_u32(b, "llama.expert_count", 2);
        gguf_key_u32(b, "llama.expert_used_count", 1);
    }
    add_f32(b, "token_embd.weight", 8, 4, 0);
    add_f32(b, "blk.0.attn_norm.weight", 8, 0, 0);
    add_f32(b, "blk.0.attn_q.weight", 8, 8, 0);
    add_f32(b, "blk.0.attn_k.weight", 8, 4, 0);
    add_f32(b, "blk.0.attn_v.weight", 8, 4, 0);
    add_f32(b, "blk.0.attn_output.weight", 8, 8, 0);
    add_f32(b, "blk.0.ffn_norm.weight", 8, 0, 0);
    if (experts)
        add_f32(b, "blk.0.ffn_gate_inp.weight", 8, 2, 0);
    add_f32(b, experts ? "blk.0.ffn_gate_exps.weight" : "blk.0.ffn_gate.weight", 8, 8,
            experts ? 2 : 0);
    add_f32(b, experts ? "blk.0.ffn_up_exps.weight" : "blk.0.ffn_up.weight", 8, 8, experts ? 2 : 0);
    add_f32(b, experts ? "blk.0.ffn_down_exps.weight" : "blk.0.ffn_down.weight", 8, 8,
            experts ? 2 : 0);
    add_f32(b, "output_norm.weight", 8, 0, 0);
    add_f32(b, "output.weight", 8, 4, 0);
}
