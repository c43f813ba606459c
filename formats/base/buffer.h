/*
 * buffer.h: a growable byte string. Out of memory is sticky: append as much as you like, then ask
 * once with mq_buffer_ok(). The text is always NUL-terminated.
 */
#ifndef MQ_BUFFER_H
#define MQ_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct mq_buffer {
    char *data;
    size_t size, capacity;
    bool failed;
};

void mq_buffer_free(struct mq_buffer *b);
void mq_buffer_clear(struct mq_buffer *b); /* keeps the memory, and that it failed */
void mq_buffer_append(struct mq_buffer *b, const void *bytes, size_t n);
void mq_buffer_puts(struct mq_buffer *b, const char *text);
void mq_buffer_putc(struct mq_buffer *b, char c);
void mq_buffer_printf(struct mq_buffer *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Appends text as a JSON string with its quotes; the bytes must be UTF-8. */
void mq_buffer_put_json(struct mq_buffer *b, const char *text, size_t n);
/* Appends a number with the fewest digits that give the same f32. */
void mq_buffer_put_number(struct mq_buffer *b, double value);

static inline bool mq_buffer_ok(const struct mq_buffer *b)
{
    return !b->failed;
}

#endif
