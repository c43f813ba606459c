/*
 * charsmap.h: sentencepiece's precompiled_charsmap: which characters become which.
 *
 * A double-array trie (Darts-clone's) over UTF-8 bytes, whose values are offsets into texts that
 * end in a NUL byte. In JSON it is base64.
 */
#ifndef MQ_CHARSMAP_H
#define MQ_CHARSMAP_H

#include "tokenizer_int.h"

/* Reads the member `precompiled_charsmap`; *map is NULL where it is an empty text. */
moeq_status mq_charsmap_load(struct mq_load *load, const cJSON *json, const char *what,
                             const struct mq_charsmap **map);

/* What the n bytes of UTF-8 begin with: the length of the longest entry, 0 if there is none, and
 * its replacement. */
size_t mq_charsmap_longest(const struct mq_charsmap *map, const char *text, size_t n,
                           struct mq_text *replacement);

/* The same for the shortest entry, as the `tokenizers` library looks one up. */
size_t mq_charsmap_shortest(const struct mq_charsmap *map, const char *text, size_t n,
                            struct mq_text *replacement);

#endif
