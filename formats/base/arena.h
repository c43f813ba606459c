/*
 * arena.h: memory that lives and dies together (the names and tables of one opened model).
 *
 * Contract: blocks are 16-byte aligned and zeroed; nothing is freed alone; destroy frees all.
 * The owner is named in the header of whoever creates it. Not thread-safe.
 */
#ifndef MQ_ARENA_H
#define MQ_ARENA_H

#include <stddef.h>

struct mq_arena;

struct mq_arena *mq_arena_create(void);        /* NULL when out of memory */
void mq_arena_destroy(struct mq_arena *arena); /* NULL is fine */

/* Room for count items of `size` bytes, zeroed; NULL on overflow or out of memory. */
void *mq_arena_alloc(struct mq_arena *arena, size_t count, size_t size);

/* A terminated copy of n bytes of text. */
char *mq_arena_strndup(struct mq_arena *arena, const char *text, size_t n);
char *mq_arena_strdup(struct mq_arena *arena, const char *text);
char *mq_arena_printf(struct mq_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
