/*
 * pages.h: large buffers of numbers, on huge pages where the system has them.
 *
 * Products run through whole matrices of activations, a page of 4 KiB holding but a quarter of a
 * token's; with pages of 2 MiB the processor finds them without walking page tables.
 */
#ifndef MQ_PAGES_H
#define MQ_PAGES_H

#include <stddef.h>

/* At least `bytes` bytes, not zeroed, aligned to 4096; for free(). NULL when out of memory. */
void *mq_pages_alloc(size_t bytes);

#endif
