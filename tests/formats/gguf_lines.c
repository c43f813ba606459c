/* gguf_lines.c: a parser of its own for the metadata that a writer has. */
#include "gguf_lines.h"

#include "test_support.h"

#include <stdlib.h>
#include <string.h>

uint64_t gguf_take(struct gguf_reader *r, size_t bytes)
{
    ck_assert_uint_ge((size_t)(r->end - r->at), bytes);
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)*r->at++ << (8 * i);
    return value;
}

static const char *take_text(struct gguf_reader *r, size_t *n)
{
    *n = gguf_take(r, 8);
    ck_assert_uint_ge((size_t)(r->end - r->at), *n);
    const char *text = (const char *)r->at;
    r->at += *n;
    return text;
}

static const char *const type_names[MQ_GGUF_VALUE_TYPES] = {
    [MQ_GGUF_U32] = "u32",   [MQ_GGUF_I32] = "i32",       [MQ_GGUF_F32] = "f32",
    [MQ_GGUF_BOOL] = "bool", [MQ_GGUF_STRING] = "string",
};

void gguf_print_value(struct gguf_reader *r, uint64_t type, struct mq_buffer *out)
{
    size_t n;
    if (type == MQ_GGUF_STRING) {
        const char *text = take_text(r, &n);
        mq_buffer_put_json(out, text, n);
    } else if (type == MQ_GGUF_BOOL) {
        mq_buffer_puts(out, gguf_take(r, 1) ? "true" : "false");
    } else {
        const uint32_t bits = (uint32_t)gguf_take(r, 4);
        float f;
        memcpy(&f, &bits, 4);
        if (type == MQ_GGUF_F32)
            mq_buffer_printf(out, "%.9g", (double)f);
        else
            mq_buffer_printf(out, "%d", (int32_t)bits);
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *gguf_lines(const struct mq_gguf_writer *w)
{
    struct gguf_reader r = {(const unsigned char *)w->metadata.data,
                            (const unsigned char *)w->metadata.data + w->metadata.size};
    char *lines[32];
    size_t count = 0;
    for (; r.at < r.end; count++) {
        struct mq_buffer line = {0};
        size_t n;
        const char *key = take_text(&r, &n);
        mq_buffer_append(&line, key, n);
        uint64_t type = gguf_take(&r, 4), elements = 1;
        const bool array = type == MQ_GGUF_ARRAY;
        if (array) {
            type = gguf_take(&r, 4);
            elements = gguf_take(&r, 8);
        }
        ck_assert(type < MQ_GGUF_VALUE_TYPES && type_names[type] && count < 32);
        mq_buffer_printf(&line, " %s", type_names[type]);
        if (array)
            mq_buffer_printf(&line, "[%llu]", (unsigned long long)elements);
        for (uint64_t i = 0; i < elements; i++) {
            mq_buffer_putc(&line, ' ');
            gguf_print_value(&r, type, &line);
        }
        ck_assert(mq_buffer_ok(&line));
        lines[count] = line.data;
    }
    ck_assert_uint_eq(count, w->keys_count);
    qsort(lines, count, sizeof *lines, compare_lines);
    struct mq_buffer all = {0};
    for (size_t i = 0; i < count; i++) {
        mq_buffer_puts(&all, lines[i]);
        mq_buffer_putc(&all, '\n');
        free(lines[i]);
    }
    ck_assert(mq_buffer_ok(&all));
    return all.data;
}
