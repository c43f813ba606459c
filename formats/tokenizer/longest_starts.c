/* longest_starts.c: see the header. */
#include "longest_starts.h"

#include <stdlib.h>
#include <string.h>

struct mq_start_node {
    uint32_t parent, depth;
    uint32_t fail; /* the longest other text's beginning that this one ends with */
    uint32_t best; /* of the texts that this one ends with, the longest's length */
    uint8_t byte;
};

/* The node behind (node, byte); 0 if there is none, as nothing leads to the root. */
static uint32_t next_of(const struct mq_longest_starts *s, uint32_t node, uint8_t byte)
{
    const struct mq_pair_value *edge = mq_pair_map_get(&s->edges, node, byte);
    return edge ? edge->first : 0;
}

static bool grow(struct mq_longest_starts *s)
{
    const size_t room = s->room ? 2 * s->room : 64;
    struct mq_start_node *nodes = realloc(s->nodes, room * sizeof *nodes);
    if (!nodes)
        return false;
    s->nodes = nodes;
    s->room = room;
    return true;
}

static bool add_node(struct mq_longest_starts *s, uint32_t parent, uint8_t byte, uint32_t *node)
{
    if (s->count == s->room && !grow(s))
        return false;
    *node = (uint32_t)s->count;
    s->nodes[s->count++] = (struct mq_start_node){
        .parent = parent, .depth = *node ? s->nodes[parent].depth + 1 : 0, .byte = byte};
    return !*node || mq_pair_map_set(&s->edges, parent, byte, (struct mq_pair_value){*node, 0});
}

bool mq_longest_starts_add(struct mq_longest_starts *s, const char *text, size_t n)
{
    uint32_t node = 0;
    if (!s->count && !add_node(s, 0, 0, &node))
        return false;
    for (size_t i = n; i-- > 0;) {
        const uint8_t byte = (uint8_t)text[i];
        uint32_t next = next_of(s, node, byte);
        if (!next && !add_node(s, node, byte, &next))
            return false;
        node = next;
    }
    s->nodes[node].best = (uint32_t)n;
    return true;
}

/* Where a byte leads from what was read. Each step back takes one from the depth, which grows by one a byte. */
static uint32_t step(const struct mq_longest_starts *s, uint32_t node, uint8_t byte)
{
    for (;;) {
        const uint32_t next = next_of(s, node, byte);
        if (next || !node)
            return next;
        node = s->nodes[node].fail;
    }
}

static int by_depth(const void *a, const void *b)
{
    const struct mq_start_node *x = *(const struct mq_start_node *const *)a,
                               *y = *(const struct mq_start_node *const *)b;
    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    return x < y ? -1 : x > y;
}

bool mq_longest_starts_finish(struct mq_longest_starts *s)
{
    struct mq_start_node **order = malloc((s->count + 1) * sizeof(*order));
    if (!order)
        return false;
    for (size_t i = 0; i < s->count; i++)
        order[i] = &s->nodes[i];
    qsort(order, s->count, sizeof *order, by_depth);
    for (size_t i = 1; i < s->count; i++) { /* the root is the first */
        struct mq_start_node *node = order[i];
        node->fail = node->parent ? step(s, s->nodes[node->parent].fail, node->byte) : 0;
        if (!node->best)
            node->best = s->nodes[node->fail].best;
    }
    free(order);
    return true;
}

void mq_longest_starts_find(const struct mq_longest_starts *s, const char *text, size_t n,
                            uint32_t *lengths)
{
    uint32_t node = 0;
    for (size_t i = n; i-- > 0;) {
        node = step(s, node, (uint8_t)text[i]);
        lengths[i] = s->nodes[node].best;
    }
}

void mq_longest_starts_free(struct mq_longest_starts *s)
{
    mq_pair_map_free(&s->edges);
    free(s->nodes);
    memset(s, 0, sizeof *s);
}
