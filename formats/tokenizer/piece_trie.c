/* piece_trie.c: building and the longest match. */
#include "piece_trie.h"

bool mq_piece_trie_add(struct mq_piece_trie *trie, const char *text, size_t n, uint32_t id)
{
    uint32_t node = 0;
    if (!trie->edges.capacity && !mq_pair_map_init(&trie->edges, 64))
        return false;
    for (size_t i = 0; i < n; i++) {
        const uint32_t byte = (unsigned char)text[i];
        const struct mq_pair_value *edge = mq_pair_map_get(&trie->edges, node, byte);
        struct mq_pair_value value = edge ? *edge : (struct mq_pair_value){++trie->nodes, 0};
        if (i + 1 == n)
            value.second = id + 1;
        if ((!edge || i + 1 == n) && !mq_pair_map_set(&trie->edges, node, byte, value))
            return false;
        node = value.first;
    }
    return true;
}

void mq_piece_trie_free(struct mq_piece_trie *trie)
{
    mq_pair_map_free(&trie->edges);
    trie->nodes = 0;
}

size_t mq_piece_trie_longest(const struct mq_piece_trie *trie, const char *text, size_t n)
{
    uint32_t node = 0;
    size_t longest = 0;
    int32_t id;
    if (!trie->nodes)
        return 0;
    for (size_t i = 0; i < n && mq_piece_trie_step(trie, &node, (unsigned char)text[i], &id); i++)
        if (id >= 0)
            longest = i + 1;
    return longest;
}
