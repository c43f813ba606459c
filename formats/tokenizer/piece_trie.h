/* piece_trie.h: which pieces a text begins with: a trie over the bytes of texts. */
#ifndef MQ_PIECE_TRIE_H
#define MQ_PIECE_TRIE_H

#include "pair_map.h"

/* Node 0 is the root. Zero-initialize it; free its edges with mq_piece_trie_free. */
struct mq_piece_trie {
    struct mq_pair_map edges; /* (node, byte) -> (node, 1 + id of the text ending there or 0) */
    uint32_t nodes;
};

/* Adds a text that is not empty. Of equal texts the last one stays. False when out of memory. */
bool mq_piece_trie_add(struct mq_piece_trie *trie, const char *text, size_t n, uint32_t id);
void mq_piece_trie_free(struct mq_piece_trie *trie);

/* One step of a walk: from *node by a byte. False: no text goes on like this. *id is that of the
 * text ending here, -1 if there is none. */
static inline bool mq_piece_trie_step(const struct mq_piece_trie *trie, uint32_t *node,
                                      unsigned char byte, int32_t *id)
{
    const struct mq_pair_value *edge = mq_pair_map_get(&trie->edges, *node, byte);
    if (!edge)
        return false;
    *node = edge->first;
    *id = (int32_t)edge->second - 1;
    return true;
}

/* The length of the longest text that the n bytes begin with, 0 if there is none. */
size_t mq_piece_trie_longest(const struct mq_piece_trie *trie, const char *text, size_t n);

#endif
