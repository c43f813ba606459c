/* nearest.h: what a misspelt name may have meant. */
#ifndef MQ_NEAREST_H
#define MQ_NEAREST_H

#include <stddef.h>

/* The closest name to `word` among n of them, NULL if none is near. */
const char *mq_nearest(const char *word, const char *const *names, size_t n);

#endif
