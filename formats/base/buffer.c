/* buffer.c: a growable byte string. */
#include "buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mq_buffer_free(struct mq_buffer *b)
{
    free(b->data);
    memset(b, 0, sizeof *b);
}

void mq_buffer_clear(struct mq_buffer *b)
{
    b->size = 0;
    if (b->data)
        b->data[0] = '\0';
}

/* Makes room for n more bytes and a terminator. */
static bool reserve(struct mq_buffer *b, size_t n)
{
    if (b->failed)
        return false;
    if (n >= SIZE_MAX / 2 - b->size) {
        b->failed = true;
        return false;
    }
    if (b->size + n + 1 <= b->capacity)
        return true;
    size_t capacity = b->capacity ? b->capacity * 2 : 256;
    if (capacity < b->size + n + 1)
        capacity = b->size + n + 1;
    char *data = realloc(b->data, capacity);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

void mq_buffer_append(struct mq_buffer *b, const void *bytes, size_t n)
{
    if (!reserve(b, n))
        return;
    if (n)
        memcpy(b->data + b->size, bytes, n);
    b->size += n;
    b->data[b->size] = '\0';
}

void mq_buffer_puts(struct mq_buffer *b, const char *text)
{
    mq_buffer_append(b, text, strlen(text));
}

void mq_buffer_putc(struct mq_buffer *b, char c)
{
    mq_buffer_append(b, &c, 1);
}

void mq_buffer_printf(struct mq_buffer *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
        return;
    }
    if (!reserve(b, (size_t)n))
        return;
    va_start(args, format);
    vsnprintf(b->data + b->size, (size_t)n + 1, format, args);
    va_end(args);
    b->size += (size_t)n;
}

void mq_buffer_put_json(struct mq_buffer *b, const char *text, size_t n)
{
    mq_buffer_putc(b, '"');
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            mq_buffer_putc(b, '\\');
            mq_buffer_putc(b, (char)c);
        } else if (c == '\n') {
            mq_buffer_puts(b, "\\n");
        } else if (c == '\r') {
            mq_buffer_puts(b, "\\r");
        } else if (c == '\t') {
            mq_buffer_puts(b, "\\t");
        } else if (c < 0x20) {
            mq_buffer_printf(b, "\\u%04x", c);
        } else {
            mq_buffer_putc(b, (char)c);
        }
    }
    mq_buffer_putc(b, '"');
}

void mq_buffer_put_number(struct mq_buffer *b, double value)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        const double back = strtod(text, NULL);
        /* an f32 is told from its neighbours by at most 9 digits, whatever it is as a double */
        if (back == value || ((double)(float)value == value && (float)back == (float)value))
            break;
    }
    mq_buffer_puts(b, text);
}
