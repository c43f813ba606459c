/*
 * longest_starts.h: the length of the longest of many texts that begins at each place of a text, in steps that the places
 * bound and not the texts' lengths.
 *
 * A walk along a trie from every place takes as many steps a byte as the texts are long where they are all but there
 * ("aaaa...ab" in a text of a's). So the texts are looked for from behind: an automaton of Aho and Corasick ("Efficient
 * string matching", 1975) over the reversed texts knows at each place which is the longest that ends there, which is the one
 * that begins there in the right order.
 */
#ifndef MQ_LONGEST_STARTS_H
#define MQ_LONGEST_STARTS_H

#include "pair_map.h"

struct mq_longest_starts {
    struct mq_pair_map edges; /* (node, byte) -> (node, -), over reversed texts; node 0 is the root */
    struct mq_start_node *nodes;
    size_t count, room;
};

/* Adds a text. False when out of memory. */
bool mq_longest_starts_add(struct mq_longest_starts *s, const char *text, size_t n);
/* All are there. False when out of memory. */
bool mq_longest_starts_finish(struct mq_longest_starts *s);
/* lengths[i]: of the longest text at text[i], 0 where there is none. */
void mq_longest_starts_find(const struct mq_longest_starts *s, const char *text, size_t n,
                            uint32_t *lengths);
void mq_longest_starts_free(struct mq_longest_starts *s);

#endif
