/* arena.c: a list of blocks, filled from the newest. */
#include "arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Blocks double up to the largest: most arenas hold a few names. */
enum { ALIGNMENT = 16, FIRST_BLOCK_BYTES = 4 * 1024, BLOCK_BYTES = 64 * 1024 };

struct block {
    struct block *next;
    size_t used, capacity;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

struct mq_arena {
    struct block *newest;
};

struct mq_arena *mq_arena_create(void)
{
    return calloc(1, sizeof(struct mq_arena));
}

void mq_arena_destroy(struct mq_arena *arena)
{
    if (!arena)
        return;
    for (struct block *b = arena->newest, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(arena);
}

/* Of the block for n bytes, with room for more. */
static size_t block_bytes(const struct mq_arena *arena, size_t n)
{
    size_t bytes = arena->newest ? arena->newest->capacity : FIRST_BLOCK_BYTES / 2;
    do
        bytes *= 2;
    while (bytes < n);
    return bytes < BLOCK_BYTES ? bytes : BLOCK_BYTES;
}

void *mq_arena_alloc(struct mq_arena *arena, size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n) || n > SIZE_MAX / 2)
        return NULL;
    n = (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct block *b = arena->newest;
    if (!b || n > b->capacity - b->used) {
        const size_t capacity = n > BLOCK_BYTES / 4 ? n : block_bytes(arena, n);
        b = calloc(1, sizeof *b + capacity);
        if (!b)
            return NULL;
        b->capacity = capacity;
        if (n > BLOCK_BYTES / 4 && arena->newest) {
            /* A large item gets a block of its own, behind the one that still has room. */
            b->next = arena->newest->next;
            arena->newest->next = b;
        } else {
            b->next = arena->newest;
            arena->newest = b;
        }
    }
    void *p = b->bytes + b->used;
    b->used += n;
    return p;
}

char *mq_arena_strndup(struct mq_arena *arena, const char *text, size_t n)
{
    char *copy = n < SIZE_MAX ? mq_arena_alloc(arena, n + 1, 1) : NULL;
    if (copy)
        memcpy(copy, text, n);
    return copy;
}

char *mq_arena_strdup(struct mq_arena *arena, const char *text)
{
    return mq_arena_strndup(arena, text, strlen(text));
}

char *mq_arena_printf(struct mq_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n >= 0 ? mq_arena_alloc(arena, (size_t)n + 1, 1) : NULL;
    if (text) {
        va_start(args, format);
        vsnprintf(text, (size_t)n + 1, format, args);
        va_end(args);
    }
    return text;
}
